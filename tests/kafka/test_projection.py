"""A table in PostgreSQL follows the runs on a real broker, through kills and rebuilds."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.sql.engine import create
from streamwf.agents import rebuild
from streamwf.record import decode_record
from streamwf.tables.changelog import MARKER_KEY
from tests.kafka.cluster import HERE, Cluster, until
from tests.kafka.flows import orders

RUNS = 300
SECRET = "a-secret-that-nobody-may-see"


class Projector:
    """`streamwf project` as a process."""

    def __init__(self, cluster: Cluster, url: str, flows: str, *flags: str) -> None:
        self._command = [sys.executable, "-m", "streamwf.cli", "project", str(HERE / f"{flows}.py")]
        self._command += ["--store", url, *flags]
        self._cluster = cluster
        self.log = cluster.folder / "projector.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        told = {"STREAMWF_BROKERS", "STREAMWF_TOPIC_PREFIX"}
        settings = {k: v for k, v in self._cluster.environment.items() if k in told}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env={**os.environ, **settings}, stdout=log, stderr=log
            )

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)


Start = Callable[..., Projector]


@pytest.fixture
def project(cluster: Cluster, postgres_url: str) -> Iterator[Start]:
    """Starts to project the workflow of a module."""
    made: list[Projector] = []

    def start(flows: str = "flows", *flags: str) -> Projector:
        made.append(Projector(cluster, postgres_url, flows, *flags))
        made[-1].start()
        return made[-1]

    yield start
    for projector in made:
        if projector.process is not None and projector.process.poll() is None:
            projector.end(signal.SIGKILL)


async def rows(url: str, wanted: str = "SELECT * FROM orders_projection") -> list[dict[str, Any]]:
    engine: AsyncEngine = create(url, "store")
    try:
        async with engine.connect() as connection:
            if not await connection.scalar(text("SELECT to_regclass('orders_projection')")):
                return []
            found = await connection.execute(text(wanted))
            return [dict(row) for row in found.mappings()]
    finally:
        await engine.dispose()


async def runs_of(cluster: Cluster) -> dict[str, tuple[object, ...]]:
    """What `verify` compares with the log: the last row of each key, but for inner runs."""
    latest: dict[bytes, bytes | None] = {}
    for entry in await cluster.records(cluster.topics.changelog, committed=True):
        latest[entry.key] = entry.value
    found = [decode_record(v) for k, v in latest.items() if v is not None and k != MARKER_KEY]
    return {
        r.run_id: (r.foreign_id, r.status, r.state.value, r.version, r.created_at, r.updated_at)
        for r in found
        if not r.kind
    }


async def projected(url: str) -> dict[str, tuple[object, ...]]:
    names = ("foreign_id", "status", "state", "version", "created_at", "updated_at")
    return {row["run_id"]: tuple(row[name] for name in names) for row in await rows(url)}


async def cluster_has(cluster: Cluster, completed: int) -> bool:
    return await cluster.completed() == completed


async def the_same(cluster: Cluster, url: str) -> None:
    async def same() -> bool:
        there = await projected(url)
        return bool(there) and there == await runs_of(cluster)

    await until(same, "the rows of the changelog")


async def test_rows_are_those_of_the_log_though_it_is_killed(
    cluster: Cluster, project: Start, postgres_url: str
) -> None:
    await cluster.trigger(f"order-{n}" for n in range(RUNS))
    worker = cluster.worker("first").start()
    projector = project("flows", "--search")
    for more in range(1, 6):
        # In the middle of it, wherever that is.
        before = len(await rows(postgres_url))
        await cluster.trigger(f"more-{more}-{n}" for n in range(100))

        async def grown(before: int = before) -> bool:
            return len(await rows(postgres_url)) > before

        await until(grown, "more rows")
        projector.end(signal.SIGKILL)
        projector.start()

    await until(lambda: cluster_has(cluster, RUNS + 500), "all runs complete")
    await cluster.checkpointed()
    await the_same(cluster, postgres_url)
    assert not (await cluster.verify()).differences
    books = await rows(postgres_url, "SELECT 1 FROM orders_projection WHERE object_item = 'book'")
    assert len(books) == RUNS + 500

    worker.stop()
    # Another changelog takes its place, in which nothing lies where it was.
    await rebuild(orders, cluster.settings, lambda done, total: None)
    cluster.worker("second").start()
    await cluster.trigger(f"late-{n}" for n in range(50))
    await until(lambda: cluster_has(cluster, RUNS + 550), "the late runs complete")
    await cluster.checkpointed()
    await the_same(cluster, postgres_url)
    assert projector.log.read_text().count("projection_begins_anew")
    assert projector.end(signal.SIGTERM) == 0


async def test_what_is_sealed_is_not_opened(
    cluster: Cluster, project: Start, postgres_url: str
) -> None:
    worker = cluster.worker("first", FLOWS="flows_encrypted").start()
    await until(lambda: worker.says("shard_opened") >= 4, "the worker")
    await cluster.produce(
        b'{"type": "trigger", "subject": "ann", "data": {"secret": "%s"}}' % SECRET.encode(),
        b"ann",
    )
    project("flows_encrypted", "--search")

    async def there() -> bool:
        return bool(await rows(postgres_url))

    await until(there, "a row")
    await cluster.checkpointed()
    for row in await rows(postgres_url):
        assert SECRET not in repr(row)
        assert not [name for name in row if name.startswith("object_")]
