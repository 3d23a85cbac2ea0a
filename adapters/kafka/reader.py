"""Reading topics without a group: where to begin is ours to say, and nobody moves it.

Faust's own consumer decides who owns which partition. It does not read the log: its path costs
more per event than the whole fold, and loses and repeats events on a rebalance.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streamwf.adapters.kafka.outages import outages
from streamwf.adapters.kafka.security import client_arguments
from streamwf.ports import Logger
from streamwf.settings import Settings

_logger: Logger = structlog.get_logger("streamwf.log")

#: Milliseconds that the broker holds back an answer with nothing in it: for who waits for what will
#: be appended, and for who reads what is there. What is asked next waits until it has answered.
IDLE_MS, THERE_MS = 200, 10

#: Records that are handed over at a time.
BATCH = 2_000

#: Seconds until a consumer that does not stop is told so again.
STOP_SECONDS = 0.5

#: Seconds between two times that a consumer is given other partitions. Each time leaves a request
#: behind that the broker holds back, and it answers one after the other: a worker whose 50 shards
#: came one by one read nothing for ten seconds.
MOVES = 0.5

Batches = Mapping[TopicPartition, Sequence[ConsumerRecord]]
#: Takes records of a partition, and from where on they were read: what follows the records that
#: were delivered before.
Deliver = Callable[[TopicPartition, Sequence[ConsumerRecord], int], Awaitable[None]]


def consumer(
    settings: Settings,
    committed: bool = False,
    group: str | None = None,
    *,
    follows: bool = False,
) -> AIOKafkaConsumer:
    """A consumer whose partitions are ours to say.

    committed: pass over what aborted transactions wrote. group: whose offsets it can commit.
    follows: it waits for what will be appended, and is not there for what is in the log already.

    Raises InvalidSettings.
    """
    return AIOKafkaConsumer(
        group_id=group,
        **client_arguments(settings.brokers, settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=IDLE_MS if follows else THERE_MS,
        max_partition_fetch_bytes=max(1 << 20, settings.max_record_bytes),
        isolation_level="read_committed" if committed else "read_uncommitted",
    )


async def started(reader: AIOKafkaConsumer) -> AIOKafkaConsumer:
    """The consumer, once it has started. One that can't is stopped. Raises KafkaError."""
    try:
        await reader.start()
    except BaseException:
        await stop_consumer(reader)
        raise
    return reader


async def stop_consumer(reader: AIOKafkaConsumer) -> None:
    """Stop a consumer, for certain.

    aiokafka's fetching task swallows a cancellation that reaches it while it lets go of a former
    assignment, and `stop` would wait for it for ever. The next cancellation ends it.
    """
    stopping = asyncio.ensure_future(reader.stop())
    while not stopping.done():
        await asyncio.wait({stopping}, timeout=STOP_SECONDS)
        stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)


