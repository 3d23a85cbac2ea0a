"""The reader of the log: what is followed, and up to where it was read."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import ConsumerRecord, TopicPartition

from streamwf.adapters.kafka.append import producer
from streamwf.adapters.kafka.reader import LogReader, consumer
from streamwf.adapters.kafka.topics import Topics, ensure_topics
from streamwf.settings import Settings
from tests.kafka.cluster import until

#: Partitions that come one by one, and seconds between them: each long enough for a request.
MANY, APART = 60, 0.02


class Delivered:
    """What a reader has delivered."""

    def __init__(self, settings: Settings) -> None:
        self.values: list[tuple[int, bytes | None]] = []
        self.reader = LogReader(settings, self._take)

    async def _take(
        self, partition: TopicPartition, records: Sequence[ConsumerRecord], begin: int
    ) -> None:
        self.values += [(partition.partition, record.value) for record in records]

    async def follow(self, logs: Sequence[TopicPartition]) -> None:
        await self.reader.follow(dict.fromkeys(logs, lambda: 0))


@asynccontextmanager
async def delivered(settings: Settings) -> AsyncIterator[Delivered]:
    made = Delivered(settings)
    await made.reader.start()
    try:
        yield made
    finally:
        await made.reader.stop()


async def logs_of(kafka: str, partitions: int) -> tuple[Settings, list[TopicPartition]]:
    prefix = f"t{uuid.uuid4().hex[:8]}."
    settings = Settings(brokers=kafka, topic_prefix=prefix, partitions=partitions)
    await ensure_topics(["orders"], settings)
    topic = Topics.of("orders", settings).events
    return settings, [TopicPartition(topic, number) for number in range(partitions)]


async def test_partitions_that_come_one_by_one_are_read_soon(kafka: str) -> None:
    settings, logs = await logs_of(kafka, MANY)
    async with delivered(settings) as got, producer(settings) as writer:
        for count in range(1, MANY + 1):
            await got.follow(logs[:count])
            await asyncio.sleep(APART)
        for log in logs:
            await writer.send(log.topic, b"here", partition=log.partition)
        # A request for each that the broker had held back would be three times as much.
        await until(lambda: len(got.values) == MANY, "all are read", 4)
    assert sorted(got.values) == [(log.partition, b"here") for log in logs]


async def test_what_is_not_followed_any_more_is_not_delivered(kafka: str) -> None:
    settings, logs = await logs_of(kafka, 2)
    async with delivered(settings) as got, producer(settings) as writer:
        await got.follow(logs)
        await writer.send_and_wait(logs[0].topic, b"before", partition=0)
        await until(lambda: got.values == [(0, b"before")], "it is read")
        await got.follow(logs[1:])
        for log in logs:
            await writer.send_and_wait(log.topic, b"after", partition=log.partition)
        await until(lambda: (1, b"after") in got.values, "it is read")
    assert got.values == [(0, b"before"), (1, b"after")]


async def test_what_is_hidden_by_another_transaction_is_not_passed(kafka: str) -> None:
    settings, logs = await logs_of(kafka, 1)
    topic, log = logs[0].topic, logs[0]
    async with (
        delivered(settings) as got,
        producer(settings, transactional_id=f"{topic}-other") as other,
        producer(settings, transactional_id=f"{topic}-own") as own,
        consumer(settings) as asking,
    ):
        await other.begin_transaction()
        await other.send_and_wait(topic, b"never", partition=0)
        async with own.transaction():
            await own.send_and_wait(topic, b"result", partition=0)
        await got.follow(logs)
        await until(lambda: got.reader.end(log) == 0, "the end of what is committed is known")
        end = (await asking.end_offsets(logs))[log]
        assert not got.reader.has_passed(log, end, 0)
        await other.abort_transaction()
        await until(lambda: got.values == [(0, b"result")], "it is read")
        await until(lambda: got.reader.has_passed(log, end, 2), "the transaction's end is passed")
        assert not got.reader.has_passed(log, end, 1), "the result is not folded yet"
