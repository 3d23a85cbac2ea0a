"""Who watches workers on Kafka misses nothing when one is killed, be it the one that tells."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from streamwf import Client
from streamwf.adapters.kafka.topics import partition_of
from streamwf.cli.serving import free_port
from streamwf.moves import Gap, Missing
from tests.kafka.cluster import Cluster, Worker, until
from tests.kafka.flows import Status, orders

RUNS = 300


class Heard:
    """What one client has been told: how often, by run and version; and the notices."""

    def __init__(self) -> None:
        self.moves: Counter[tuple[str, int]] = Counter()
        self.notices: list[Gap | Missing] = []
        self.last: dict[str, Status] = {}

    @asynccontextmanager
    async def listening(self, worker: Worker) -> AsyncIterator[None]:
        client = Client.over_http(worker.url)

        async def listen() -> None:
            async with client, aclosing(client.watch(orders, notice=self.notices.append)) as moves:
                async for move in moves:
                    self.moves[move.foreign_id, move.version] += 1
                    self.last[move.foreign_id] = move.status

        task = asyncio.ensure_future(listen())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.timeout(240)
async def test_two_workers_one_killed_while_clients_watch(cluster: Cluster) -> None:
    first = cluster.worker("first", STEP_SECONDS="0.02").start()
    port = str(free_port("127.0.0.1"))
    second = cluster.worker("second", STEP_SECONDS="0.02", STREAMWF_WEB_PORT=port).start()

    async def shared() -> bool:
        if not (first.says("worker_listens") and second.says("worker_listens")):
            return False
        async with Client.over_http(first.url) as client:
            roles = (await client.roles()).roles
        return len({role.shard for role in roles}) == 4 and len({r.worker for r in roles}) == 2

    await until(shared, "both have shards")
    at_first, at_second = Heard(), Heard()
    async with at_first.listening(first), at_second.listening(second):
        # Each hears of all shards once it is told of runs in all of them.
        begun = 0
        while not all(covers(heard, cluster) for heard in (at_first, at_second)):
            await cluster.trigger([f"warm-{begun}"])
            begun += 1
            await asyncio.sleep(0.1)
        await cluster.trigger(f"order-{n}" for n in range(RUNS))
        await until(lambda: sum(at_first.moves.values()) > RUNS, "a part of it heard")
        second.kill()
        await cluster.trigger(f"late-{n}" for n in range(RUNS))
        second.start()
        names = [f"{kind}-{n}" for kind in ("order", "late") for n in range(RUNS)]
        wanted = {(name, version) for name in names for version in (1, 2, 3, 4)}
        for heard in (at_first, at_second):
            await until(lambda heard=heard: wanted <= heard.moves.keys(), "all heard", 120)
            assert {heard.last[name] for name in names} == {Status.SHIPPED}
            assert not [told for told in heard.notices if isinstance(told, Gap)]
            assert max(heard.moves.values()) == 1


def covers(heard: Heard, cluster: Cluster) -> bool:
    shards = {partition_of(name, cluster.settings.partitions) for name, _ in heard.moves}
    return len(shards) == cluster.settings.partitions
