"""A Kafka topic as the source of a connector: any topic, of these brokers or of others."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    OffsetOutOfRangeError,
)

from streamwf.adapters.kafka.reach import connect, reach, unreachable
from streamwf.adapters.kafka.reader import stop_consumer
from streamwf.adapters.kafka.security import client_arguments
from streamwf.errors import PositionUnknown, TopicNotFound
from streamwf.logs import fields_here, logger_here
from streamwf.ports import Logger
from streamwf.settings import KafkaSecurity, Settings, load
from streamwf.sources import Message

_logger: Logger = structlog.get_logger("streamwf.connector")

#: Milliseconds that a broker holds back an answer with nothing in it.
IDLE_MS = 500

#: Records that are taken from a consumer at a time.
TAKEN = 500

#: Seconds of silence after which the broker is asked whether it is there.
SILENCE = 10.0

#: What says that there is no broker.
GONE = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, OSError)


@dataclass(frozen=True, slots=True)
class KafkaTopic:
    """A topic that a connector reads, partition by partition. Implements `streamwf.sources.Source`.

    Only what was committed is read, if others write in transactions.

    brokers: where it is, HOST:PORT separated by commas; where the worker's own topics are, unless
        given.
    start: where a new connector begins: at the earliest message that there is, or after the
        latest.
    security: how to connect to those brokers; in the plain, unless given. The worker's own is for
        its own brokers only, so that nobody else is sent its password.
    """

    topic: str
    brokers: str | None = None
    start: Literal["earliest", "latest"] = "earliest"
    security: KafkaSecurity | None = field(default=None, hash=False)

    @property
    def name(self) -> str:
        return f"kafka:{self.topic}"

    def of_worker(self, settings: Settings) -> "KafkaTopic":
        if self.brokers:
            return self
        return replace(self, brokers=settings.brokers, security=self.security or settings)

    async def partitions(self) -> Sequence[str]:
        """Raises TopicNotFound and BrokerUnreachable."""
        brokers, security = self._cluster
        client = await connect(brokers, security)
        try:
            # To describe a topic that is not there would create it.
            if self.topic not in await client.list_topics():
                raise TopicNotFound(topic=self.topic, brokers=brokers)
            [described] = await client.describe_topics([self.topic])
            return [str(each["partition"]) for each in described["partitions"]]
        except GONE as error:
            raise unreachable(brokers, error) from error
        finally:
            await client.close()

    async def begin(self, partition: str) -> str | None:
        """Raises BrokerUnreachable."""
        if self.start == "earliest":
            return None
        place = self._place(partition)
        async with self._reader() as reader:
            end: int = (await reader.end_offsets([place]))[place]
            return str(end - 1)

    async def open(self, partition: str, position: str | None) -> AsyncIterator[Message]:
        """Raises BrokerUnreachable, PositionUnknown and aiokafka's KafkaError."""
        place = self._place(partition)
        async with self._reader() as reader:
            reader.assign([place])
            reader.seek(place, await self._first(reader, place, position))
            heard_at = monotonic()
            while True:
                try:
                    batches = await reader.getmany(place, timeout_ms=IDLE_MS, max_records=TAKEN)
                except OffsetOutOfRangeError:
                    reader.seek(place, await self._first(reader, place, position))
                    continue
                for record in batches.get(place, ()):
                    position = str(record.offset)
                    yield self._message(record)
                if batches:
                    heard_at = monotonic()
                elif monotonic() - heard_at > SILENCE:
                    # A consumer says nothing of a broker that is gone, or of a topic made anew.
                    await self._check(reader, place, await reader.position(place))
                    heard_at = monotonic()

    async def _first(
        self, reader: AIOKafkaConsumer, place: TopicPartition, position: str | None
    ) -> int:
        """The offset to begin at."""
        begin: int = (await reader.beginning_offsets([place]))[place]
        if position is None:
            return begin
        offset = int(position) + 1
        await self._check(reader, place, offset)
        if offset < begin:
            # The topic's retention was quicker than this.
            lost = begin - offset
            told = {"topic": self.topic, "partition": place.partition, "lost": lost}
            logger = logger_here() or _logger
            logger.warning("messages_lost", **fields_here(), **told)
        return max(offset, begin)

    async def _check(self, reader: AIOKafkaConsumer, place: TopicPartition, offset: int) -> None:
        """Raises PositionUnknown if there never was such an offset."""
        end = (await reader.end_offsets([place]))[place]
        if offset > end:
            raise PositionUnknown(
                topic=self.topic, partition=place.partition, end=end, position=offset
            )

    def _message(self, record: ConsumerRecord) -> Message:
        known = record.timestamp is not None and record.timestamp >= 0
        return Message(
            position=str(record.offset),
            value=record.value,
            key=record.key,
            headers=tuple((name, value or b"") for name, value in record.headers),
            timestamp=datetime.fromtimestamp(record.timestamp / 1000, UTC) if known else None,
            partition=str(record.partition),
            source=self.name,
        )

    async def behind(self, positions: Mapping[str, str | None]) -> Mapping[str, int]:
        """What the markers of transactions take up counts too. Raises BrokerUnreachable."""
        places = [self._place(partition) for partition in positions]
        async with self._reader() as reader:
            begins = await reader.beginning_offsets(places)
            ends = await reader.end_offsets(places)
        return {
            partition: max(ends[place] - max(_next(position), begins[place]), 0)
            for place, (partition, position) in zip(places, positions.items(), strict=True)
        }

    # ---- connections

    @property
    def _cluster(self) -> tuple[str, KafkaSecurity]:
        if self.brokers:
            return self.brokers, self.security or KafkaSecurity()
        settings = load()
        return settings.brokers, self.security or settings

    def _place(self, partition: str) -> TopicPartition:
        return TopicPartition(self.topic, int(partition))

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A started consumer without a group. Raises BrokerUnreachable and InvalidSettings."""
        brokers, security = self._cluster
        reader = AIOKafkaConsumer(
            **client_arguments(brokers, security),
            enable_auto_commit=False,
            # An offset that is no more is told of, and not passed over.
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=IDLE_MS,
        )
        try:
            await reader.start()
            yield reader
        except GONE as error:
            # It says more than the consumer does.
            await reach(brokers, security)
            raise unreachable(brokers, error) from error
        finally:
            await stop_consumer(reader)


def _next(position: str | None) -> int:
    return 0 if position is None else int(position) + 1
