"""Streams as tables of events of luno/reflex, on PostgreSQL, MariaDB, MySQL and SQLite.

A Go service with reflex follows a workflow, and a workflow follows what the service writes. How
events lie in the tables is told in `reflex_tables`.
"""

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, func, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.sql.engine import name_of as database_of
from streamwf.adapters.sql.engine import writing
from streamwf.errors import RecordRefused, StreamClosed, StreamNotFound
from streamwf.ports import LogRecord, Outgoing, Received

from .reflex_gaps import Gap, GapFiller
from .reflex_tables import (
    cursors_table,
    events_table,
    is_event,
    is_noop,
    name_of,
    now,
    record_of,
    row_of,
)
from .reflex_turns import ensure, ensure_turn, exists, take_turn
from .wakeups import Waiter, Wakeups

#: The only partition of a stream.
PARTITION = 0

#: Rows that are looked at at once, at most and at first, and bytes that they shall have together.
ROWS, FIRST_ROWS, BYTES = 1_000, 100, 8 << 20

#: The longest name of a cursor that reflex's table has room for.
CURSOR = 255

#: Ids before the first row of a table that count as a gap. If there are more, they were deleted.
MISSING_AT_START = 1_000


class ReflexStreamer:
    """An EventStreamer on the tables of one database."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        tables: Mapping[str, str] | None = None,
        cursors: str = "streamwf_cursors",
        make: bool = True,
    ) -> None:
        """engine: from `adapters.sql.engine`; whoever made it disposes of it.
        tables: the tables of streams, where they are not named by `reflex_tables.name_of`.
        cursors: the table of what was acknowledged.
        make: whether tables are made where they are missing; else whoever asks for a stream that
            has none gets StreamNotFound.
        """
        self.engine = engine
        self.wakeups = Wakeups(engine)
        self.cursors = cursors_table(cursors)
        self._names = dict(tables or {})
        self._make = make
        self._tables: dict[str, Table] = {}
        self._opening = asyncio.Lock()
        self._opened: list[_Sender | _Receiver] = []
        # Outside of transactions where that is free: a look is one statement.
        postgres = engine.dialect.name == "postgresql"
        self.reading = (
            engine.execution_options(isolation_level="AUTOCOMMIT") if postgres else engine
        )

    async def sender(self, stream: str) -> "_Sender":
        self._opened.append(sender := _Sender(self, stream, await self._table(stream)))
        return sender

    async def receiver(
        self,
        stream: str,
        name: str,
        *,
        since: Mapping[int, int] | None = None,
        only: Collection[int] | None = None,
        from_latest: bool = False,
    ) -> "_Receiver":
        """only: there is one partition, and nothing to leave out."""
        table = await self._table(stream)
        cursor = _cursor_of(table, name)
        position = since.get(PARTITION, 0) - 1 if since is not None else None
        async with self.reading.connect() as connection:
            if position is None:
                committed = select(self.cursors.c.last_event_id).where(self.cursors.c.id == cursor)
                position = await connection.scalar(committed)
            if position is None and from_latest:
                position = await connection.scalar(select(func.max(table.c.id)))
        receiver = _Receiver(self, stream, table, cursor, max(0, position or 0))
        self._opened.append(receiver)
        return receiver

    async def ends(self, stream: str) -> Mapping[int, int]:
        """Noops at the end are left out, as nobody receives them."""
        ids = (table := await self._table(stream)).c.id
        last = select(ids).where(is_event(table)).order_by(ids.desc()).limit(1)
        async with self.reading.connect() as connection:
            return {PARTITION: (await connection.scalar(last) or -1) + 1}

    async def read(self, stream: str, partition: int, offsets: Sequence[int]) -> list[LogRecord]:
        table = await self._table(stream)
        found: dict[int, LogRecord] = {}
        async with self.reading.connect() as connection:
            for start in range(0, len(offsets), ROWS):
                some = table.c.id.in_(offsets[start : start + ROWS])
                rows = await connection.execute(_columns(table).where(some, is_event(table)))
                found |= {row.id: record_of(row) for row in rows}
        return [found[offset] for offset in offsets if offset in found]

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()
        self._opened.clear()
        await self.wakeups.close()

    async def _table(self, stream: str) -> Table:
        async with self._opening:
            if stream not in self._tables:
                name = self._names.get(stream) or name_of(stream)
                if self._make:
                    await ensure(self.engine, events_table(name), self.cursors)
                    await ensure_turn(self.engine, name)
                elif not await exists(self.engine, events_table(name)):
                    store = database_of(self.engine.url)
                    raise StreamNotFound(store=store, table=name, stream=stream)
                self._tables[stream] = await self._opened_table(name)
            return self._tables[stream]

    async def _opened_table(self, name: str) -> Table:
        async with self.engine.connect() as connection:
            columns = await connection.run_sync(_columns_of, name)
        return events_table(name, trace="trace" in columns)


class _Sender:
    def __init__(self, streamer: ReflexStreamer, stream: str, table: Table) -> None:
        self._streamer = streamer
        self._stream = stream
        self._table = table
        self._closed = False

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self._closed:
            raise StreamClosed(what="sender", stream=self._stream)
        if not records:
            return
        table = self._table
        try:
            async with writing(self._streamer.engine) as connection:
                at = await take_turn(connection, table)
                rows = [row_of(table, key, value, at) for key, value in records]
                await connection.execute(insert(table), rows)
                await self._streamer.wakeups.notify(connection, table.name)
        except DBAPIError as error:
            refused = _refused(table, records, error)
            if refused is None:
                raise
            raise refused from error
        self._streamer.wakeups.wake(table.name)

    async def close(self) -> None:
        self._closed = True


class _Receiver:
    def __init__(
        self, streamer: ReflexStreamer, stream: str, table: Table, cursor: str, position: int
    ) -> None:
        """position: the id of the last row that was seen; 0 at the beginning."""
        self._streamer = streamer
        self._stream = stream
        self._table = table
        self._cursor = cursor
        self._position = position
        self._rows = FIRST_ROWS
        self._closed = False
        self._gaps = GapFiller(streamer.engine, table)
        self._waiter: Waiter = streamer.wakeups.waiter(table.name)

    async def recv(self) -> Sequence[Received]:
        while not self._closed:
            self._waiter.clear()
            rows = await self._look()
            gap = _first_gap(self._position, rows)
            seen = [row for row in rows if gap is None or row.id < gap.start]
            if seen and not self._closed:
                self._position = seen[-1].id
                self._waiter.found()
            received = [Received(PARTITION, record_of(row)) for row in seen if not is_noop(row)]
            if received and not self._closed:
                return received
            if gap is not None:
                await self._gaps.close(gap)
            elif not seen and not self._closed:
                await self._waiter.wait()
        raise StreamClosed(what="receiver", stream=self._stream)

    async def ack(self) -> None:
        if not self._position:
            return
        try:
            await self._commit(self._position)
        except IntegrityError:
            # Another receiver of this name has made the row meanwhile.
            await self._commit(self._position)

    async def _commit(self, last: int) -> None:
        cursors = self._streamer.cursors
        this = cursors.c.id == self._cursor
        async with writing(self._streamer.engine) as connection:
            time = select(now(connection.dialect.name))
            told = {"last_event_id": last, "updated_at": await connection.scalar(time)}
            committed = await connection.scalar(select(cursors.c.last_event_id).where(this))
            if committed is None:
                await connection.execute(insert(cursors).values(id=self._cursor, **told))
            else:
                # It never goes back, as reflex's don't.
                forward = update(cursors).where(this, cursors.c.last_event_id < last)
                await connection.execute(forward.values(**told))

    async def lag(self) -> int:
        table = self._table
        later = select(func.count()).where(table.c.id > self._position, is_event(table))
        async with self._streamer.reading.connect() as connection:
            return int(await connection.scalar(later) or 0)

    async def close(self) -> None:
        self._closed = True
        self._streamer.wakeups.leave(self._table.name, self._waiter)
        self._waiter.wake()

    async def _look(self) -> Sequence[Row[Any]]:
        ids = self._table.c.id
        later = _columns(self._table).where(ids > self._position).order_by(ids).limit(self._rows)
        async with self._streamer.reading.connect() as connection:
            rows = (await connection.execute(later)).all()
        if rows:
            average = sum(len(row.metadata or b"") for row in rows) // len(rows)
            self._rows = max(1, min(ROWS, BYTES // max(1, average)))
        return rows


def _columns(table: Table) -> Any:
    columns = table.c
    return select(columns.id, columns.foreign_id, columns.timestamp, columns.type, columns.metadata)


def _first_gap(position: int, rows: Sequence[Row[Any]]) -> Gap | None:
    """The first gap after a position. All before the first row may have been deleted long ago."""
    if not position and rows and rows[0].id > MISSING_AT_START:
        position = rows[0].id - 1
    for row in rows:
        if row.id != position + 1:
            return Gap(position + 1, row.id)
        position = row.id
    return None


def _cursor_of(table: Table, name: str) -> str:
    """The id of a receiver's cursor: its name, after that of the table."""
    cursor = f"{table.name}/{name}"
    if len(cursor) <= CURSOR:
        return cursor
    told = hashlib.sha256(cursor.encode()).hexdigest()
    return f"{cursor[: CURSOR - len(told) - 1]}-{told}"


def _columns_of(connection: Connection, name: str) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(name)}


def _refused(table: Table, records: Sequence[Outgoing], error: DBAPIError) -> RecordRefused | None:
    """What it means if a column has no room for a record: tables of others may be narrow."""
    text = str(error.orig)
    state = getattr(error.orig, "sqlstate", None) or ""
    if not state.startswith("22") and "too long" not in text:
        return None
    longest = max(records, key=lambda record: (len(record.value), len(record.key)))
    return RecordRefused(table=table.name, key=longest.key.decode()[:80], why=text[:200])
