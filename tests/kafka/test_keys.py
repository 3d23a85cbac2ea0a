"""Keys on Kafka: the contract, what another worker sees, how a destroyed key leaves the disk."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streamwf.adapters.kafka import keys as module
from streamwf.adapters.kafka import topics
from streamwf.adapters.kafka.keys import KafkaKeys
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, ensure_keys, partition_of
from streamwf.adapters.local_kafka import LocalKafka
from streamwf.errors import KeyDestroyed, PartitionMismatch
from streamwf.settings import Settings
from streamwf.tables.keys import DESTROYED, record_key
from streamwf.testing.contracts.key_provider import RUN, KeyProviderContract
from tests.kafka.cluster import until

PARTITIONS = 2
WORKFLOWS = ("orders", "bills")
OWNED = [(name, partition) for name in WORKFLOWS for partition in range(PARTITIONS)]

Worker = Callable[..., Awaitable[KafkaKeys]]


@pytest.fixture
async def settings(kafka: str) -> Settings:
    return await _settings(kafka)


async def _settings(brokers: str) -> Settings:
    found = Settings(
        brokers=brokers, partitions=PARTITIONS, topic_prefix=f"k{uuid.uuid4().hex[:8]}."
    )
    await ensure_keys(WORKFLOWS, found)
    return found


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    """Starts a worker's keys. owner: of all shards."""
    started: list[KafkaKeys] = []

    async def start(*, owner: bool = True, sweep: float = 0.05) -> KafkaKeys:
        keys = KafkaKeys(settings, sweep=sweep, close=0.0)
        started.append(keys)
        await keys.start()
        for name, partition in OWNED if owner else ():
            await keys.open(name, partition)
        return keys

    yield start
    for keys in started:
        await keys.stop()


class TestKafkaKeys(KeyProviderContract):
    """One process owns the shards, the other does not."""

    @pytest.fixture
    async def keys(self, worker: Worker) -> KafkaKeys:
        return await worker()

    @pytest.fixture
    async def elsewhere(self, keys: KafkaKeys, worker: Worker) -> KafkaKeys:
        return await worker(owner=False, sweep=60)


class TestTwoOwners(KeyProviderContract):
    """A worker that was stopped for too long, and the one that has taken over."""

    @pytest.fixture
    async def keys(self, worker: Worker) -> KafkaKeys:
        return await worker(sweep=60)

    @pytest.fixture
    async def elsewhere(self, keys: KafkaKeys, worker: Worker) -> KafkaKeys:
        return await worker(sweep=60)


async def records(settings: Settings) -> list[tuple[bytes, bytes | None]]:
    """What lies in the partition of the run."""
    log = TopicPartition(Topics.of("orders", settings).keys, partition_of(RUN[1], PARTITIONS))
    reader = AIOKafkaConsumer(bootstrap_servers=settings.brokers)
    await reader.start()
    try:
        end = (await reader.end_offsets([log]))[log]
        found = []
        async for batch in read_to(reader, log, 0, end):
            found += [(record.key, record.value) for record in batch]
        return found
    finally:
        await stop_consumer(reader)


async def append(settings: Settings, key: bytes, value: bytes | None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers)
    await producer.start()
    try:
        topic, partition = Topics.of("orders", settings).keys, partition_of(RUN[1], PARTITIONS)
        await producer.send_and_wait(topic, value, key=key, partition=partition)
    finally:
        await producer.stop()


async def test_a_new_owner_has_every_key_and_every_destruction(worker: Worker) -> None:
    first = await worker()
    kept = await first.obtain(*RUN)
    await first.obtain("orders", "o-1", "run-2")
    await first.destroy("orders", "o-1", "run-2")
    await first.stop()

    second = await worker()

    assert await second.obtain(*RUN) == kept
    with pytest.raises(KeyDestroyed):
        await second.obtain("orders", "o-1", "run-2")


async def test_a_key_that_comes_after_the_destruction_is_taken_away(
    settings: Settings, worker: Worker
) -> None:
    owner, other = await worker(), await worker(owner=False)
    await owner.destroy(*RUN)

    late = await other.obtain(*RUN)

    gone = (record_key(*RUN[1:], late.id), None)
    await until(lambda: _has(settings, gone), "a tombstone")
    assert await other.get(*RUN, late.id) is None


async def test_a_new_owner_ends_what_one_that_died_had_begun(
    settings: Settings, worker: Worker
) -> None:
    first = await worker()
    key = await first.obtain(*RUN)
    # All that a destruction does if its worker dies at the worst moment.
    await append(settings, record_key(*RUN[1:]), DESTROYED)
    await first.stop()

    second = await worker()

    assert await _has(settings, (record_key(*RUN[1:], key.id), None))
    assert await second.get(*RUN, key.id) is None


async def test_a_mark_goes_when_nothing_can_be_under_way_any_more(
    settings: Settings, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await worker()
    await owner.destroy(*RUN)
    assert not await _has(settings, (record_key(*RUN[1:]), None))

    monkeypatch.setattr(module, "MARK_MS", -1_000)

    await until(lambda: _has(settings, (record_key(*RUN[1:]), None)), "the end of the mark")


async def test_other_writers_do_no_harm(settings: Settings, worker: Worker) -> None:
    owner = await worker()
    for key, value in ((b"", b"x"), (b"\xff\xff", b""), (b"a\0b\0c", b"short"), (b"", None)):
        await append(settings, key, value)

    key = await owner.obtain(*RUN)

    assert await (await worker()).get(*RUN, key.id) == key


async def test_a_topic_with_other_partitions_is_told(settings: Settings) -> None:
    with pytest.raises(PartitionMismatch):
        await ensure_keys(["orders"], settings.model_copy(update={"partitions": 3}))


async def _has(settings: Settings, record: tuple[bytes, bytes | None]) -> bool:
    return record in await records(settings)


# ---- on the broker's disk


async def test_a_destroyed_key_leaves_the_disk(
    own_kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "SEGMENT_MS", 500)
    settings = await _settings(own_kafka.bootstrap)
    keys = KafkaKeys(settings, sweep=0.1, close=1.0)
    await keys.start()
    try:
        await keys.open("orders", partition_of(RUN[1], PARTITIONS))
        key = await keys.obtain(*RUN)
        assert on_disk(own_kafka.data_dir, key.secret)

        await keys.destroy(*RUN)

        await until(lambda: not on_disk(own_kafka.data_dir, key.secret), "an empty disk")
    finally:
        await keys.stop()


def on_disk(folder: Path, secret: bytes) -> bool:
    """Whether any file holds it: keys are not compressed."""
    return any(_holds(path, secret) for path in folder.rglob("*") if path.is_file())


def _holds(path: Path, secret: bytes) -> bool:
    try:
        return secret in path.read_bytes()
    except FileNotFoundError:
        return False
