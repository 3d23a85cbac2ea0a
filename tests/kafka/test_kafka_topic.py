"""A topic as the source of a connector, read by the embedded host."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from streamwf import connecting
from streamwf.adapters.kafka import KafkaTopic, source
from streamwf.adapters.kafka.append import append_batch
from streamwf.adapters.kafka.topics import create
from streamwf.sources import Message
from tests.embedded.app import Orders, running
from tests.embedded.feeds import inner_until, one_step, place, used
from tests.support import eventually

#: Seconds that a broker may take for something.
SOON = 60.0


class Topic:
    """A topic of the test's own."""

    def __init__(self, brokers: str, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient):
        self.name = f"t{uuid.uuid4().hex[:8]}.source"
        self.brokers = brokers
        self.producer = producer
        self.admin = admin

    async def create(self, partitions: int = 1) -> None:
        await create(self.admin, NewTopic(self.name, partitions, 1))

    async def put(self, *values: bytes | None, partition: int = 0, **options: object) -> None:
        for value in values:
            await self.producer.send_and_wait(self.name, value, partition=partition, **options)

    def source(self, **options: object) -> KafkaTopic:
        return KafkaTopic(self.name, self.brokers, **options)  # type: ignore[arg-type]


@pytest.fixture
async def topic(kafka: str) -> AsyncIterator[Topic]:
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            yield Topic(kafka, producer, admin)
        finally:
            await admin.close()


def noting(source: KafkaTopic) -> tuple[Orders, list[Message]]:
    """A workflow that only notes the messages of a topic."""
    workflow, seen = one_step(), list[Message]()

    @workflow.connector(source, name="feed")
    async def note(message: Message) -> None:
        seen.append(message)

    return workflow, seen


@asynccontextmanager
async def transaction(brokers: str) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(
        bootstrap_servers=brokers, transactional_id=uuid.uuid4().hex
    ) as producer:
        await producer.begin_transaction()
        yield producer


async def test_a_message_is_as_it_was_written(topic: Topic) -> None:
    await topic.create(2)
    workflow, seen = noting(topic.source())
    stamp = 1_700_000_000_123
    async with running(workflow) as app:
        await topic.put(
            b"\xff", key=b"\x00", headers=[("h", b"1"), ("h", b"2")], timestamp_ms=stamp
        )
        # With neither key nor value: other clients may.
        await append_batch(topic.producer, topic.name, 1, [(None, None)])
        await eventually(lambda: len(seen) == 2, within=SOON)
        [first, second] = sorted(seen, key=lambda message: message.partition)
        assert first == Message(
            position="0",
            value=b"\xff",
            key=b"\x00",
            headers=(("h", b"1"), ("h", b"2")),
            timestamp=datetime.fromtimestamp(stamp / 1000, UTC),
            partition="0",
            source=f"kafka:{topic.name}",
        )
        assert (second.key, second.value, second.partition) == (None, None, "1")
        await used(app, 1, "feed/1")


async def test_a_new_connector_may_begin_after_the_latest(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "LOOK", 0.1)
    await topic.create()
    await topic.put(b"old")
    workflow, seen = noting(topic.source(start="latest"))
    async with running(workflow) as app:
        begun = await eventually_inner(app, "feed/0")
        assert begun["position"] == "0"
        await topic.put(b"new")
        await eventually(lambda: seen, within=SOON)
        # What is in a partition that is added later is new.
        await topic.admin.create_partitions({topic.name: NewPartitions(2)})
        await topic.producer.client.force_metadata_update()
        await topic.put(b"first", partition=1)
        await eventually(lambda: len(seen) == 2, within=SOON)
        assert [message.value for message in seen] == [b"new", b"first"]


async def eventually_inner(app, subject: str) -> dict[str, object]:
    async def begun() -> dict[str, object] | None:
        record = await inner_until(app, subject, lambda record: place(record).get("begun"))
        return place(record)

    found = await asyncio.wait_for(begun(), SOON)
    assert found is not None
    return found


