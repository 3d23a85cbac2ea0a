"""Processes with the log in Kafka and the rows elsewhere lose nothing, whatever stops."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from streamwf import Client, State
from streamwf.adapters.kafka.reader import consumer, read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, partition_of
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.adapters.local_kafka import LocalKafka
from streamwf.errors import NotReady
from streamwf.settings import Settings
from streamwf.views import Filter, Trigger
from tests.kafka.cluster import until
from tests.servers import Redis
from tests.stored.crowd import Crowd

RUNS = 200
PARTITIONS = 4

Crowds = Callable[..., Crowd]


@pytest.fixture
def logged_crowd(tmp_path: Path) -> Iterator[Crowds]:
    made: list[Crowd] = []

    def make(brokers: str, url: str, **more: str) -> Crowd:
        prefix = f"t{uuid.uuid4().hex[:8]}."
        said = {"brokers": brokers, "topic_prefix": prefix, "partitions": PARTITIONS}
        environment = {f"STREAMWF_{name.upper()}": str(value) for name, value in said.items()}
        settings = Settings(log="kafka", **said)
        made.append(Crowd(url, tmp_path, settings, STREAMWF_LOG="kafka", **environment, **more))
        return made[-1]

    yield make
    for crowd in made:
        crowd.close()


@pytest.fixture(params=["postgres_url", "redis_url", "rocksdb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "rocksdb":
        return f"rocksdb:///{tmp_path}/rows"
    url: str = request.getfixturevalue(request.param)
    return url


async def trigger(crowd: Crowd, runs: int = RUNS, begin: int = 0) -> None:
    """Straight into the topics, as `streamwf trigger --brokers` does."""
    assert crowd.settings is not None
    wanted = (Trigger(foreign_id=f"order-{n}", object={"item": "book"}) for n in range(begin, runs))
    await append_triggers("orders", wanted, crowd.settings, lambda _: None)


async def some_more(crowd: Crowd, runs: int = RUNS) -> None:
    begun = await crowd.completed()

    async def moved_on() -> bool:
        return await crowd.completed() > min(begun + runs // 10, runs - 1)

    await until(moved_on, "some more runs complete")


@pytest.mark.timeout(300)
async def test_a_process_that_is_killed_finds_everything_again(
    logged_crowd: Crowds, kafka: str, store_url: str
) -> None:
    crowd = logged_crowd(kafka, store_url)
    process = crowd.process("only", STEP_SECONDS="0.2").start()
    await crowd.ready(process)
    await trigger(crowd)
    await some_more(crowd)
    process.kill()
    process.start()
    await crowd.ready(process)
    await crowd.all_complete(RUNS)

    async def all_folded() -> bool:
        async with Client.over_http(process.url) as client:
            try:
                ended = await client.count(Filter(workflow="orders", state=[State.COMPLETED]))
            except NotReady:
                return False
            return ended == RUNS

    # What the log has last may not have been read yet.
    await until(all_folded, "all of it is folded")
    # A directory is one process's, and so can't be looked at before.
    assert process.stop() == 0
    await crowd.nothing_lost_and_nothing_twice(RUNS)


@pytest.mark.timeout(300)
async def test_of_two_processes_on_redis_one_is_killed(
    logged_crowd: Crowds, kafka: str, redis_url: str
) -> None:
    crowd = logged_crowd(kafka, redis_url)
    first = crowd.process("first", STEP_SECONDS="0.05").start()
    second = crowd.process("second", STEP_SECONDS="0.05").start()
    await crowd.ready(first)
    await crowd.ready(second)
    await until(lambda: second.says("shard_opened") > 0, "the second process has a share")
    await trigger(crowd)
    await some_more(crowd)
    first.kill()
    await crowd.nothing_lost_and_nothing_twice(RUNS)


@pytest.mark.timeout(300)
async def test_the_broker_and_redis_stop_and_start(
    logged_crowd: Crowds, own_kafka: LocalKafka, own_redis: Redis
) -> None:
    # No shard is closed while Redis is away: each has rows to write then.
    crowd = logged_crowd(own_kafka.bootstrap, own_redis.url, STREAMWF_LEASE="60s")
    process = crowd.process("only", STEP_SECONDS="0.2").start()
    await crowd.ready(process)
    await trigger(crowd)
    await some_more(crowd)
    await asyncio.to_thread(own_redis.kill)
    await trigger(crowd, 2 * RUNS, begin=RUNS)
    for event in ('"roles_unreachable"', '"store_unreachable"'):
        await until(lambda said=event: process.says(said) > 0, "the process notices")  # type: ignore[misc]
    await asyncio.to_thread(own_redis.start)
    await some_more(crowd, 2 * RUNS)
    await until(lambda: process.says('"store_reachable_again"') > 0, "it has Redis again")
    await asyncio.to_thread(own_kafka.kill)
    await until(lambda: process.says('"brokers_unreachable"') > 0, "the process notices")
    await asyncio.to_thread(own_kafka.start)
    await crowd.nothing_lost_and_nothing_twice(2 * RUNS)
    assert process.says('"brokers_unreachable"') == 1
    assert process.says('"store_unreachable"') == 1


async def test_who_writes_to_the_topic_is_heard(
    logged_crowd: Crowds, kafka: str, redis_url: str
) -> None:
    """As with kcat: without a key, in the wrong partition, or what can't be read."""
    crowd = logged_crowd(kafka, redis_url)
    settings = crowd.settings
    assert settings is not None
    process = crowd.process("only").start()
    await crowd.ready(process)
    topics = Topics.of("orders", settings)
    wrong = (partition_of("ada", PARTITIONS) + 1) % PARTITIONS
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for value in (
            b'{"type":"trigger","subject":"ada","data":{"item":"book"}}',
            b'{"what":"?"}',
        ):
            await producer.send_and_wait(topics.events, value, partition=wrong)
    await crowd.all_complete(1)

    async def is_set_aside() -> bool:
        return len(await letters(settings, topics.dead_letters)) == 1

    await until(is_set_aside, "what can't be read is set aside")
    [letter] = await letters(settings, topics.dead_letters)
    assert letter.value == b'{"what":"?"}'
    told = dict(letter.headers)
    assert (told["topic"], told["partition"]) == (topics.events.encode(), str(wrong).encode())
    assert told["reason"]


async def letters(settings: Settings, topic: str) -> list[ConsumerRecord]:
    found: list[ConsumerRecord] = []
    reader = consumer(settings)
    await reader.start()
    try:
        places = [TopicPartition(topic, number) for number in range(settings.partitions)]
        for place, end in (await reader.end_offsets(places)).items():
            async for batch in read_to(reader, place, 0, end):
                found += batch
    finally:
        await stop_consumer(reader)
    return found
