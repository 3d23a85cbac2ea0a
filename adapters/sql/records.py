"""The rows and the agenda of all shards in PostgreSQL, MariaDB, MySQL or SQLite.

A checkpoint is one transaction. It is as durable as the database makes what is committed: on the
disk, by the defaults of PostgreSQL and MariaDB and by what `engine` sets for SQLite.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Table, bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import writing
from streamwf.adapters.sql.instants import to_instant, to_number
from streamwf.adapters.sql.schema import digest, runs, shards, timeouts
from streamwf.adapters.sql.upserts import insert_missing, upsert
from streamwf.agenda import entries
from streamwf.errors import Fenced
from streamwf.ports import Change, Checkpoint, Due, RecordQuery, ShardId
from streamwf.record import Record, decode_record, encode_record

T = TypeVar("T")

#: How many rows are written and fetched at a time.
_MANY = 500
_FETCHED = 100


class SqlStore:
    """Implements `streamwf.ports.RecordStore` and `TimeoutStore`. Its tables: `migrations`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._new_shard = insert_missing(engine, shards)
        self._put_row = upsert(engine, runs)
        self._put_timeout = upsert(engine, timeouts)

    # ---- rows

    async def open(self, shard: ShardId, token: int | None) -> int | None:
        if token is None:
            looked = select(shards.c.position).where(*_of(shards, shard))
            async with self._engine.connect() as connection:
                return await connection.scalar(looked)
        new = {"workflow": shard.workflow, "shard": shard.number, "position": None, "token": token}
        async with writing(self._engine) as connection:
            await connection.execute(self._new_shard, new)
            found = select(shards.c.position, shards.c.token).where(*_of(shards, shard))
            # Whoever stores has the row until it is committed.
            position, greatest = (await connection.execute(found.with_for_update())).one()
            if greatest > token:
                raise Fenced(workflow=shard.workflow, shard=shard.number)
            await connection.execute(update(shards).where(*_of(shards, shard)).values(token=token))
        return None if position is None else int(position)

    async def rows(self, shard: ShardId) -> AsyncIterator[tuple[str, Record]]:
        wanted = select(runs.c.row_key, runs.c.record).where(*_of(runs, shard))
        async with self._engine.connect() as connection:
            found = await connection.stream(wanted.execution_options(yield_per=_FETCHED))
            async for key, record in found:
                yield key.decode(), decode_record(record)

    async def store(self, shard: ShardId, checkpoint: Checkpoint, token: int) -> None:
        fence = update(shards).where(*_of(shards, shard), shards.c.token <= token)
        async with writing(self._engine) as connection:
            held = await connection.execute(fence.values(position=checkpoint.position))
            if not held.rowcount:
                raise Fenced(workflow=shard.workflow, shard=shard.number)
            await self._write(connection, shard, checkpoint.changes)

    async def _write(
        self, connection: AsyncConnection, shard: ShardId, changes: Sequence[Change]
    ) -> None:
        # Key by key: for many at once a planner may read all that the shard has.
        gone = (change.key for change in changes if change.after is None)
        await _delete(connection, runs, shard, gone)
        # It may be stored already, and what is due of it not be what `before` says.
        await _delete(connection, timeouts, shard, (change.key for change in changes))
        kept = [(change.key, change.after) for change in changes if change.after is not None]
        for pile in _piles(kept):
            rows = [_row(shard, key, record) for key, record in pile]
            await connection.execute(self._put_row, rows)
        due = {Due(entry.due_at, key) for key, record in kept for entry in entries(record)}
        await self._put(connection, shard, due)

    async def lookup(self, workflow: str, run_id: str) -> Record | None:
        wanted = select(runs.c.record).where(
            runs.c.workflow == workflow, runs.c.run_id_digest == digest(run_id)
        )
        return await self._first(wanted)

    async def latest(self, workflow: str, foreign_id: str) -> Record | None:
        wanted = select(runs.c.record).where(
            runs.c.workflow == workflow, runs.c.key_digest == digest(foreign_id)
        )
        return await self._first(wanted)

    async def _first(self, wanted: Select[Any]) -> Record | None:
        async with self._engine.connect() as connection:
            found = (await connection.execute(wanted)).scalar()
        return None if found is None else decode_record(found)

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        order = [runs.c.created_at, runs.c.run_id, runs.c.workflow]
        wanted = (
            select(runs.c.record)
            .where(runs.c.kind == "", *_conditions(query))
            .order_by(*(column.desc() if query.newest_first else column for column in order))
            .offset(query.offset)
            .limit(query.limit)
        )
        async with self._engine.connect() as connection:
            found = (await connection.execute(wanted)).scalars()
            return [decode_record(record) for record in found]

    # ---- the agenda

    async def put(self, shard: ShardId, due: Iterable[Due]) -> None:
        async with writing(self._engine) as connection:
            await self._put(connection, shard, due)

    async def _put(self, connection: AsyncConnection, shard: ShardId, due: Iterable[Due]) -> None:
        for pile in _piles(due):
            await connection.execute(self._put_timeout, [_timeout(shard, each) for each in pile])

    async def delete(self, shard: ShardId, due: Iterable[Due]) -> None:
        gone = delete(timeouts).where(
            *_of(timeouts, shard),
            timeouts.c.due_at == bindparam("instant"),
            timeouts.c.key_digest == bindparam("key"),
        )
        async with writing(self._engine) as connection:
            for pile in _piles(due):
                named = [{"instant": to_number(at), "key": digest(key)} for at, key in pile]
                await connection.execute(gone, named)

    async def due(self, shard: ShardId, until: datetime, limit: int) -> Sequence[Due]:
        before = (*_of(timeouts, shard), timeouts.c.due_at < to_number(until))
        ordered = select(timeouts.c.due_at).where(*before).order_by(timeouts.c.due_at)
        last = ordered.offset(limit - 1).limit(1).scalar_subquery()
        wanted = (
            select(timeouts.c.due_at, timeouts.c.row_key)
            .where(*before, timeouts.c.due_at <= func.coalesce(last, to_number(until)))
            .order_by(timeouts.c.due_at)
        )
        async with self._engine.connect() as connection:
            found = await connection.execute(wanted)
            return [Due(to_instant(due_at), key.decode()) for due_at, key in found]

    async def next_due(self, shard: ShardId) -> datetime | None:
        wanted = select(func.min(timeouts.c.due_at)).where(*_of(timeouts, shard))
        async with self._engine.connect() as connection:
            found = (await connection.execute(wanted)).scalar()
        return None if found is None else to_instant(found)


