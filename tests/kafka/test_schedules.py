"""Schedules on workers that are killed, stopped and replaced right when a slot is due."""

import asyncio
import random
import signal
import time
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from streamwf import Client, State
from tests.kafka.cluster import Cluster, Worker, until
from tests.kafka.conftest import MakeCluster
from tests.kafka.flows_with_a_schedule import Tick, orders

EVERY = 2
FLOWS = "flows_with_a_schedule"


@pytest.fixture
def cluster(kafka: str, make_cluster: MakeCluster) -> Cluster:
    return make_cluster(kafka, FLOWS=FLOWS)


async def at_work(*workers: Worker) -> None:
    await until(lambda: any(worker.says("shard_opened") for worker in workers), "a worker")


async def slots_fired(cluster: Cluster) -> Counter[str]:
    """The slots that have a run that is complete, and how many such runs."""
    completed = {
        (event["subject"], event["runid"])
        for event in await cluster.events()
        if event.get("state") == "COMPLETED"
    }
    return Counter(
        str(subject).partition("@")[2] for subject, _ in completed if "@" in str(subject)
    )


async def runs_requested(cluster: Cluster) -> dict[str, list[str]]:
    """The ids of the runs that were requested for each slot, as often as they were."""
    requested: dict[str, list[str]] = {}
    for event in await cluster.events():
        subject = str(event["subject"])
        if event["type"] == "trigger" and "@" in subject:
            requested.setdefault(subject, []).append(str(event["runid"]))
    return requested


async def at_least(cluster: Cluster, slots: int, seconds: float = 60) -> None:
    async def fired() -> bool:
        return len(await slots_fired(cluster)) >= slots

    await until(fired, f"{slots} slots fired", seconds)


async def next_slot(chance: random.Random) -> None:
    """A moment around the next slot but one, so that whatever happens then happens in it."""
    boundary = (time.time() // EVERY + 2) * EVERY
    await asyncio.sleep(boundary - time.time() + chance.uniform(-0.02, 0.06))


def is_dead(worker: Worker) -> bool:
    return worker.process is not None and worker.process.poll() is not None


async def each_slot_once(cluster: Cluster) -> list[datetime]:
    """All slots that were fired: one run for each, and none left out."""
    fired = await slots_fired(cluster)
    assert set(fired.values()) == {1}
    slots = sorted(map(datetime.fromisoformat, fired))
    apart = {later - earlier for earlier, later in pairwise(slots)}
    assert apart == {timedelta(seconds=EVERY)}
    return slots


@pytest.mark.timeout(300)
async def test_each_slot_is_fired_once_whoever_dies(cluster: Cluster) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    workers = [cluster.worker(name, DIE=str(cluster.folder)) for name in ("first", "second")]
    for worker in workers:
        worker.start()
    await at_work(*workers)
    await at_least(cluster, 3)
    for when in ("after", "before", "after", "at some time"):
        if when == "at some time":
            dead = chance.choice(workers)
            await next_slot(chance)
            dead.kill()
        else:
            (cluster.folder / when).touch()
            await until(lambda: any(map(is_dead, workers)), f"the death {when} a request")
            [dead] = filter(is_dead, workers)
        # Not before the other one has taken over.
        await at_least(cluster, len(await slots_fired(cluster)) + 3)
        dead.start()
    first, second = workers
    first.stop()
    second.stop()
    slots = await each_slot_once(cluster)
    assert len(slots) > 15
    requested = await runs_requested(cluster)
    assert {len(set(run_ids)) for run_ids in requested.values()} == {1}
    # Those who died after a request have left their slots to be requested again.
    assert sum(len(run_ids) > 1 for run_ids in requested.values()) >= 2
    second.start()
    await cluster.checkpointed()
    assert (await cluster.verify()).differences == []


@pytest.mark.timeout(240)
async def test_a_worker_that_was_stopped_past_its_session_fires_nothing_twice(
    cluster: Cluster,
) -> None:
    chance = random.Random()
    workers = [cluster.worker("first").start(), cluster.worker("second").start()]
    await at_work(*workers)
    await at_least(cluster, 3)
    for worker, other in (workers, workers[::-1]):
        opened = other.says("shard_opened")
        await next_slot(chance)
        worker.signal(signal.SIGSTOP)
        await until(lambda o=other, n=opened: o.says("shard_opened") > n, "the takeover")  # type: ignore[misc]
        await at_least(cluster, len(await slots_fired(cluster)) + 2)
        await next_slot(chance)
        worker.signal(signal.SIGCONT)
        await at_least(cluster, len(await slots_fired(cluster)) + 2)
    for worker in workers:
        worker.stop()
    await each_slot_once(cluster)


async def client_of(worker: Worker) -> Client:
    await until(lambda: bool(worker.says("worker_listens")), "a worker")
    return Client.over_http(worker.url)


@pytest.mark.timeout(240)
async def test_schedules_are_made_steered_and_changed_over_several_workers(
    cluster: Cluster,
) -> None:
    first, second = cluster.worker("first").start(), cluster.worker("second").start()
    await at_work(first, second)
    await at_least(cluster, 1)
    names = [f"s-{n}" for n in range(6)]
    async with await client_of(first) as client:
        for name in names:
            made = await client.schedule(orders, name, "@every 2s", object=Tick(pid=0))
            assert made.next_slots
        await client.pause_schedule(orders, "ticking", "holidays")
        past = datetime.fromisoformat("2020-01-01T00:00:00Z")
        for _ in range(2):
            filled = await client.backfill(orders, "s-0", past, past + timedelta(seconds=10))
            assert len(filled.slots) == 5
    async with await client_of(second) as client:
        found = {view.name: view for view in await client.schedules(orders)}
        assert list(found) == [*names, "ticking"]
        assert (found["ticking"].state, found["ticking"].reason) == (State.PAUSED, "holidays")
        for name in names:
            await client.delete_schedule(orders, name)
        assert [view.name for view in await client.schedules(orders)] == ["ticking"]
    for worker in (first, second):
        worker.stop()
    backfilled = [slot for slot in await slots_fired(cluster) if slot.startswith("2020-")]
    assert len(backfilled) == 5
    fired = set(await slots_fired(cluster))

    first.start(CRON="@every 3s")
    await until(lambda: first.says("worker_listens") == 2, "the worker again")
    async with Client.over_http(first.url) as client:

        async def changed() -> bool:
            return (await client.get_schedule(orders, "ticking")).cron == "@every 3s"

        await until(changed, "the changed schedule")
        view = await client.get_schedule(orders, "ticking")
        assert (view.state, view.reason) == (State.PAUSED, "holidays")
        await client.resume_schedule(orders, "ticking")
        await at_least(cluster, len(fired) + 2)
    first.stop()
    new = [datetime.fromisoformat(slot) for slot in await slots_fired(cluster) if slot not in fired]
    assert all(slot.timestamp() % 3 == 0 for slot in new)
