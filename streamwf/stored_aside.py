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
from .ports import Change, Checkpoint, Received, RecordStore, ShardId
from .record import FIRST_KEY, Record, encode_record
from .shard import Limits, Shard
from .stored import Stores, role_of
from .stored_log import Layout, StoredLog
from .stored_shard import table_of
from .tables.memory import MemoryTable
from .until import Until

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
        log: StoredLog,
        progress: Progress,
        max_record_bytes: int = 1_000_000,
    ) -> None:
        self.workflow = workflow
        self.events = 0
        self._log = log
        self._progress = progress
        self._limits = Limits(max_record_bytes)
        self._threads = ThreadPoolExecutor(1)

    async def fold(self, ends: dict[int, int], until: datetime | None = None) -> dict[int, Shard]:
        """Each shard, with all that its log has before its end, and until an instant."""
        folded = {number: self._shard(number) for number in ends}
        stop = await self._stops(ends)
        if not stop:
            return folded
        name, streamer = self.workflow.name, self._log.streamer
        receiver = await streamer.receiver(name, NAME, since={}, only=[*stop])
        try:
            position = dict.fromkeys(stop, 0)
            while any(position[partition] < end for partition, end in stop.items()):
                received = await receiver.recv()
                for each in received:
                    if until is None or each.record.timestamp <= until.timestamp() * 1_000:
                        self._fold(folded, ends, each)
                    position[each.partition] = each.record.offset + 1
                done = sum(min(position[partition], end) for partition, end in stop.items())
                self._progress(done, sum(stop.values()))
        finally:
            await receiver.close()
        for shard in folded.values():
            # What was set aside then has been set aside; only the runs are folded anew.
            shard.take_asides()
        return folded

    async def _stops(self, ends: dict[int, int]) -> dict[int, int]:
        """Up to where each partition is read that has something for these shards."""
        there = await self._log.streamer.ends(self.workflow.name)
        found: dict[int, int] = {}
        for number, end in ends.items():
            partition = self._log.layout.partition_of(number)
            stop = min(end, there.get(partition, 0))
            if stop:
                found[partition] = max(stop, found.get(partition, 0))
        return found

    def _fold(self, folded: dict[int, Shard], ends: dict[int, int], received: Received) -> None:
        number = self._log.layout.shard_at(received.partition, received.record.key)
        if received.record.offset < ends.get(number, 0):
            self.events += 1
            folded[number].fold([received.record])

    def _shard(self, number: int) -> Shard:
        return Shard(
            self.workflow,
            number,
            MemoryTable(),
            end=NEVER,
            clock=SystemClock(),
            threads=self._threads,
            wake=lambda: None,
            misplaced=lambda name: self._log.layout.shard_of(name) != number,
            limits=self._limits,
        )


async def rebuild(workflow: Workflow[Any, Any], stores: Stores, progress: Progress) -> Rebuilt:
    """Store anew what the log leads to. Waits until no process runs the workflow's shards.

    Raises what `StoredLog.start` does.
    """
    await stores.log.start([workflow])
    aside = Aside(workflow, stores.log, progress)
    ends = await _ends(workflow, stores.log)
    runs = 0
    for number, shard in (await aside.fold(ends)).items():
        id = ShardId(workflow.name, number)
        async with stores.roles.hold(role_of(id, len(ends))) as hold:
            await stores.records.open(id, hold.token)
            rows = dict(shard.scan(""))
            gone = [key async for key, _ in stores.records.rows(id) if key not in rows]
            changes = [Change(key, None, row) for key, row in rows.items()]
            changes += [Change(key, None, None) for key in gone]
            await stores.records.store(id, Checkpoint(changes, ends[number]), hold.token)
        runs += sum(shard.counts().values())
    return Rebuilt(partitions=len(ends), events=aside.events, runs=runs)


async def verify(workflow: Workflow[Any, Any], stores: Stores, progress: Progress) -> Verified:
    """Fold the log up to where the rows are, and compare row by row. Who runs it may go on.

    Raises what `StoredLog.start` does.
    """
    await stores.log.start([workflow])
    ids = (ShardId(workflow.name, number) for number in range(stores.log.layout.shards))
    live = {id.number: await _as_of_one_time(stores.records, id) for id in ids}
    positions = {number: table.position or 0 for number, table in live.items()}
    aside = Aside(workflow, stores.log, progress)
    folded = await aside.fold(positions)
    found: list[Difference] = []
    for number, table in live.items():
        found += differences(number, _rows(table.scan("")), _rows(folded[number].scan("")))
    rows = sum(sum(shard.counts().values()) for shard in folded.values())
    behind = await _behind(workflow, stores.log, positions)
    return Verified(rows=rows, behind=behind, differences=found)


async def replay(
    workflow: Workflow[Any, Any],
    stores: Stores,
    until: Until,
    progress: Progress,
    take: Callable[[Record], None],
) -> int:
    """Fold what the log had at a time, or up to places in it, and show every run to `take`; return
    how many events.

    Raises what `StoredLog.start` does, PartitionNotFound and PartitionNotNamed.
    """
    await stores.log.start([workflow])
    aside = Aside(workflow, stores.log, progress)
    ends = _ends_until(stores.log.layout, until)
    time = until if isinstance(until, datetime) else None
    for shard in (await aside.fold(ends, time)).values():
        for _, record in shard.scan(FIRST_KEY):
            take(record)
    return aside.events


def _ends_until(layout: Layout, until: Until) -> dict[int, int]:
    """Where each shard's part of the log ends for whoever looks at it until then."""
    places = {number: layout.partition_of(number) for number in range(layout.shards)}
    if isinstance(until, datetime):
        return dict.fromkeys(places, NEVER)
    ends = until.ends({*places.values()})
    return {number: ends[place] for number, place in places.items() if place in ends}


async def _ends(workflow: Workflow[Any, Any], log: StoredLog) -> dict[int, int]:
    """Where the log of each shard ends."""
    there, layout = await log.streamer.ends(workflow.name), log.layout
    return {number: there.get(layout.partition_of(number), 0) for number in range(layout.shards)}


async def _behind(workflow: Workflow[Any, Any], log: StoredLog, positions: dict[int, int]) -> int:
    """How many events no shard has in its rows."""
    folded: dict[int, int] = {}
    for number, position in positions.items():
        partition = log.layout.partition_of(number)
        folded[partition] = max(position, folded.get(partition, 0))
    there = await log.streamer.ends(workflow.name)
    return sum(max(there.get(partition, 0) - end, 0) for partition, end in folded.items())


async def _as_of_one_time(records: RecordStore, id: ShardId) -> MemoryTable:
    """The rows of a shard, which may change while they are read: then they are read again."""
    while True:
        position = await records.open(id, None)
        table = await table_of(records, id, position)
        if await records.open(id, None) == position:
            return table


def _rows(found: Iterable[tuple[str, Record]]) -> Iterator[tuple[str, bytes]]:
    return ((key, encode_record(record)) for key, record in found)
