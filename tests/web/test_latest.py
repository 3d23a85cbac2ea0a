"""Runs that are asked for by their foreign id, and forked, over HTTP."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamwf import answering
from tests.web.calling import answers, problem, waiting
from tests.web.harness import Pair, two_workers


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(answering, "ON_ITS_WAY", 0.05)
    async with two_workers(declare=answers) as started:
        yield started


# ---- by foreign id


NAMES = ["b/1", "b 1", "bücher", "b%2F", "b?x=1", "b#", "b..", "b\U0001f4da", "b'\"<>&+"]


@pytest.mark.parametrize("name", NAMES)
async def test_foreign_ids_of_every_kind(pair: Pair, name: str) -> None:
    run_id = await waiting(pair.b, name)
    async with pair.a.client() as client:
        handle = client.run(pair.a.workflow, name)
        assert (await handle.get()).run_id == run_id
        assert (await handle.pause("wait")).reason == "wait"
        assert (await handle.resume()).state == "RUNNING"
        told = await handle.callback("b-decide", {"price": 7})
        assert told.outcome == "moved"
        assert (await handle.await_()).object.price == 7
        assert [event.type for event in (await handle.history()).events][-1] == "moved"
        assert (await handle.delete_data()).run_id == run_id
        found = await client.latest(pair.a.workflow, name)
        assert found is not None
        assert found.foreign_id == name
        # Each action by the name that it has over HTTP, too.
        gateway: Any = client._gateway
        view = await gateway.latest("orders", name)
        assert view.run_id == run_id


LATEST = "/api/v1/workflows/orders/latest"


async def test_the_latest_run_is_asked_whichever_worker_is_asked(pair: Pair) -> None:
    first = await waiting(pair.a, "b-1")
    for worker in (pair.a, pair.b):
        assert (await worker.get(f"{LATEST}/b-1")).json["run_id"] == first
        reply = await worker.get(f"{LATEST}/b-1/await?status=PICKED&timeout=30")
        assert (reply.status, reply.json["status"]) == (200, "PICKED")
        reply = await worker.post(f"{LATEST}/b-1/pause", {"reason": "lunch"})
        assert (reply.json["state"], reply.json["reason"]) == ("PAUSED", "lunch")
        reply = await worker.post(f"{LATEST}/b-1/resume")
        assert reply.json["state"] == "RUNNING"
    reply = await pair.a.post(f"{LATEST}/b-1/retry")
    assert problem(reply) == (409, "TransitionRefused")
    assert (await pair.a.post(f"{LATEST}/b-1/cancel")).json["state"] == "CANCELLED"
    second = await waiting(pair.a, "b-1")
    assert (await pair.a.get(f"{LATEST}/b-1")).json["run_id"] == second
    reply = await pair.a.post(f"{LATEST}/b-1/delete-data")
    assert problem(reply) == (409, "TransitionRefused")
    pair.b.gate.set()
    assert (await pair.a.get(f"{LATEST}/b-1/await?timeout=30")).json["state"] == "COMPLETED"
    reply = await pair.a.post(f"{LATEST}/b-1/delete-data")
    assert reply.json["state"] == "DATA_DELETION_REQUESTED"


async def test_a_request_to_the_latest_run_counts_once(pair: Pair) -> None:
    await waiting(pair.b, "b-1")
    for worker in (pair.a, pair.b, pair.a):
        reply = await worker.post(f"{LATEST}/b-1/pause", {"reason": "once", "key": "k"})
        assert reply.json["state"] == "PAUSED"
    run_id = reply.json["run_id"]
    history = (await pair.a.get(f"/api/v1/runs/{run_id}/history")).json["events"]
    assert [event["type"] for event in history].count("pause") == 1


async def test_a_foreign_id_without_runs(pair: Pair) -> None:
    for worker in (pair.a, pair.b):
        assert problem(await worker.get(f"{LATEST}/b-1")) == (404, "ForeignIdNotFound")
        assert problem(await worker.get(f"{LATEST}/b-1/await")) == (404, "ForeignIdNotFound")
        assert problem(await worker.post(f"{LATEST}/b-1/pause")) == (404, "ForeignIdNotFound")
        assert problem(await worker.get(f"{LATEST}/b%00")) == (422, "InvalidForeignId")
        assert problem(await worker.get(f"{LATEST}/{'b' * 501}")) == (422, "InvalidForeignId")
        reply = await worker.get("/api/v1/workflows/nope/latest/b-1")
        assert problem(reply) == (404, "WorkflowNotFound")
        assert problem(await worker.get(f"{LATEST}/unowned")) == (503, "NotReady")
        assert (await worker.post(f"{LATEST}/b-1/explode")).status == 404
        assert (await worker.get(f"{LATEST}/b-1/pause")).status == 405
        reply = await worker.post(f"{LATEST}/b-1/pause", data=b"{", headers={"Content-Type": "x/y"})
        assert reply.status == 415


async def test_waiting_for_the_latest_run_ends_in_time(pair: Pair) -> None:
    await waiting(pair.b, "b-1")
    reply = await pair.a.get(f"{LATEST}/b-1/await?timeout=0")
    assert problem(reply) == (504, "DeadlineExceeded")
    assert problem(await pair.a.get(f"{LATEST}/b-1/await?status=GONE")) == (422, "UnknownStatus")
    assert problem(await pair.a.get(f"{LATEST}/b-1/await?until=x")) == (422, "InvalidQuery")


# ---- forks


async def test_a_run_is_forked_whichever_worker_is_asked(pair: Pair) -> None:
    run_id = await waiting(pair.b, "b-1")
    fork = f"/api/v1/runs/{run_id}/fork"
    ids = set()
    for worker in (pair.a, pair.b):
        reply = await worker.post(fork, {"version": 1, "foreign_id": "b-2", "key": "k"})
        assert reply.status == 200
        ids.add(reply.json["run_id"])
    [new] = ids
    run = (await pair.a.get(f"/api/v1/runs/{new}")).json
    assert (run["foreign_id"], run["origin"]) == ("b-2", f"{run_id}@1")
    reply = await pair.a.post(fork, {"version": 1})
    assert problem(reply) == (409, "RunInProgress")
    assert reply.json["run_id"] == run_id


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 422, "InvalidQuery"),
        ({"version": "1"}, 422, "InvalidQuery"),
        ({"version": 1.5}, 422, "InvalidQuery"),
        ({"version": 10**400}, 422, "VersionNotFound"),
        ({"version": 1, "at": "PICKED"}, 422, "InvalidQuery"),
        ({"version": 1, "foreign_id": ""}, 422, "InvalidForeignId"),
        ({"version": 0}, 422, "VersionNotFound"),
        ({"version": 99}, 422, "VersionNotFound"),
        ({"version": -(2**63)}, 422, "VersionNotFound"),
    ],
)
async def test_what_can_not_be_forked(
    pair: Pair, body: dict[str, Any], status: int, error: str
) -> None:
    run_id = await waiting(pair.b, "b-1")
    for worker in (pair.a, pair.b):
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        reply = await worker.post(f"/api/v1/runs/{run_id}/fork", data=data, headers=headers)
        assert reply.status == status, reply.body
        assert reply.json["type"].endswith(error)
        reply = await worker.post("/api/v1/runs/nope/fork", {"version": 1})
        assert problem(reply) == (404, "RunNotFound")
