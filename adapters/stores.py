"""Opening the stores of a durable host by the URL of a database."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import make_url

from streamwf.adapters.roles.file import FileRoleScheduler
from streamwf.adapters.roles.leases import LEASE
from streamwf.adapters.roles.sql import SqlRoleScheduler
from streamwf.adapters.sql.engine import create, parse_url
from streamwf.adapters.sql.keys import SqlKeys
from streamwf.adapters.sql.migrations import upgrade
from streamwf.adapters.sql.records import SqlStore
from streamwf.adapters.streams.reflex import ReflexStreamer
from streamwf.adapters.tls import mistaken, read_secret
from streamwf.settings import Settings
from streamwf.stored import Stores

#: What keeps nothing.
MEMORY = "memory"

#: Where `streamwf dev` keeps everything unless told.
FILE = "sqlite:///streamwf.db"

#: Shards of each workflow in a database that several processes may share.
SHARDS = 8


def named_store(settings: Settings) -> tuple[str, str] | None:
    """The URL of the store that is named, with its password; and the setting that names it.

    Raises InvalidSettings.
    """
    setting = "store" if settings.store is not None else "database_url"
    named: SecretStr | None = getattr(settings, setting)
    if named is None:
        return None
    url, password = named.get_secret_value(), _password(settings)
    if password is None or url == MEMORY:
        return url, setting
    parsed = parse_url(url, setting)
    if parsed.password is not None:
        raise mistaken("store_password", f"{setting} has one as well; leave one of them out")
    return parsed.set(password=password).render_as_string(hide_password=False), setting


def _password(settings: Settings) -> str | None:
    given, file = settings.store_password, settings.store_password_file
    if given is not None and file is not None:
        raise mistaken("store_password", "store_password_file is given as well; leave one out")
    if file is not None:
        return read_secret("store_password_file", file)
    return given.get_secret_value() if given is not None else None


def store_of(settings: Settings) -> tuple[str, str]:
    """The URL of the store, or `MEMORY`; and the name of the setting that says so.

    Raises InvalidSettings.
    """
    named = named_store(settings)
    if named is not None and (settings.store is not None or settings.adapters == "sql"):
        return named
    if settings.adapters == "memory":
        return MEMORY, "adapters"
    if settings.adapters == "sql":
        raise mistaken("database_url", "say in DATABASE_URL which database it is")
    return FILE, "store"


def shards_of(url: str) -> int:
    """How many shards a workflow has in a database: a file is one process's."""
    return SHARDS if file_of(url) is None else 1


def file_of(url: str) -> Path | None:
    """The file of a database that is one."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def shown(url: str) -> str:
    """A store, as people are told of it: without a password."""
    return str(file_of(url) or make_url(url).render_as_string(hide_password=True))


def _roles(
    url: str, setting: str, lease: timedelta, address: str
) -> FileRoleScheduler | SqlRoleScheduler:
    file = file_of(url)
    if file is not None:
        return FileRoleScheduler(file.with_name(f"{file.name}-lock"), address=address)
    return SqlRoleScheduler(create(url, setting), lease=lease, address=address)


@asynccontextmanager
async def open_stores(
    url: str, setting: str, lease: timedelta = LEASE, address: str = ""
) -> AsyncIterator[Stores]:
    """The stores in a database, with tables of this version.

    address: where other processes reach this one.

    Raises InvalidSettings, StoreUnreachable, and SchemaNewer if the tables are of a later one.
    """
    async with AsyncExitStack() as stack:
        engine = create(url, setting)
        stack.push_async_callback(engine.dispose)
        await upgrade(engine, setting)
        roles = _roles(url, setting, lease, address)
        stack.push_async_callback(roles.close)
        streamer = ReflexStreamer(engine)
        stack.push_async_callback(streamer.close)
        yield Stores(streamer, SqlStore(engine), roles, SqlKeys(engine), roles.address_of)
