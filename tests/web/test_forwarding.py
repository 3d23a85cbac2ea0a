"""Two workers: whichever a request reaches, it is answered all the same."""

import asyncio
import json

import pytest
from aiohttp import web
from yarl import URL

from streamwf.adapters.web.forwarding import LOCAL, Forwarder, Question
from streamwf.errors import NotReady, RunNotFound
from streamwf.views import Page, RunView, WorkflowView
from tests.support import eventually
from tests.web.harness import Pair, Worker, answering, nowhere, silent, two_workers

RUNS = "/api/v1/workflows/orders/runs"
HERE = {LOCAL: "1"}


def order(foreign_id: str) -> dict[str, object]:
    return {"foreign_id": foreign_id, "object": {"price": 1}}


def foreign_ids(worker: Worker) -> list[str]:
    return [record.foreign_id for _, record in worker.shard.scan("")]


# ---- triggering


async def test_a_trigger_is_forwarded_to_the_owner(pair: Pair) -> None:
    reply = await pair.a.post(RUNS, order("b-1"))

    assert (reply.status, reply.json["foreign_id"]) == (201, "b-1")
    assert reply.headers["Location"] == f"/api/v1/runs/{reply.json['run_id']}"
    assert (foreign_ids(pair.a), foreign_ids(pair.b)) == ([], ["b-1"])


async def test_a_trigger_is_forwarded_whole(pair: Pair) -> None:
    body = {**order("b-1"), "key": "k", "status": "PICKED", "start_at": "2099-01-01T00:00:00Z"}
    ids = {(await worker.post(RUNS, body)).json["run_id"] for worker in (pair.a, pair.b, pair.a)}
    assert len(ids) == 1
    run = (await pair.b.get(f"/api/v1/runs/{ids.pop()}")).json
    assert (run["status"], run["due_at"]) == ("PICKED", "2099-01-01T00:00:00Z")


async def test_what_the_owner_refuses_is_relayed(pair: Pair) -> None:
    run_id = await pair.b.trigger("b-1")
    reply = await pair.a.post(RUNS, order("b-1"))
    assert (reply.status, reply.json["run_id"]) == (409, run_id)
    assert reply.headers["Content-Type"] == "application/problem+json"

    reply = await pair.a.post(RUNS, {"foreign_id": "b-2", "object": {"price": "cheap"}})
    assert (reply.status, reply.json["errors"][0]["field"]) == (422, "price")


async def test_a_trigger_without_waiting_needs_no_owner(pair: Pair) -> None:
    pair.urls["b"] = await nowhere()
    reply = await pair.a.post(RUNS + "?wait=false", order("b-1"))
    assert reply.status == 202


async def test_a_forwarded_trigger_is_never_forwarded_again(pair: Pair) -> None:
    reply = await pair.a.post(RUNS, order("b-1"), headers=HERE)
    assert (reply.status, reply.json["type"]) == (503, "urn:streamwf:error:NotReady")
    assert reply.headers["Retry-After"]
    assert foreign_ids(pair.b) == []


async def test_a_trigger_of_a_foreign_id_that_nobody_owns(pair: Pair) -> None:
    reply = await pair.a.post(RUNS, order("unowned"))
    assert (reply.status, reply.json["type"]) == (503, "urn:streamwf:error:NotReady")


@pytest.mark.parametrize("foreign_id", ["", "b\0", "b" * 501])
async def test_nobody_is_asked_who_owns_what_is_no_foreign_id(pair: Pair, foreign_id: str) -> None:
    reply = await pair.a.post(RUNS, order(foreign_id))
    assert (reply.status, reply.json["type"]) == (422, "urn:streamwf:error:InvalidForeignId")
    query = {"workflow": "orders", "foreign_id": foreign_id}
    reply = await pair.a.get("/api/v1/runs", params=query)
    assert (reply.status, reply.json["type"]) == (422, "urn:streamwf:error:InvalidForeignId")


async def test_an_owner_that_is_gone(pair: Pair) -> None:
    pair.urls["b"] = await nowhere()
    reply = await pair.a.post(RUNS, order("b-1"))
    assert (reply.status, reply.json["type"]) == (503, "urn:streamwf:error:NotReady")
    assert pair.urls["b"] in reply.json["detail"]


async def test_an_owner_that_hangs() -> None:
    async with two_workers(deadline=0.1) as pair, silent() as url:
        pair.a.operations.patience = 0.1
        pair.urls["b"] = url
        reply = await pair.a.post(RUNS, order("b-1"))
        assert (reply.status, reply.json["url"]) == (502, url)


