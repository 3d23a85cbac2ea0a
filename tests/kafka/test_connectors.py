"""A connector on workers that are killed: each message of a topic leads to what it should, once."""

import contextlib
import json
import random
from collections import Counter
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from streamwf import Client
from streamwf.adapters.kafka.topics import admin, create
from streamwf.connector_views import ConnectorView
from streamwf.errors import NotReady
from streamwf.record import State
from tests.kafka.cluster import Cluster, until
from tests.kafka.flows import orders

MESSAGES = 500
SOURCE_PARTITIONS = 3

#: Keys of every kind that a foreign producer may write.
KEYS = (None, b"", b"key", b"\x00\xff\xfe", "schlüssel".encode(), b"k" * 5_000)


async def source(cluster: Cluster) -> str:
    topic = f"{cluster.settings.topic_prefix}shop"
    client = await admin(cluster.settings)
    try:
        await create(client, NewTopic(topic, SOURCE_PARTITIONS, 1))
    finally:
        await client.close()
    return topic


def value_of(number: int) -> bytes | None:
    """Of a hundred messages, five are poison, five tombstones, and the others orders."""
    match number % 20:
        case 7:
            return b"\xff\xfepoison-%d" % number
        case 13:
            return None
    return json.dumps({"id": f"order-{number}"}).encode()


async def produce(cluster: Cluster, topic: str, numbers: range) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=cluster.settings.brokers)
    await producer.start()
    try:
        for number in numbers:
            await producer.send(
                topic,
                value_of(number),
                key=KEYS[number % len(KEYS)],
                partition=number % SOURCE_PARTITIONS,
                headers=[("number", str(number).encode())],
            )
        await producer.flush()
    finally:
        await producer.stop()


async def letters(cluster: Cluster) -> list[dict[str, Any]]:
    """The dead letters, with their headers."""
    return [
        {
            **{name: value.decode() for name, value in record.headers},
            "value": record.value,
            "key": record.key,
        }
        for record in await cluster.records(cluster.topics.dead_letters)
    ]


@pytest.mark.timeout(240)
async def test_every_message_leads_to_exactly_one_run_whoever_is_killed(cluster: Cluster) -> None:
    topic = await source(cluster)
    environment = {
        "FLOWS": "flows_connected",
        "SOURCE_TOPIC": topic,
        "CONNECT_SECONDS": "0.01",
    }
    first = cluster.worker("first", **environment).start()
    second = cluster.worker("second", **environment).start()
    await until(lambda: first.says("shard_opened") + second.says("shard_opened") >= 4, "ready")
    good = {n for n in range(MESSAGES) if value_of(n) and b"poison" not in (value_of(n) or b"")}
    poison = {n for n in range(MESSAGES) if b"poison" in (value_of(n) or b"")}
    await produce(cluster, topic, range(MESSAGES // 2))
    chance = random.Random(7)
    for _ in range(2):
        begun = await cluster.completed()

        async def moved_on(begun: int = begun) -> bool:
            return await cluster.completed() > min(begun + 60, len(good) // 2 - 1)

        await until(moved_on, "some more runs complete")
        victim = chance.choice([first, second])
        victim.kill()
        victim.start()
        await produce(cluster, topic, range(MESSAGES // 2, MESSAGES)[_::2])

    async def all_there() -> bool:
        return await cluster.completed() >= len(good)

    await until(all_there, "all runs complete", 120)
    await all_used(cluster, second.url)

    started = Counter(
        event["subject"]
        for event in await cluster.events()
        if event.get("state") == "COMPLETED" and not event.get("kind")
    )
    assert started == {f"order-{number}": 1 for number in good}
    buried = await letters(cluster)
    assert {int(letter["number"]) for letter in buried} == poison
    assert {letter["value"] for letter in buried} == {value_of(number) for number in poison}
    for letter in buried:
        number = int(letter["number"])
        assert letter["key"] == KEYS[number % len(KEYS)]
        assert letter["topic"] == f"kafka:{topic}"
        assert letter["partition"] == str(number % SOURCE_PARTITIONS)
        assert letter["reason"].startswith("ValueError: ")
    await cluster.checkpointed()
    verified = await cluster.verify()
    assert (verified.differences, verified.behind) == ([], 0)


async def told(client: Client) -> ConnectorView:
    """The connector, as soon as all workers can tell what they read."""
    found: list[ConnectorView] = []

    async def all_tell() -> bool:
        with contextlib.suppress(NotReady):
            found[:] = await client.connectors(orders)
        return bool(found)

    await until(all_tell, "all workers tell")
    return found[0]


async def all_used(cluster: Cluster, url: str) -> None:
    """Wait until each partition of the source was read to its end, and what was read is durable."""
    client = Client.over_http(url)
    try:

        async def done() -> bool:
            parts = (await told(client)).partitions
            used = sum(part.messages for part in parts)
            return used >= MESSAGES and all(part.behind == 0 for part in parts)

        await until(done, "everything used", 60)
        shop = await told(client)
        assert [part.partition for part in shop.partitions] == ["0", "1", "2"]
        # Counted with the position: so they count nothing twice.
        assert sum(part.messages for part in shop.partitions) == MESSAGES
        assert {part.state for part in shop.partitions} == {State.RUNNING}
    finally:
        await client.close()


@pytest.mark.timeout(240)
async def test_it_is_paused_and_resumed_on_all_workers(cluster: Cluster) -> None:
    topic = await source(cluster)
    environment = {"FLOWS": "flows_connected", "SOURCE_TOPIC": topic}
    workers = [cluster.worker(name, **environment).start() for name in ("first", "second")]
    opened = [worker.says for worker in workers]
    await until(lambda: sum(says("shard_opened") for says in opened) >= 4, "ready")
    async with Client.over_http(workers[0].url) as client:

        async def read() -> bool:
            return len((await told(client)).partitions) == SOURCE_PARTITIONS

        await until(read, "each partition is read")
        paused = await client.pause_connector(orders, "shop", "stock-taking")
        assert paused.looking is not None
        assert {run.state for run in (paused.looking, *paused.partitions)} == {State.PAUSED}
        await produce(cluster, topic, range(3))
        assert [part.behind for part in (await told(client)).partitions] == [1, 1, 1]
        assert await cluster.completed() == 0
        # Whoever takes over leaves it paused.
        workers[1].kill()
        await until(lambda: workers[0].says("shard_opened") >= 4, "the other one has all")
        assert (await client.resume_connector(orders, "shop")).state == "running"

        async def complete() -> bool:
            return await cluster.completed() == 3

        await until(complete, "runs complete")
