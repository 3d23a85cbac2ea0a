"""A shard that this worker owns on Kafka: opened, checkpointed, closed.

Opening fences the former owner before the changelog's end is asked for, so that nothing can come
after it; then the table is brought up to that end, and the log is folded from the position that
the table is as of.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from streamwf.adapters.kafka.append import append_batch
from streamwf.adapters.kafka.changelog import Changelog
from streamwf.adapters.kafka.topics import Topics, partition_of
from streamwf.definition import Workflow
from streamwf.errors import LogShorterThanTables
from streamwf.ports import Clock
from streamwf.settings import Settings
from streamwf.shard import Aside, Limits, Shard
from streamwf.tables.runs import RunsTable

logger = structlog.get_logger("streamwf.shard")


class OwnedShard:
    """One partition of one workflow, while this worker owns it.

    may_start: whether a step may be started now; no longer once ownership is in doubt.
    wake: called when there is something to append.
    """

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        partition: int,
        table: RunsTable,
        settings: Settings,
        *,
        clock: Clock,
        threads: ThreadPoolExecutor,
        wake: Callable[["OwnedShard"], None],
        may_start: Callable[[], bool],
    ) -> None:
        self.workflow = workflow
        self.partition = partition
        self.topics = Topics.of(workflow.name, settings)
        self.log = TopicPartition(self.topics.events, partition)
        self.shard: Shard | None = None
        self._closed = False
        self._table = table
        self._settings = settings
        self._clock = clock
        self._threads = threads
        self._wake = wake
        self._may_start = may_start
        self._changelog = Changelog(self.topics.changelog, partition, settings)
        self._turn = asyncio.Lock()

    async def open(self, meta: AIOKafkaConsumer) -> Shard:
        """meta: a started consumer to ask for offsets.

        Raises KafkaError and LogShorterThanTables.
        """
        await self._changelog.open()
        await self._changelog.recover(self._table)
        ends = await meta.end_offsets([self.log])
        begins = await meta.beginning_offsets([self.log])
        end, begin, position = ends[self.log], begins[self.log], self._table.position or 0
        if position > end:
            raise LogShorterThanTables(
                topic=self.topics.events, partition=self.partition, end=end, position=position
            )
        if position < begin:
            logger.warning("log_begins_late", **self._named(), position=position, begin=begin)
        self.shard = Shard(
            self.workflow,
            self.partition,
            self._table,
            end=end,
            clock=self._clock,
            threads=self._threads,
            wake=lambda: self._wake(self),
            misplaced=self._misplaced,
            limits=Limits(self._settings.max_record_bytes),
            may_start=self._may_start,
        )
        logger.info("shard_opened", **self._named(), position=position, end=end)
        return self.shard

    def _misplaced(self, foreign_id: str) -> bool:
        return partition_of(foreign_id, self._settings.partitions) != self.partition

    def _named(self) -> dict[str, Any]:
        return {"workflow": self.workflow.name, "shard": self.partition}

    async def checkpoint(self, producer: AIOKafkaProducer) -> None:
        """Make what has changed durable. producer: appends what is set aside, before that.

        Raises KafkaError if that failed: this shard must be closed then, and opened anew if it is
        still this worker's.
        """
        shard = self.shard
        async with self._turn:
            if shard is None or self._closed:
                return
            asides = shard.take_asides()
            if asides:
                try:
                    await self._put_aside(producer, asides)
                except KafkaError:
                    shard.return_asides(asides)
                    raise
            checkpoint = shard.checkpoint()
            if checkpoint is None:
                return
            try:
                await self._changelog.write(checkpoint, self._table)
            except BaseException:
                shard.failed(checkpoint)
                raise
            shard.committed(checkpoint)

    async def _put_aside(self, producer: AIOKafkaProducer, asides: list[Aside]) -> None:
        """Forward what is misplaced, and bury what can't be read. Raises KafkaError."""
        for aside in asides:
            record = (aside.key, aside.value)
            if aside.reason is None:
                foreign_id = (aside.key or b"").decode()
                partition = partition_of(foreign_id, self._settings.partitions)
                await append_batch(producer, self.topics.events, partition, [record])
                continue
            logger.warning("dead_letter", **self._named(), offset=aside.offset, reason=aside.reason)
            headers = [
                ("reason", aside.reason.encode()),
                ("topic", self.topics.events.encode()),
                ("partition", str(self.partition).encode()),
                ("offset", str(aside.offset).encode()),
            ]
            await append_batch(
                producer, self.topics.dead_letters, self.partition, [record], headers
            )

    async def close(self, grace: float = 0.0) -> None:
        """Stop what is in progress, after `grace` seconds, and let the changelog go."""
        self._closed = True
        if self.shard is not None:
            await self.shard.close(grace)
        await self._changelog.close()
