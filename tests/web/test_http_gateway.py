"""The client over HTTP does what the client in the process does."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from yarl import URL

from streamwf import Client, State
from streamwf.adapters.http import HttpGateway
from streamwf.callback_views import CallbackRequest
from streamwf.errors import (
    AwaitFailed,
    DeadlineExceeded,
    InvalidForeignId,
    InvalidObject,
    InvalidQuery,
    NotReady,
    RecordTooLarge,
    RequestRefused,
    RunInProgress,
    RunNotFound,
    StreamwfError,
    TerminalStart,
    TransitionRefused,
    UnknownStatus,
    WorkerFailed,
    WorkerUnreachable,
    WorkflowNotFound,
)
from streamwf.gateway import LocalGateway
from streamwf.views import Fork, Query, Trigger
from tests.support import eventually
from tests.web.harness import (
    Order,
    Pair,
    Status,
    Worker,
    answering,
    nowhere,
    running,
    silent,
)


@pytest.fixture(params=["local", "http"])
async def client(request: pytest.FixtureRequest, worker: Worker) -> AsyncIterator[Client]:
    way = worker.client() if request.param == "http" else Client(LocalGateway(worker.operations))
    async with way:
        yield way


# ---- the same, either way


async def test_a_run_from_trigger_to_end(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    run_id = await client.trigger(orders, "o-1", Order(price=3), wait=True)
    picked = await client.await_(orders, run_id, Status.PICKED)
    assert (picked.status, picked.state, picked.object) == (
        Status.PICKED,
        State.RUNNING,
        Order(price=3),
    )

    worker.gate.set()
    ended = await client.await_(orders, run_id)
    assert (ended.status, ended.state) == (Status.SHIPPED, State.COMPLETED)
    assert await client.get(orders, run_id) == ended
    assert await client.latest(orders, "o-1") == ended
    assert await client.latest(orders, "o-2") is None
    history = await client.history(run_id)
    assert [event.type for event in history.events] == ["trigger", "moved", "moved"]


async def test_a_run_can_be_awaited_before_it_is_folded(worker: Worker, client: Client) -> None:
    worker.gate.set()
    for number in range(20):
        run_id = await client.trigger(worker.workflow, f"o-{number}", Order(price=3))
        assert (await client.await_(worker.workflow, run_id)).state is State.COMPLETED


async def test_when_where_and_with_which_key(worker: Worker, client: Client) -> None:
    start_at = datetime.now(UTC) + timedelta(days=1)
    ids = {
        await client.trigger(
            worker.workflow,
            "o-1",
            Order(price=3),
            at=Status.PICKED,
            start_at=start_at,
            key="k",
            wait=True,
        )
        for _ in range(2)
    }
    run = await client.get(worker.workflow, ids.pop())
    assert (run.status, run.due_at) == (Status.PICKED, start_at)
    assert ids == set()


async def test_steering(worker: Worker, client: Client) -> None:
    run_id = await client.trigger(worker.workflow, "o-1", Order(price=3), wait=True)
    assert (await client.pause(run_id, "a reason")).reason == "a reason"
    assert (await client.resume(run_id)).state is not State.PAUSED
    assert (await client.cancel(run_id)).state is State.CANCELLED


async def test_finding(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    for number in range(5):
        at = Status.PICKED if number % 2 else None
        later = datetime.now(UTC) + timedelta(days=1)
        await client.trigger(
            orders, f"o-{number}", Order(price=1), at=at, start_at=later, wait=True
        )

    first = await client.find(Query(limit=3))
    rest = await client.find(Query(limit=3, cursor=first.cursor))
    assert [run.foreign_id for run in (*first.runs, *rest.runs)] == [f"o-{n}" for n in range(5)]
    picked = await client.find(
        Query(workflow="orders", status=["PICKED", "LOST"], state=[State.INITIATED])
    )
    assert [run.foreign_id for run in picked.runs] == ["o-1", "o-3"]
    view = await client.describe("orders")
    assert view.counts == {"CREATED": {"INITIATED": 3}, "PICKED": {"INITIATED": 2}}


async def test_errors_of_a_trigger(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    run_id = await client.trigger(orders, "o-1", Order(price=1), wait=True)

    with pytest.raises(RunInProgress) as progress:
        await client.trigger(orders, "o-1", Order(price=1), wait=True)
    assert (progress.value.run_id, progress.value.foreign_id) == (run_id, "o-1")
    with pytest.raises(TerminalStart):
        await client.trigger(orders, "o-2", Order(price=1), at=Status.SHIPPED)
    with pytest.raises(InvalidForeignId):
        await client.trigger(orders, "", Order(price=1))
    with pytest.raises(InvalidQuery, match="start_at"):
        await client.trigger(orders, "o-2", Order(price=1), start_at=datetime(2030, 1, 1))
    with pytest.raises(RecordTooLarge) as large:
        await client.trigger(orders, "o-2", Order(price=1, note="x" * 20_000))
    assert large.value.limit == 10_000


async def test_errors_of_data(client: Client) -> None:
    gateway = client._gateway
    trigger = Trigger(foreign_id="o", object={"price": "cheap"})
    with pytest.raises(InvalidObject) as invalid:
        await gateway.trigger("orders", trigger, wait=True)
    assert [error["field"] for error in invalid.value.errors] == ["price"]
    assert invalid.value.workflow == "orders"
    with pytest.raises(UnknownStatus) as unknown:
        await gateway.trigger(
            "orders", Trigger(foreign_id="o", object={"price": 1}, status="GONE"), wait=False
        )
    assert unknown.value.status == "GONE"
    with pytest.raises(WorkflowNotFound) as nowhere:
        await gateway.trigger("a/b ü", trigger, wait=True)
    assert nowhere.value.workflow == "a/b ü"
    with pytest.raises(WorkflowNotFound):
        await client.describe("..")


async def test_errors_of_a_run(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    for call in (
        client.get(orders, "a/b?c#d"),
        client.history("a/b?c#d"),
        client.pause("a/b?c#d"),
        client.await_(orders, "a/b?c#d"),
    ):
        with pytest.raises(RunNotFound) as missing:
            await call
        assert missing.value.run_id == "a/b?c#d"

    run_id = await client.trigger(orders, "o-1", Order(price=1), wait=True)
    with pytest.raises(TransitionRefused) as refused:
        await client.resume(run_id)
    assert (refused.value.action, refused.value.run_id) == ("resume", run_id)
    with pytest.raises(DeadlineExceeded) as late:
        await client.await_(orders, run_id, timeout=timedelta(milliseconds=20))
    assert late.value.seconds <= 0.02
    await client.cancel(run_id, "no stock")
    with pytest.raises(AwaitFailed) as failed:
        await client.await_(orders, run_id, Status.SHIPPED)
    assert (failed.value.state, failed.value.reason) == (State.CANCELLED, "no stock")
    with pytest.raises(InvalidQuery) as unreadable:
        await client.find(Query(cursor="rubbish"))
    assert unreadable.value.field == "cursor"


# ---- over HTTP


async def test_any_worker_will_do(pair: Pair) -> None:
    orders = pair.a.workflow
    async with pair.a.client() as client:
        run_id = await client.trigger(orders, "b-1", Order(price=1), wait=True)
        pair.a.gate.set()
        pair.b.gate.set()
        assert (await client.await_(orders, run_id)).state is State.COMPLETED
        assert (await client.latest(orders, "b-1")).run_id == run_id
        soon = await client.trigger(orders, "b-2", Order(price=1))
        assert (await client.await_(orders, soon)).state is State.COMPLETED


async def test_awaiting_longer_than_one_poll(worker: Worker, monkeypatch) -> None:
    monkeypatch.setattr("streamwf.adapters.http.POLL", 0.01)
    asked = []
    operation = worker.operations.await_

    async def counted(run_id, status, timeout):
        asked.append(timeout)
        return await operation(run_id, status, timeout)

    monkeypatch.setattr(worker.operations, "await_", counted)
    async with worker.client() as client:
        run_id = await client.trigger(worker.workflow, "o-1", Order(price=1), wait=True)
        waiting = asyncio.create_task(client.await_(worker.workflow, run_id))
        await eventually(lambda: len(asked) >= 3)
        worker.gate.set()
        assert (await waiting).state is State.COMPLETED
    assert max(asked) <= 0.01


async def test_a_trigger_that_nobody_judges_in_time() -> None:
    async with running(patience=0.05) as worker, worker.client() as client:
        worker.host.logs["orders"].grown = asyncio.Event()  # nobody folds any more
        with pytest.raises(DeadlineExceeded) as late:
            await client.trigger(worker.workflow, "o-1", Order(price=1), wait=True)
        logged = worker.host.logs["orders"].records[-1].value
        assert late.value.run_id.encode() in logged


async def test_a_worker_that_is_not_ready_is_asked_again(worker: Worker, monkeypatch) -> None:
    monkeypatch.setattr("streamwf.adapters.web.answers.RETRY_AFTER", "0")
    worker.shard.live = False
    orders = worker.workflow
    refusals = count_problems(monkeypatch)
    async with worker.client() as client:
        triggering = asyncio.create_task(client.trigger(orders, "o-1", Order(price=1), wait=True))
        await eventually(lambda: len(refusals) >= 2)
        worker.shard.live = True
        run_id = await triggering
        assert (await client.get(orders, run_id)).foreign_id == "o-1"

        worker.why.append("recovering")
        getting = asyncio.create_task(client.get(orders, "nope"))
        seen = len(refusals)
        await eventually(lambda: len(refusals) >= seen + 2)
        worker.why.clear()
        with pytest.raises(RunNotFound):
            await getting


def count_problems(monkeypatch) -> list[str]:
    """The problems that clients are told from now on."""
    told: list[str] = []
    read = HttpGateway._reply.__globals__["error_of"]

    def counted(members):
        told.append(members["type"])
        return read(members)

    monkeypatch.setattr("streamwf.adapters.http.error_of", counted)
    return told


async def test_patience_ends(worker: Worker, monkeypatch) -> None:
    monkeypatch.setattr("streamwf.adapters.web.answers.RETRY_AFTER", "0")
    worker.shard.live = False
    gateway = HttpGateway(worker.url, patience=0.1)
    with pytest.raises(NotReady):
        await gateway.trigger("orders", Trigger(foreign_id="o", object={"price": 1}), wait=True)
    worker.why.append("recovering")
    with pytest.raises(DeadlineExceeded) as late:
        await gateway.await_("nope", None, 0.1)
    assert late.value.seconds == 0.1
    await gateway.close()


async def test_retry_after_is_heeded() -> None:
    times: list[float] = []

    def answer(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        if len(times) == 1:
            return web.Response(status=503, headers={"Retry-After": "1"})
        return web.json_response({"run_id": "r", "truncated": False, "events": []})

    async with answering(answer) as (url, _), Client.over_http(url) as client:
        assert (await client.history("r")).events == []
    assert times[1] - times[0] >= 1


async def test_whatever_is_sent_again_counts_once() -> None:
    """A repeat has the same key, so that it leads to the same run and steers it once."""
    replies = iter([502, 503, 202, 503, 200, 502, 200, 503, 200])
    run = {
        "workflow": "orders",
        "foreign_id": "o",
        "run_id": "r",
        "status": "CREATED",
        "state": "PAUSED",
        "version": 1,
        "created_at": "2030-01-01T00:00:00Z",
        "updated_at": "2030-01-01T00:00:00Z",
        "outcome": "moved",
    }
    async with answering(lambda _: web.json_response(run, status=next(replies))) as (url, asked):
        gateway = HttpGateway(url)
        assert await gateway.trigger("orders", Trigger(foreign_id="o"), wait=False) == "r"
        await gateway.steer("pause", "r", "x")
        await gateway.callback("orders", CallbackRequest(foreign_id="o", payload=1))
        assert await gateway.fork("r", Fork(version=1)) == "r"
        await gateway.close()
    bodies = [json.loads(await request.read()) for request in asked]
    assert bodies[0]["key"]
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[3] == bodies[4] == {"reason": "x", "key": bodies[4]["key"]}
    assert bodies[4]["key"]
    assert bodies[5] == bodies[6]
    assert (bodies[6]["payload"], bool(bodies[6]["key"])) == (1, True)
    assert bodies[7] == bodies[8]
    assert (bodies[8]["version"], bool(bodies[8]["key"])) == (1, True)
    assert len({body["key"] for body in bodies}) == 4


async def test_a_key_of_the_user_is_kept() -> None:
    async with (
        answering(lambda _: web.json_response({"run_id": "r"}, status=202)) as (url, asked),
        HttpClient(url) as gateway,
    ):
        await gateway.trigger("orders", Trigger(foreign_id="o", key="mine"), wait=False)
        await gateway.fork("r", Fork(version=1, key="mine"))
    assert [json.loads(await request.read())["key"] for request in asked] == ["mine"] * 2


class HttpClient:
    """A gateway that is closed at the end of a block."""

    def __init__(self, url: str) -> None:
        self.gateway = HttpGateway(url)

    async def __aenter__(self) -> HttpGateway:
        return self.gateway

    async def __aexit__(self, *_: object) -> None:
        await self.gateway.close()


async def test_a_connection_that_breaks_is_tried_again() -> None:
    breaks = iter([True, True, False])

    def answer(request: web.Request) -> web.Response:
        if next(breaks):
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"run_id": "r"}, status=202)

    async with answering(answer) as (url, asked), HttpClient(url) as gateway:
        assert await gateway.trigger("orders", Trigger(foreign_id="o"), wait=False) == "r"
    assert len({await request.read() for request in asked}) == 1


async def test_connections_that_keep_breaking() -> None:
    def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with answering(answer) as (url, asked), HttpClient(url) as gateway:
        with pytest.raises(WorkerUnreachable):
            await gateway.get("r")
    assert len(asked) >= 3


async def test_nobody_there() -> None:
    url = await nowhere()
    async with HttpClient(url) as gateway:
        with pytest.raises(WorkerUnreachable) as unreachable:
            await gateway.get("r")
    assert unreachable.value.url == url


@pytest.mark.parametrize("url", ["http://", "http://[", "http://host:99999", "ftp://x", "::", ""])
async def test_a_url_that_is_none(url: str) -> None:
    async with HttpClient(url) as gateway:
        with pytest.raises(WorkerUnreachable):
            await gateway.get("r")


async def test_somebody_who_never_answers(monkeypatch) -> None:
    monkeypatch.setattr("streamwf.adapters.http.POLL", 0.05)
    monkeypatch.setattr("streamwf.adapters.http.DEADLINE", 0.05)
    async with silent() as url, HttpClient(url) as gateway:
        with pytest.raises(WorkerUnreachable, match="no answer in time"):
            await gateway.get("r")


def told(status: int, detail: str) -> web.Response:
    return web.json_response(
        {"type": "about:blank", "detail": detail},
        status=status,
        content_type="application/problem+json",
    )


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (lambda: web.Response(text="<html>"), WorkerUnreachable),
        (lambda: web.Response(text="<html>", status=404), WorkerUnreachable),
        (lambda: web.Response(status=307, headers={"Location": "/x"}), WorkerUnreachable),
        (lambda: web.json_response({"detail": "x"}, status=404), WorkerUnreachable),
        (
            lambda: web.Response(text="[", status=404, content_type="application/problem+json"),
            WorkerUnreachable,
        ),
        (lambda: told(405, "no."), RequestRefused),
        (lambda: told(500, "Look at the log."), WorkerFailed),
    ],
)
async def test_answers_that_no_worker_gives(response, error: type[StreamwfError]) -> None:
    async with answering(lambda _: response()) as (url, _), HttpClient(url) as gateway:
        with pytest.raises(error) as raised:
            await gateway.get("r")
        assert type(raised.value) is error


async def test_a_url_may_be_short(worker: Worker) -> None:
    authority = URL(worker.url).authority
    for url in (authority, f"http://{authority}/"):
        async with Client.over_http(url) as client:
            assert (await client.describe("orders")).name == "orders"
