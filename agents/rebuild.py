"""Rebuilding the tables from the log, and comparing them with it. Nothing is executed."""

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamwf.adapters.kafka.changelog import Changelog
from streamwf.adapters.kafka.reader import consumer, read_to, stop_consumer
from streamwf.adapters.kafka.topics import (
    Topics,
    app_id_of,
    ensure_topics,
    partition_of,
    recreate_changelog,
    running_workers,
)
from streamwf.agents.data_dir import DataDir
from streamwf.definition import Workflow
from streamwf.errors import WorkersRunning
from streamwf.execute import SystemClock
from streamwf.ports import Checkpoint
from streamwf.record import encode_record
from streamwf.settings import Settings
from streamwf.shard import Limits, Shard
from streamwf.tables.runs import AsOf, Memory, RunsTable

#: Changed rows that are held in memory before they are written.
PILE = 50_000

#: An end of the log that is never reached, so that a shard never begins to dispatch.
NEVER = 1 << 62

#: Called with the number of events folded so far, and of all there are.
Progress = Callable[[int, int], None]

Write = Callable[[Checkpoint, RunsTable], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild has led to."""

    partitions: int
    events: int
    runs: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that the log does not lead to as it is. live, folded: JSON; None for no row."""

    partition: int
    key: str
    live: str | None
    folded: str | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a comparison has found.

    rows: how many runs the log leads to, up to where the tables are.
    behind: how many events the log has after that, which no checkpoint has made durable yet.
    """

    rows: int
    behind: int
    differences: list[Difference]


class _Folding:
    """Folds logs aside, without dispatching, and reports progress over all of them."""

    def __init__(
        self, workflow: Workflow[Any, Any], settings: Settings, progress: Progress
    ) -> None:
        self.workflow = workflow
        self.settings = settings
        self.topics = Topics.of(workflow.name, settings)
        self.reader: AIOKafkaConsumer = consumer(settings)
        self.done = 0
        self.total = 0
        self._progress = progress
        self._threads = ThreadPoolExecutor(1)

    def log(self, partition: int) -> TopicPartition:
        return TopicPartition(self.topics.events, partition)

    async def measure(self, ends: dict[int, int]) -> dict[int, int]:
        """Where each partition's log begins. ends: up to where each is to be folded."""
        begins = await self.reader.beginning_offsets([self.log(p) for p in ends])
        found = {p: begins[self.log(p)] for p in ends}
        self.total = sum(max(end - found[p], 0) for p, end in ends.items())
        self._progress(0, self.total)
        return found

    async def fold(
        self, partition: int, table: RunsTable, begin: int, end: int, write: Write
    ) -> None:
        """Fold [begin, end) of a partition into a fresh table."""
        shard = Shard(
            self.workflow,
            partition,
            table,
            end=NEVER,
            clock=SystemClock(),
            threads=self._threads,
            wake=lambda: None,
            misplaced=lambda name: partition_of(name, self.settings.partitions) != partition,
            limits=Limits(self.settings.max_record_bytes),
        )
        async for records in read_to(self.reader, self.log(partition), begin, end):
            shard.fold(records)
            self.done += len(records)
            self._progress(self.done, self.total)
            if shard.changed >= PILE:
                await self._write(shard, table, write)
        await self._write(shard, table, write)

    async def _write(self, shard: Shard, table: RunsTable, write: Write) -> None:
        # What was set aside then has been set aside; only the runs are folded anew.
        shard.take_asides()
        checkpoint = shard.checkpoint()
        if checkpoint is not None:
            await write(checkpoint, table)
            shard.committed(checkpoint)


async def rebuild(workflow: Workflow[Any, Any], settings: Settings, progress: Progress) -> Rebuilt:
    """Fold a workflow's log from its beginning into a fresh table and changelog.

    Raises BrokerUnreachable, PartitionMismatch, DataDirInUse, and WorkersRunning while workers of
    the group are there.
    """
    workflow.validate()
    await ensure_topics([workflow.name], settings)
    app_id = app_id_of([workflow.name], settings)
    workers = await running_workers(settings, app_id)
    if workers:
        raise WorkersRunning(count=workers, app_id=app_id)
    data = DataDir(settings.data_dir)
    data.lock()
    folding = _Folding(workflow, settings, progress)
    await folding.reader.start()
    try:
        await recreate_changelog(workflow.name, settings)
        partitions = range(settings.partitions)
        ends = await folding.reader.end_offsets([folding.log(p) for p in partitions])
        begins = await folding.measure({p: ends[folding.log(p)] for p in partitions})
        runs = 0
        for partition in partitions:
            data.wipe((workflow.name, partition))
            table = data.table((workflow.name, partition))
            changelog = Changelog(folding.topics.changelog, partition, settings)
            await changelog.open()
            try:
                end = ends[folding.log(partition)]
                await folding.fold(partition, table, begins[partition], end, changelog.write)
            finally:
                await changelog.close()
            runs += sum(table.counts().values())
        return Rebuilt(partitions=settings.partitions, events=folding.done, runs=runs)
    finally:
        await stop_consumer(folding.reader)
        data.close()


async def verify(workflow: Workflow[Any, Any], settings: Settings, progress: Progress) -> Verified:
    """Fold the log aside, up to where the changelog is, and compare row by row.

    Workers may go on meanwhile. Raises BrokerUnreachable and PartitionMismatch.
    """
    workflow.validate()
    await ensure_topics([workflow.name], settings)
    folding = _Folding(workflow, settings, progress)
    await folding.reader.start()
    memory = Memory()
    try:
        with tempfile.TemporaryDirectory(prefix="streamwf-verify-") as directory:
            live = await _live_tables(folding, Path(directory), memory)
            ends = {partition: table.position or 0 for partition, table in live.items()}
            begins = await folding.measure(ends)
            logs = await folding.reader.end_offsets([folding.log(p) for p in ends])
            behind = sum(logs[folding.log(p)] - end for p, end in ends.items())
            rows, differences = 0, []
            for partition, table in live.items():
                folded = RunsTable(Path(directory) / f"folded-{partition}", memory)
                end = ends[partition]
                await folding.fold(partition, folded, begins[partition], end, _write_aside)
                rows += sum(folded.counts().values())
                differences += list(_differences(partition, table, folded))
                folded.close()
                table.close()
            return Verified(rows=rows, behind=behind, differences=differences)
    finally:
        await stop_consumer(folding.reader)


async def _live_tables(folding: _Folding, directory: Path, memory: Memory) -> dict[int, RunsTable]:
    tables = {}
    for partition in range(folding.settings.partitions):
        table = tables[partition] = RunsTable(directory / f"live-{partition}", memory)
        # Only read: whoever owns the shard goes on.
        await Changelog(folding.topics.changelog, partition, folding.settings).recover(table)
    return tables


async def _write_aside(checkpoint: Checkpoint, table: RunsTable) -> None:
    rows = [None if c.after is None else encode_record(c.after) for c in checkpoint.changes]
    table.write(checkpoint.changes, rows, AsOf("aside", 0, checkpoint.position))


def _differences(partition: int, live: RunsTable, folded: RunsTable) -> Iterator[Difference]:
    ours, theirs = iter(live.rows()), iter(folded.rows())
    our, their = next(ours, None), next(theirs, None)
    while our or their:
        if our and (not their or our[0] < their[0]):
            yield Difference(partition, our[0], our[1].decode(), None)
            our = next(ours, None)
        elif their and (not our or their[0] < our[0]):
            yield Difference(partition, their[0], None, their[1].decode())
            their = next(theirs, None)
        elif our and their:
            if our[1] != their[1]:
                yield Difference(partition, our[0], our[1].decode(), their[1].decode())
            our, their = next(ours, None), next(theirs, None)
