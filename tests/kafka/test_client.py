"""The client straight to Kafka: what it asks is judged by workers that come later."""

import asyncio
import json
from datetime import timedelta

import pytest

from streamwf import Client, State
from streamwf.adapters.kafka.topics import ensure_keys, ensure_topics
from streamwf.errors import (
    BrokerUnreachable,
    InvalidObject,
    InvalidPayload,
    InvalidQuery,
    NotOverKafka,
    RecordTooLarge,
    TopicNotFound,
    UnknownCallback,
    WorkflowNotFound,
)
from tests.cli.sample import Parcel, parcels
from tests.kafka import flows_encrypted
from tests.kafka.cluster import Cluster, until
from tests.kafka.flows_called import Account, Status, orders

SOON = timedelta(seconds=30)


def over_kafka(cluster: Cluster) -> Client:
    settings = cluster.settings
    return Client.over_kafka(settings.brokers, orders, settings=settings)


async def test_what_was_asked_before_a_worker_was_there_is_done(cluster: Cluster) -> None:
    async with over_kafka(cluster) as client:
        with pytest.raises(WorkflowNotFound, match="No workflow 'orders' here"):
            await client.trigger(orders, "a-1", Account())
        await ensure_topics(["orders"], cluster.settings)
        ids = await asyncio.gather(
            *(client.trigger(orders, f"a-{number}", Account()) for number in range(20))
        )
        assert await client.trigger(orders, "keyed", Account(), key="k") == await client.trigger(
            orders, "keyed", Account(), key="k"
        )
        refused = await client.trigger(orders, "a-1", Account())
        told = await client.callback(orders, "paid", 7, foreign_id="a-1", key="once")
        assert told.outcome == "kept"
        await client.callback(orders, "paid", 7, foreign_id="a-1", key="once")
        await client.callback(orders, "close_it", foreign_id="a-1", run_id=ids[1])

        worker = cluster.worker("a", FLOWS="flows_called").start()
        await until(lambda: worker.says("worker_listens") > 0, "a worker")
        async with Client.over_http(worker.url) as asking:
            ended = await asking.await_(orders, ids[1], timeout=SOON)
            assert (ended.state, ended.object.heard) == (State.COMPLETED, [7])
            for run_id in ids[2:]:
                await asking.await_(orders, run_id, Status.OPEN, timeout=SOON)
    letters = await cluster.records(cluster.topics.dead_letters)
    assert [json.loads(letter.value)["runid"] for letter in letters] == [refused]


async def test_what_can_not_be_is_told_at_once(cluster: Cluster) -> None:
    await ensure_topics(["orders"], cluster.settings)
    async with over_kafka(cluster) as client:
        with pytest.raises(InvalidObject):
            await client.trigger(orders, "a-1", {"heard": "much"})  # type: ignore[arg-type]
        with pytest.raises(RecordTooLarge):
            await client.trigger(orders, "a-1", Account(heard=[2**60] * 100_000))
        with pytest.raises(UnknownCallback):
            await client.callback(orders, "nope", foreign_id="a-1")
        with pytest.raises(InvalidPayload):
            await client.callback(orders, "paid", "much", foreign_id="a-1")
        with pytest.raises(InvalidQuery, match="foreign_id"):
            await client.callback(orders, "paid", 7, run_id="some-run")
        with pytest.raises(WorkflowNotFound, match="there are: orders"):
            await client.trigger(parcels, "p-1", Parcel())
        for call in (
            client.trigger(orders, "a-1", Account(), wait=True),
            client.get(orders, "some-run"),
            client.pause("some-run"),
            client.run(orders, "a-1").cancel(),
            client.within(SOON).count(),
        ):
            with pytest.raises(NotOverKafka, match="Ask a worker, with"):
                await call
    assert await cluster.events() == []


async def test_a_broker_that_is_not_there_is_told() -> None:
    async with Client.over_kafka("127.0.0.1:1", orders) as client:
        for _ in range(2):
            with pytest.raises(BrokerUnreachable, match=r"No Kafka broker answers at 127\.0\.0\.1"):
                await client.trigger(orders, "a-1", Account())


async def test_nothing_goes_in_plain_to_a_workflow_that_encrypts(cluster: Cluster) -> None:
    settings, secret = cluster.settings, "do not tell"
    sealing = flows_encrypted.orders
    await ensure_topics(["orders"], settings)
    async with Client.over_kafka(settings.brokers, sealing, settings=settings) as client:
        person = flows_encrypted.Person(secret=secret)
        with pytest.raises(TopicNotFound, match="keys"):
            await client.trigger(sealing, "a-1", person)
        await ensure_keys(["orders"], settings)
        await client.trigger(sealing, "a-1", person)
        await client.callback(sealing, "answer", secret, foreign_id="a-1")
    events = await cluster.events()
    assert [event["type"] for event in events] == ["trigger", "callback"]
    assert secret not in json.dumps(events)


async def test_scripts_do_it_without_await(cluster: Cluster) -> None:
    await ensure_topics(["orders"], cluster.settings)

    def script() -> str:
        with over_kafka(cluster).sync() as client:
            return client.within(SOON).trigger(orders, "a-1", Account())

    run_id = await asyncio.to_thread(script)
    [event] = await cluster.events()
    assert (event["runid"], event["subject"], event["unheard"]) == (run_id, "a-1", True)