async def test_what_is_forwarded_and_what_is_relayed(pair: Pair) -> None:
    def answer(request: web.Request) -> web.Response:
        return web.Response(
            status=418,
            text="short and stout",
            headers={"Location": "/pot", "Retry-After": "7", "Set-Cookie": "a=b", "X-Other": "1"},
        )

    async with answering(answer) as (url, asked):
        pair.urls["b"] = url
        reply = await pair.a.post(
            RUNS + "?wait=true",
            data=json.dumps(order("b-1")),
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "Connection": "keep-alive, X-Hop",
                "X-Hop": "1",
                "TE": "trailers",
                "Proxy-Authorization": "secret",
                "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            },
        )

    (request,) = asked
    assert (request.method, request.raw_path) == ("POST", RUNS + "?wait=true")
    assert json.loads(await request.read()) == order("b-1")
    assert request.headers[LOCAL] == "1"
    assert request.headers["traceparent"].startswith("00-0af")
    assert request.headers["Host"] == f"127.0.0.1:{URL(url).port}"
    assert not {"X-Hop", "TE", "Proxy-Authorization"} & set(request.headers)

    assert (reply.status, reply.body) == (418, b"short and stout")
    assert (reply.headers["Location"], reply.headers["Retry-After"]) == ("/pot", "7")
    assert not {"Set-Cookie", "X-Other"} & set(reply.headers)


# ---- one run


@pytest.mark.parametrize("path", ["", "/history", "/await?status=PICKED&timeout=30"])
async def test_a_run_is_found_where_it_is(pair: Pair, path: str) -> None:
    run_id = await pair.b.trigger("b-1")
    await pair.b.reached(run_id, "PICKED")

    here = await pair.b.get(f"/api/v1/runs/{run_id}{path}")
    there = await pair.a.get(f"/api/v1/runs/{run_id}{path}")

    assert (there.status, there.json) == (200, here.json)


async def test_a_run_is_steered_where_it_is(pair: Pair) -> None:
    run_id = await pair.b.trigger("b-1")
    for action, state in (("pause", "PAUSED"), ("resume", "RUNNING"), ("cancel", "CANCELLED")):
        reply = await pair.a.post(f"/api/v1/runs/{run_id}/{action}", {"reason": f"to {action}"})
        assert (reply.status, reply.json["state"]) == (200, state)
        assert reply.json["reason"] == f"to {action}"
    assert (await pair.a.post(f"/api/v1/runs/{run_id}/pause")).status == 409


async def test_awaiting_a_run_elsewhere(pair: Pair) -> None:
    run_id = await pair.b.trigger("b-1")
    waiting = asyncio.create_task(pair.a.reached(run_id, "SHIPPED"))
    await eventually(lambda: pair.b.shard.waiting._watchers)
    pair.b.gate.set()
    reply = await waiting
    assert (reply.status, reply.json["status"]) == (200, "SHIPPED")


async def test_waiting_is_not_taken_for_silence() -> None:
    async with two_workers(deadline=0.1) as pair:
        run_id = await pair.b.trigger("b-1")
        reply = await pair.a.get(f"/api/v1/runs/{run_id}/await?timeout=0.3")
        assert (reply.status, reply.json["seconds"]) == (504, 0.3)


async def test_errors_of_a_run_elsewhere_are_relayed(pair: Pair) -> None:
    run_id = await pair.b.trigger("b-1")
    path = f"/api/v1/runs/{run_id}/await"
    assert (await pair.a.get(f"{path}?timeout=0.01")).status == 504
    assert (await pair.a.get(f"{path}?status=GONE")).status == 422
    await pair.b.post(f"/api/v1/runs/{run_id}/cancel")
    assert (await pair.a.get(f"{path}?status=SHIPPED")).status == 409


async def test_a_run_that_nobody_has(pair: Pair) -> None:
    reply = await pair.a.get("/api/v1/runs/nope")
    assert (reply.status, reply.json["run_id"]) == (404, "nope")


async def test_a_forwarded_look_is_answered_from_here_only(pair: Pair) -> None:
    run_id = await pair.b.trigger("b-1")
    for path in ("", "/history", "/await"):
        reply = await pair.a.get(f"/api/v1/runs/{run_id}{path}", headers=HERE)
        assert reply.status == 404
    assert (await pair.a.post(f"/api/v1/runs/{run_id}/cancel", headers=HERE)).status == 404
    assert (await pair.b.get(f"/api/v1/runs/{run_id}")).json["state"] != "CANCELLED"


async def test_a_run_may_be_at_a_worker_that_is_gone(pair: Pair) -> None:
    mine = await pair.a.trigger("a-1")
    pair.urls["b"] = await nowhere()

    assert (await pair.a.get(f"/api/v1/runs/{mine}")).status == 200
    reply = await pair.a.get("/api/v1/runs/nope")
    assert reply.status == 503
    assert reply.json["workers"] == [pair.urls["b"]]
    assert reply.headers["Retry-After"]


