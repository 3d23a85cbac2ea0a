"""What runs were, over HTTP: a version of one, and its history as test data."""

from typing import Any

import pytest

from streamwf.errors import TransitionRefused, VersionUnknown
from streamwf.testing import replay
from tests.support import eventually
from tests.web.harness import Pair, Reply, Status, Worker, running
from tests.web.test_access import ACCESS, who


def told(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json.get("type", "").rpartition(":")[2]


async def picked(worker: Worker, foreign_id: str, **options: Any) -> str:
    run_id = await worker.trigger(foreign_id, **options)
    await worker.reached(run_id, "PICKED")
    return run_id


@pytest.mark.parametrize("foreign_id", ["a-1", "b-1"])
async def test_whichever_worker_is_asked_tells_each_version(pair: Pair, foreign_id: str) -> None:
    run_id = await picked(pair.a, foreign_id)
    for worker in (pair.a, pair.b):
        first = await worker.get(f"/api/v1/runs/{run_id}/versions/1")
        assert (first.status, first.json["status"], first.json["version"]) == (200, "CREATED", 1)
        assert first.headers["ETag"].startswith('"1.')
        now = await worker.get(f"/api/v1/runs/{run_id}")
        same = await worker.get(f"/api/v1/runs/{run_id}/versions/{now.json['version']}")
        assert same.body == now.body
        unknown = await worker.get(f"/api/v1/runs/{run_id}/versions/9")
        assert told(unknown) == (422, "VersionUnknown")
        assert unknown.json["last"] == now.json["version"]
        exported = await worker.get(f"/api/v1/runs/{run_id}/export")
        history = await worker.get(f"/api/v1/runs/{run_id}/history")
        assert [each["offset"] for each in exported.json["events"]] == [
            each["offset"] for each in history.json["events"]
        ]


@pytest.mark.parametrize("version", ["x", "-1", "1.5", "9" * 16, "\u0661"])
async def test_what_is_no_version(worker: Worker, version: str) -> None:
    run_id = await picked(worker, "o-1")
    reply = await worker.get(f"/api/v1/runs/{run_id}/versions/{version}")
    assert told(reply) == (422, "InvalidQuery")
    assert reply.json["field"] == "version"


async def test_a_run_that_nobody_has(pair: Pair) -> None:
    for path in ("versions/1", "export"):
        reply = await pair.a.get(f"/api/v1/runs/nobody/{path}")
        assert told(reply) == (404, "RunNotFound")


async def test_a_version_of_what_was_deleted(worker: Worker) -> None:
    run_id = await picked(worker, "o-1")
    await worker.post(f"/api/v1/runs/{run_id}/cancel")
    await worker.post(f"/api/v1/runs/{run_id}/delete-data")
    for path in ("versions/1", "export"):
        reply = await worker.get(f"/api/v1/runs/{run_id}/{path}")
        assert told(reply) == (409, "TransitionRefused")


async def test_the_client_asks_for_a_version_and_a_history(pair: Pair) -> None:
    run_id = await picked(pair.b, "b-1", price=7)
    async with pair.a.client() as client:
        first = await client.get(pair.a.workflow, run_id, version=1)
        assert (first.status, first.object.price) == (Status.CREATED, 7)
        with pytest.raises(VersionUnknown) as unknown:
            await client.get(pair.a.workflow, run_id, version=99)
        assert unknown.value.version == 99
        exported = await client.export(run_id)
        assert replay(pair.a.workflow, exported).status is Status.PICKED
        await client.cancel(run_id)
        await client.delete_data(run_id)
        with pytest.raises(TransitionRefused):
            await client.export(run_id)


async def test_a_history_is_for_who_may_do_everything() -> None:
    async with running(access=ACCESS) as worker:
        asked = {"foreign_id": "o-1", "object": {"price": 1}}
        runs = "/api/v1/workflows/orders/runs"
        run_id = (await worker.post(runs, asked, **who("root"))).json["run_id"]

        async def begun() -> bool:
            reply = await worker.get(f"/api/v1/runs/{run_id}", **who("root"))
            return bool(reply.json["version"] > 1)

        await eventually(begun)
        for name, status in (("viewer", 403), ("operator", 403), ("admin", 200), ("nobody", 404)):
            reply = await worker.get(f"/api/v1/runs/{run_id}/export", **who(name))
            assert reply.status == status, name
        reply = await worker.get(f"/api/v1/runs/{run_id}/export", **who("admin"))
        assert b"root" not in reply.body
        reply = await worker.get(f"/api/v1/runs/{run_id}/versions/1", **who("viewer"))
        assert reply.status == 200
