"""Callbacks, forks and runs by foreign id: the same over HTTP as in the process."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Client, State, answering
from streamwf.errors import (
    CallbackFailed,
    ForeignIdNotFound,
    InvalidPayload,
    InvalidQuery,
    NothingCorrelated,
    NotWaiting,
    RecordTooLarge,
    RunInProgress,
    RunNotFound,
    StreamwfError,
    TerminalStart,
    TransitionRefused,
    UnknownCallback,
    VersionNotFound,
    WorkflowNotFound,
)
from streamwf.gateway import LocalGateway
from tests.web.calling import Verdict, answers
from tests.web.harness import LIMIT, Order, Status, Worker, running

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr(answering, "ON_ITS_WAY", 0.0)
    async with running(declare=answers) as started:
        yield started


@pytest.fixture(params=["local", "http"])
async def client(request: pytest.FixtureRequest, worker: Worker) -> AsyncIterator[Client]:
    way = worker.client() if request.param == "http" else Client(LocalGateway(worker.operations))
    async with way:
        yield way


async def waiting(worker: Worker, client: Client, foreign_id: str = "o-1", note: str = "") -> str:
    """The id of a run that waits for its answers."""
    orders = worker.workflow
    run_id = await client.trigger(orders, foreign_id, Order(price=1, note=note), wait=True)
    await client.await_(orders, run_id, Status.PICKED)
    return run_id


async def test_a_callback_and_what_came_of_it(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    run_id = await waiting(worker, client, note="ann")
    skip = Verdict(price=7, note="skip")
    for known in ({"foreign_id": "o-1"}, {"run_id": run_id}, {"correlation": "ann"}):
        told = await client.callback(orders, "b-decide", skip, **known)
        assert told.outcome == "skipped"
        assert told.run is not None
        assert (told.run.run_id, told.run.status) == (run_id, "PICKED")
    moved = await client.callback(orders, "scan", b"\x00\xff", foreign_id="o-1", key="k")
    again = await client.callback(orders, "scan", b"\x00\xff", foreign_id="o-1", key="k")
    assert (moved.outcome, again.outcome) == ("moved", "duplicate")
    assert (await client.get(orders, run_id)).object == Order(price=1, note="00ff")


async def test_a_callback_that_is_kept(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    told = await client.callback(
        orders, "b-decide", {"price": 7}, foreign_id="o-1", wait_for=MINUTE
    )
    assert (told.outcome, told.run) == ("kept", None)
    run_id = await client.trigger(orders, "o-1", Order(price=1))
    assert (await client.await_(orders, run_id)).object.price == 7
    await waiting(worker, client, "o-2")
    told = await client.callback(
        orders, "b-decide", {"price": 7, "note": "error"}, foreign_id="o-2"
    )
    assert told.outcome == "kept"
    assert told.error is not None
    assert (told.error.type, told.error.message) == ("OSError", "not now")


@pytest.mark.parametrize(
    ("asked", "error", "fields"),
    [
        ({"foreign_id": "o-2"}, ForeignIdNotFound, {"foreign_id": "o-2", "workflow": "orders"}),
        ({"run_id": "a/b?c"}, RunNotFound, {"run_id": "a/b?c"}),
        ({"correlation": "bob"}, NothingCorrelated, {"name": "b-decide", "value": "bob"}),
        ({"name": "found"}, NotWaiting, {"state": State.RUNNING, "status": "PICKED"}),
        ({"name": "lost"}, UnknownCallback, {"name": "lost", "workflow": "orders"}),
        ({"payload": {"price": "x"}}, InvalidPayload, {"name": "b-decide"}),
        ({"payload": object()}, InvalidPayload, {"name": "b-decide"}),
        ({"payload": {"price": 7, "note": "fatal"}}, CallbackFailed, {"error": "never"}),
        ({"payload": "x" * LIMIT}, RecordTooLarge, {"limit": LIMIT}),
        ({"foreign_id": "o-1", "correlation": "x"}, InvalidQuery, {"field": "body"}),
        ({"wait_for": timedelta(days=-1)}, InvalidQuery, {"field": "wait_for"}),
    ],
)
async def test_errors_of_a_callback(
    worker: Worker,
    client: Client,
    asked: dict[str, Any],
    error: type[StreamwfError],
    fields: dict[str, Any],
) -> None:
    await waiting(worker, client)
    given = {"name": "b-decide", "payload": {"price": 7}, **asked}
    if not given.keys() & {"foreign_id", "run_id", "correlation"}:
        given["foreign_id"] = "o-1"
    with pytest.raises(error) as raised:
        await client.callback(worker.workflow, given.pop("name"), given.pop("payload"), **given)
    assert type(raised.value) is error
    assert fields.items() <= raised.value.fields.items()


async def test_a_workflow_that_is_not_there(worker: Worker, client: Client) -> None:
    elsewhere = worker.workflow
    elsewhere.name = "a/b ü"
    with pytest.raises(WorkflowNotFound) as missing:
        await client.callback(elsewhere, "b-decide", foreign_id="o-1")
    assert missing.value.workflow == "a/b ü"
    with pytest.raises(WorkflowNotFound):
        await client.run(elsewhere, "o-1").get()
    elsewhere.name = "orders"


async def test_the_latest_run_of_a_foreign_id(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    handle = client.run(orders, "a/b c")
    for call in (
        handle.get(),
        handle.history(),
        handle.pause(),
        handle.resume(),
        handle.cancel(),
        handle.retry(),
        handle.delete_data(),
        handle.await_(timeout=MINUTE),
        handle.callback("b-decide", {"price": 7}),
    ):
        with pytest.raises(ForeignIdNotFound) as missing:
            await call
        assert missing.value.foreign_id == "a/b c"

    run_id = await waiting(worker, client, "a/b c")
    assert (await handle.pause("lunch")).reason == "lunch"
    assert (await handle.resume("back")).state is State.RUNNING
    assert (await handle.callback("b-decide", Verdict(price=7))).outcome == "moved"
    run = await handle.await_(Status.SHIPPED, timeout=MINUTE)
    assert (run.run_id, run.object.price) == (run_id, 7)
    assert (await handle.history()).run_id == run_id
    await handle.delete_data()


async def test_a_fork(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    run_id = await waiting(worker, client)
    with pytest.raises(RunInProgress) as running_already:
        await client.fork(run_id, 1)
    assert running_already.value.run_id == run_id
    new = await client.fork(run_id, 2, foreign_id="o-2", reason="once more", key="k")
    assert await client.fork(run_id, 2, foreign_id="o-2", reason="once more", key="k") == new
    run = await client.get(orders, new)
    assert (run.foreign_id, run.status, run.origin) == ("o-2", Status.PICKED, f"{run_id}@2")
    with pytest.raises(VersionNotFound) as missing:
        await client.fork(run_id, 99)
    assert (missing.value.first, missing.value.version) == (1, 99)
    with pytest.raises(RunNotFound):
        await client.fork("a/b?c", 1)
    await client.callback(orders, "scan", b"", run_id=run_id)
    with pytest.raises(TerminalStart):
        await client.fork(run_id, 4)
    await client.delete_data(run_id)
    with pytest.raises(TransitionRefused) as gone:
        await client.fork(run_id, 1)
    assert gone.value.action == "fork"


async def test_a_fork_can_be_awaited_before_it_is_folded(worker: Worker, client: Client) -> None:
    run_id = await waiting(worker, client)
    worker.gate.set()
    await client.await_(worker.workflow, run_id)
    for number in range(10):
        new = await client.fork(run_id, 1, foreign_id=f"f-{number}")
        assert (await client.await_(worker.workflow, new)).state is State.COMPLETED


async def test_what_a_run_tells_of_itself(worker: Worker, client: Client) -> None:
    orders = worker.workflow
    run_id = await waiting(worker, client)
    await client.callback(orders, "found", b"x", run_id=run_id, wait_for=MINUTE)
    run = await client.get(orders, run_id)
    [call] = run.callbacks
    assert (call.name, call.until > call.due_at - MINUTE) == ("found", True)
    assert (run.children, run.hooks, run.parent, run.origin) == ([], [], "", "")
    assert (run.resume_at, run.forget_at) == (None, None)
