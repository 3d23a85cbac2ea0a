"""Rates and breakers where a step has several shards."""

import pytest

from streamwf import Client
from streamwf.views import Query
from tests.kafka.cluster import Cluster, until
from tests.kafka.flows_paced import BREAKER, RATE

RUNS = 24


def calls(cluster: Cluster, status: str) -> list[float]:
    """When a step was called."""
    path = cluster.folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted(float(line.split()[1]) for line in lines if line.startswith(status))


@pytest.mark.timeout(180)
async def test_a_breaker_and_a_rate_count_over_all_shards(cluster: Cluster) -> None:
    up = cluster.folder / "up"
    cluster.environment |= {
        "FLOWS": "flows_paced",
        "SERVICE_UP": str(up),
        "CALLS": str(cluster.folder / "calls"),
    }
    await cluster.trigger(f"o-{number}" for number in range(RUNS))
    worker = cluster.worker("only").start()
    await until(lambda: worker.says("shard_opened") == 4, "all shards open")
    await until(lambda: len(calls(cluster, "CREATED")) >= BREAKER.failures, "the step is called")
    async with Client.over_http(worker.url) as client:
        held = (await client.describe("orders")).held["CREATED"]
        assert held.reason == "OSError: refused"
        assert BREAKER.failures <= held.failures <= len(calls(cluster, "CREATED")) < RUNS

        async def told() -> bool:
            page = await client.find(Query(workflow="orders", status=["CREATED"], limit=RUNS))
            # A shard that is open may still have to read its log.
            return not page.missing and any(run.held_until for run in page.runs)

        await until(told, "the runs tell that they are held")
    up.touch()

    async def done() -> bool:
        return await cluster.completed() == RUNS

    await until(done, "all runs")
    instants = calls(cluster, "CALLED")
    assert len(instants) == RUNS
    # A step notes the time a moment after it was counted.
    nearly = RATE.per.total_seconds() * 0.75
    for first in instants:
        assert sum(first <= each < first + nearly for each in instants) <= RATE.runs
