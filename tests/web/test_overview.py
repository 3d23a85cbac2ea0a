"""The overview: counts, what has happened lately, lag, shards and roles, of all workers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streamwf import Client, Run, Workflow
from streamwf.errors import InvalidQuery
from streamwf.gateway import LocalGateway
from streamwf.measures import BUCKET_SECONDS, KEPT_SECONDS, Recent
from tests.support import NOW, eventually
from tests.web.crew import Crew
from tests.web.harness import Order, Reply, Status, Worker, orders, running

OVERVIEW = "/api/v1/overview"


def summed(workflow: dict[str, Any]) -> dict[str, int]:
    names = ("transitions", "failures", "started", "ended")
    return {name: sum(bucket[name] for bucket in workflow["buckets"]) for name in names}


def of(reply: Reply, name: str = "orders") -> Any:
    assert reply.status == 200, reply.body
    return next(each for each in reply.json["workflows"] if each["name"] == name)


async def test_what_has_happened(worker: Worker) -> None:
    worker.gate.set()
    for number in range(3):
        await worker.reached(await worker.trigger(f"o-{number}"), "SHIPPED")
    waiting = await worker.trigger("o-9", start_at="2099-01-01T00:00:00Z")
    await worker.post(f"/api/v1/runs/{waiting}/cancel", {})
    reply = await worker.get(OVERVIEW)

    told = of(reply)
    assert told["counts"] == {
        "SHIPPED": {"COMPLETED": 3},
        "CREATED": {"CANCELLED": 1},
    }
    assert summed(told) == {"transitions": 11, "failures": 0, "started": 4, "ended": 4}
    assert (told["shards"], told["live"], told["lag"], told["held"]) == (1, 1, 0, {})
    assert summed(of(reply, "refunds"))["transitions"] == 0
    [here] = reply.json["workers"]
    assert here == {"worker": "", "shards": {"orders": 1, "refunds": 1}, "roles": {"idle": 3}}
    assert reply.json["missing"] == []
    at = datetime.fromisoformat(reply.json["at"])
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


async def test_the_client_tells_it_over_http_and_in_the_process(worker: Worker) -> None:
    await worker.reached(await worker.trigger("o-1"), "PICKED")
    async with worker.client() as client:
        for asked in (client, Client(LocalGateway(worker.operations))):
            told = await asked.overview(timedelta(seconds=90))
            orders, _ = told.workflows
            assert (orders.name, orders.counts) == ("orders", {"PICKED": {"RUNNING": 1}})
            assert len(orders.buckets) == 90 / BUCKET_SECONDS + 1
            assert told.missing == []
            with pytest.raises(InvalidQuery, match="window"):
                await asked.overview(timedelta(days=1))


async def test_failures() -> None:
    def declare(workflow: Workflow[Order, Status]) -> None:
        @workflow.on_cancel
        async def notify(run: Run[Order, Status]) -> None:
            raise ValueError("nobody to tell")

    async with running(declare=declare) as worker:
        run_id = await worker.trigger("o-1", start_at="2099-01-01T00:00:00Z")
        await worker.post(f"/api/v1/runs/{run_id}/cancel", {})

        async def counted() -> bool:
            return summed(of(await worker.get(OVERVIEW)))["failures"] == 1

        await eventually(counted)


@pytest.mark.parametrize(
    ("window", "count"), [("10s", 2), ("95s", 10), ("10m", 61), ("1h", 361), ("600", 61)]
)
async def test_the_window(worker: Worker, window: str, count: int) -> None:
    told = of(await worker.get(f"{OVERVIEW}?window={window}"))
    begins = [datetime.fromisoformat(bucket["at"]) for bucket in told["buckets"]]
    assert len(begins) == count
    steps = {later - earlier for earlier, later in pairwise(begins)}
    assert steps == {timedelta(seconds=BUCKET_SECONDS)}
    assert begins[-1] <= datetime.now(UTC) < begins[-1] + timedelta(seconds=60)


@pytest.mark.parametrize(
    "asked",
    [
        *("window=", "window=9s", "window=61m", "window=-10m", "window=soon", "window=nan"),
        *("window=1e9", "window=10m&window=10m", "windows=10m", "window=" + "9" * 5_000),
    ],
)
async def test_what_can_not_be_asked(worker: Worker, asked: str) -> None:
    reply = await worker.get(f"{OVERVIEW}?{asked}")
    assert (reply.status, reply.headers["Content-Type"]) == (422, "application/problem+json")


@pytest.fixture
async def crew(tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(tmp_path, lambda: orders(asyncio.Event())) as crew:
        await crew.join()
        await crew.settled(*crew.members)
        await crew.join()
        await crew.settled(*crew.members)
        yield crew


async def test_of_all_workers(crew: Crew) -> None:
    a, b = crew.members
    async with a.client() as client:
        for number in range(12):
            await client.trigger(crew.workflow, f"o-{number}", Order(price=1))
        assert {told.worker for told in (await client.overview()).workers} == {"", b.url}

    async def told_by(member: Any) -> Any:
        async with member.session.get(member.url + OVERVIEW) as reply:
            return await reply.json()

    async def all_there() -> bool:
        for member, other in ((a, b), (b, a)):
            told = await told_by(member)
            [workflow] = told["workflows"]
            assert told["missing"] == []
            assert {each["worker"] for each in told["workers"]} == {"", other.url}
            shards = {each["worker"]: each["shards"]["orders"] for each in told["workers"]}
            assert shards == {"": len(member.shards), other.url: len(other.shards)}
            assert (workflow["shards"], workflow["live"]) == (4, 4)
            if workflow["counts"] != {"PICKED": {"RUNNING": 12}}:
                return False
            expected = {"transitions": 24, "failures": 0, "started": 12, "ended": 0}
            assert summed(workflow) == expected
        return True

    await eventually(all_there)
    await b.server.stop()
    told = await told_by(a)
    assert told["missing"] == [b.url]
    assert told["workflows"][0]["live"] == len(a.shards)


def test_what_is_kept_has_a_limit() -> None:
    recent = Recent()
    for minute in range(600):
        recent.at(NOW + timedelta(minutes=minute)).transitions += 1
    assert len(recent.buckets) == KEPT_SECONDS // BUCKET_SECONDS + 1
    # A clock that goes back counts to the latest.
    recent.at(NOW).transitions += 1
    assert recent.buckets[-1].transitions == 2
