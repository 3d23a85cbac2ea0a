"""A worker that is gone is soon replaced if that is asked for; a standby goes on from its copy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamwf.adapters.local_kafka import LocalKafka
from streamwf.agents.host import KafkaHost
from streamwf.errors import StreamwfError
from tests.kafka.cluster import PARTITIONS, Cluster, until
from tests.kafka.conftest import MakeCluster
from tests.kafka.flows import orders

RUNS = 100
SHARDS = [("orders", number) for number in range(PARTITIONS)]


@pytest.mark.timeout(240)
async def test_with_a_short_session_the_others_take_over(
    own_kafka: LocalKafka, make_cluster: MakeCluster
) -> None:
    fast = {"STREAMWF_SESSION_TIMEOUT": "PT2S", "STEP_SECONDS": "0.05"}
    cluster = make_cluster(own_kafka.bootstrap, **fast)
    first, second = (cluster.worker(name).start() for name in ("first", "second"))
    workers = (first, second)
    await until(lambda: all(worker.says("shard_opened") >= 2 for worker in workers), "ready")
    opened = second.says("shard_opened")
    await cluster.trigger(f"early-{number}" for number in range(RUNS))
    first.kill()
    await cluster.trigger(f"late-{number}" for number in range(RUNS))
    await until(lambda: second.says("shard_opened") >= opened + 2, "the takeover", 30)

    async def complete() -> bool:
        return await cluster.completed() == 2 * RUNS

    await until(complete, "all runs complete")
    await cluster.checkpointed()
    assert (await cluster.verify()).differences == []


@pytest.mark.timeout(120)
async def test_a_session_that_the_brokers_do_not_allow_is_told(cluster: Cluster) -> None:
    worker = cluster.worker("first").start(STREAMWF_SESSION_TIMEOUT="PT0.5S")
    assert worker.wait(60) == 1
    assert "The Kafka brokers allow no session_timeout of 0.5s. Set it" in worker.text()


class Lines:
    """Implements `streamwf.ports.Logger`."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def debug(self, event: str, /, **fields: Any) -> None:
        self.seen.append((event, fields))

    info = warning = error = debug

    def recovered(self) -> list[int]:
        """How much of the changelog was read for each shard that was opened."""
        return [fields["recovered"] for event, fields in self.seen if event == "shard_opened"]


@asynccontextmanager
async def started(cluster: Cluster, data_dir: Path) -> AsyncIterator[tuple[KafkaHost, Lines]]:
    """A host of this process that is told what it has, and its lines."""
    lines, failed = Lines(), list[StreamwfError]()
    settings = cluster.settings.model_copy(update={"data_dir": data_dir})
    host = KafkaHost([orders], settings, may_start=lambda: True, failed=failed.append, logger=lines)
    await host.start()
    try:
        yield host, lines
    finally:
        await host.stop()


@pytest.mark.timeout(120)
async def test_a_standby_goes_on_from_its_copy(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.trigger(f"order-{number}" for number in range(RUNS))

    async def complete() -> bool:
        return await cluster.completed() == RUNS

    async with started(cluster, tmp_path / "owner") as (owner, _):
        await owner.assign(SHARDS, ())
        await until(complete, "all runs complete")
    ends = {number: positions[-1] for number, positions in (await cluster.markers()).items()}

    async with started(cluster, tmp_path / "standby") as (standby, lines):
        await standby.assign((), SHARDS)

        def followed() -> bool:
            tables = {number: standby.data.table(("orders", number)) for number in ends}
            return all(tables[number].position == end for number, end in ends.items())

        await until(followed, "the copies are those of the end")
        await standby.assign(SHARDS, ())
        assert not standby.missing()
        assert lines.recovered() == [1] * PARTITIONS, "more than the marker that each is of"
        assert sum(shard.counts().total() for shard in standby.shards("orders")) == RUNS

    async with started(cluster, tmp_path / "fresh") as (fresh, lines):
        await fresh.assign(SHARDS, ())
        assert sum(lines.recovered()) > RUNS, "the changelog has more than markers"
