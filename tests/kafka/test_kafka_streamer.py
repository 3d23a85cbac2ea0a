"""The streamer on Kafka."""

import asyncio
import uuid

import pytest
from aiokafka import TopicPartition

from streamwf.adapters.kafka.append import producer
from streamwf.adapters.kafka.reader import consumer
from streamwf.adapters.kafka.topics import Topics
from streamwf.adapters.local_kafka import LocalKafka
from streamwf.adapters.streams.kafka import KafkaStreamer
from streamwf.errors import RecordTooLarge, StoreUnreachable
from streamwf.settings import Settings
from streamwf.testing.contracts.event_streamer import EventStreamerContract
from streamwf.testing.contracts.streams import OpenStreamer, closing, outgoing, recv, values


class TestKafkaStreamer(EventStreamerContract):
    @pytest.fixture
    def open_streamer(self, kafka: str) -> OpenStreamer:
        prefix = f"t{uuid.uuid4().hex[:8]}."
        settings = Settings(brokers=kafka, topic_prefix=prefix, partitions=3)
        return lambda: closing(KafkaStreamer(settings))


async def test_a_broker_that_goes_and_comes_back(own_kafka: LocalKafka) -> None:
    async with closing(KafkaStreamer(Settings(brokers=own_kafka.bootstrap))) as streamer:
        sender = await streamer.sender("orders")
        receiver = await streamer.receiver("orders", "one")
        await sender.send(outgoing("o-1", "a"))
        assert values(await recv(receiver, 1)) == ["a"]
        waiting = asyncio.create_task(recv(receiver, 1))
        await asyncio.to_thread(own_kafka.kill)
        sending = asyncio.create_task(sender.send(outgoing("o-1", "b")))
        await asyncio.to_thread(own_kafka.start)
        await sending

        assert values(await waiting) == ["b"]


async def test_a_partition_that_was_added_begins_at_its_beginning(kafka: str) -> None:
    settings = Settings(brokers=kafka, topic_prefix=f"t{uuid.uuid4().hex[:8]}.", partitions=2)
    topic = Topics.of("orders", settings).events
    async with closing(KafkaStreamer(settings)) as streamer:
        sender = await streamer.sender("orders")
        await sender.send([*outgoing("o-1", "a"), *outgoing("o-2", "b")])
        assert await streamer.ends("orders") == {0: 1, 1: 1}
        # As if it had been the only partition so far.
        async with consumer(settings, group=f"{settings.topic_prefix}one") as former:
            former.assign([TopicPartition(topic, 0)])
            await former.commit({TopicPartition(topic, 0): 1})
        receiver = await streamer.receiver("orders", "one", from_latest=True)

        assert [item.partition for item in await recv(receiver, 1)] == [1]


async def test_the_end_of_a_transaction_is_no_record(kafka: str) -> None:
    """Who waits for all before the ends would otherwise wait for something that never comes."""
    settings = Settings(brokers=kafka, topic_prefix=f"t{uuid.uuid4().hex[:8]}.", partitions=2)
    async with closing(KafkaStreamer(settings)) as streamer:
        await streamer.sender("orders")
        topic = Topics.of("orders", settings).events
        async with producer(settings, transactional_id=f"{topic}-writer") as writer:
            async with writer.transaction():
                await writer.send_and_wait(topic, b"a", key=b"o-1", partition=0)
            for _ in range(20):
                await writer.begin_transaction()
                await writer.send_and_wait(topic, b"never", key=b"o-1", partition=0)
                await writer.abort_transaction()

        assert await streamer.ends("orders") == {0: 1, 1: 0}
        receiver = await streamer.receiver("orders", "one")
        assert values(await recv(receiver, 1)) == ["a"]


async def test_a_broker_that_is_not_there_is_named() -> None:
    async with closing(KafkaStreamer(Settings(brokers="127.0.0.1:1"))) as streamer:
        with pytest.raises(StoreUnreachable, match=r"127\.0\.0\.1:1"):
            await streamer.sender("orders")


async def test_a_record_that_is_too_large(kafka: str) -> None:
    settings = Settings(brokers=kafka, topic_prefix=f"t{uuid.uuid4().hex[:8]}.", partitions=1)
    async with closing(KafkaStreamer(settings)) as streamer:
        sender = await streamer.sender("orders")
        with pytest.raises(RecordTooLarge, match="max_record_bytes"):
            await sender.send(outgoing("o-1", "x" * 9_000_000))
        await sender.send(outgoing("o-1", "a"))

        assert values(await recv(await streamer.receiver("orders", "one"), 1)) == ["a"]
