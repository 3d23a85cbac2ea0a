"""Opening the stores of a durable host by a URL: of a database, a Redis, or a directory."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from streamwf.adapters.certificates import mistaken, read_secret
from streamwf.adapters.roles.file import FileRoleScheduler
from streamwf.adapters.roles.sql import SqlRoleScheduler
from streamwf.adapters.sql.engine import create, parse_url
from streamwf.adapters.sql.keys import SqlKeys
from streamwf.adapters.sql.migrations import upgrade
from streamwf.adapters.sql.records import SqlStore
from streamwf.adapters.streams.reflex import ReflexStreamer
from streamwf.errors import StoreNotFound, StoreReadOnly
from streamwf.settings import Settings
from streamwf.stored import Stores
from streamwf.stored_log import StoredLog, StreamLog

#: What keeps nothing.
MEMORY = "memory"

#: Where `streamwf dev` keeps everything unless told.
FILE = "sqlite:///streamwf.db"

#: Shards of each workflow in a database that several processes may share.
SHARDS = 8

#: What keeps rows and no log, by the scheme of its URL, as people call it.
ROWS_ONLY = {"redis": "Redis", "rediss": "Redis", "rocksdb": "RocksDB"}


class Place(NamedTuple):
    """Where the stores are, and who asks.

    setting: the name of the one that has the URL. address: where others reach this process.
    make: whether what is missing is made.
    """

    url: str
    setting: str
    settings: Settings
    address: str
    make: bool


def named_store(settings: Settings) -> tuple[str, str] | None:
    """The URL of the store that is named, with its password; and the setting that names it.

    Raises InvalidSettings.
    """
    return _named(settings, "store" if settings.store is not None else "database_url")


def _named(settings: Settings, setting: str) -> tuple[str, str] | None:
    named: SecretStr | None = getattr(settings, setting)
    if named is None:
        return None
    url, password = named.get_secret_value(), _password(settings)
    if password is None or url == MEMORY:
        return url, setting
    parsed = _parsed(url, setting)
    if parsed.password is not None:
        raise mistaken("store_password", f"{setting} has one as well; leave one of them out")
    if parsed.username is None and _kind_of(url) in ROWS_ONLY:
        # Redis wants none; but without its place in a URL there is none for the password.
        parsed = parsed.set(username="")
    parsed = parsed.set(password=password)
    return parsed.render_as_string(hide_password=False), setting


def _parsed(url: str, setting: str) -> URL:
    if _kind_of(url) not in ROWS_ONLY:
        return parse_url(url, setting)
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The text of what can't be parsed may have a password anywhere.
        raise mistaken(setting, "is no URL of a store, like redis://127.0.0.1:6379/0") from None


def _password(settings: Settings) -> str | None:
    given, file = settings.store_password, settings.store_password_file
    if given is not None and file is not None:
        raise mistaken("store_password", "store_password_file is given as well; leave one out")
    if file is not None:
        return read_secret("store_password_file", file)
    return given.get_secret_value() if given is not None else None


def store_of(settings: Settings) -> tuple[str, str]:
    """The URL of the store, or `MEMORY`; and the name of the setting that says so.

    Raises InvalidSettings, also if the log can't lie where it is to with such a store.
    """
    url, setting = _chosen(settings)
    kind, log = _kind_of(url), settings.log
    if url == MEMORY and log == "kafka":
        raise mistaken(setting, "memory keeps nothing of a log in Kafka: give the URL of a store")
    if kind in ROWS_ONLY and log == "store":
        cure = "put it in Kafka, with --log kafka or STREAMWF_LOG=kafka, and name the brokers"
        raise mistaken(setting, f"{ROWS_ONLY[kind]} keeps rows and has no log: {cure}")
    return url, setting


def _chosen(settings: Settings) -> tuple[str, str]:
    if settings.store is None:
        if settings.adapters == "memory":
            return MEMORY, "adapters"
        if settings.adapters == "sql":
            said = _named(settings, "database_url")
            return _or_mistaken(said, "database_url", "say in DATABASE_URL which database it is")
        if settings.adapters == "redis":
            said = _named(settings, "redis_url")
            return _or_mistaken(said, "redis_url", "say in REDIS_URL which Redis it is")
    return _named(settings, "store") or (FILE, "store")


def _or_mistaken(said: tuple[str, str] | None, setting: str, cure: str) -> tuple[str, str]:
    if said is None:
        raise mistaken(setting, cure)
    return said


def _kind_of(url: str) -> str:
    return url.partition(":")[0].partition("+")[0]


def file_of(url: str) -> Path | None:
    """The file, or the directory, of a store that is one."""
    if _kind_of(url) not in ("sqlite", "rocksdb"):
        return None
    return Path(make_url(url).database or "")


def shown(url: str) -> str:
    """A store, as people are told of it: without a password."""
    return str(file_of(url) or make_url(url).render_as_string(hide_password=True))


@asynccontextmanager
async def open_stores(
    url: str,
    setting: str,
    settings: Settings | None = None,
    address: str = "",
    *,
    make: bool = True,
) -> AsyncIterator[Stores]:
    """The stores at a URL, made ready for this version, and the log there or in Kafka.

    settings: those of the host; the defaults, unless given. address: where other processes reach
        this one.
    make: whether what is missing is made: the file, the tables, and the table of a stream once it
        is asked for.

    Raises InvalidSettings, StoreUnreachable, and SchemaNewer if the tables are of a later version;
    and, unless what is missing is made, NothingStored and StreamNotFound.
    """
    place = Place(url, setting, settings or Settings.model_construct(), address, make)
    file = file_of(url)
    if file is not None and not make and not file.exists():
        raise StoreNotFound(store=f"The database {file}", cause="no such file", setting=setting)
    async with AsyncExitStack() as stack:
        log: StoredLog | None = None
        if place.settings.log == "kafka":
            from streamwf.adapters.kafka.stored_log import topic_log

            log = await stack.enter_async_context(topic_log(place.settings))
        kind = _kind_of(url)
        if log is None or kind not in ROWS_ONLY:
            yield await _in_database(stack, place, log)
        elif kind == "rocksdb":
            yield await _in_directory(stack, place, log)
        else:
            yield await _in_redis(stack, place, log)


async def _in_database(stack: AsyncExitStack, place: Place, log: StoredLog | None) -> Stores:
    """log: None if it is in the database, too."""
    engine = create(place.url, place.setting)
    stack.push_async_callback(engine.dispose)
    await upgrade(engine, place.setting, make=place.make)
    file = file_of(place.url)
    roles: FileRoleScheduler | SqlRoleScheduler
    if file is not None:
        lock = file.with_name(f"{file.name}-lock")
        roles = FileRoleScheduler(lock, address=place.address)
    else:
        own, lease = create(place.url, place.setting), place.settings.lease
        roles = SqlRoleScheduler(own, lease=lease, address=place.address)
    stack.push_async_callback(roles.close)
    if log is None:
        streamer = ReflexStreamer(engine, make=place.make)
        stack.push_async_callback(streamer.close)
        log = StreamLog(streamer, SqlKeys(engine), SHARDS if file is None else 1)
    return Stores(log, SqlStore(engine), roles, roles.address_of)


async def _in_directory(stack: AsyncExitStack, place: Place, log: StoredLog) -> Stores:
    from streamwf.adapters.rocksdb import RocksStore

    folder = file_of(place.url)
    if not folder or not folder.name:
        raise mistaken(place.setting, "names no directory: write it as in rocksdb:///orders")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        named = {"store": f"The directory {folder}", "setting": place.setting}
        raise StoreReadOnly(cause=error.strerror, **named) from None
    records = RocksStore(folder, place.setting)
    stack.callback(records.close)
    roles = FileRoleScheduler(folder / "lock", address=place.address)
    stack.push_async_callback(roles.close)
    return Stores(log, records, roles, roles.address_of)


async def _in_redis(stack: AsyncExitStack, place: Place, log: StoredLog) -> Stores:
    from streamwf.adapters.redis.client import Server
    from streamwf.adapters.redis.records import RedisStore
    from streamwf.adapters.redis.roles import RedisRoleScheduler

    server = Server(place.url, place.setting)
    stack.push_async_callback(server.close)
    await server.ping()
    own = Server(place.url, place.setting)
    roles = RedisRoleScheduler(own, lease=place.settings.lease, address=place.address)
    stack.push_async_callback(roles.close)
    return Stores(log, RedisStore(server), roles, roles.address_of)
