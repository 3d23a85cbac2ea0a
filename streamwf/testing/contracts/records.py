"""Rows for the contracts of stores, and how they come to be stored."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from streamwf.ports import Change, Checkpoint, RecordStore, ShardId
from streamwf.record import Record, State, archive_key, row_key

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
LATER = NOW + timedelta(days=3)

SHARD = ShardId("orders", 0)
BESIDE = ShardId("orders", 1)
BILLS = ShardId("bills", 0)


def run(foreign_id: str = "o-1", run_id: str = "", **fields: Any) -> Record:
    """A run that waits for nothing, unless told."""
    given: dict[str, Any] = {
        "status": "CREATED",
        "state": State.RUNNING,
        "version": 3,
        "entered": True,
        "object": msgspec.Raw(b'{"n":1}'),
        "created_at": NOW,
        "updated_at": NOW,
        **fields,
    }
    return Record(foreign_id=foreign_id, run_id=run_id or f"run of {foreign_id}", **given)


def new(record: Record) -> Change:
    """It is the first of its foreign id."""
    return Change(row_key(record.kind, record.foreign_id), None, record)


def changed(before: Record, **fields: Any) -> Change:
    after = msgspec.structs.replace(before, **fields)
    return Change(row_key(before.kind, before.foreign_id), before, after)


def removed(before: Record) -> Change:
    return Change(row_key(before.kind, before.foreign_id), before, None)


def followed(before: Record, after: Record) -> list[Change]:
    """A run is the latest of a foreign id after another."""
    archived = Change(archive_key(before), None, before)
    return [Change(before.foreign_id, before, after), archived]


async def fill(store: RecordStore, *records: Record, shard: ShardId = SHARD) -> None:
    """Open a shard and store these as new."""
    position = await store.open(shard, 1)
    await store.store(shard, Checkpoint([new(one) for one in records], (position or 0) + 1), 1)


async def rows_of(store: RecordStore, shard: ShardId = SHARD) -> dict[str, Record]:
    return {key: record async for key, record in store.rows(shard)}


def ids(records: Sequence[Record]) -> list[str]:
    return [record.run_id for record in records]
