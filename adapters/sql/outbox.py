"""The outbox in SQL, as a relay sees it."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import writing
from streamwf.adapters.sql.schema import outbox
from streamwf.adapters.sql.transactions import CHANNEL
from streamwf.errors import OutboxNotFound, StoreUnreachable
from streamwf.ports import Backlog, OutboxRow

#: Seconds between two looks where nobody tells of what is new, and where somebody does.
POLL = 0.5
POLL_BEHIND_LISTEN = 5.0

#: Bytes of events that are taken at a time, beyond the first.
MAX_BYTES = 4 << 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SqlOutbox:
    """Implements `streamwf.ports.OutboxStore`, on PostgreSQL, MySQL and MariaDB, and SQLite.

    Relays take turns by an advisory lock. On SQLite they have none: those that run at once append
    the same rows, each in order.
    """

    def __init__(self, engine: AsyncEngine, setting: str) -> None:
        """setting: the name of the setting that has the engine's URL."""
        self._engine = engine
        self._setting = setting
        self._listener = _Listener(engine) if engine.dialect.name == "postgresql" else None

    async def check(self) -> None:
        """Raises OutboxNotFound and StoreUnreachable."""
        async with self._engine.connect() as connection:
            if not await connection.run_sync(lambda c: inspect(c).has_table(outbox.name)):
                raise OutboxNotFound(setting=self._setting)

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        async with self._engine.connect() as connection, _turn(connection) as ours:
            yield ours

    async def take(self, workflow: str, limit: int) -> Sequence[OutboxRow]:
        first = (
            select(outbox.c.id, outbox.c.event, outbox.c.created_at)
            .where(outbox.c.workflow == workflow, outbox.c.refused.is_(None))
            .order_by(outbox.c.id)
            .limit(limit)
            .subquery()
        )
        size = func.length(first.c.event)
        before = func.sum(size).over(order_by=first.c.id) - size
        measured = select(first, before.label("before")).subquery()
        rows = (
            select(measured.c.id, measured.c.event, measured.c.created_at)
            .where(measured.c.before < MAX_BYTES)
            .order_by(measured.c.id)
        )
        async with self._engine.connect() as connection:
            found = await connection.execute(rows)
        return [OutboxRow(id, bytes(event), created // 1_000) for id, event, created in found]

    async def delete(self, ids: Sequence[int]) -> None:
        async with writing(self._engine) as connection:
            await connection.execute(outbox.delete().where(outbox.c.id.in_(ids)))

    async def refuse(self, id: int, why: str) -> None:
        async with writing(self._engine) as connection:
            await connection.execute(outbox.update().where(outbox.c.id == id).values(refused=why))

    async def backlog(self) -> Mapping[str, Backlog]:
        refused = outbox.c.refused.is_not(None).label("refused")
        columns = (outbox.c.workflow, refused, func.count(), func.min(outbox.c.created_at))
        async with self._engine.connect() as connection:
            rows = await connection.execute(select(*columns).group_by(outbox.c.workflow, refused))
        found: dict[str, Backlog] = defaultdict(Backlog)
        for workflow, is_refused, count, oldest in rows:
            if is_refused:
                found[workflow] = found[workflow]._replace(refused=count)
            else:
                since = _EPOCH + timedelta(microseconds=oldest)
                found[workflow] = found[workflow]._replace(waiting=count, oldest=since)
        return found

    async def grown(self) -> None:
        if self._listener is not None and await self._listener.listens():
            await self._listener.told(POLL_BEHIND_LISTEN)
        else:
            await asyncio.sleep(POLL)


@asynccontextmanager
async def _turn(connection: AsyncConnection) -> AsyncIterator[bool]:
    """Whether no other connection to the database has the turn; it is kept until the block ends."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        # Until the transaction ends: a connection pool in between may give sessions to others.
        asked = text("SELECT pg_try_advisory_xact_lock(hashtext(:name))")
        yield bool(await connection.scalar(asked, {"name": CHANNEL}))
    elif dialect in ("mysql", "mariadb"):
        # Such locks are of the server, and not of the database.
        name = "concat(left(database(), 40), '/', :name)"
        asked = text(f"SELECT get_lock({name}, 0)")
        ours = bool(await connection.scalar(asked, {"name": CHANNEL}))
        await connection.rollback()
        try:
            yield ours
        finally:
            if ours:
                released = text(f"SELECT release_lock({name})")
                await connection.scalar(released, {"name": CHANNEL})
    else:
        yield True


class _Listener:
    """Hears from PostgreSQL that a transaction with requests was committed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._told = asyncio.Event()

    async def listens(self) -> bool:
        """Whether it will be told, as far as can be known."""
        if self._driver is not None and not self._driver.is_closed():
            return True
        await self.close()
        try:
            self._connection = await self._engine.connect()
            driver = (await self._connection.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.add_listener(CHANNEL, lambda *_: self._told.set())
        except (StoreUnreachable, SQLAlchemyError, OSError):
            await self.close()
            return False
        self._driver = driver
        # Something may have come before.
        self._told.set()
        return True

    async def told(self, seconds: float) -> None:
        """Return when it is told something, and after so many seconds at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()
        self._told.clear()

    async def close(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            # Nobody else may get one that listens.
            await connection.invalidate()
            await connection.close()
