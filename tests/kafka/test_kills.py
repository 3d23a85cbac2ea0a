"""Workers that are killed, replaced and robbed of their tables lose nothing."""

import asyncio
import random
from collections import Counter

import pytest

from streamwf.adapters.kafka.topics import recreate_changelog
from streamwf.agents import rebuild
from tests.kafka.cluster import Cluster, until
from tests.kafka.flows import orders

RUNS = 2_000


async def all_complete(cluster: Cluster, runs: int, seconds: float = 90) -> None:
    async def complete() -> bool:
        return await cluster.completed() >= runs

    await until(complete, f"{runs} runs complete", seconds)


async def nothing_lost_and_nothing_twice(cluster: Cluster, runs: int) -> None:
    """Every run is complete, the tables are the fold of the log, no version folded twice."""
    await all_complete(cluster, runs)
    await cluster.checkpointed()
    verified = await cluster.verify()
    assert (verified.differences, verified.behind, verified.rows) == ([], 0, runs)
    results = Counter(
        (event["runid"], event["version"])
        for event in await cluster.events()
        if event["type"] == "moved"
    )
    assert len(results) == 3 * runs
    executed = cluster.executed()
    assert len(executed) == 3 * runs
    # Rival results are in the log at most as often as a step was executed again.
    assert sum(results.values()) <= sum(executed.values())


@pytest.mark.timeout(240)
async def test_two_workers_one_killed_twice(cluster: Cluster) -> None:
    first, second = cluster.worker("first", STEP_SECONDS="0.05"), cluster.worker("second")
    first.start()
    second.start()
    await until(lambda: first.says("shard_opened") + second.says("shard_opened") >= 4, "ready")
    await cluster.trigger(f"order-{n}" for n in range(RUNS))
    for _ in range(2):
        begun = await cluster.completed()

        async def moved_on(begun: int = begun) -> bool:
            return await cluster.completed() > min(begun + 100, RUNS - 1)

        await until(moved_on, "some more runs complete")
        first.kill()
        first.start()
    await nothing_lost_and_nothing_twice(cluster, RUNS)


@pytest.mark.timeout(240)
async def test_the_killed_workers_tables_are_gone(cluster: Cluster) -> None:
    worker = cluster.worker("first").start()
    await cluster.trigger(f"early-{n}" for n in range(200))
    await all_complete(cluster, 200)
    await cluster.checkpointed()
    worker.kill()
    worker.wipe()
    await cluster.trigger(f"late-{n}" for n in range(200))
    worker.start()
    await nothing_lost_and_nothing_twice(cluster, 400)
    assert set(cluster.executed().values()) == {1}


@pytest.mark.timeout(240)
async def test_tables_and_changelog_are_gone(cluster: Cluster) -> None:
    worker = cluster.worker("first").start()
    await cluster.trigger(f"order-{n}" for n in range(200))
    await all_complete(cluster, 200)
    worker.stop()
    worker.wipe()
    await recreate_changelog("orders", cluster.settings)
    settings = cluster.settings.model_copy(update={"data_dir": worker.data_dir})
    seen: list[tuple[int, int]] = []
    rebuilt = await rebuild(orders, settings, lambda *progress: seen.append(progress))
    assert (rebuilt.runs, rebuilt.events) == (200, 800)
    assert seen[-1] == (800, 800)
    assert (await cluster.verify()).differences == []
    worker.start()
    await cluster.trigger(["one-more"])
    await nothing_lost_and_nothing_twice(cluster, 201)
    assert set(cluster.executed().values()) == {1}


@pytest.mark.timeout(240)
async def test_a_worker_rebuilds_by_itself_from_a_lost_changelog(cluster: Cluster) -> None:
    worker = cluster.worker("first").start()
    await cluster.trigger(f"order-{n}" for n in range(100))
    await all_complete(cluster, 100)
    worker.stop()
    await recreate_changelog("orders", cluster.settings)
    # Its own tables are the image of a changelog that exists no more.
    worker.start()
    await cluster.trigger(["one-more"])
    await nothing_lost_and_nothing_twice(cluster, 101)
    assert set(cluster.executed().values()) == {1}


@pytest.mark.timeout(240)
async def test_what_was_refused_stays_refused_after_a_crash(cluster: Cluster) -> None:
    worker = cluster.worker("first", STEP_SECONDS="1").start()
    await cluster.trigger(["order"])
    await until(lambda: bool(worker.says("shard_opened")), "a worker")
    await cluster.trigger(["order"])
    await all_complete(cluster, 1)
    # The refused trigger may be read again now, when nothing is in progress any more.
    worker.kill()
    worker.start()
    await cluster.trigger(["other"])
    await nothing_lost_and_nothing_twice(cluster, 2)


@pytest.mark.timeout(300)
async def test_joining_leaving_and_killed_in_a_loop(cluster: Cluster) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    workers = [cluster.worker(name, STEP_SECONDS="0.01") for name in ("first", "second", "third")]
    workers[0].start()
    await until(lambda: workers[0].says("shard_opened") >= 4, "ready", 30)
    running, total = {workers[0]}, 0
    for _ in range(8):
        await cluster.trigger(f"order-{n}" for n in range(total, total + 150))
        total += 150
        worker = chance.choice(workers)
        if worker not in running:
            worker.start()
            running.add(worker)
        elif len(running) > 1:
            (worker.kill if chance.random() < 0.5 else worker.stop)()
            running.discard(worker)
        await asyncio.sleep(chance.uniform(0.5, 3))
    await nothing_lost_and_nothing_twice(cluster, total)
    folded = cluster.folded()
    holes_or_repeats = {place: count for place, count in folded.items() if count != 1}
    assert holes_or_repeats == {}
    assert len(folded) == len(await cluster.events())
