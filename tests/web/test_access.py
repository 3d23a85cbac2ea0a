"""Who may ask what: every route by every role, on one worker and through another."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import hdrs, web

from streamwf.access import EVERY, Asked, Identity, Role
from streamwf.adapters.web import Access, NoPeers, application, serve
from streamwf.adapters.web.forwarding import LOCAL
from streamwf.adapters.web.needs import NEEDS
from streamwf.embedded import EmbeddedHost
from streamwf.operations import Operations
from tests.web.harness import Pair, Reply, SplitPeers, Worker, orders, refunds, running, two_workers

RUNS = "/api/v1/workflows/orders/runs"

IDENTITIES = {
    "viewer": Identity("viewer", {"orders": Role.VIEWER}),
    "operator": Identity("operator", {"orders": Role.OPERATOR}),
    "admin": Identity("admin", {"orders": Role.ADMIN}),
    "stranger": Identity("stranger", {"refunds": Role.ADMIN}),
    "nobody": Identity("nobody", {}),
    "root": Identity("root", {EVERY: Role.ADMIN}),
    "guest": Identity("guest", {EVERY: Role.VIEWER, "orders": Role.OPERATOR}),
}


class Named:
    """Whoever asks says who it is. Implements `streamwf.access.Authenticator`."""

    async def identify(self, asked: Asked) -> Identity | None:
        return IDENTITIES.get(asked.headers.get("X-Who", ""))


ACCESS = Access(Named())


def who(name: str, **more: str) -> dict[str, Any]:
    return {"headers": {"X-Who": name, **more}}


def the_application() -> web.Application:
    host = EmbeddedHost(orders(asyncio.Event()), refunds())
    return application(Operations(host), NoPeers(), lambda: None)


#: What each route takes, as it is declared.
NEEDED = the_application()[NEEDS]


def routes() -> list[tuple[str, str]]:
    """Every method and path that is answered, with the actions that it may end with spelled out."""
    return sorted(set(served(the_application())))


def served(app: web.Application) -> Iterator[tuple[str, str]]:
    for route in app.router.routes():
        if route.resource is None or route.method == hdrs.METH_HEAD:
            continue
        path, info = route.resource.canonical, route.resource.get_info()
        pattern = info["pattern"].pattern if "pattern" in info else ""
        found = re.search(r"\(\?P<(action|asked)>([^)]*)\)", pattern)
        for each in found[2].split("|") if found else [""]:
            yield route.method, path.replace(f"{{{found[1]}}}", each) if found else path


@pytest.fixture
async def guarded() -> AsyncIterator[Worker]:
    async with running(access=ACCESS) as worker:
        yield worker


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with two_workers(access=ACCESS) as workers:
        yield workers


async def started(worker: Worker, foreign_id: str, workflow: str = "orders") -> str:
    content = {"foreign_id": foreign_id, "object": {"price": 1}}
    reply = await worker.post(f"/api/v1/workflows/{workflow}/runs", content, **who("root"))
    assert reply.status == 201, reply.body
    run_id: str = reply.json["run_id"]
    return run_id


async def history(worker: Worker, run_id: str) -> list[dict[str, Any]]:
    reply = await worker.get(f"/api/v1/runs/{run_id}/history", **who("root"))
    events: list[dict[str, Any]] = reply.json["events"]
    return events


# ---- every route by every role


def test_every_route_says_which_role_it_takes() -> None:
    assert set(routes()) == set(NEEDED)
    public = {path for (_, path), need in NEEDED.items() if need.role is None}
    assert {path for path in public if not path.startswith("/page/")} == {
        *("/", "/healthz", "/readyz", "/openapi.json"),
    }


#: What is sent to routes that read a body before they look for what it is about.
BODIES: dict[str, dict[str, Any]] = {
    "fork": {"version": 1},
    "bulk": {"action": "pause", "query": {"workflow": "orders"}},
    "runs": {"foreign_id": "o-1", "object": {"price": 1}},
    "callbacks": {"name": "paid", "foreign_id": "o-1"},
    "{schedule}": {"cron": "@hourly", "foreign_id": "o-1"},
    "backfill": {"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"},
}


async def asked(worker: Worker, method: str, path: str, run_id: str, **options: Any) -> Reply:
    given = {"name": "orders", "foreign_id": "o-1", "run_id": run_id, "schedule": "s"}
    given["version"] = "1"
    filled = path.replace("/await", "/await?timeout=0")
    for part, value in (given | {"connector": "c", "letter": "orders:0:0"}).items():
        filled = filled.replace(f"{{{part}}}", value)
    assert "{" not in filled, "say what this route is to be asked"
    if method != "GET":
        options["json"] = BODIES.get(path.rpartition("/")[2], {})
    return await worker.ask(method, filled, **options)


@pytest.mark.parametrize(("method", "path"), routes())
async def test_each_role_may_do_what_the_table_says(
    guarded: Worker, method: str, path: str
) -> None:
    run_id = await started(guarded, "o-1")
    needed, of_every = NEEDED[method, path].role, NEEDED[method, path].of_every
    for name in ("viewer", "operator", "admin"):
        reply = await asked(guarded, method, path, run_id, **who(name))
        role = IDENTITIES[name].roles["orders"]
        if of_every or (path.endswith("/bulk") and role < Role.OPERATOR):
            assert reply.status == 403
        elif needed is not None and role < needed:
            assert (reply.status, reply.json["needed"]) == (403, str(needed)), (name, reply.body)
            assert f"takes the role {needed} of workflow 'orders'" in reply.json["detail"]
            assert f"'{name}' has {name}" in reply.json["detail"]
        else:
            assert reply.status not in (401, 403), (name, reply.body)


@pytest.mark.parametrize(("method", "path"), routes())
async def test_whoever_is_not_known_is_told_to_say_who_it_is(
    guarded: Worker, method: str, path: str
) -> None:
    for options in ({}, who("mallory"), who("mallory", **{LOCAL: "1"})):
        reply = await asked(guarded, method, path, "x", **options)
        if NEEDED[method, path].role is None:
            assert reply.status == 200
            continue
        assert reply.status == 401, (path, reply.body)
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="streamwf"'
        assert reply.json["type"].endswith("NotAuthenticated")


@pytest.mark.parametrize(("method", "path"), routes())
@pytest.mark.parametrize("name", ["stranger", "nobody"])
async def test_a_workflow_without_a_role_is_not_there(
    guarded: Worker, method: str, path: str, name: str
) -> None:
    run_id = await started(guarded, "o-1")
    reply = await asked(guarded, method, path, run_id, **who(name))
    if NEEDED[method, path].role is None or NEEDED[method, path].of_every:
        return
    if "{" in path or path.endswith("/bulk"):
        assert reply.status == 404, reply.body
        assert reply.json["type"].rpartition(":")[2] in (
            *("WorkflowNotFound", "RunNotFound", "LetterNotFound"),
        )
        # As a workflow and a run are told of that never were.
        other = await asked(guarded, method, path.replace("{name}", "never"), "x", **who(name))
        if "{name}" in path:
            assert other.json["detail"] == reply.json["detail"].replace("orders", "never")
    else:
        assert reply.status == 200
        assert b"orders" not in reply.body


async def test_lists_leave_out_what_one_may_not_see(guarded: Worker) -> None:
    run_id = await started(guarded, "o-1")
    other = await started(guarded, "r-1", "refunds")

    async def seen(name: str) -> tuple[list[str], int, list[str], set[str]]:
        page = (await guarded.get("/api/v1/runs", **who(name))).json
        count = (await guarded.get("/api/v1/runs/count", **who(name))).json
        workflows = (await guarded.get("/api/v1/workflows", **who(name))).json
        roles = (await guarded.get("/api/v1/roles", **who(name))).json
        assert not page["missing"] + count["missing"] + workflows["missing"] + roles["missing"]
        return (
            [run["run_id"] for run in page["runs"]],
            count["count"],
            [workflow["name"] for workflow in workflows["workflows"]],
            {role["workflow"] for role in roles["roles"]},
        )

    assert await seen("root") == ([run_id, other], 2, ["orders", "refunds"], {"orders", "refunds"})
    assert await seen("viewer") == ([run_id], 1, ["orders"], {"orders"})
    assert await seen("stranger") == ([other], 1, ["refunds"], {"refunds"})
    assert await seen("nobody") == ([], 0, [], set())


async def test_what_is_said_of_a_workflow_comes_before_what_is_said_of_all(guarded: Worker) -> None:
    run_id, other = await started(guarded, "o-1"), await started(guarded, "r-1", "refunds")
    assert (await guarded.post(f"/api/v1/runs/{run_id}/pause", {}, **who("guest"))).status == 200
    assert (await guarded.post(f"/api/v1/runs/{other}/pause", {}, **who("guest"))).status == 403
    assert (await guarded.get("/metrics", **who("guest"))).status == 200


async def test_a_route_that_nobody_thought_of_is_for_those_who_may_do_everything() -> None:
    async def view(request: web.Request) -> web.Response:
        return web.json_response({})

    host = EmbeddedHost(refunds())
    app = application(Operations(host), NoPeers(), lambda: None, access=ACCESS)
    app.router.add_get("/api/v1/new", view)
    server = await serve(app, "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(server.url) as session:
            for name, status in (("stranger", 403), ("guest", 403), ("root", 200)):
                async with session.get("/api/v1/new", headers={"X-Who": name}) as response:
                    assert response.status == status
    finally:
        await server.stop()


async def test_what_is_nowhere_is_told_only_to_who_is_known(guarded: Worker) -> None:
    assert (await guarded.get("/api/v2")).status == 401
    assert (await guarded.get("/api/v2", **who("nobody"))).status == 404
    assert (await guarded.ask("DELETE", "/api/v1/runs/x", **who("nobody"))).status == 405


# ---- many at once


async def test_each_of_many_takes_the_role_of_what_is_done(guarded: Worker) -> None:
    run_id, other = await started(guarded, "o-1"), await started(guarded, "r-1", "refunds")
    asked = {"action": "pause", "query": {}}

    done = (await guarded.post("/api/v1/runs/bulk", asked, **who("guest"))).json
    assert (done["matched"], done["changed"]) == (2, 1)
    [refused] = done["refused"]
    assert refused["run_id"] == other
    assert "takes the role operator of workflow 'refunds'; 'guest' has viewer" in refused["why"]

    deleting = {"action": "delete-data", "query": {"workflow": "orders"}}
    reply = await guarded.post("/api/v1/runs/bulk", deleting, **who("guest"))
    assert (reply.status, reply.json["needed"]) == (403, "admin")
    assert "pause" not in [event["type"] for event in await history(guarded, other)]
    assert "pause" in [event["type"] for event in await history(guarded, run_id)]


# ---- through another worker


async def test_who_asks_is_judged_again_by_the_worker_that_has_it(pair: Pair) -> None:
    run_id = await started(pair.a, "b-1")
    path = f"/api/v1/runs/{run_id}"

    for headers in ({}, {LOCAL: "1"}):
        for worker in (pair.a, pair.b):
            reply = await worker.post(f"{path}/pause", {}, **who("mallory", **headers))
            assert reply.status == 401
            assert (await worker.get(path, **who("stranger", **headers))).status in (404, 401)
            reply = await worker.post(f"{path}/delete-data", {}, **who("operator", **headers))
            assert reply.status in (403, 404)
    assert (await pair.a.post(f"{path}/pause", {}, **who("viewer"))).json["needed"] == "operator"
    assert (await pair.a.post(f"{path}/pause", {}, **who("operator"))).status == 200
    assert (await history(pair.b, run_id))[-1]["by"] == "operator"

    for name, count in (("root", 1), ("viewer", 1), ("stranger", 0)):
        page = (await pair.a.get("/api/v1/runs", **who(name))).json
        assert (len(page["runs"]), page["missing"]) == (count, [])


async def test_many_at_once_through_another_worker(pair: Pair) -> None:
    run_id = await started(pair.a, "b-1")
    asked = {"action": "pause", "query": {}}
    refused = (await pair.a.post("/api/v1/runs/bulk", asked, **who("viewer"))).json["refused"]
    assert "takes the role operator" in refused[0]["why"]
    done = (await pair.a.post("/api/v1/runs/bulk", asked, **who("operator"))).json
    assert done["changed"] == 1
    assert (await history(pair.b, run_id))[-1]["by"] == "operator"


async def test_a_worker_that_does_not_know_who_asks_is_missed() -> None:
    class Nobody:
        async def identify(self, asked: Asked) -> Identity | None:
            return None

    urls: dict[str, str] = {}
    async with (
        running(SplitPeers("a", urls), access=ACCESS) as a,
        running(SplitPeers("b", urls), access=Access(Nobody())) as b,
    ):
        urls |= {"a": a.url, "b": b.url}
        page = (await a.get("/api/v1/runs", **who("root"))).json
        assert page["missing"] == [b.url]
        assert (await a.get("/api/v1/runs/x", **who("root"))).status == 503
        latest = await a.get("/api/v1/workflows/orders/latest/b-1", **who("root"))
        assert (latest.status, "WWW-Authenticate" in latest.headers) == (401, True)
