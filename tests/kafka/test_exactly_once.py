"""Exactly once: whoever reads what is committed of the topic sees no result twice, whatever has
become of the workers."""

import json
from collections import Counter

import pytest

from tests.kafka.cluster import PARTITIONS, Cluster, Worker, until
from tests.kafka.conftest import MakeCluster
from tests.kafka.test_zombies import RUNS as ZOMBIE_RUNS
from tests.kafka.test_zombies import backward, zombie

#: In each of four piles, with three steps each.
RUNS = 400


@pytest.fixture
def cluster(kafka: str, make_cluster: MakeCluster) -> Cluster:
    return make_cluster(kafka, STREAMWF_PROCESSING_GUARANTEE="exactly_once")


async def results(cluster: Cluster, *, committed: bool = True) -> Counter[tuple[str, int]]:
    """How often the topic has a result of each (run id, version)."""
    records = await cluster.records(cluster.topics.events, committed=committed)
    events = [json.loads(record.value) for record in records]
    return Counter((e["runid"], e["version"]) for e in events if e["type"] == "moved")


async def each_result_once(cluster: Cluster, runs: int) -> None:
    """Every run is complete, its results are there once, and the tables are the fold of them."""

    async def complete() -> bool:
        return await cluster.completed() == runs

    await until(complete, f"{runs} runs complete", 120)
    await cluster.checkpointed()
    found = await results(cluster)
    assert len(found) == 3 * runs
    assert {run: count for run, count in found.items() if count > 1} == {}
    verified = await cluster.verify()
    assert (verified.differences, verified.behind, verified.rows) == ([], 0, runs)


async def ready(*workers: Worker) -> None:
    await until(lambda: sum(w.says("shard_opened") for w in workers) >= PARTITIONS, "ready")


@pytest.mark.timeout(300)
async def test_workers_that_are_killed_and_one_that_joins(cluster: Cluster) -> None:
    first, second = (cluster.worker(name, STEP_SECONDS="0.02") for name in ("first", "second"))
    first.start()
    second.start()
    await ready(first, second)
    total = 0
    for worker in (first, second, first):
        begun = await cluster.completed()
        await cluster.trigger(f"order-{n}" for n in range(total, total + RUNS))
        total += RUNS

        async def under_load(begun: int = begun) -> bool:
            return await cluster.completed() > begun + 20

        await until(under_load, "some more runs complete")
        worker.kill()
        worker.start()
    cluster.worker("third", STEP_SECONDS="0.02").start()
    await cluster.trigger(f"order-{n}" for n in range(total, total + RUNS))
    await each_result_once(cluster, total + RUNS)


@pytest.mark.timeout(300)
async def test_a_zombies_results_are_never_committed(cluster: Cluster) -> None:
    first, _ = await zombie(cluster)
    await until(lambda: first.says("shard_closed") >= 2, "the zombie gives its shards up", 60)
    await each_result_once(cluster, ZOMBIE_RUNS)
    assert max(cluster.executed().values()) > 1, "the zombie did nothing"
    assert not any(backward(p) for p in (await cluster.markers()).values())
