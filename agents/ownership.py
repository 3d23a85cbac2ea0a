"""A shard that this worker owns on Kafka: opened, checkpointed, closed.

Opening fences the former owner before the changelog's end is asked for, so that nothing can come
after it; then the table is brought up to that end, and the log is folded from the position that
the table is as of.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from streamwf.adapters.kafka.append import append_batch
from streamwf.adapters.kafka.changelog import Changelog
from streamwf.adapters.kafka.topics import Topics, partition_of
from streamwf.broadcast import Broadcast
from streamwf.definition import Workflow
from streamwf.errors import LogShorterThanTables
from streamwf.execute import Inner
from streamwf.lanes import Paces
from streamwf.logs import short
from streamwf.measures import Measures
from streamwf.ports import Checkpoint, Clock, Logger, Tracing
from streamwf.settings import Settings
from streamwf.shard import Append, Aside, Limits, Shard
from streamwf.tables.runs import RunsTable
from streamwf.vaults import Vaults

#: Seconds between two lines about a recovery that takes its time.
PROGRESS = 5.0


class OwnedShard:
    """One partition of one workflow, while this worker owns it.

    may_start: whether a step may be started now; no longer once ownership is in doubt.
    wake: called when there is something to append. inner: what does the work of inner runs.
    paces: what paces the steps of this worker. vaults: seal what leaves the shard.
    measures: where the shards of the workflow count. logger: takes what it has to say.
    tracing: makes spans of what is done. broadcast: where moves are told.
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
        inner: Mapping[str, Inner],
        paces: Paces,
        vaults: Vaults,
        tracing: Tracing,
        measures: Measures,
        logger: Logger,
        broadcast: Broadcast,
    ) -> None:
        self.workflow = workflow
        self.partition = partition
        self.topics = Topics.of(workflow.name, settings)
        self.log = TopicPartition(self.topics.events, partition)
        self.shard: Shard | None = None
        #: From when it is given up: what it sets aside is not sent any more.
        self.closed = False
        #: Whether what it hands out becomes readable with a checkpoint, and not before.
        self.exactly_once = settings.processing_guarantee == "exactly_once"
        self._table = table
        self._settings = settings
        self._clock = clock
        self._threads = threads
        self._wake = wake
        self._may_start = may_start
        self._inner = inner
        self._paces = paces
        self._vaults = vaults
        self._tracing = tracing
        self._measures = measures
        self._logger = logger
        self._broadcast = broadcast
        self._changelog = Changelog(self.topics.changelog, partition, settings)
        self._turn = asyncio.Lock()

    async def open(self, meta: AIOKafkaConsumer) -> Shard:
        """meta: a started consumer to ask for offsets. It reads what is not committed, too: a
        transaction of another shard that nobody has ended yet hides what comes after it, and that
        may be results of here.

        Raises KafkaError and LogShorterThanTables.
        """
        await self._changelog.open()
        await self._recover()
        ends = await meta.end_offsets([self.log])
        begins = await meta.beginning_offsets([self.log])
        end, begin, position = ends[self.log], begins[self.log], self._table.position or 0
        if position > end:
            raise LogShorterThanTables(
                topic=self.topics.events, partition=self.partition, end=end, position=position
            )
        if position < begin:
            self._logger.warning("log_begins_late", **self._named(), position=position, begin=begin)
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
            inner=self._inner,
            paces=self._paces,
            vault=self._vaults.of(self.workflow.name),
            measures=self._measures,
            logger=self._logger,
            log_objects=self._settings.log_objects,
            tracing=self._tracing,
            broadcast=self._broadcast,
            once=self.exactly_once,
        )
        told = {"recovered": self._changelog.read, "position": position, "end": end}
        self._logger.info("shard_opened", **self._named(), **told)
        return self.shard

    async def _recover(self) -> None:
        telling = asyncio.create_task(self._tell_progress())
        try:
            await self._changelog.recover(self._table)
        finally:
            telling.cancel()

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS)
            left, derived = self._changelog.left, self._changelog.derived
            self._logger.info("shard_recovering", **self._named(), left=left, indexed=derived)

    @property
    def left_to_recover(self) -> int:
        """How many records of the changelog are still to be read for the table."""
        return self._changelog.left

    def _misplaced(self, foreign_id: str) -> bool:
        return partition_of(foreign_id, self._settings.partitions) != self.partition

    def _named(self) -> dict[str, Any]:
        return {"workflow": self.workflow.name, "shard": self.partition}

    async def checkpoint(self, producer: AIOKafkaProducer, *, at_once: bool = False) -> None:
        """Make what has changed durable. producer: appends what is set aside, before that; for
        exactly once, the changelog's own does, and what is handed out too.

        at_once: somebody waits for what is handed out: rows that nothing is set aside with are left
        to the next one.

        Raises KafkaError if that failed: this shard must be closed then, and opened anew if it is
        still this worker's.
        """
        shard = self.shard
        async with self._turn:
            if shard is None or self.closed:
                return
            appends = shard.take_appends() if self.exactly_once else []
            # Both at once: what is set aside from now on belongs to the next checkpoint.
            asides = shard.take_asides()
            checkpoint = shard.checkpoint() if asides or not at_once else None
            try:
                if self.exactly_once:
                    await self._write_as_one(appends, asides, checkpoint)
                else:
                    await self._send(producer, shard, asides)
                    if checkpoint is not None:
                        await self._changelog.write(checkpoint, self._table)
            except BaseException:
                # Whoever opens it anew comes to the same results and asides again; a checkpoint
                # without these would pass over what they are of, and one after a part of another
                # would be mixed with it.
                self.closed = True
                if checkpoint is not None:
                    shard.failed(checkpoint)
                raise
            if checkpoint is not None:
                shard.committed(checkpoint)

    async def _write_as_one(
        self, appends: list[Append], asides: list[Aside], checkpoint: Checkpoint | None
    ) -> None:
        """Write all of it in one transaction. Raises KafkaError; then nothing of it may be written
        again before the changelog is opened anew."""
        if not appends and not asides and checkpoint is None:
            return
        carried = await self._vaults.carried(self.workflow.name, asides)

        async def beside(producer: AIOKafkaProducer) -> None:
            await self.append(producer, appends)
            await self._send_carried(producer, carried)

        await self._changelog.write(checkpoint, self._table, beside)
        await self._vaults.sent(self.workflow.name, asides)

    async def append(self, producer: AIOKafkaProducer, appends: list[Append]) -> None:
        """Append what the shard has handed out. Raises KafkaError."""
        if appends:
            topic, partition = self.log
            records = ((append.key, append.value) for append in appends)
            traced = (append.traceparent for append in appends)
            with self._tracing.append(self.workflow.name, topic, partition, traced):
                await append_batch(producer, topic, partition, records)

    async def send_asides(self, producer: AIOKafkaProducer) -> None:
        """Send what is for other places now, without waiting for a checkpoint.

        Raises KafkaError; the next checkpoint tries again.
        """
        async with self._turn:
            if self.shard is not None and not self.closed:
                await self._send(producer, self.shard, self.shard.take_asides())

    async def _send(self, producer: AIOKafkaProducer, shard: Shard, asides: list[Aside]) -> None:
        name = self.workflow.name
        try:
            carried = await self._vaults.carried(name, asides)
            await self._send_carried(producer, carried)
            await self._vaults.sent(name, asides)
        except BaseException:
            shard.return_asides(asides)
            raise

    async def _send_carried(self, producer: AIOKafkaProducer, carried: list[Aside]) -> None:
        await self._forward(producer, [aside for aside in carried if aside.workflow])
        await self._bury(producer, [aside for aside in carried if not aside.workflow])

    async def _forward(self, producer: AIOKafkaProducer, asides: list[Aside]) -> None:
        """Append events to the logs that they are for. Raises KafkaError."""
        piles: dict[tuple[str, int], list[Aside]] = {}
        for aside in asides:
            topic = Topics.of(aside.workflow or "", self._settings).events
            try:
                partitions = await self._partitions_of(producer, topic)
            except UnknownTopicOrPartitionError:
                lost = replace(aside, reason=f"there is no topic {topic!r} to send it to")
                await self._bury(producer, [lost])
                continue
            partition = partition_of((aside.key or b"").decode(), partitions)
            piles.setdefault((topic, partition), []).append(aside)
        for (topic, partition), pile in piles.items():
            records = ((aside.key, aside.value) for aside in pile)
            traced = (aside.traceparent for aside in pile)
            name = pile[0].workflow or ""
            with self._tracing.append(name, topic, partition, traced):
                await append_batch(producer, topic, partition, records)

    async def _partitions_of(self, producer: AIOKafkaProducer, topic: str) -> int:
        if topic == self.topics.events:
            return self._settings.partitions
        # Another workflow may be another group's, and have a number of its own.
        return len(await producer.partitions_for(topic))

    async def _bury(self, producer: AIOKafkaProducer, asides: list[Aside]) -> None:
        """Put what can't be used into the dead letters, with the reason. Raises KafkaError."""
        for aside in asides:
            record = (aside.key, aside.value)
            place = {**self._named(), "offset": aside.offset}
            self._logger.warning("dead_letter", **place, reason=short(aside.reason))
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
        self.closed = True
        if self.shard is not None:
            await self.shard.close(grace)
        await self._changelog.close()
