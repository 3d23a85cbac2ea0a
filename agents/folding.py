"""Folding a workflow's log aside: from its beginning, or from where the changelog is. Nothing is
executed, and whoever owns the shards goes on."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamwf.adapters.kafka.changelog import Changelog
from streamwf.adapters.kafka.reader import consumer, read_to
from streamwf.adapters.kafka.topics import Topics, partition_of
from streamwf.definition import Workflow
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


class Folding:
    """Folds logs aside, without dispatching, and reports progress over all of them."""

    def __init__(
        self, workflow: Workflow[Any, Any], settings: Settings, progress: Progress
    ) -> None:
        self.workflow = workflow
        self.settings = settings
        self.topics = Topics.of(workflow.name, settings)
        self.reader: AIOKafkaConsumer = consumer(settings, committed=True)
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
        """Fold [begin, end) of a partition into a table that is as of `begin`."""
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

    async def live_tables(self, directory: Path, memory: Memory) -> dict[int, RunsTable]:
        """A copy of each partition's table, as its changelog is now."""
        tables = {}
        for partition in range(self.settings.partitions):
            table = tables[partition] = RunsTable(directory / f"live-{partition}", memory)
            # Only read: whoever owns the shard goes on.
            await Changelog(self.topics.changelog, partition, self.settings).recover(table)
        return tables


async def write_aside(checkpoint: Checkpoint, table: RunsTable) -> None:
    rows = [None if c.after is None else encode_record(c.after) for c in checkpoint.changes]
    table.write(checkpoint.changes, rows, AsOf("aside", 0, checkpoint.position))
