"""Dead letters in their topic: told by every worker, settled for all of them."""

import pytest

from tests.kafka.cluster import Cluster, until
from tests.letters import TOO_LARGE, sent_again, settled


@pytest.mark.timeout(120)
async def test_of_a_topic(cluster: Cluster) -> None:
    first, second = cluster.worker("first").start(), cluster.worker("second").start()
    for worker in (first, second):
        await until(lambda worker=worker: worker.says("worker_listens") > 0, "it listens", 30)
    for value in (b"nonsense", TOO_LARGE):
        await cluster.produce(value, key=b"key")
    await settled(first, second, second)
    first.stop()
    await sent_again(second)
