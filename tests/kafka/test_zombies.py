"""A worker that was stopped past its session, and goes on as if nothing had happened."""

import asyncio
import itertools
import signal
from collections import Counter

import pytest

from tests.kafka.cluster import Cluster, Worker, until


def backward(positions: list[int]) -> bool:
    return any(later < earlier for earlier, later in itertools.pairwise(positions))


async def zombie(cluster: Cluster, **environment: str) -> tuple[Worker, Worker]:
    """Two workers; the first is stopped with unwritten rows, in the middle of its steps, for so
    long that the second takes its shards over, and then goes on."""
    slow = {"STEP_SECONDS": "1", "STREAMWF_CHECKPOINT_INTERVAL": "PT3S", **environment}
    first, second = cluster.worker("first", **slow), cluster.worker("second", **slow)
    first.start()
    await until(lambda: first.says("shard_opened") >= 4, "the first worker", 30)
    await cluster.trigger(f"order-{n}" for n in range(100))
    await until(lambda: (cluster.folder / "steps").exists(), "the first steps", 30)
    second.start()
    await until(lambda: second.says("shard_opened") >= 2, "the second worker", 30)
    # Right after a checkpoint, so that what is folded now is written by no other before the stop.
    durable = cluster.folded().total()
    await until(lambda: cluster.folded().total() > durable, "a checkpoint", 30)
    await cluster.trigger(f"late-{n}" for n in range(100))
    await asyncio.sleep(0.5)
    first.signal(signal.SIGSTOP)
    opened = second.says("shard_opened")
    await until(lambda: second.says("shard_opened") >= opened + 2, "the takeover", 60)

    async def complete() -> bool:
        return await cluster.completed() == 200

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
    assert len(results) == 600
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
