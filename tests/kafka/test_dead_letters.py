"""Dead letters in their topic: told by every worker, settled for all of them."""

import pytest

from tests.kafka.cluster import PARTITIONS, Cluster, Worker, until
from tests.letters import TOO_LARGE, sent_again, settled


def owned(worker: Worker) -> int:
    return worker.says("shard_opened") - worker.says("shard_closed")


@pytest.mark.timeout(120)
async def test_of_a_topic(cluster: Cluster) -> None:
    first, second = cluster.worker("first").start(), cluster.worker("second").start()
    for worker in (first, second):
        await until(lambda worker=worker: worker.says("worker_listens") > 0, "it listens", 30)
    # What is set aside while its shard moves may be set aside again.
    await until(lambda: owned(first) == owned(second) == PARTITIONS // 2, "they share", 30)
    for value in (b"nonsense", TOO_LARGE):
        await cluster.produce(value, key=b"key")
    await settled(first, second, second)
    first.stop()
    await sent_again(second)