class LogReader:
    """Follows partitions from given positions, and delivers what is committed of them in order.

    deliver: takes a batch of one partition; reading goes on when it returns.
    """

    def __init__(
        self,
        settings: Settings,
        deliver: Deliver,
        *,
        logger: Logger | None = None,
    ) -> None:
        self._logger = logger or _logger
        self._settings = settings
        self._deliver = deliver
        self._consumer: AIOKafkaConsumer | None = None
        # Where to read from what is to be followed, until it is read; and what is read already, and
        # is to be from where it is.
        self._wanted: dict[TopicPartition, int] | None = None
        self._kept: set[TopicPartition] = set()
        self._asked = asyncio.Event()
        self._moves_at = 0.0
        self._delivered = asyncio.Event()
        self._delivered.set()
        self._task: asyncio.Task[None] | None = None
        self._unreachable = False
        # Up to where each partition was read: by its records, and with what is no record.
        self._read_to: dict[TopicPartition, int] = {}
        self._passed: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        self._consumer = await started(consumer(self._settings, committed=True, follows=True))
        self._task = asyncio.create_task(self._run(self._consumer))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._consumer is not None:
            await stop_consumer(self._consumer)

    async def follow(self, positions: Mapping[TopicPartition, Callable[[], int]]) -> None:
        """Follow these partitions and no others, each from where its function says.

        What was read before is delivered by then, and what is delivered after that is of these.
        """
        while not self._delivered.is_set():
            await self._delivered.wait()
        self._wanted = {partition: position() for partition, position in positions.items()}
        self._kept = {at for at in self._kept if self._wanted.get(at) == self._read_to[at]}
        self._asked.set()

    def end(self, partition: TopicPartition) -> int | None:
        """Where what is committed of a partition that is followed ends, as the broker told it
        last."""
        reader = self._consumer
        if reader is None or partition not in self._kept:
            return None
        end: int | None = reader.last_stable_offset(partition)
        # A transaction's end takes an offset, and nobody is to wait for a record there.
        passed = end is not None and self._passed.get(partition, -1) >= end
        return self._read_to[partition] if passed else end

    def has_passed(self, partition: TopicPartition, end: int, position: int) -> bool:
        """Whether nothing is between a position and an end that is behind it, but for what is no
        record: all before the end was read, and what was delivered ends at the position."""
        if partition not in self._kept:
            return False
        return self._read_to[partition] <= position and self._passed.get(partition, -1) >= end

    async def _run(self, reader: AIOKafkaConsumer) -> None:
        while True:
            self._move(reader)
            if not self._read_to:
                await self._asked.wait()
                continue
            # Whoever has other partitions followed does not wait for records that may never come:
            # nothing is between what is read and `clear`.
            batches = await self._read(reader)
            self._delivered.clear()
            try:
                begins = await self._note(reader, batches)
                for partition in [at for at in batches if at in self._kept]:
                    await self._deliver(partition, batches[partition], begins[partition])
                    if self._wanted is not None:
                        self._wanted[partition] = self._read_to[partition]
            finally:
                self._delivered.set()
            # Others want their turn, and a reader with a full buffer never waits.
            await asyncio.sleep(0)

    def _move(self, reader: AIOKafkaConsumer) -> None:
        """Read what is to be followed, if that is something else, and it is time."""
        if self._wanted is None or (self._read_to and time.monotonic() < self._moves_at):
            return
        self._moves_at = time.monotonic() + MOVES
        self._read_to, self._wanted, self._passed = self._wanted, None, {}
        self._kept = set(self._read_to)
        self._asked.clear()
        reader.assign(list(self._read_to))
        for partition, position in self._read_to.items():
            reader.seek(partition, position)

    async def _note(self, reader: AIOKafkaConsumer, read: Batches) -> Mapping[TopicPartition, int]:
        """Note how far was read, and tell from where on."""
        begins = dict(self._read_to)
        for partition in begins:
            if partition in read:
                self._read_to[partition] = read[partition][-1].offset + 1
            else:
                self._passed[partition] = await reader.position(partition)
        return begins

    async def _read(self, reader: AIOKafkaConsumer) -> Batches:
        try:
            batches: Batches = await reader.getmany(timeout_ms=IDLE_MS, max_records=BATCH)
        except Exception as error:
            # Whatever it is: a reader that ended would leave its shards standing still.
            if not self._unreachable:
                outages.warn("log_unreachable", error, self._logger)
            self._unreachable = True
            await asyncio.sleep(0.5)
            return {}
        if self._unreachable and batches:
            self._logger.info("log_reachable_again")
            self._unreachable = False
        return batches


async def read_to(
    reader: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int
) -> AsyncIterator[list[ConsumerRecord]]:
    """The records of a partition in [start, end), batch by batch.

    reader: started, and used for nothing else meanwhile.
    """
    reader.assign([partition])
    reader.seek(partition, start)
    # Positions are compared, not records: a transaction's end takes an offset and is no record.
    while await reader.position(partition) < end:
        for records in (await reader.getmany(timeout_ms=IDLE_MS, max_records=BATCH)).values():
            yield [record for record in records if record.offset < end]
    # It does not ask on for what may come.
    reader.assign([])


class OffsetReader:
    """Reads single records by their offsets, for histories."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()

    async def read(self, partition: TopicPartition, offsets: Sequence[int]) -> list[ConsumerRecord]:
        """The records at these ascending offsets. Those that retention has taken are left out."""
        async with self._turn:
            if self._consumer is None:
                self._consumer = consumer(self._settings)
                await self._consumer.start()
            reader = self._consumer
            reader.assign([partition])
            wanted, found = set(offsets), {}
            for offset in offsets:
                if offset in found:
                    continue
                reader.seek(partition, offset)
                for records in (await reader.getmany(timeout_ms=2_000, max_records=100)).values():
                    found.update({r.offset: r for r in records if r.offset in wanted})
            reader.assign([])
            return [found[offset] for offset in offsets if offset in found]

    async def stop(self) -> None:
        if self._consumer is not None:
            await stop_consumer(self._consumer)
