"""The data of runs that have ended: deleted on request, or with the run after a while."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from streamwf import Fatal, Run, State, Workflow
from streamwf.errors import ForeignIdNotFound, RunNotFound, TransitionRefused
from streamwf.testing import Engine
from streamwf.views import Filter
from tests.embedded.app import CREATED, DONE, FAILED, PICKED, Status
from tests.embedded.kit import started, types

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECRET = "4111 1111"


class Sale(BaseModel):
    card: str = SECRET
    cents: int = 995


Sales = Workflow[Sale, Status]
SaleRun = Run[Sale, Status]


def sales(**options: Any) -> Sales:
    """It waits at PICKED for `end`, which takes what to return or raise."""
    workflow = Workflow("sales", Sale, Status, search=("card",), **options)

    @workflow.step(CREATED, to=PICKED)
    async def begin(run: SaleRun) -> Status:
        return PICKED

    @workflow.callback(PICKED, to=[DONE, FAILED], payload=str)
    async def end(run: SaleRun, how: str) -> Status:
        if how == "fatal":
            raise Fatal(f"card {run.object.card} is refused")
        run.object.cents += 5
        return DONE

    return workflow


async def ended(app: Engine, workflow: Sales, foreign_id: str = "s-1") -> str:
    """The id of a run that has completed."""
    run = await app.trigger(workflow, foreign_id, Sale())
    await app.callback_when(run, PICKED, "end", "well")
    return run.run_id


async def deleted(app: Engine, run_id: str, reason: str = "") -> State:
    """The state of a run once its data was deleted."""
    asked = await app.client.delete_data(run_id, reason)
    assert asked.state is State.DATA_DELETION_REQUESTED
    await app.settle()
    return (await app.client._gateway.get(run_id)).state


# ---- on request


async def test_what_a_run_carried_is_gone() -> None:
    workflow = sales()
    async with started(workflow) as app:
        run_id = await ended(app, workflow)
        assert await deleted(app, run_id, "they asked") is State.DATA_DELETED
        run = await app.client.get(workflow, run_id)
        assert (run.object, run.status, run.reason, run.error) == (None, DONE, "", None)
        assert (await types(app, run_id))[-2:] == ["delete", "deleted"]
        [row] = [record for _, record in next(iter(app.host.shards("sales"))).scan("")]
        assert SECRET not in repr(row)
        assert bytes(row.object) == b"null"
        # It can't be found by what it carried.
        found = app.client.list(workflow, search={"card": SECRET})
        assert [run.run_id async for run in found] == []
        assert [run.run_id async for run in app.client.list(workflow)] == [run_id]


async def test_its_history_tells_nothing_of_it_either() -> None:
    workflow = sales()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "s-1", Sale())
        await app.settle()
        with pytest.raises(Exception, match=SECRET):
            await app.client.callback(workflow, "end", "fatal", foreign_id="s-1")
        await app.client.cancel(run.run_id, f"of card {SECRET}")
        assert SECRET in (await app.client.history(run.run_id)).model_dump_json()
        await app.client.delete_data(run.run_id, "they asked")
        for _ in range(2):
            history = await app.client.history(run.run_id)
            assert SECRET not in history.model_dump_json()
            await app.settle()
        kinds = [event.type for event in history.events]
        assert kinds == ["trigger", "moved", "callback", "declined", "cancel", "delete", "deleted"]
        assert [event.status for event in history.events][:2] == ["CREATED", "PICKED"]
        [declined] = [event.error for event in history.events if event.error]
        assert (declined.type, declined.message, declined.traceback) == ("Fatal", "", "")


@pytest.mark.parametrize("state", [State.INITIATED, State.RUNNING, State.PAUSED])
async def test_a_run_in_progress_keeps_its_data(state: State) -> None:
    workflow = sales()
    async with started(workflow) as app:
        start_at = app.clock.now() + HOUR if state is State.INITIATED else None
        run = await app.trigger(workflow, "s-1", Sale(), start_at=start_at)
        await app.settle()
        if state is State.PAUSED:
            await app.client.pause(run.run_id)
        with pytest.raises(TransitionRefused, match=f"Can't delete-data run .* it is {state}"):
            await app.client.delete_data(run.run_id)
        assert (await app.get(run)).object == Sale()


async def test_the_latest_run_is_still_the_one_whose_data_is_deleted() -> None:
    workflow = sales()
    async with started(workflow) as app:
        first = await ended(app, workflow)
        second = await ended(app, workflow)
        await deleted(app, second)
        latest = await app.client.latest(workflow, "s-1")
        assert latest is not None
        assert (latest.run_id, latest.object) == (second, None)
        assert (await app.client.get(workflow, first)).object == Sale(cents=1_000)
        third = await ended(app, workflow)
        assert await deleted(app, first) is State.DATA_DELETED
        assert (await app.client.get(workflow, third)).object == Sale(cents=1_000)


async def test_by_foreign_id_and_in_bulk() -> None:
    workflow = sales()
    async with started(workflow) as app:
        ids = [await ended(app, workflow, f"s-{n}") for n in range(3)]
        await app.client.run(workflow, "s-0").delete_data()
        running = await app.trigger(workflow, "s-3", Sale())
        parts = [part async for part in app.client.bulk("delete-data", Filter(workflow="sales"))]
        await app.settle()
        assert sum(part.changed for part in parts) == 3
        assert [refused.foreign_id for part in parts for refused in part.refused] == ["s-3"]
        states = [(await app.client._gateway.get(run_id)).state for run_id in ids]
        assert states == [State.DATA_DELETED] * 3
        assert (await app.get(running)).object == Sale()


async def test_a_run_can_be_awaited_after_its_data_is_deleted() -> None:
    workflow = sales()
    async with started(workflow) as app:
        run_id = await ended(app, workflow)
        await deleted(app, run_id)
        zero = timedelta(0)
        assert (await app.client.await_(workflow, run_id, timeout=zero)).object is None
        assert (await app.client.await_(workflow, run_id, PICKED, timeout=zero)).status is DONE


async def test_data_can_be_deleted_again() -> None:
    workflow = sales()
    async with started(workflow) as app:
        run_id = await ended(app, workflow)
        assert await deleted(app, run_id) is State.DATA_DELETED
        assert await deleted(app, run_id) is State.DATA_DELETED


# ---- what is left


async def test_what_is_left_is_what_the_workflow_says() -> None:
    def card_alone(sale: Sale) -> Sale:
        return Sale(card="", cents=sale.cents)

    workflow, told = sales(custom_delete=card_alone), []
    workflow.on_data_deleted(lambda run: told.append(run.object))
    async with started(workflow) as app:
        run_id = await ended(app, workflow)
        await deleted(app, run_id)
        left = Sale(card="", cents=1_000)
        assert (await app.client.get(workflow, run_id)).object == left
        assert told == [left]
        history = await app.client.history(run_id)
        assert SECRET not in history.model_dump_json()
        objects = [event.object for event in history.events if event.object]
        assert objects == [{"card": "", "cents": 1_000}]


def forgetful(sale: Sale) -> Sale:
    raise OSError(f"{sale.card} is unknown")


def misshapen(sale: Sale) -> Sale:
    return Sale.model_construct(card=sale.card, cents="many")


@pytest.mark.parametrize("custom", [forgetful, misshapen])
async def test_if_the_workflow_can_not_say_nothing_is_left(custom: Any) -> None:
    workflow = sales(custom_delete=custom)
    async with started(workflow) as app:
        run_id = await ended(app, workflow)
        assert await deleted(app, run_id) is State.DATA_DELETED
        assert (await app.client.get(workflow, run_id)).object is None
        history = await app.client.history(run_id)
        assert SECRET not in history.model_dump_json()
        assert "custom_delete" in history.events[-1].reason


async def test_what_children_told_of_theirs_is_gone_too() -> None:
    workflow = sales()
    parents: Sales = Workflow("parents", Sale, Status)

    @parents.step(CREATED, to=PICKED)
    async def begin(run: SaleRun) -> Status:
        run.start(workflow, "child", Sale())
        return PICKED

    @parents.callback(PICKED, to=DONE)
    async def end(run: SaleRun, data: bytes) -> Status:
        return DONE

    async with started(parents, workflow) as app:
        parent = await app.trigger(parents, "p-1", Sale(card=""))
        await app.settle()
        await app.client.callback(workflow, "end", "well", foreign_id="child")
        await app.callback_when(parent, PICKED, "end")
        [(_, row)] = next(iter(app.host.shards("parents"))).scan("")
        assert SECRET in bytes(row.children[0].object).decode()
        await deleted(app, parent.run_id)
        [(_, row)] = next(iter(app.host.shards("parents"))).scan("")
        assert [(child.state, bytes(child.object)) for child in row.children] == [
            ("COMPLETED", b"null")
        ]
        assert SECRET not in (await app.client.history(parent.run_id)).model_dump_json()


# ---- retention


async def test_a_run_that_has_ended_is_forgotten_after_a_while() -> None:
    workflow = sales(retention=DAY)
    async with started(workflow) as app:
        run_id = await ended(app, workflow)
        running = await app.trigger(workflow, "s-2", Sale())
        run = await app.client.get(workflow, run_id)
        assert run.forget_at == app.clock.now() + DAY
        await app.advance(DAY - timedelta(seconds=1))
        assert (await app.client.get(workflow, run_id)).object == Sale(cents=1_000)
        await app.advance(timedelta(seconds=1))
        for question in (app.client.history(run_id), app.client.get(workflow, run_id)):
            with pytest.raises(RunNotFound):
                await question
        with pytest.raises(ForeignIdNotFound):
            await app.client.run(workflow, "s-1").get()
        assert await app.client.latest(workflow, "s-1") is None
        assert [run.run_id async for run in app.client.list(workflow)] == [running.run_id]
        assert (await app.client.describe("sales")).counts == {"PICKED": {"RUNNING": 1}}


async def test_a_run_without_retention_is_kept() -> None:
    workflow = sales()
    async with started(workflow) as app:
        run_id = await ended(app, workflow)
        await app.advance(timedelta(days=10_000))
        run = await app.client.get(workflow, run_id)
        assert (run.state, run.forget_at) == (State.COMPLETED, None)


async def test_nothing_at_all_is_kept_if_that_is_asked_for() -> None:
    workflow = sales(retention=timedelta(0))
    async with started(workflow) as app:
        run = await app.trigger(workflow, "s-1", Sale())
        await app.settle()
        told = await app.client.callback(workflow, "end", "well", foreign_id="s-1")
        assert told.outcome == "moved"
        await app.settle()
        assert await app.client.latest(workflow, "s-1") is None
        again = await app.trigger(workflow, "s-1", Sale())
        assert again.run_id != run.run_id


async def test_each_run_of_a_foreign_id_is_forgotten_at_its_own_time() -> None:
    workflow = sales(retention=DAY)
    async with started(workflow) as app:
        first = await ended(app, workflow)
        await app.advance(HOUR)
        second = await ended(app, workflow)
        await app.advance(DAY - HOUR)
        with pytest.raises(RunNotFound):
            await app.client.get(workflow, first)
        assert (await app.client.get(workflow, second)).status is DONE
        third = await app.trigger(workflow, "s-1", Sale())
        await app.advance(DAY)
        with pytest.raises(RunNotFound):
            await app.client.get(workflow, second)
        assert (await app.get(third)).status is PICKED


async def test_the_latest_may_be_forgotten_before_an_earlier_one() -> None:
    workflow = sales(retention=DAY)
    async with started(workflow) as app:
        first = await ended(app, workflow)
        second = await ended(app, workflow)
        await app.advance(HOUR)
        await deleted(app, first)
        await app.advance(DAY - HOUR)
        with pytest.raises(RunNotFound):
            await app.client.get(workflow, second)
        assert (await app.client.get(workflow, first)).object is None
        await app.advance(HOUR)
        with pytest.raises(RunNotFound):
            await app.client.get(workflow, first)


async def test_a_run_is_not_forgotten_before_its_hook_has_told_of_it() -> None:
    workflow, told = sales(retention=HOUR), []

    @workflow.on_complete
    async def tell(run: SaleRun) -> None:
        if run.attempt < 15:
            raise OSError("nobody listens")
        told.append(run.object.cents)

    async with started(workflow) as app:
        run_id = await ended(app, workflow)
        await app.advance(HOUR)
        with pytest.raises(RunNotFound):
            await app.client.get(workflow, run_id)
        assert told == [1_000]


async def test_of_a_cancelled_run_nothing_wakes_after_it_is_forgotten() -> None:
    workflow = sales(retention=HOUR)

    @workflow.timeout(PICKED, after=2 * HOUR, to=FAILED)
    async def late(run: SaleRun) -> Status:
        raise AssertionError("it was cancelled")

    async with started(workflow) as app:
        run = await app.trigger(workflow, "s-1", Sale())
        await app.settle()
        await app.client.cancel(run.run_id)
        await app.advance(DAY)
        assert await app.client.latest(workflow, "s-1") is None