async def test_a_run_may_be_at_a_worker_that_hangs() -> None:
    async with two_workers(deadline=1.0) as pair, silent() as url:
        pair.urls["c"] = url
        theirs = await pair.b.trigger("b-1")
        assert (await pair.a.get(f"/api/v1/runs/{theirs}")).status == 200
        reply = await pair.a.get("/api/v1/runs/nope")
        assert (reply.status, reply.json["workers"]) == (503, [url])


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_run_may_be_at_a_worker_that_fails(pair: Pair, status: int) -> None:
    async with answering(lambda _: web.Response(status=status)) as (url, _):
        pair.urls["c"] = url
        theirs = await pair.b.trigger("b-1")
        assert (await pair.a.get(f"/api/v1/runs/{theirs}")).status == 200
        assert (await pair.a.get("/api/v1/runs/nope")).json["workers"] == [url]


async def test_a_run_may_be_at_a_worker_that_is_not_ready(pair: Pair) -> None:
    pair.b.why.append("2 shards are being recovered")
    reply = await pair.a.get("/api/v1/runs/nope")
    assert (reply.status, reply.json["workers"]) == (503, [pair.b.url])

    pair.b.why.clear()
    pair.b.shard.live = False
    assert (await pair.a.get("/api/v1/runs/nope")).json["workers"] == [pair.b.url]


async def test_a_run_may_be_here_once_this_worker_is_ready(pair: Pair) -> None:
    theirs = await pair.b.trigger("b-1")
    pair.a.why.append("2 shards are being recovered")

    assert (await pair.a.get(f"/api/v1/runs/{theirs}")).status == 200
    reply = await pair.a.get("/api/v1/runs/nope")
    assert (reply.status, reply.json["workers"]) == (503, ["this worker"])


async def test_a_run_that_comes_here_while_the_others_are_asked(pair: Pair, monkeypatch) -> None:
    run_id = await pair.a.trigger("a-1")
    get, asked = pair.a.operations.get, []

    async def at_first_elsewhere(run_id: str) -> RunView:
        asked.append(run_id)
        if len(asked) == 1:
            raise RunNotFound(run_id=run_id)
        return await get(run_id)

    monkeypatch.setattr(pair.a.operations, "get", at_first_elsewhere)
    assert (await pair.a.get(f"/api/v1/runs/{run_id}")).status == 200
    assert (await pair.b.get("/api/v1/runs/nope")).status == 404


async def test_a_run_that_may_be_about_to_come_here(pair: Pair, monkeypatch) -> None:
    ready, silent = pair.a.why, []

    async def all_asked(question: Question) -> tuple[None, list[str]]:
        ready.append("shards are being opened")
        return None, silent

    monkeypatch.setattr(Forwarder, "first", lambda _, question: all_asked(question))
    assert (await pair.a.get("/api/v1/runs/nope")).status == 503


async def test_steering_has_a_key_so_that_any_owner_counts_it_once(pair: Pair, monkeypatch) -> None:
    run_id = await pair.a.trigger("a-1")
    await pair.a.reached(run_id, "PICKED")
    seen = []
    steer = pair.a.operations.steer

    async def moves(action: str, run_id: str, reason: str, key: str, version: None) -> None:
        """The log has the request, and then the shard moves before anybody is answered."""
        seen.append((reason, key))
        await steer(action, run_id, reason, key, version)
        raise NotReady(what="the shard")

    monkeypatch.setattr(pair.a.operations, "steer", moves)
    async with answering(lambda _: web.json_response({"state": "PAUSED"})) as (url, asked):
        pair.urls["b"] = url
        reply = await pair.a.post(f"/api/v1/runs/{run_id}/pause", {"reason": "stocktaking"})

    assert (reply.status, reply.json) == (200, {"state": "PAUSED"})
    ((reason, key),) = seen
    assert json.loads(await asked[0].read()) == {"reason": reason, "key": key}
    assert asked[0].content_type == "application/json"
    again = await steer("pause", run_id, reason, key)
    assert (again.state, again.version) == ("PAUSED", 3)


# ---- lists and counts


