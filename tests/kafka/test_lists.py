"""Lists, counts and bulk steering over the shards of two workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import aiohttp
import pytest

from streamwf import Client, State
from streamwf.views import Filter, Order, Query, RunView
from tests.kafka.cluster import Cluster, until
from tests.kafka.flows import Status, orders


@asynccontextmanager
async def two_workers(cluster: Cluster) -> AsyncIterator[tuple[Client, Client]]:
    """A client of each of two workers, each of which owns shards."""
    workers = [cluster.worker(name).start() for name in ("first", "second")]
    await until(lambda: all(w.says("shard_opened") for w in workers), "both own shards", 60)
    async with aiohttp.ClientSession() as session:
        for worker in workers:

            async def ready(url: str = worker.url) -> bool:
                async with session.get(f"{url}/readyz") as answer:
                    return answer.status == 200

            await until(ready, f"{worker.name} ready", 30)
    first, second = (Client.over_http(worker.url) for worker in workers)
    async with first, second:
        yield first, second


async def all_pages(client: Client, size: int, order: Order) -> list[RunView]:
    runs: list[RunView] = []
    query = Query(order=order, limit=size)
    while True:
        page = await client.find(query)
        assert page.missing == []
        runs += page.runs
        if page.cursor is None:
            return runs
        query = query.model_copy(update={"cursor": page.cursor})


def place(order: Order, run: RunView) -> Any:
    if order.endswith("foreign_id"):
        return run.foreign_id
    at = run.created_at if order.endswith("created") else run.updated_at
    return at, run.workflow, run.foreign_id


@pytest.mark.timeout(180)
async def test_two_workers_answer_with_one_list(cluster: Cluster) -> None:
    async with two_workers(cluster) as (first, second):
        await cluster.trigger(f"o-{number:03}" for number in range(60))
        await cluster.trigger((f"lamp-{number}" for number in range(5)), "lamp")
        shipped = Filter(workflow="orders", status=["SHIPPED"])

        async def done() -> bool:
            return await first.count(shipped) == 65

        await until(done, "all shipped", 60)

        for order in get_args(Order):
            lists = [
                await all_pages(client, size, order)
                for client in (first, second)
                for size in (7, 65)
            ]
            for runs in lists:
                assert runs == lists[0]
                places = [place(order, run) for run in runs]
                assert places == sorted(places, reverse=order.startswith("-"))
            assert len({run.run_id for run in lists[0]}) == 65

        for client in (first, second):
            began = min(run.created_at for run in lists[0])
            lamps = Query(search={"item": ["lamp"]}, created_after=began)
            assert await client.count(lamps) == 5
            found = [run async for run in client.list(orders, prefix="lamp", status=Status.SHIPPED)]
            assert [run.foreign_id for run in found] == [f"lamp-{number}" for number in range(5)]

        # They can't be cancelled any more, whichever worker has them, and nothing is passed over.
        parts = [part async for part in second.bulk("cancel", shipped, "late", batch=20)]
        assert sum(part.matched for part in parts) == 65
        assert len({refusal.run_id for part in parts for refusal in part.refused}) == 65
        parts = [part async for part in first.bulk("delete-data", Filter(prefix="o-"), batch=25)]
        assert [(part.matched, part.changed) for part in parts] == [(25, 25), (25, 25), (10, 10)]
        deleted = Filter(state=[State.DATA_DELETED])

        async def gone() -> bool:
            return await second.count(deleted) == 60

        await until(gone, "all data deleted", 30)
