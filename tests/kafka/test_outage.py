"""The broker stops for a while."""

import asyncio

import pytest

from streamwf.adapters.local_kafka import LocalKafka
from tests.kafka.cluster import Cluster, until
from tests.kafka.test_kills import all_complete, nothing_lost_and_nothing_twice


@pytest.mark.timeout(300)
async def test_the_broker_stops_for_ten_seconds(
    own_kafka: LocalKafka, own_cluster: Cluster
) -> None:
    cluster = own_cluster
    workers = [cluster.worker(name, STEP_SECONDS="0.05").start() for name in ("first", "second")]
    await until(lambda: sum(w.says("shard_opened") for w in workers) >= 4, "ready", 30)
    await cluster.trigger(f"order-{n}" for n in range(500))
    await all_complete(cluster, 50)
    before = {worker.name: worker.text() for worker in workers}
    await asyncio.to_thread(own_kafka.stop)
    await asyncio.sleep(10)
    await asyncio.to_thread(own_kafka.start)
    await cluster.trigger(f"after-{n}" for n in range(100))
    await nothing_lost_and_nothing_twice(cluster, 600)
    for worker in workers:
        assert worker.process is not None
        assert worker.process.poll() is None, "the worker went on"
        # That the end is told may take a moment.
        await until(lambda w=worker: w.says("brokers_reachable_again") >= 1, "told", 30)
        told = worker.text()[len(before[worker.name]) :].splitlines()
        events = [line for line in told if "shard_" not in line]
        assert len(events) == 2, "one line when it begins, and one when it is over"
        assert "brokers_unreachable" in events[0]
        assert own_kafka.bootstrap in events[0]
        assert "brokers_reachable_again" in events[1]
