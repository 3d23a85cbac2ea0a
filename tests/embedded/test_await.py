"""Waiting for a run: it returns as soon as it can, raises as soon as it can't, and never hangs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Fatal, Pause, Run, Skip, State
from streamwf.errors import AwaitFailed, DeadlineExceeded, RunNotFound, UnknownStatus
from streamwf.operations import Operations
from tests.embedded.app import (
    CREATED,
    DONE,
    FAILED,
    PACKED,
    PICKED,
    App,
    Gate,
    Info,
    Order,
    Orders,
    Status,
    orders,
    running,
)
from tests.support import eventually

OrderRun = Run[Order, Status]


class Gates:
    """CREATED → PICKED → PACKED or FAILED → DONE, with a gate before each move."""

    def __init__(self) -> None:
        self.at = {status: Gate() for status in (CREATED, PICKED, PACKED)}
        self.then: dict[Status, Any] = {CREATED: PICKED, PICKED: PACKED, PACKED: DONE}

    def workflow(self) -> Orders:
        workflow = orders(auto_resume=None)

        async def move(run: OrderRun) -> Any:
            await self.at[run.status].wait()
            result = self.then[run.status]
            if isinstance(result, Exception):
                raise result
            return result

        workflow.step(CREATED, to=PICKED)(move)
        workflow.step(PICKED, to=[PACKED, FAILED])(move)
        workflow.step(PACKED, to=DONE)(move)
        return workflow

    def open(self, *statuses: Status) -> None:
        for status in statuses or tuple(self.at):
            self.at[status].open()


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
async def app(gates: Gates) -> AsyncIterator[App]:
    async with running(gates.workflow()) as app:
        yield app


async def wait(app: App, run_id: str, status: Status | None = None, seconds: float = 5.0) -> Info:
    timeout = timedelta(seconds=seconds)
    return await app.client.await_(app.workflow, run_id, status, timeout=timeout)


def begin(app: App, run_id: str, status: Status | None = None) -> asyncio.Task[Info]:
    return asyncio.create_task(wait(app, run_id, status))


async def watched(app: App) -> None:
    [shard] = app.host.shards("orders")
    await eventually(lambda: shard.waiting._watchers)


# ---- it is there, or will be, or was


async def test_it_is_there_already(app: App) -> None:
    run_id = await app.start()
    assert (await wait(app, run_id, CREATED)).status is CREATED


async def test_it_comes_there(app: App, gates: Gates) -> None:
    run_id = await app.start()
    waiting = begin(app, run_id, PACKED)
    await watched(app)
    gates.open(CREATED, PICKED)
    assert (await waiting).status is PACKED


async def test_it_comes_there_and_goes_on_before_anyone_looks(app: App, gates: Gates) -> None:
    run_id = await app.start()
    waiting = begin(app, run_id, PICKED)
    await watched(app)
    gates.open()
    assert (await waiting).status is PICKED, "as it was then"


@pytest.mark.parametrize("status", [CREATED, PICKED, PACKED, DONE, None])
async def test_it_has_passed(app: App, gates: Gates, status: Status | None) -> None:
    gates.open()
    run_id = await app.start()
    await app.until(run_id, state=State.COMPLETED)
    assert (await wait(app, run_id, status, seconds=0)).status is DONE


async def test_it_has_passed_its_start_though_its_trigger_named_none(
    app: App, gates: Gates
) -> None:
    gates.open()
    app.append({"type": "trigger", "subject": "o-1", "runid": "run-1", "data": {}})
    await eventually(lambda: app.client.latest(app.workflow, "o-1"))
    assert (await wait(app, "run-1", PICKED)).run_id == "run-1"
    assert (await wait(app, "run-1", CREATED)).run_id == "run-1"


async def test_its_end(app: App, gates: Gates) -> None:
    run_id = await app.start()
    waiting = begin(app, run_id)
    await watched(app)
    gates.open()
    assert (await waiting).state is State.COMPLETED


async def test_cancelled_is_an_end_too(app: App) -> None:
    run_id = await app.start()
    waiting = begin(app, run_id)
    await watched(app)
    await app.client.cancel(run_id)
    assert (await waiting).state is State.CANCELLED


async def test_many_wait_for_the_same_run(app: App, gates: Gates) -> None:
    run_id = await app.start()
    waiting = [begin(app, run_id, status) for status in (PICKED, PACKED, DONE, None) * 10]
    await watched(app)
    gates.open()
    assert {run.run_id for run in await asyncio.gather(*waiting)} == {run_id}
    [shard] = app.host.shards("orders")
    assert not shard.waiting._watchers, "nobody watches any more"


async def test_at_once_after_a_trigger_that_did_not_wait(app: App, gates: Gates) -> None:
    gates.open()
    run_id = await app.client.trigger(app.workflow, "o-1", Order())
    assert (await wait(app, run_id)).state is State.COMPLETED


# ---- it will never be


async def failure(waiting: Any) -> AwaitFailed:
    with pytest.raises(AwaitFailed) as failed:
        await waiting
    return failed.value


async def test_it_was_cancelled(app: App) -> None:
    run_id = await app.start()
    waiting = begin(app, run_id, DONE)
    await watched(app)
    await app.client.cancel(run_id, "not wanted")
    error = await failure(waiting)
    assert str(error) == f"Run {run_id} will not reach DONE: it is CANCELLED at CREATED. not wanted"
    assert (await failure(wait(app, run_id, DONE))).state == State.CANCELLED


async def test_it_completed_elsewhere(app: App, gates: Gates) -> None:
    gates.then[PICKED] = FAILED
    run_id = await app.start()
    waiting = begin(app, run_id, DONE)
    await watched(app)
    gates.open()
    assert (await failure(waiting)).status == "FAILED"
    assert (await failure(wait(app, run_id, PACKED))).state == State.COMPLETED


async def test_it_was_paused_for_ever(app: App, gates: Gates) -> None:
    gates.then[CREATED] = Pause("ask somebody")
    run_id = await app.start()
    waiting = begin(app, run_id, DONE)
    await watched(app)
    gates.open()
    assert (await failure(waiting)).reason == "ask somebody"
    assert (await failure(wait(app, run_id))).wanted == "its end"


async def test_it_failed_for_good(app: App, gates: Gates) -> None:
    gates.then[PICKED] = Fatal("no")
    gates.open()
    run_id = await app.start()
    assert (await failure(wait(app, run_id, DONE))).state == State.PAUSED


@pytest.mark.parametrize("status", [CREATED, PICKED])
async def test_the_graph_does_not_lead_there_any_more(app: App, status: Status) -> None:
    run_id = await app.start(at=PACKED)
    assert (await failure(wait(app, run_id, status))).status == "PACKED"


async def test_a_pause_is_not_what_was_waited_for(app: App, gates: Gates) -> None:
    run_id = await app.start()
    await app.client.pause(run_id)
    assert (await wait(app, run_id, CREATED)).state is State.PAUSED, "that is where it is"
    assert (await failure(wait(app, run_id, PICKED))).state == State.PAUSED


async def test_a_pause_that_ends_by_itself_is_waited_out() -> None:
    workflow = orders(auto_resume=timedelta(hours=1))
    tries = iter([True, False])

    @workflow.step(CREATED, to=DONE, pause_after=1)
    async def flaky(run: OrderRun) -> Status:
        if next(tries):
            raise ValueError
        return DONE

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, state=State.PAUSED)
        waiting = begin(app, run_id, DONE)
        await watched(app)
        app.step(hours=1)
        assert (await waiting).state is State.COMPLETED


# ---- deadlines and mistakes


@pytest.mark.parametrize("seconds", [0, 0.02])
async def test_a_deadline(app: App, seconds: float) -> None:
    run_id = await app.start()
    with pytest.raises(DeadlineExceeded, match="took longer than"):
        await wait(app, run_id, DONE, seconds)
    assert (await app.get(run_id)).state is not State.CANCELLED


async def test_a_run_that_waits_for_nothing_is_awaited_until_the_deadline() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def never(run: OrderRun) -> Skip:
        return Skip()

    async with running(workflow) as app:
        run_id = await app.start()
        await app.idle()
        with pytest.raises(DeadlineExceeded):
            await wait(app, run_id, DONE, 0.02)


async def test_no_deadline_worth_the_name(app: App, gates: Gates) -> None:
    run_id = await app.start()
    waiting = asyncio.create_task(app.client.await_(app.workflow, run_id, timeout=timedelta.max))
    await watched(app)
    gates.open()
    assert (await waiting).state is State.COMPLETED


async def test_whoever_waits_can_be_cancelled(app: App) -> None:
    run_id = await app.start()
    waiting = begin(app, run_id, DONE)
    await watched(app)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    [shard] = app.host.shards("orders")
    assert not shard.waiting._watchers


async def test_a_run_or_a_status_that_nobody_knows(app: App) -> None:
    with pytest.raises(RunNotFound):
        await wait(app, "nope")
    run_id = await app.start()
    with pytest.raises(UnknownStatus):
        await Operations(app.host).await_(run_id, "NOPE", 1)


async def test_a_trigger_that_was_refused_is_never_found(app: App) -> None:
    await app.start()
    refused = await app.client.trigger(app.workflow, "o-1", Order())
    with pytest.raises(RunNotFound):
        await wait(app, refused, DONE, 0.1)


async def test_awaiting_a_former_run(app: App, gates: Gates) -> None:
    old = await app.start()
    await app.client.cancel(old)
    new = await app.start()
    assert (await wait(app, old)).state is State.CANCELLED
    gates.open()
    assert (await wait(app, new, DONE)).run_id == new
    assert (await failure(wait(app, old, DONE))).run_id == old
