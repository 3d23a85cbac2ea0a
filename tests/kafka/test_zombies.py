"""A worker that was stopped past its session, and goes on as if nothing had happened."""

import itertools
import re
import signal
from collections import Counter

import aiohttp
import pytest

from tests.kafka.cluster import Cluster, Worker, until

#: In three hundreds, with three steps each.
RUNS = 300


def backward(positions: list[int]) -> bool:
    return any(later < earlier for earlier, later in itertools.pairwise(positions))


async def triggers(worker: Worker) -> float:
    """How many triggers a worker has folded."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{worker.url}/metrics") as answer,
    ):
        found = re.findall(r'events_total\{[^}]*type="trigger"[^}]*\} (\S+)', await answer.text())
    return sum(map(float, found))


async def trigger_in(worker: Worker, cluster: Cluster, name: str) -> None:
    """Start runs, and wait until those in the worker's shards are folded."""
    before = await triggers(worker)
    await cluster.trigger(f"{name}-{n}" for n in range(100))

    async def folded() -> bool:
        return await triggers(worker) > before

    await until(folded, f"{name} triggers in the worker's shards")


async def zombie(cluster: Cluster, **environment: str) -> tuple[Worker, Worker]:
    """Two workers; the first is stopped with unwritten rows, in the middle of its steps, for so
    long that the second takes its shards over, and then goes on."""
    slow = {"STEP_SECONDS": "1", "STREAMWF_CHECKPOINT_INTERVAL": "PT3S", **environment}
    folds = cluster.folder / "folds-first"
    first = cluster.worker("first", **slow, FOLD_RECORD=str(folds))
    second = cluster.worker("second", **slow)
    first.start()
    await until(lambda: first.says("shard_opened") >= 4, "the first worker")
    await cluster.trigger(f"order-{n}" for n in range(100))
    await until(lambda: (cluster.folder / "steps").exists(), "the first steps")
    second.start()
    await until(lambda: second.says("shard_opened") >= 2, "the second worker")
    # Right after a checkpoint of the first, so that it has rows to write when it is stopped. Its
    # steps may all have ended by now, so there is a checkpoint only if there is more to fold.
    durable = folds.stat().st_size
    await trigger_in(first, cluster, "middle")
    await until(lambda: folds.stat().st_size > durable, "a checkpoint")
    await trigger_in(first, cluster, "late")
    first.signal(signal.SIGSTOP)
    opened = second.says("shard_opened")
    await until(lambda: second.says("shard_opened") >= opened + 2, "the takeover", 60)

    async def complete() -> bool:
        return await cluster.completed() == RUNS

    await until(complete, "all runs complete", 60)
    first.signal(signal.SIGCONT)
    return first, second


@pytest.mark.timeout(240)
async def test_of_two_results_one_folds_and_no_late_row_is_written(cluster: Cluster) -> None:
    first, _ = await zombie(cluster)
    await until(lambda: first.says("shard_closed") >= 2, "the zombie gives its shards up", 60)
    await cluster.checkpointed()
    results = Counter(
        (event["runid"], event["version"])
        for event in await cluster.events()
        if event["type"] == "moved"
    )
    assert len(results) == 3 * RUNS
    assert max(results.values()) == 2, "the zombie finished no step: nothing was put to the test"
    assert (await cluster.verify()).differences == []
    assert not any(backward(p) for p in (await cluster.markers()).values())


@pytest.mark.timeout(240)
async def test_without_the_fence_late_rows_are_written(cluster: Cluster) -> None:
    """What the fence is for: if this fails, the test above proves nothing."""
    await zombie(cluster, WITHOUT_FENCE="1")

    async def written() -> bool:
        return any(backward(p) for p in (await cluster.markers()).values())

    await until(written, "a late row in the changelog", 60)
