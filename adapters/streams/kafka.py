"""Streams as topics of Kafka: those of a workflow's events, as the Faust host has them, too."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from time import monotonic

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, MessageSizeTooLargeError

from streamwf.adapters.kafka.append import LazyProducer, append_batch
from streamwf.adapters.kafka.reach import unreachable
from streamwf.adapters.kafka.reader import (
    BATCH,
    IDLE_MS,
    OffsetReader,
    consumer,
    read_to,
    started,
    stop_consumer,
)
from streamwf.adapters.kafka.topics import ensure_events, partition_of
from streamwf.errors import RecordTooLarge, StreamClosed
from streamwf.ports import LogRecord, Outgoing, Received
from streamwf.settings import Settings


class KafkaStreamer:
    """An EventStreamer on the brokers of the settings.

    A stream is the topic of events of the workflow of that name, created with as many partitions
    as are set. What a receiver commits is under the group of its name, after the topic prefix.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics: dict[str, tuple[str, int]] = {}
        self._reader = OffsetReader(settings)
        self._looker: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._opened: list[_Sender | _Receiver] = []

    @property
    def heard_at(self) -> float:
        """When the brokers have last answered a receiver that is open, by the monotonic clock."""
        heard = (each.heard_at for each in self._opened if isinstance(each, _Receiver))
        return max(heard, default=0.0)

    async def sender(self, stream: str) -> "_Sender":
        topic, partitions = await self._topic(stream)
        self._opened.append(sender := _Sender(self._settings, stream, topic, partitions))
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
        topic, count = await self._topic(stream)
        group = f"{self._settings.topic_prefix}{name}"
        followed = range(count) if only is None else sorted(only)
        partitions = [TopicPartition(topic, number) for number in followed]
        try:
            reader = await started(
                consumer(self._settings, committed=True, group=group, follows=True)
            )
            try:
                positions = await _begin(reader, partitions, since, from_latest)
            except BaseException:
                await stop_consumer(reader)
                raise
        except (KafkaError, OSError) as error:
            raise unreachable(self._settings.brokers, error) from error
        receiver = _Receiver(self._settings, stream, reader, positions)
        # A host opens another one with each shard that comes or goes.
        self._opened = [each for each in self._opened if not each.closed]
        self._opened.append(receiver)
        return receiver

    async def ends(self, stream: str) -> Mapping[int, int]:
        topic, count = await self._topic(stream)
        try:
            async with self._turn:
                if self._looker is None:
                    self._looker = await started(consumer(self._settings, committed=True))
                looker, partitions = self._looker, [TopicPartition(topic, n) for n in range(count)]
                ends = await looker.end_offsets(partitions)
                return {at.partition: await _after_last(looker, at, ends[at]) for at in partitions}
        except (KafkaError, OSError) as error:
            raise unreachable(self._settings.brokers, error) from error

    async def read(self, stream: str, partition: int, offsets: Sequence[int]) -> list[LogRecord]:
        topic, _ = await self._topic(stream)
        try:
            return list(await self._reader.read(TopicPartition(topic, partition), offsets))
        except (KafkaError, OSError) as error:
            raise unreachable(self._settings.brokers, error) from error

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()
        self._opened.clear()
        await self._reader.stop()
        if self._looker is not None:
            await stop_consumer(self._looker)
            self._looker = None

    async def _topic(self, stream: str) -> tuple[str, int]:
        if stream not in self._topics:
            self._topics[stream] = await ensure_events(stream, self._settings)
        return self._topics[stream]


async def _after_last(reader: AIOKafkaConsumer, partition: TopicPartition, end: int) -> int:
    """The offset after the last record: ends of transactions take offsets, too, and are none."""
    start = end
    while start:
        start = max(0, end - 1 - 10 * (end - start))
        last = None
        async for records in read_to(reader, partition, start, end):
            last = records[-1] if records else last
        if last is not None:
            return int(last.offset) + 1
    return 0


async def _begin(
    reader: AIOKafkaConsumer,
    partitions: list[TopicPartition],
    since: Mapping[int, int] | None,
    from_latest: bool,
) -> dict[TopicPartition, int]:
    """Go to where a receiver begins, and return the position in each partition."""
    reader.assign(partitions)
    if since is not None:
        positions = {at: since.get(at.partition, 0) for at in partitions}
    else:
        committed = {at: await reader.committed(at) for at in partitions}
        known = any(offset is not None for offset in committed.values())
        latest = from_latest and not known
        start = await reader.end_offsets(partitions) if latest else dict.fromkeys(partitions, 0)
        positions = {at: start[at] if committed[at] is None else committed[at] for at in partitions}
    for at, position in positions.items():
        reader.seek(at, position)
    return positions


class _Sender:
    def __init__(self, settings: Settings, stream: str, topic: str, partitions: int) -> None:
        self._settings = settings
        self._stream = stream
        self._topic = topic
        self._partitions = partitions
        self._producer = LazyProducer(settings)
        self.closed = False

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self.closed:
            raise StreamClosed(what="sender", stream=self._stream)
        batches: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        for key, value in records:
            batches[partition_of(key.decode(), self._partitions)].append((key, value))
        if not batches:
            return
        try:
            async with self._producer.working() as to:
                appended = await asyncio.gather(
                    *(append_batch(to, self._topic, at, batch) for at, batch in batches.items()),
                    return_exceptions=True,
                )
                for outcome in appended:
                    if isinstance(outcome, BaseException):
                        raise outcome
        except MessageSizeTooLargeError as error:
            largest = max(len(value) for _, value in records)
            limit = self._settings.max_record_bytes
            raise RecordTooLarge(what="record", size=largest, limit=limit) from error

    async def close(self) -> None:
        self.closed = True
        await self._producer.stop()


class _Receiver:
    def __init__(
        self,
        settings: Settings,
        stream: str,
        reader: AIOKafkaConsumer,
        positions: dict[TopicPartition, int],
    ) -> None:
        self._settings = settings
        self._stream = stream
        self._reader = reader
        self._next = positions
        self.closed = False
        self._polled: set[int | None] = set()
        self.heard_at = 0.0

    async def recv(self) -> Sequence[Received]:
        try:
            while not self.closed:
                batches = await self._reader.getmany(timeout_ms=IDLE_MS, max_records=BATCH)
                self._note_answers()
                for at, records in batches.items():
                    self._next[at] = records[-1].offset + 1
                if batches:
                    return [
                        Received(at.partition, record)
                        for at, records in batches.items()
                        for record in records
                    ]
        except ConsumerStoppedError:
            pass
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error
        raise StreamClosed(what="receiver", stream=self._stream)

    def _note_answers(self) -> None:
        # A consumer tells of no outage, but when each partition was last fetched, be it nothing.
        polled = {self._reader.last_poll_timestamp(at) for at in self._next}
        if polled != self._polled:
            self._polled, self.heard_at = polled, monotonic()

    async def ack(self) -> None:
        try:
            await self._reader.commit(dict(self._next))
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error

    async def lag(self) -> int:
        """As many as there are offsets: ends of transactions of others count, too."""
        try:
            ends = await self._reader.end_offsets(list(self._next))
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error
        return sum(max(0, ends[at] - position) for at, position in self._next.items())

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            await stop_consumer(self._reader)