async def _delete(
    connection: AsyncConnection, table: Table, shard: ShardId, keys: Iterable[str]
) -> None:
    of_row = delete(table).where(*_of(table, shard), table.c.key_digest == bindparam("key"))
    for pile in _piles(keys):
        await connection.execute(of_row, [{"key": digest(key)} for key in pile])


def _of(table: Table, shard: ShardId) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.workflow == shard.workflow, table.c.shard == shard.number


def _conditions(query: RecordQuery) -> Iterator[ColumnElement[bool]]:
    if query.workflow:
        yield runs.c.workflow == query.workflow
    if query.foreign_id:
        yield runs.c.foreign_id_digest == digest(query.foreign_id)
    if query.states:
        yield runs.c.state.in_(query.states)
    if query.statuses:
        yield runs.c.status.in_(query.statuses)
    if query.created_after is not None:
        yield runs.c.created_at >= to_number(query.created_after)
    if query.created_before is not None:
        yield runs.c.created_at < to_number(query.created_before)


def _row(shard: ShardId, key: str, record: Record) -> dict[str, object]:
    return {
        "workflow": shard.workflow,
        "key_digest": digest(key),
        "shard": shard.number,
        "row_key": key.encode(),
        "kind": record.kind,
        "foreign_id": record.foreign_id,
        "foreign_id_digest": digest(record.foreign_id),
        "run_id": record.run_id,
        "run_id_digest": digest(record.run_id),
        "status": record.status,
        "state": record.state.value,
        "version": record.version,
        "created_at": to_number(record.created_at),
        "updated_at": to_number(record.updated_at),
        "record": encode_record(record),
    }


def _timeout(shard: ShardId, due: Due) -> dict[str, object]:
    return {
        "workflow": shard.workflow,
        "shard": shard.number,
        "due_at": to_number(due.due_at),
        "key_digest": digest(due.key),
        "row_key": due.key.encode(),
    }


def _piles(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while pile := list(islice(left, _MANY)):
        yield pile
