"""What is told of all workers says which of them did not tell, and waits for none for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.web.harness import answering, nowhere, silent, two_workers

LISTS = {
    "/api/v1/runs": "runs",
    "/api/v1/runs?workflow=orders&order=-created": "runs",
    "/api/v1/runs/count": None,
    "/api/v1/workflows": "workflows",
    "/api/v1/workflows/orders": None,
    "/api/v1/roles": "roles",
    "/api/v1/workflows/orders/schedules": "schedules",
    "/api/v1/workflows/orders/connectors": "connectors",
}


@asynccontextmanager
async def worker_that(fails: str) -> AsyncIterator[str]:
    """The URL of a worker that can't tell what it owns."""
    if fails == "is gone":
        yield await nowhere()
    elif fails == "is stopped":
        async with silent() as url:
            yield url
    else:
        status, _, text = fails.partition(" ")
        answer = {"status": int(status), "text": text, "content_type": "application/json"}
        async with answering(lambda _: web.Response(**answer)) as (url, _):
            yield url


@pytest.mark.parametrize("fails", ["is gone", "is stopped", "500 {}", "503 {}", "200 []", "404 {}"])
async def test_every_list_says_who_is_missing(fails: str) -> None:
    async with two_workers(deadline=1.0) as pair, worker_that(fails) as url:
        await pair.a.trigger("a-1")
        await pair.b.trigger("b-1")
        pair.urls["c"] = url
        async with asyncio.timeout(60):
            for path, items in LISTS.items():
                reply = await pair.a.get(path)
                assert (reply.status, reply.json["missing"]) == (200, [url]), path
                if items in ("runs", "workflows", "roles"):
                    assert reply.json[items], path
            bulk = await pair.a.post("/api/v1/runs/bulk", {"action": "pause", "query": {}})
            assert (bulk.status, bulk.json["workers"]) == (503, [url])
        del pair.urls["c"]
        for path in LISTS:
            assert (await pair.a.get(path)).json["missing"] == [], path


async def test_a_worker_that_is_being_recovered_says_so_of_itself() -> None:
    async with two_workers() as pair:
        pair.b.why.append("2 shards are being recovered")
        for path in LISTS:
            assert (await pair.a.get(path)).json["missing"] == [pair.b.url], path
            assert (await pair.b.get(path)).json["missing"] == ["this worker"], path
