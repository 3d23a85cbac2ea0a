"""A worker whose disk is full for a while."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rocksdict import AccessType, Options, Rdict

from streamwf.tables.runs import AsOf
from tests.chaos.faults import filled
from tests.chaos.spaces import NotAllowed, Space
from tests.kafka.cluster import HERE, PARTITIONS, Cluster, Worker, until
from tests.kafka.test_kills import all_complete, nothing_lost_and_nothing_twice

MEGABYTES = 64


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Space]]:
    """A small file system, and the space that it is mounted in."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        space = Space(network=False)
    except NotAllowed as error:
        pytest.skip(str(error))
    try:
        space.mount(place, MEGABYTES)
        yield place, space
    finally:
        space.close()


def worker_on(disk: tuple[Path, Space], cluster: Cluster, **environment: str) -> Worker:
    """A worker whose tables lie on the disk, started."""
    place, space = disk
    command = [*space.prefix, sys.executable, str(HERE / "worker_main.py")]
    worker = Worker("small", cluster.folder, {**cluster.environment, **environment}, command)
    cluster.workers.append(worker)
    return worker.start(STREAMWF_DATA_DIR=str(place))


@pytest.mark.timeout(240)
async def test_it_goes_on_once_there_is_room(cluster: Cluster, disk: tuple[Path, Space]) -> None:
    place, space = disk
    worker = worker_on(disk, cluster)
    await until(lambda: worker.says("shard_opened") >= 4, "ready")
    await cluster.trigger(f"before-{n}" for n in range(50))
    await all_complete(cluster, 50)
    async with filled(space.seen(place)) as fill:
        fill()
        await cluster.trigger(f"meanwhile-{n}" for n in range(50))
        await until(lambda: worker.says("checkpoint_failed") >= 4, "no room")
    await cluster.trigger(f"after-{n}" for n in range(50))
    await nothing_lost_and_nothing_twice(cluster, 150)
    assert worker.runs


@pytest.mark.timeout(240)
async def test_a_copy_is_kept_again_once_there_is_room(
    cluster: Cluster, disk: tuple[Path, Space]
) -> None:
    place, space = disk
    standby = {"STREAMWF_STANDBY_REPLICAS": "1"}
    owner = cluster.worker("owner", **standby).start()
    await until(lambda: owner.says("shard_opened") >= 4, "ready")
    copies = worker_on(disk, cluster, **standby)
    await until(lambda: copies.says("shard_opened") >= 2, "the copies")
    async with filled(space.seen(place)) as fill:
        fill()
        await cluster.trigger(f"meanwhile-{n}" for n in range(50))
        await until(lambda: copies.says("standby_failed") >= 2, "no room")
    await cluster.trigger(f"after-{n}" for n in range(50))
    await all_complete(cluster, 100)
    await cluster.checkpointed()

    ends = Counter(record.partition for record in await cluster.records(cluster.topics.events))

    def caught_up() -> bool:
        tables = space.seen(place) / "tables" / "orders"
        return [position(tables / str(n)) for n in range(PARTITIONS)] == [
            ends[n] for n in range(PARTITIONS)
        ]

    await until(caught_up, "all copies as of the end")


def position(table: Path) -> int | None:
    """What a table is as of that a worker has open; None if nothing was written to it yet."""
    read_only = AccessType.read_only()
    found = Rdict(str(table), options=Options(raw_mode=True), access_type=read_only)
    try:
        stored = found.get(b"m")
        return None if stored is None else msgspec.msgpack.decode(stored, type=AsOf).position
    finally:
        found.close()
