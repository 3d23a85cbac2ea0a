"""What a worker says when it can't run: what to do, and no traceback."""

import socket

import pytest

from streamwf.adapters.kafka.topics import ensure_topics
from tests.kafka.cluster import Cluster, Worker, until


async def refused(worker: Worker) -> str:
    """What a worker says before it gives up."""
    worker.start()
    assert worker.process is not None
    process = worker.process
    await until(lambda: process.poll() is not None, "the worker gives up", 60)
    assert process.returncode == 1
    assert "Traceback" not in worker.text()
    return worker.text()


async def test_no_broker_at_the_address(cluster: Cluster) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        said = await refused(cluster.worker("first", STREAMWF_BROKERS=address))
    assert f"No Kafka broker answers at {address}" in said
    assert "--brokers" in said


async def test_a_topic_with_other_partitions(cluster: Cluster) -> None:
    other = cluster.settings.model_copy(update={"partitions": 3})
    await ensure_topics(["orders"], other)
    said = await refused(cluster.worker("first"))
    assert "has 3 partitions, but 4 are asked for" in said


async def test_a_data_directory_in_use(cluster: Cluster) -> None:
    first = cluster.worker("first").start()
    await until(lambda: first.says("shard_opened") >= 4, "the first worker", 30)
    second = cluster.worker("second", STREAMWF_DATA_DIR=str(first.data_dir))
    second._environment["STREAMWF_DATA_DIR"] = str(first.data_dir)
    assert "is in use by another worker" in await refused(second)


@pytest.mark.timeout(120)
async def test_live_runs_in_a_status_that_is_gone(cluster: Cluster) -> None:
    first = cluster.worker("first", STEP_SECONDS="0.1").start()
    await cluster.trigger(["order"], item="broken")

    async def failing() -> bool:
        return any(event["type"] == "failed" for event in await cluster.events())

    await until(failing, "a run at the status", 30)
    first.stop()
    said = await refused(cluster.worker("second", FLOWS="flows_without_a_status"))
    assert "1 live run is in status 'PICKED'" in said
    assert "renamed={'PICKED': STATUS}" in said
    assert "streamwf check" in said
