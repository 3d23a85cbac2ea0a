"""Writing to the outbox in a transaction of somebody else's, by the driver that it is open in."""

import inspect
from collections.abc import Awaitable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias, cast

from sqlalchemy import Connection, Executable, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from streamwf.adapters.sql.schema import outbox
from streamwf.errors import NoTransaction, UnknownConnection
from streamwf.events import Event, encode_event

#: What PostgreSQL wakes relays by when a transaction with requests commits.
CHANNEL = "streamwf_outbox"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# One statement, so that it costs one round trip. What is told several times in one transaction is
# told once.
_ASYNCPG = f"""
WITH written AS (
    INSERT INTO {outbox.name} (workflow, foreign_id, event, created_at)
    VALUES ($1, $2, $3, $4) RETURNING id
) SELECT pg_notify('{CHANNEL}', '') FROM written"""
_PSYCOPG = _ASYNCPG.replace("$1, $2, $3, $4", "%s, %s, %s, %s").encode()

#: `transaction_status` of psycopg and libpq between transactions.
_IDLE = 0


class AsyncpgConnection(Protocol):
    """A connection of asyncpg, or of its pool."""

    def is_in_transaction(self) -> bool: ...

    async def execute(self, query: str, *args: Any) -> str: ...


class _Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...


class PsycopgConnection(Protocol):
    """A `psycopg.Connection`."""

    @property
    def autocommit(self) -> bool: ...
    @property
    def info(self) -> Any: ...

    def execute(self, query: bytes, params: Sequence[Any], /) -> _Cursor: ...


class AsyncPsycopgConnection(Protocol):
    """A `psycopg.AsyncConnection`."""

    @property
    def autocommit(self) -> bool: ...
    @property
    def info(self) -> Any: ...

    def execute(self, query: bytes, params: Sequence[Any], /) -> Coroutine[Any, Any, _Cursor]: ...


#: What a transaction may be open in.
SyncTransaction: TypeAlias = Connection | Session | scoped_session[Any] | PsycopgConnection
AsyncTransaction: TypeAlias = (
    AsyncConnection
    | AsyncSession
    | async_scoped_session[Any]
    | AsyncpgConnection
    | AsyncPsycopgConnection
)
Transaction: TypeAlias = AsyncTransaction | SyncTransaction


async def write(connection: Transaction, event: Event, workflow: str) -> None:
    """Write the event of a request, in the transaction that the connection is in.

    Raises NoTransaction and UnknownConnection, and what the driver says.
    """
    if isinstance(connection, AsyncSession | async_scoped_session):
        connection = await connection.connection()
    if isinstance(connection, AsyncConnection):
        statement = _statement(connection.sync_connection, workflow, event)
        await connection.execute(statement)
        return
    if _is_of(connection, "asyncpg"):
        opened = cast("AsyncpgConnection", connection)
        if not opened.is_in_transaction():
            raise NoTransaction()
        await opened.execute(_ASYNCPG, *_values(workflow, event).values())
        return
    if _is_of(connection, "psycopg") and inspect.iscoroutinefunction(type(connection).execute):
        await cast("Awaitable[_Cursor]", _by_psycopg(connection, workflow, event))
        return
    write_sync(cast("SyncTransaction", connection), event, workflow)


def write_sync(connection: SyncTransaction, event: Event, workflow: str) -> None:
    """The same by a connection that blocks."""
    if isinstance(connection, Session | scoped_session):
        connection = connection.connection()
    if isinstance(connection, Connection):
        connection.execute(_statement(connection, workflow, event)).close()
    elif _is_of(connection, "psycopg") and not inspect.iscoroutinefunction(
        type(connection).execute
    ):
        _by_psycopg(connection, workflow, event)
    else:
        raise UnknownConnection(given=type(connection).__qualname__)


def microseconds(instant: datetime) -> int:
    """An instant as the table has it."""
    return (instant - _EPOCH) // _MICROSECOND


def _values(workflow: str, event: Event) -> dict[str, Any]:
    return {
        "workflow": workflow,
        "foreign_id": event.subject,
        "event": encode_event(event),
        "created_at": microseconds(event.time),
    }


def _statement(connection: Connection | None, workflow: str, event: Event) -> Executable:
    """Raises NoTransaction."""
    if connection is None or (
        connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    ):
        raise NoTransaction()
    insert = outbox.insert().values(_values(workflow, event))
    if connection.dialect.name != "postgresql":
        return insert
    written = insert.returning(outbox.c.id).cte("written")
    return select(func.pg_notify(CHANNEL, "")).select_from(written)


def _by_psycopg(connection: Any, workflow: str, event: Event) -> Any:
    """Raises NoTransaction."""
    if connection.autocommit and connection.info.transaction_status == _IDLE:
        raise NoTransaction()
    return connection.execute(_PSYCOPG, [*_values(workflow, event).values()])


def _is_of(connection: object, package: str) -> bool:
    """Whether its class, or one that it is made from, is of that package."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(connection).__mro__)
