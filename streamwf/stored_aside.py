"""Folding the log of a durable host aside: to rebuild its rows, to compare them with it, and to see
what was at a time. No step runs.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from .comparing import Difference, Rebuilt, Verified, differences
from .definition import Workflow
from .execute import SystemClock
from .ports import Change, Checkpoint, EventStreamer, LogRecord, RecordStore, ShardId
from .record import FIRST_KEY, Record, encode_record
from .shard import Limits, Shard
from .stored import Stores, events_of, role_of
from .stored_shard import shard_of, table_of
from .tables.memory import MemoryTable

#: An end of the log that is never reached, so that a shard never begins to dispatch.
NEVER = 1 << 62

#: The name by which the log is read here. Nothing is committed under it.
NAME = "streamwf-aside"

#: Called with how many events were folded, and of how many.
Progress = Callable[[int, int], None]


class Aside:
    """Folds the stream of a workflow. max_record_bytes: that of the host."""

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        streamer: EventStreamer,
        shards: int,
        progress: Progress,
        max_record_bytes: int = 1_000_000,
    ) -> None:
        self.workflow = workflow
        self.events = 0
        self._streamer = streamer
        self._shards = shards
        self._progress = progress
        self._limits = Limits(max_record_bytes)
        self._threads = ThreadPoolExecutor(1)

    async def fold(self, ends: dict[int, int], until: datetime | None = None) -> dict[int, Shard]:
        """Each shard, with all that its log has before its end, and until an instant."""
        stream = events_of(self.workflow.name)
        end = min(max(ends.values()), (await self._streamer.ends(stream)).get(0, 0))
        folded = {number: self._shard(number) for number in ends}
        if not end:
            return folded
        receiver = await self._streamer.receiver(stream, NAME, since={})
        try:
            position = 0
            while position < end:
                received = await receiver.recv()
                for _, record in received:
                    if until is None or record.timestamp <= until.timestamp() * 1_000:
                        self._fold(folded, ends, record)
                position = received[-1].record.offset + 1
                self._progress(min(position, end), end)
        finally:
            await receiver.close()
        for shard in folded.values():
            # What was set aside then has been set aside; only the runs are folded anew.
            shard.take_asides()
        return folded

    def _fold(self, folded: dict[int, Shard], ends: dict[int, int], record: LogRecord) -> None:
        number = shard_of((record.key or b"").decode(errors="replace"), self._shards)
        if record.offset < ends.get(number, 0):
            self.events += 1
            folded[number].fold([record])

    def _shard(self, number: int) -> Shard:
        return Shard(
            self.workflow,
            number,
            MemoryTable(),
            end=NEVER,
            clock=SystemClock(),
            threads=self._threads,
            wake=lambda: None,
            misplaced=lambda name: shard_of(name, self._shards) != number,
            limits=self._limits,
        )


async def rebuild(
    workflow: Workflow[Any, Any], stores: Stores, shards: int, progress: Progress
) -> Rebuilt:
    """Store anew what the log leads to. Waits until no process runs the workflow's shards.

    Raises StoreUnreachable.
    """
    aside = Aside(workflow, stores.streamer, shards, progress)
    end = (await stores.streamer.ends(events_of(workflow.name))).get(0, 0)
    folded = await aside.fold(dict.fromkeys(range(shards), end))
    runs = 0
    for number, shard in folded.items():
        id = ShardId(workflow.name, number)
        async with stores.roles.hold(role_of(id, shards)) as hold:
            await stores.records.open(id, hold.token)
            rows = dict(shard.scan(""))
            gone = [key async for key, _ in stores.records.rows(id) if key not in rows]
            changes = [Change(key, None, row) for key, row in rows.items()]
            changes += [Change(key, None, None) for key in gone]
            await stores.records.store(id, Checkpoint(changes, end), hold.token)
        runs += sum(shard.counts().values())
    return Rebuilt(partitions=shards, events=aside.events, runs=runs)


async def verify(
    workflow: Workflow[Any, Any], stores: Stores, shards: int, progress: Progress
) -> Verified:
    """Fold the log up to where the rows are, and compare row by row. Who runs it may go on.

    Raises StoreUnreachable.
    """
    ids = (ShardId(workflow.name, number) for number in range(shards))
    live = {id.number: await _as_of_one_time(stores.records, id) for id in ids}
    ends = {number: table.position or 0 for number, table in live.items()}
    aside = Aside(workflow, stores.streamer, shards, progress)
    folded = await aside.fold(ends)
    found: list[Difference] = []
    for number, table in live.items():
        found += differences(number, _rows(table.scan("")), _rows(folded[number].scan("")))
    end = (await stores.streamer.ends(events_of(workflow.name))).get(0, 0)
    rows = sum(sum(shard.counts().values()) for shard in folded.values())
    return Verified(rows=rows, behind=max(end - max(ends.values()), 0), differences=found)


async def replay(
    workflow: Workflow[Any, Any],
    stores: Stores,
    shards: int,
    until: datetime,
    progress: Progress,
    take: Callable[[Record], None],
) -> int:
    """Fold all that the log had at a time, and show every run to `take`; return how many events.

    Raises StoreUnreachable.
    """
    aside = Aside(workflow, stores.streamer, shards, progress)
    for shard in (await aside.fold(dict.fromkeys(range(shards), NEVER), until)).values():
        for _, record in shard.scan(FIRST_KEY):
            take(record)
    return aside.events


async def _as_of_one_time(records: RecordStore, id: ShardId) -> MemoryTable:
    """The rows of a shard, which may change while they are read: then they are read again."""
    while True:
        position = await records.open(id, None)
        table = await table_of(records, id, position)
        if await records.open(id, None) == position:
            return table


def _rows(found: Iterable[tuple[str, Record]]) -> Iterator[tuple[str, bytes]]:
    return ((key, encode_record(record)) for key, record in found)
