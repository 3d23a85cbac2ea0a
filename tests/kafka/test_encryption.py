"""Workflows that encrypt, on Kafka: no secret lies in any topic, file or log of a worker; new
owners have the keys; what is deleted nobody can read any more."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import msgspec
import pytest

from streamwf import Client, RunInfo
from streamwf.adapters.kafka.keys import KafkaKeys
from streamwf.adapters.kafka.topics import ensure_keys, ensure_topics
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.agents import rebuild, verify
from streamwf.errors import NotReady
from streamwf.events import Event, encode_event
from streamwf.record import State
from streamwf.vault import Vault
from streamwf.views import Filter, Trigger
from tests.kafka.cluster import Cluster, Worker, until
from tests.kafka.flows_encrypted import Person, Status, orders
from tests.secrecy import forms

pytestmark = pytest.mark.timeout(180)

MOMENT = timedelta(seconds=60)
NAMES = [f"o-{number}" for number in range(6)]


def secret(name: str) -> str:
    return f"secret-of-{name}@example.org"


def answer(name: str) -> str:
    return f"the colour of {name} is mauve"


SECRETS = [text(name) for name in NAMES for text in (secret, answer)]


def told(data: bytes) -> set[str]:
    """The secrets that can be read there, as text or as base64."""
    return {text for text in SECRETS if any(form in data for form in forms(text))}


async def everywhere(cluster: Cluster) -> bytes:
    """All bytes of the topics, of the workers' files, and of what they say."""
    topics = cluster.topics
    found = [
        part
        for topic in (topics.events, topics.changelog, topics.dead_letters, topics.keys)
        for record in await cluster.records(topic)
        for part in (record.key, record.value, *(value for _, value in record.headers))
        if part
    ]
    for worker in cluster.workers:
        found.append(worker.text().encode())
        for path in worker.data_dir.rglob("*"):
            # Files come and go.
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                found.append(path.read_bytes())
    return b"\n".join(found)


async def opened(cluster: Cluster) -> list[bytes]:
    """The log, as whoever has the keys that there are can read it."""
    keys = KafkaKeys(cluster.settings)
    await keys.start()
    try:
        vault = Vault("orders", keys)
        decode = msgspec.json.Decoder(Event).decode
        records = await cluster.records(cluster.topics.events)
        return [encode_event(await vault.shown_event(decode(record.value))) for record in records]
    finally:
        await keys.stop()


@asynccontextmanager
async def client_of(worker: Worker) -> AsyncIterator[Client]:
    """A client of a worker that owns shards, and is ready."""

    async def ready() -> bool:
        with contextlib.suppress(aiohttp.ClientError, IndexError):
            async with session.get(f"{worker.url}/readyz") as said:
                return said.status == 200
        return False

    async with aiohttp.ClientSession() as session:
        await until(ready, f"{worker.name} ready")
    async with Client.over_http(worker.url) as client:
        yield client


@pytest.fixture
def encrypting(cluster: Cluster) -> Cluster:
    cluster.environment["FLOWS"] = "flows_encrypted"
    return cluster


async def trigger(cluster: Cluster) -> None:
    """Straight into the topic, as the command line does."""
    await ensure_topics(["orders"], cluster.settings)
    await ensure_keys(["orders"], cluster.settings)
    triggers = [Trigger(foreign_id=name, object={"secret": secret(name)}) for name in NAMES]
    await append_triggers("orders", triggers, cluster.settings, lambda _: None)


async def all_answered(client: Client) -> None:
    for name in NAMES:
        await client.run(orders, name).await_(Status.ASKED, timeout=MOMENT)
        said = await client.callback(
            orders, "answer", answer(name), correlation=secret(name), wait_for=MOMENT
        )
        # What the value leads to is in a shard of its own, which may hear of it a moment later.
        assert said.outcome in ("moved", "kept")
    for name in NAMES:
        run = await client.run(orders, name).await_(Status.DONE, timeout=MOMENT)
        assert run.object.trail[-1] == f"answered {answer(name)}"


async def test_no_secret_is_anywhere_and_none_outlives_its_deletion(encrypting: Cluster) -> None:
    cluster = encrypting
    await trigger(cluster)
    first, second = cluster.worker("first").start(), cluster.worker("second").start()
    async with client_of(first) as client, client_of(second):
        await all_answered(client)
        # By whichever worker is asked, for whichever owns it; and before its run is there.
        before = await client.callback(
            orders, "answer", answer("o-0"), foreign_id="later", wait_for=MOMENT
        )
        later = await client.trigger(orders, "later", Person(secret=secret("o-0")))
        done = await client.await_(orders, later, timeout=MOMENT)
    assert before.outcome == "kept"
    assert done.object.trail == [f"heard {secret('o-0')}", f"answered {answer('o-0')}"]
    await cluster.checkpointed()
    assert told(await everywhere(cluster)) == set()
    assert told(b"".join(await opened(cluster))) == set(SECRETS)

    # The next owner of its shards has their keys.
    first.kill()
    async with client_of(second) as client:
        runs: list[RunInfo[Person, Status]] = []

        async def all_here() -> bool:
            with contextlib.suppress(NotReady):
                runs[:] = [run async for run in client.list(orders)]
            return len(runs) == 2 * (len(NAMES) + 1)

        await until(all_here, "the shards of the worker that was killed")
        kept = {run.object.secret for run in runs}
        assert kept == {secret(name) for name in NAMES}
        for run in runs:
            await client.delete_data(run.run_id)
        asked = Filter(workflow="orders", state=[State.DATA_DELETED])

        async def all_deleted() -> bool:
            return await client.count(asked) == len(runs)

        await until(all_deleted, "the deletion of all runs")
        history = await client.history(done.run_id)
    assert told(repr(history).encode()) == set()
    assert told(b"".join(await opened(cluster))) == set()
    await cluster.checkpointed()
    assert told(await everywhere(cluster)) == set()
    found = await verify(orders, cluster.settings, lambda done, total: None)
    assert not found.differences


async def test_keys_outlive_a_restart_and_a_rebuild(encrypting: Cluster) -> None:
    cluster = encrypting
    await trigger(cluster)
    worker = cluster.worker("first").start()
    async with client_of(worker) as client:
        await all_answered(client)
    assert worker.stop() == 0
    await rebuild(orders, cluster.settings, lambda done, total: None)
    worker.wipe()

    worker.start()

    async with client_of(worker) as client:
        for name in NAMES:
            run = await client.run(orders, name).await_(timeout=MOMENT)
            assert run.object.trail == [f"heard {secret(name)}", f"answered {answer(name)}"]
    assert told(await everywhere(cluster)) == set()