async def test_what_was_aborted_is_not_read(topic: Topic) -> None:
    await topic.create()
    async with transaction(topic.brokers) as producer:
        await producer.send_and_wait(topic.name, b"aborted", partition=0)
        await producer.abort_transaction()
    async with transaction(topic.brokers) as producer:
        await producer.send_and_wait(topic.name, b"committed", partition=0)
        await producer.commit_transaction()
    workflow, seen = noting(topic.source())
    async with running(workflow):
        await eventually(lambda: seen, within=SOON)
        await topic.put(b"later")
        await eventually(lambda: len(seen) == 2, within=SOON)
        assert [message.value for message in seen] == [b"committed", b"later"]


async def test_a_topic_that_is_not_there_is_said_and_not_created(topic: Topic) -> None:
    workflow, seen = noting(topic.source())
    async with running(workflow) as app:
        failed = await failure(app, "feed")
        assert failed.startswith("TopicNotFound: There is no topic")
        assert topic.name not in await topic.admin.list_topics()
        await topic.create()
        await topic.put(b"a")
        app.step(minutes=5)
        await eventually(lambda: seen, within=SOON)


async def failure(app, subject: str) -> str:
    async def failed() -> str:
        while True:
            try:
                record = await inner_until(app, subject, lambda record: record.error is not None)
            except AssertionError:
                continue
            assert record.error is not None
            return f"{record.error.type}: {record.error.message}"

    return await asyncio.wait_for(failed(), SOON)


async def test_no_broker_answers() -> None:
    workflow, _ = noting(KafkaTopic("payments", "127.0.0.1:1"))
    async with running(workflow) as app:
        assert (await failure(app, "feed")).startswith("BrokerUnreachable: No Kafka broker")


async def test_what_retention_has_taken_is_passed_over_and_said(
    topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    await topic.create()
    await topic.put(b"0")
    workflow, seen = noting(topic.source())
    async with running(workflow) as app:
        await eventually(lambda: seen, within=SOON)
        await used(app, 1)
        log = app.log
    await topic.put(b"1", b"2", b"3")
    place = TopicPartition(topic.name, 0)
    await topic.admin.delete_records({place: RecordsToDelete(before_offset=3)})
    workflow, seen = noting(topic.source())
    async with running(workflow, logs={"orders": log}):
        await eventually(lambda: seen, within=SOON)
        assert [message.value for message in seen] == [b"3"]
    [line] = [vars(line) for line in caplog.records if line.message == "messages_lost"]
    assert (line["lost"], line["kind"], line["workflow"]) == (2, "connector", "orders")


async def test_a_topic_that_was_made_anew_is_found_out(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "SILENCE", 0.1)
    await topic.create()
    await topic.put(b"0", b"1")
    workflow, seen = noting(topic.source())
    async with running(workflow) as app:
        await eventually(lambda: len(seen) == 2, within=SOON)
        await used(app, 2)
        await topic.admin.delete_topics([topic.name])
        await eventually(lambda: gone(topic), within=SOON)
        await topic.create()
        assert (await failure(app, "feed/0")).startswith("PositionUnknown: Topic")
        assert len(seen) == 2


async def gone(topic: Topic) -> bool:
    return topic.name not in await topic.admin.list_topics()


async def test_how_far_it_is_behind(topic: Topic) -> None:
    await topic.create(2)
    await topic.put(b"0", b"1", b"2")
    behind = await topic.source().behind({"0": None, "1": None})
    assert behind == {"0": 3, "1": 0}
    assert await topic.source().behind({"0": "1", "1": None}) == {"0": 1, "1": 0}


async def test_many_messages_are_read_in_time(topic: Topic) -> None:
    await topic.create()
    for number in range(2_000):
        await topic.producer.send(topic.name, b"%d" % number, partition=0)
    await topic.producer.flush()
    workflow, seen = noting(topic.source())
    async with running(workflow) as app:
        await eventually(lambda: len(seen) == 2_000, within=SOON)
        await used(app, 2_000)
        assert [message.position for message in seen] == [str(n) for n in range(2_000)]