async def test_lists_are_merged_in_order(pair: Pair) -> None:
    for worker, foreign_id in ((pair.a, "a-2"), (pair.b, "b-1"), (pair.a, "a-1"), (pair.b, "b-0")):
        await worker.trigger(foreign_id)

    for worker in (pair.a, pair.b):
        page = (await worker.get("/api/v1/runs")).json
        assert [run["foreign_id"] for run in page["runs"]] == ["a-1", "a-2", "b-0", "b-1"]
        assert (page["cursor"], page["missing"]) == (None, [])


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9, 10, 11])
async def test_pages_over_workers_have_every_run_once(pair: Pair, limit: int) -> None:
    wanted = []
    for number in range(5):
        # Each worker's lie among the other's, as partitions have it.
        wanted.append(await pair.a.trigger(f"a-{number}"))
        wanted.append(await pair.b.trigger(f"b-{number}"))
    found: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        worker = (pair.a, pair.b)[pages % 2]
        page = (await worker.get(f"/api/v1/runs?limit={limit}&cursor={cursor}")).json
        assert len(page["runs"]) <= limit
        found += [run["run_id"] for run in page["runs"]]
        cursor, pages = page["cursor"], pages + 1
    assert len(found) == len(wanted)
    assert set(found) == set(wanted)
    assert pages == -(-len(wanted) // limit)


async def test_the_runs_of_a_foreign_id_are_asked_of_its_owner(pair: Pair) -> None:
    run_id = await pair.b.trigger("b-1")
    path = "/api/v1/runs?workflow=orders&foreign_id=b-1"
    page = (await pair.a.get(path)).json
    assert [run["run_id"] for run in page["runs"]] == [run_id]

    pair.urls["b"] = await nowhere()
    assert (await pair.a.get(path)).status == 503
    assert (await pair.a.get(path.replace("b-1", "unowned"))).status == 503
    pair.a.shard.live = False
    assert (await pair.a.get(path.replace("b-1", "a-1"))).status == 503


async def test_counts_are_summed(pair: Pair) -> None:
    for worker, foreign_id in ((pair.a, "a-1"), (pair.b, "b-1"), (pair.b, "b-2")):
        await worker.reached(await worker.trigger(foreign_id), "PICKED")
    for worker in (pair.a, pair.b):
        one = (await worker.get("/api/v1/workflows/orders")).json
        assert one["counts"] == {"PICKED": {"RUNNING": 3}}
        # The one of PICKED has ended nowhere yet.
        assert one["steps"]["CREATED"]["count"] == 3
        assert one["steps"]["CREATED"]["errors"] == 0
        every = (await worker.get("/api/v1/workflows")).json
        assert every["workflows"][0] == one
    here = (await pair.a.get("/api/v1/workflows/orders", headers=HERE)).json
    assert here["counts"] == {"PICKED": {"RUNNING": 1}}
    assert here["steps"]["CREATED"]["count"] == 1


PATHS = ["/api/v1/runs", "/api/v1/workflows", "/api/v1/workflows/orders"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_worker_that_does_not_answer_is_named(path: str) -> None:
    async with two_workers(deadline=1.0) as pair, silent() as hanging:
        pair.urls["b"], pair.urls["c"] = await nowhere(), hanging
        reply = await pair.a.get(path)
        assert reply.status == 200
        assert reply.json["missing"] == [pair.urls["b"], hanging]


@pytest.mark.parametrize("path", PATHS)
async def test_a_worker_that_is_not_ready_is_named(pair: Pair, path: str) -> None:
    pair.b.why.append("2 shards are being recovered")
    assert (await pair.a.get(path)).json["missing"] == [pair.b.url]
    assert (await pair.b.get(path)).json["missing"] == ["this worker"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"runs": 1}'])
async def test_a_worker_that_answers_nonsense_is_named(pair: Pair, path: str, body: str) -> None:
    async with answering(lambda _: web.Response(text=body)) as (url, _):
        pair.urls["b"] = url
        assert (await pair.a.get(path)).json["missing"] == [url]


async def test_a_newer_worker_may_tell_more(pair: Pair) -> None:
    await pair.b.trigger("b-1", start_at="2099-01-01T00:00:00Z")
    page = (await pair.b.get("/api/v1/runs")).json
    page["runs"][0]["mood"] = "good"
    async with answering(lambda _: web.json_response({**page, "more": 1})) as (url, _):
        pair.urls["b"] = url
        merged = Page.model_validate((await pair.a.get("/api/v1/runs")).json)
    assert (len(merged.runs), merged.missing) == (1, [])


async def test_a_list_goes_only_to_peers(pair: Pair) -> None:
    """Whatever a request names as its host, peers say where it goes."""
    async with answering(lambda _: web.Response()) as (url, asked):
        headers = {"Host": URL(url).authority, "X-Forwarded-Host": URL(url).authority}
        assert (await pair.a.get("/api/v1/runs", headers=headers)).json["missing"] == []
        view = WorkflowView.model_validate(
            (await pair.a.get("/api/v1/workflows/orders", headers=headers)).json
        )
        assert view.missing == []
        assert asked == []
