"""Masked fields over HTTP: nobody sees them, whichever view is asked, of whichever worker."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import AfterValidator, BaseModel

from streamwf import Client, Masked, Run, Workflow
from streamwf.access import EVERY, Asked, Identity, Role
from streamwf.adapters.web import Access, NoPeers, Peers, application, serve
from streamwf.adapters.web.forwarding import LOCAL
from streamwf.adapters.web.guarding import LOCAL_ONLY
from streamwf.embedded import EmbeddedHost
from streamwf.errors import InvalidObject, ObjectMasked
from streamwf.operations import Operations
from streamwf.redaction import MASK
from streamwf.sources import Message, from_iterator
from tests.cards import (
    CARD,
    CODE,
    NEW_CARD,
    SECRETS,
    Payment,
    Receipt,
    Status,
    payments,
    receipts,
    secret,
)
from tests.support import eventually
from tests.web.harness import SplitPeers

WORKFLOW = "/api/v1/workflows/payments"
RUNS = f"{WORKFLOW}/runs"

MOMENT = timedelta(seconds=60)

ROOT = {"Authorization": "Bearer root"}

#: What has been asked of every route that tells something.
SHOWN = {
    "amount": 1,
    "do": "go",
    "card": MASK,
    "pin": MASK,
    "holder": {"name": "ann", "address": MASK},
    "tokens": [MASK],
}


@dataclass
class Site:
    """A worker that serves `payments`. told: all that it has answered."""

    host: EmbeddedHost
    app: web.Application
    url: str
    session: aiohttp.ClientSession
    told: list[str]

    async def ask(self, method: str, path: str, content: Any = None, **options: Any) -> Any:
        if content is not None:
            options["json"] = content
        async with self.session.request(method, self.url + path, **options) as response:
            body = await response.text()
            self.told.append(f"{method} {path}: {response.status} {response.headers} {body}")
            is_json = response.content_type.endswith("json")
            return json.loads(body) if is_json else body

    async def trigger(self, foreign_id: str, **fields: Any) -> str:
        run = await self.ask(
            "POST", RUNS, {"foreign_id": foreign_id, "object": {**secret(), **fields}}
        )
        run_id: str = run["run_id"]
        return run_id

    async def reached(self, run_id: str, status: str) -> Any:
        return await self.ask("GET", f"/api/v1/runs/{run_id}/await?status={status}&timeout=30")

    def tells(self) -> list[str]:
        """The answers that tell a secret."""
        return [answer for answer in self.told if any(secret in answer for secret in SECRETS)]


@asynccontextmanager
async def site(peers: Peers | None = None, access: Access = LOCAL_ONLY) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        workflow = payments()

        async def feed(after: str | None) -> AsyncIterator[tuple[str, Any]]:
            yield "1" if after is None else f"{after}1", secret()

        @workflow.connector(from_iterator(feed))
        def use(message: Message) -> None:
            Payment.model_validate({"card": [CARD]})

        host = EmbeddedHost(workflow, receipts())
        await host.start()
        stack.push_async_callback(host.stop, 0)
        app = application(
            Operations(host, patience=5.0),
            peers or NoPeers(),
            lambda: None,
            access=access,
        )
        server = await serve(app, "127.0.0.1", 0)
        stack.push_async_callback(server.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Site(host, app, server.url, session, [])


def paths(app: web.Application) -> Iterator[str]:
    """The routes that are there to be asked."""
    for route in app.router.routes():
        if route.method == "GET" and route.resource is not None:
            yield route.resource.canonical


def asked(path: str, run_ids: list[str]) -> list[str]:
    """A route, for every run."""
    if path == "/api/v1/events":
        # It has no end, and nothing of what runs carry.
        return []
    filled = path.replace("{name}", "payments").replace("{schedule}", "nightly")
    filled = filled.replace("{letter}", "payments:0:0").replace("{version}", "1")
    filled = filled.replace("{asked}", "await").replace("/await", "/await?timeout=0")
    if "{foreign_id}" in filled:
        return [filled.replace("{foreign_id}", f"o-{n}") for n in range(4)]
    return [filled.replace("{run_id}", run_id) for run_id in run_ids] if "{" in filled else [filled]


async def test_no_view_tells_what_is_masked() -> None:
    async with site() as there:
        await busy(there)
        shard = next(iter(there.host.shards("payments")))
        await eventually(lambda: there.host.logs["payments"].dead_letters)
        run_ids = [record.run_id for _, record in shard.scan("")]
        run_ids += [r.run_id for _, r in next(iter(there.host.shards("receipts"))).scan("")]
        assert len(run_ids) >= 10

        questions = [question for path in paths(there.app) for question in asked(path, run_ids)]
        for question in questions:
            assert "{" not in question, "say what this route is to be asked"
            await there.ask("GET", question)
        answered = [answer for answer in there.told if re.search(r"GET .*: 200 ", answer)]
        assert len(answered) >= len(questions) - 2 * len(run_ids) - 4
        assert there.tells() == []
        # The test of this test: they are what these views would tell.
        assert CARD in (await Client_of(there).find()).model_dump_json()


def Client_of(there: Site) -> Client:
    """The client in the process."""
    from streamwf.gateway import LocalGateway

    return Client(LocalGateway(Operations(there.host)))


async def busy(there: Site) -> None:
    """Ask everything of which there may be an answer with an object, and lead runs everywhere."""
    ids = {do: await there.trigger(f"o-{n}", do=do) for n, do in enumerate(("go", "fail", "pause"))}
    await there.trigger("o-3", do="child")
    await there.reached(ids["go"], "ASKED")
    await there.reached(ids["fail"], "FAILED")
    for given in ({"code": CODE, "do": "fail"}, {"code": [CODE]}, {"cod": CODE}):
        await there.ask(
            "POST",
            f"{WORKFLOW}/callbacks",
            {"name": "answer", "run_id": ids["go"], "payload": given},
        )
    await there.ask(
        "POST",
        f"{WORKFLOW}/callbacks",
        {"name": "answer", "correlation": CARD, "payload": {"code": CODE}},
    )
    await there.reached(ids["go"], "PAID")
    for action in ("resume", "pause", "resume", "retry", "cancel", "delete-data"):
        await there.ask("POST", f"/api/v1/runs/{ids['pause']}/{action}", {"reason": "why"})
    await there.ask("POST", f"{WORKFLOW}/latest/o-3/pause", {})
    await there.ask("POST", f"/api/v1/runs/{ids['go']}/fork", {"version": 1})
    bulk = {"action": "pause", "query": {"workflow": "payments"}}
    await there.ask("POST", "/api/v1/runs/bulk", bulk)
    schedule = {"cron": "@every 1h", "object": secret()}
    assert (await there.ask("PUT", f"{WORKFLOW}/schedules/nightly", schedule))["object"] == SHOWN
    past = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    await there.ask("POST", f"{WORKFLOW}/schedules/nightly/backfill", past)
    await there.ask("POST", f"{WORKFLOW}/schedules/nightly/pause", {})
    wrong = [{"amount": CARD}, {"pin": CARD}, {"holder": CARD}, {"tokens": {CARD: CODE}}]
    for fields in wrong:
        content = {"foreign_id": "o-9", "object": {**secret(), **fields}}
        refused = await there.ask("POST", RUNS, content)
        assert refused["type"].endswith("InvalidObject")
        refused = await there.ask("PUT", f"{WORKFLOW}/schedules/bad", {**schedule, **content})
    await there.trigger("o-4", card=NEW_CARD, do="cancel")


# ---- what is masked, and what is not


async def test_a_run_is_shown_with_masks_in_their_places() -> None:
    async with site() as there:
        run_id = await there.trigger("o-1")
        run = await there.reached(run_id, "ASKED")
        assert run["object"] == SHOWN
        history = await there.ask("GET", f"/api/v1/runs/{run_id}/history")
        assert [event["object"] for event in history["events"]] == [SHOWN, SHOWN]
        found = await there.ask("GET", "/api/v1/runs?search.holder.name=ann")
        assert [run["object"] for run in found["runs"]] == [SHOWN]


async def test_what_was_shown_is_not_taken_for_the_values() -> None:
    async with site() as there:
        for path, content in (
            (RUNS, {"foreign_id": "o-1", "object": {**SHOWN, "pin": None}}),
            (f"{WORKFLOW}/schedules/s", {"cron": "@daily", "object": {**SHOWN, "pin": None}}),
        ):
            refused = await there.ask("POST" if path == RUNS else "PUT", path, content)
            assert refused["status"] == 422
            assert "give the value itself" in refused["detail"]


async def test_an_error_that_nobody_is_told_of_is_logged_without_what_is_masked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(card: str) -> str:
        raise KeyError(card)

    class Broken(BaseModel):
        card: Annotated[str, AfterValidator(fail), Masked]

    workflow: Workflow[Broken, Status] = Workflow("broken", Broken, Status)

    @workflow.step(Status.NEW, to=Status.PAID)
    async def pay(run: Run[Broken, Status]) -> Status:
        return Status.PAID

    async with site() as there:
        there.host.workflows["broken"] = workflow
        content = {"foreign_id": "o-1", "object": {"card": CARD}}
        failed = await there.ask("POST", "/api/v1/workflows/broken/runs", content)
        assert failed["status"] == 500
        [line] = [line for line in caplog.records if line.message == "request_failed"]
        assert "raised KeyError" in caplog.text
        assert CARD not in caplog.text + repr(vars(line))
        assert there.tells() == []


# ---- the typed client


async def test_a_typed_client_has_masks_where_the_type_takes_them() -> None:
    async with site() as there, Client.over_http(there.url) as client:
        printed = receipts()
        run_id = await client.trigger(printed, "r-1", Receipt(card=CARD), wait=True)
        run = await client.await_(printed, run_id, timeout=MOMENT)
        assert run.object == Receipt(card=MASK)
        assert run.reason == f"no paper for {MASK}"
        with pytest.raises(InvalidObject, match="give the value itself"):
            await client.trigger(printed, "r-2", run.object)


async def test_a_typed_client_says_why_an_object_can_not_be_made() -> None:
    async with site() as there, Client.over_http(there.url) as client:
        workflow = payments()
        run_id = await client.trigger(workflow, "o-1", Payment(), wait=True)
        run = await client.await_(workflow, run_id, Status.ASKED, timeout=MOMENT)
        assert (run.status, run.foreign_id) == (Status.ASKED, "o-1")
        assert [each.run_id async for each in client.list(workflow)] == [run_id]
        assert repr(run.object) == MASK
        for ask in (lambda: run.object.amount, lambda: run.object["amount"]):  # type: ignore[index]
            with pytest.raises(ObjectMasked, match=r"with `client\.find`") as masked:
                ask()
            assert run_id in str(masked.value)
        assert (await client.find()).runs[0].object == SHOWN


# ---- who may see them


class Grants:
    """Whoever asks has a role of every workflow; `ROOT` has another one. Implements
    `streamwf.access.Authenticator`."""

    def __init__(self, root: Role, others: Role) -> None:
        self._root = root
        self._others = others

    async def identify(self, asked: Asked) -> Identity:
        is_root = asked.headers.get("Authorization") == ROOT["Authorization"]
        return Identity("ann", {EVERY: self._root if is_root else self._others})


nobody = LOCAL_ONLY
root = Access(Grants(root=Role.ADMIN, others=Role.OPERATOR))
anybody = Access(Grants(root=Role.ADMIN, others=Role.ADMIN))
no_admins = Access(Grants(root=Role.OPERATOR, others=Role.OPERATOR))


async def test_whoever_may_do_everything_sees_them() -> None:
    async with site(access=root) as there:
        run_id = await there.trigger("o-1")
        path = f"/api/v1/runs/{run_id}"
        assert (await there.ask("GET", path))["object"] == SHOWN
        assert (await there.ask("GET", path, headers=ROOT))["object"] == secret()
        found = await there.ask("GET", "/api/v1/runs", headers=ROOT)
        assert found["runs"][0]["object"] == secret()
        assert (await there.ask("GET", path))["object"] == SHOWN


async def test_an_admin_of_another_workflow_does_not_see_them() -> None:
    class Admins:
        async def identify(self, asked: Asked) -> Identity:
            return Identity("ann", {"receipts": Role.ADMIN, EVERY: Role.OPERATOR})

    async with site(access=Access(Admins())) as there:
        run_id = await there.trigger("o-1")
        assert (await there.ask("GET", f"/api/v1/runs/{run_id}"))["object"] == SHOWN


@asynccontextmanager
async def two(a: Access, b: Access) -> AsyncIterator[tuple[Site, str]]:
    """The worker `a`, and a run that only the other one, `b`, has."""
    urls: dict[str, str] = {}
    async with site(SplitPeers("a", urls), a) as here, site(SplitPeers("b", urls), b) as there:
        urls |= {"a": here.url, "b": there.url}
        run_id = await here.trigger("b-1")
        await here.reached(run_id, "ASKED")
        assert not next(iter(here.host.shards("payments"))).lookup(run_id)
        yield here, run_id


@pytest.mark.parametrize(
    ("a", "b", "headers", "seen"),
    [
        (nobody, nobody, {}, False),
        (nobody, anybody, {}, True),
        (anybody, nobody, {}, False),
        (anybody, no_admins, ROOT, False),
        (root, root, {}, False),
        (root, root, ROOT, True),
    ],
)
async def test_what_another_worker_has_is_seen_by_those_whom_that_one_lets(
    a: Access, b: Access, headers: dict[str, str], seen: bool
) -> None:
    expected = secret() if seen else SHOWN
    async with two(a, b) as (here, run_id):
        run = await here.ask("GET", f"/api/v1/runs/{run_id}", headers=headers)
        assert run["object"] == expected
        history = await here.ask("GET", f"/api/v1/runs/{run_id}/history", headers=headers)
        assert history["events"][0]["object"] == expected
        latest = await here.ask("GET", f"{WORKFLOW}/latest/b-1", headers=headers)
        assert latest["object"] == expected
        found = await here.ask("GET", "/api/v1/runs", headers=headers)
        assert [run["object"] for run in found["runs"]] == [expected]
        paused = await here.ask("POST", f"/api/v1/runs/{run_id}/pause", {}, headers=headers)
        assert paused["object"] == expected


async def test_whoever_says_to_have_been_forwarded_sees_no_more() -> None:
    async with site(access=root) as there:
        run_id = await there.trigger("o-1")
        run = await there.ask("GET", f"/api/v1/runs/{run_id}", headers={LOCAL: "1"})
        assert run["object"] == SHOWN
