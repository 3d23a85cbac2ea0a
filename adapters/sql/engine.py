"""Engines for the SQL stores: the one place that knows drivers and what each needs.

Whatever keeps a statement from the database, at any place where an engine is used, comes as
StoreUnreachable.
"""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from streamwf.adapters.certificates import mistaken
from streamwf.adapters.sql.failures import failure_of
from streamwf.adapters.sql.tls import take_tls
from streamwf.errors import StoreUnreachable

#: How long a connection may take, and how long SQLite waits for its turn to write.
CONNECT_SECONDS = 10
BUSY_SECONDS = 30

#: How often a fresh file is tried to be made ready, and the seconds between.
WAL_TRIES, WAL_PAUSE = 100, 0.01

#: How long a transaction may do nothing before PostgreSQL ends it, and its locks with it.
IDLE_SECONDS = 5

# By the scheme of a URL: SQLAlchemy's name, the driver, what installs it.
_SCHEMES = {
    "postgresql": ("postgresql", "asyncpg", "streamwf[postgres]"),
    "postgres": ("postgresql", "asyncpg", "streamwf[postgres]"),
    "mysql": ("mysql", "asyncmy", "streamwf[mysql]"),
    "mariadb": ("mariadb", "asyncmy", "streamwf[mysql]"),
    "sqlite": ("sqlite", "aiosqlite", "streamwf"),
}


def create(url: str, setting: str) -> AsyncEngine:
    """An engine for a URL as people write it: sqlite:///orders.db, postgresql://user@host/name.

    setting: the name of the setting that has the URL, for what errors say.
    Nothing is connected yet. Raises InvalidSettings; what uses the engine, StoreUnreachable.
    """
    parsed, tls = take_tls(_with_driver(parse_url(url, setting), setting), setting)
    options = _options(parsed)
    options["connect_args"] |= tls
    try:
        engine = create_async_engine(parsed, pool_pre_ping=True, **options)
    except ModuleNotFoundError as error:
        package = _SCHEMES[_scheme(parsed)][2]
        raise mistaken(setting, f"needs {error.name}: pip install '{package}'") from None
    except (ArgumentError, InvalidRequestError) as error:
        raise mistaken(setting, _without_password(str(error), parsed)) from None
    _tell_of_failures(engine, parsed, setting)
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine)
    return engine


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that may write, committed at the end of the block.

    On SQLite it waits for its turn at its beginning: one that has read can't wait any more.
    """
    async with engine.connect() as connection:
        await connection.execution_options(streamwf_writes=True)
        async with connection.begin():
            yield connection


def parse_url(url: str, setting: str) -> URL:
    """Raises InvalidSettings."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # The text of what can't be parsed may have a password anywhere.
        raise mistaken(setting, "is no URL of a database, like sqlite:///orders.db") from None


def _with_driver(parsed: URL, setting: str) -> URL:
    scheme = _scheme(parsed)
    if scheme not in _SCHEMES:
        known = ", ".join(_SCHEMES)
        raise mistaken(setting, f"is for {scheme!r}, which is none of {known}")
    name, driver, _ = _SCHEMES[scheme]
    # Whichever driver it names: people have one URL for this and for programs of other kinds.
    parsed = parsed.set(drivername=f"{name}+{driver}")
    if name in ("mysql", "mariadb"):
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    return parsed


def _scheme(url: URL) -> str:
    return url.drivername.partition("+")[0]


def _options(url: URL) -> dict[str, Any]:
    name = _scheme(url)
    if name == "postgresql":
        # Who was stopped in the middle of a transaction must not hold up all others.
        idle = {"idle_in_transaction_session_timeout": f"{IDLE_SECONDS * 1_000}"}
        return {"connect_args": {"timeout": CONNECT_SECONDS, "server_settings": idle}}
    if name in ("mysql", "mariadb"):
        # Not REPEATABLE READ: what looks again has to see what is new.
        return {
            "connect_args": {"connect_timeout": CONNECT_SECONDS},
            "isolation_level": "READ COMMITTED",
        }
    return {"connect_args": {"timeout": BUSY_SECONDS}}


def _set_up_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _: object) -> None:
        # By itself the driver begins transactions late, and commits some early.
        connection.isolation_level = None
        cursor = connection.cursor()
        try:
            _into_wal(cursor)
            for pragma in ("synchronous=FULL", "foreign_keys=ON"):
                cursor.execute(f"PRAGMA {pragma}")
        except BaseException:
            # Nobody else would, and its thread would keep the process from ending.
            connection.close()
            raise
        cursor.close()

    @event.listens_for(engine.sync_engine, "invalidate")
    def cut_off(connection: Any, _: object, error: BaseException | None) -> None:
        # What was cancelled in a statement keeps its locks for longer than its connection lasts.
        with suppress(Exception):
            connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("streamwf_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _into_wal(cursor: Any) -> None:
    """SQLite waits for its turn for all but this, when several do it to a fresh file at once."""
    for left in reversed(range(WAL_TRIES)):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not left or error.sqlite_errorname != "SQLITE_BUSY":
                raise
            time.sleep(WAL_PAUSE)


def _tell_of_failures(engine: AsyncEngine, url: URL, setting: str) -> None:
    def told(kind: type[StoreUnreachable], cause: BaseException) -> StoreUnreachable:
        text = _without_password(str(cause) or type(cause).__name__, url)
        return kind(store=name_of(url), cause=text.rstrip("."), setting=setting)

    @event.listens_for(engine.sync_engine, "do_connect")
    def connecting(dialect: Any, _: object, arguments: Any, options: Any) -> Any:
        try:
            return dialect.connect(*arguments, **options)
        except Exception as error:
            raise told(failure_of(error) or StoreUnreachable, error) from None

    @event.listens_for(engine.sync_engine, "handle_error")
    def failed(context: ExceptionContext) -> StoreUnreachable | None:
        error = context.original_exception
        if context.is_pre_ping:
            # The pool makes a new connection instead.
            return None
        if isinstance(error, StoreUnreachable):
            return error
        if not isinstance(error, Exception):
            return None
        kind = failure_of(error) or (StoreUnreachable if context.is_disconnect else None)
        return None if kind is None else told(kind, error)


def name_of(url: URL) -> str:
    """What errors call a database, without what is secret in its URL."""
    if _scheme(url) == "sqlite":
        return f"The database {url.database or ':memory:'}"
    port = f":{url.port}" if url.port else ""
    return f"The database {url.database} at {url.host or 'localhost'}{port}"


def _without_password(text: str, url: URL) -> str:
    password = url.password
    return text.replace(str(password), "***") if password else text
