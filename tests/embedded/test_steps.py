"""What a step may return, and what that leads to."""

import asyncio
import functools
import threading
from datetime import timedelta
from enum import Enum, IntEnum
from typing import Any

import pytest
from pydantic import BaseModel

from streamwf import Cancel, Pause, Repeat, Run, Skip, State, Workflow
from tests.embedded.app import (
    CREATED,
    DONE,
    FAILED,
    PACKED,
    PICKED,
    Order,
    Status,
    orders,
    running,
)
from tests.support import NOW

HOUR = timedelta(hours=1)
OrderRun = Run[Order, Status]


async def test_steps_lead_a_run_to_its_end() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        run.object.notes.append("picked")
        return PICKED

    @workflow.step(PICKED, to=DONE)
    def finish(run: OrderRun) -> Status:
        run.object.notes.append("finished")
        return DONE

    async with running(workflow) as app:
        run_id = await app.start(order=Order(n=3))
        run = await app.until(run_id, state=State.COMPLETED)
        assert (run.status, run.object, run.version) == (
            DONE,
            Order(n=3, notes=["picked", "finished"]),
            3,
        )
        assert run.due_at is None
        assert app.types(run_id) == ["trigger", "moved", "moved"]


async def test_what_a_step_sees_of_its_run() -> None:
    workflow = orders()
    seen: list[OrderRun] = []

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        seen.append(run)
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        seen.append(run)
        return DONE

    async with running(workflow) as app:
        run_id = await app.start()
        app.step(seconds=1)
        await app.until(run_id, state=State.COMPLETED)
    first, second = seen
    assert (first.workflow, first.foreign_id, first.run_id) == ("orders", "o-1", run_id)
    assert (first.status, second.status) == (CREATED, PICKED)
    assert (first.version, second.version) == (1, 2)
    assert (first.attempt, second.attempt) == (1, 1)
    assert first.created_at == second.created_at == NOW
    assert first.idempotency_key != second.idempotency_key


def test_async_steps_run_on_the_loop_and_plain_ones_in_a_thread() -> None:
    async def main() -> None:
        workflow = orders()
        threads: list[threading.Thread] = []

        @workflow.step(CREATED, to=PICKED)
        async def pick(run: OrderRun) -> Status:
            threads.append(threading.current_thread())
            return PICKED

        @workflow.step(PICKED, to=DONE)
        def finish(run: OrderRun) -> Status:
            threads.append(threading.current_thread())
            return DONE

        async with running(workflow) as app:
            await app.until(await app.start(), state=State.COMPLETED)
        assert threads[0] is threading.main_thread()
        assert threads[1] is not threading.main_thread()

    asyncio.run(main())


@pytest.mark.parametrize("destination", [PICKED, PACKED, FAILED])
async def test_one_of_several_destinations(destination: Status) -> None:
    workflow = orders()

    @workflow.step(CREATED, to=[PICKED, PACKED, FAILED])
    async def choose(run: OrderRun) -> Status:
        return destination

    @workflow.step(PICKED, to=DONE)
    @workflow.step(PACKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        run_id = await app.start()
        run = await app.until(run_id, state=State.COMPLETED)
        assert run.status is (FAILED if destination is FAILED else DONE)
        history = await app.client.history(run_id)
        assert history.events[1].status == destination.name


async def test_a_status_may_lead_to_itself() -> None:
    workflow = orders(start=CREATED)

    @workflow.step(CREATED, to=[CREATED, DONE])
    async def count(run: OrderRun) -> Status:
        run.object.n += 1
        return DONE if run.object.n == 5 else CREATED

    async with running(workflow) as app:
        run = await app.until(await app.start(), state=State.COMPLETED)
        assert (run.object.n, run.version) == (5, 6)


async def test_a_plain_function_that_hands_back_a_coroutine_is_awaited() -> None:
    workflow = orders()

    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(run: OrderRun) -> Any:
            return function(run)

        return wrapper

    @workflow.step(CREATED, to=DONE)
    @logged
    async def pick(run: OrderRun) -> Status:
        await asyncio.sleep(0)
        return DONE

    async with running(workflow) as app:
        await app.until(await app.start(), state=State.COMPLETED)


class Zero(IntEnum):
    FIRST = 2
    CREATED = 0
    DONE = 1


async def test_a_status_whose_value_is_false() -> None:
    workflow = Workflow("zeros", Order, Zero, start=Zero.FIRST)
    held = asyncio.Event()

    @workflow.step(Zero.FIRST, to=Zero.CREATED)
    async def first(run: Run[Order, Zero]) -> Zero:
        raise AssertionError("it starts behind this")

    @workflow.step(Zero.CREATED, to=Zero.DONE)
    async def wait(run: Run[Order, Zero]) -> Zero:
        await held.wait()
        return Zero.DONE

    async with running(orders_done(), workflow) as app:
        run_id = await app.client.trigger(workflow, "o-1", Order(), at=Zero.CREATED, wait=True)
        there = await app.client.await_(workflow, run_id, Zero.CREATED)
        assert there.state is not State.COMPLETED, "it did not wait for the end"
        held.set()
        ended = await app.client.await_(workflow, run_id, Zero.DONE)
        assert ended.state is State.COMPLETED


def orders_done() -> Any:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    return workflow


# ---- Skip


async def test_skip_changes_nothing_and_waits() -> None:
    workflow = orders()
    calls: list[int] = []

    @workflow.step(CREATED, to=DONE)
    async def wait(run: OrderRun) -> Status | Skip:
        calls.append(run.version)
        run.object.n = 99
        return Skip() if len(calls) == 1 else DONE

    async with running(workflow) as app:
        run_id = await app.start()
        await app.idle()
        app.step(days=30)
        await app.idle()
        run = await app.get(run_id)
        assert (run.status, run.state, run.object.n, run.due_at) == (
            CREATED,
            State.RUNNING,
            0,
            None,
        )
        assert len(calls) == 1
        await app.client.pause(run_id)
        await app.client.resume(run_id)
        await app.until(run_id, state=State.COMPLETED)


# ---- Repeat


async def test_repeat_saves_the_object_and_runs_again_now() -> None:
    workflow = orders()
    keys: list[str] = []

    @workflow.step(CREATED, to=DONE)
    async def count(run: OrderRun) -> Status | Repeat:
        keys.append(run.idempotency_key)
        run.object.n += 1
        return DONE if run.object.n == 3 else Repeat()

    async with running(workflow) as app:
        run = await app.until(await app.start(), state=State.COMPLETED)
        assert run.object.n == 3
        assert len(set(keys)) == 3


async def test_repeat_after_a_while() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def count(run: OrderRun) -> Status | Repeat:
        run.object.n += 1
        return DONE if run.object.n == 2 else Repeat(after=HOUR)

    async with running(workflow) as app:
        run_id = await app.start()
        run = await app.until(run_id, version=2)
        assert (run.object.n, run.due_at) == (1, NOW + HOUR)
        app.step(minutes=59, seconds=59)
        await app.idle()
        assert (await app.get(run_id)).object.n == 1
        app.step(seconds=1)
        await app.until(run_id, state=State.COMPLETED)


async def test_repeat_that_was_paused_keeps_its_time() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def count(run: OrderRun) -> Status | Repeat:
        run.object.n += 1
        return DONE if run.object.n == 2 else Repeat(after=HOUR)

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, version=2)
        await app.client.pause(run_id)
        app.step(minutes=30)
        await app.client.resume(run_id)
        await app.idle()
        assert (await app.get(run_id)).due_at == NOW + HOUR
        app.step(minutes=30)
        await app.until(run_id, state=State.COMPLETED)


# ---- Pause and Cancel


async def test_pause_keeps_the_edits_until_somebody_resumes() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def ask(run: OrderRun) -> Status | Pause:
        run.object.n += 1
        return DONE if run.object.n == 2 else Pause("look at this")

    async with running(workflow) as app:
        run_id = await app.start()
        run = await app.until(run_id, state=State.PAUSED)
        assert (run.object.n, run.reason, run.error) == (1, "look at this", None)
        app.step(days=365)
        await app.idle()
        assert (await app.get(run_id)).state is State.PAUSED, "only people resume it"
        await app.client.resume(run_id)
        done = await app.until(run_id, state=State.COMPLETED)
        assert done.object.n == 2


async def test_cancel_keeps_the_edits_and_ends_the_run() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def stop(run: OrderRun) -> Status | Cancel:
        run.object.n = 7
        return Cancel("not wanted any more")

    async with running(workflow) as app:
        run = await app.until(await app.start(), state=State.CANCELLED)
        assert (run.object.n, run.reason, run.status, run.due_at) == (
            7,
            "not wanted any more",
            CREATED,
            None,
        )


@pytest.mark.parametrize("outcome", [Pause, Cancel])
async def test_a_reason_that_no_record_has_room_for_is_cut(outcome: Any) -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def stop(run: OrderRun) -> Any:
        return outcome("\ud800 " + "x" * 2_000_000)

    async with running(workflow) as app:
        run_id = await app.start()
        await app.idle()
        run = await app.get(run_id)
        assert run.state in (State.PAUSED, State.CANCELLED)
        assert run.reason.startswith("? xxx")
        assert len(run.reason) == 2_000


# ---- what is no destination


class Foreign(Enum):
    DONE = "done"


@pytest.mark.parametrize("returned", [PACKED, CREATED, Foreign.DONE, "done", None, 3, object])
async def test_undeclared_destination_is_an_error_that_counts(returned: Any) -> None:
    workflow = orders()
    calls = []

    @workflow.step(CREATED, to=[DONE, FAILED], pause_after=3)
    async def stray(run: OrderRun) -> Any:
        calls.append(run.attempt)
        run.object.n = 99
        return returned

    async with running(workflow) as app:
        run_id = await app.start()
        for attempt in (1, 2):
            run = await app.until(run_id, attempt=attempt)
            assert run.error is not None
            assert run.error.type == "UndeclaredTransition"
            app.step(minutes=5)
        run = await app.until(run_id, state=State.PAUSED)
        assert run.error is not None
        assert "which is not among its destinations" in run.error.message
        assert "DONE, FAILED" in run.error.message
        assert (run.object.n, run.status) == (0, CREATED)
        assert calls == [1, 2, 3]


# ---- what a step leaves behind


@pytest.mark.parametrize("broken", ["text", None])
async def test_an_object_that_does_not_fit_is_the_error_of_the_step_that_made_it(
    broken: Any,
) -> None:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED, pause_after=1)
    async def spoil(run: OrderRun) -> Status:
        run.object.n = broken
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        run = await app.until(await app.start(order=Order(n=5)), state=State.PAUSED)
        assert (run.status, run.object.n) == (CREATED, 5)
        assert run.error is not None
        assert run.error.type == "InvalidObject"
        assert "n: Input should be a valid integer" in run.error.message


async def test_another_object_in_its_place() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def replace(run: OrderRun) -> Status:
        run.object = Order(n=8)
        return DONE

    async with running(workflow) as app:
        assert (await app.until(await app.start(), state=State.COMPLETED)).object.n == 8


async def test_a_step_whose_result_is_too_large_has_failed_and_keeps_its_object() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE, pause_after=2)
    async def swell(run: OrderRun) -> Status:
        run.object.notes = ["x" * 2_000] * 10
        return DONE

    async with running(workflow, max_record_bytes=20_000) as app:
        run_id = await app.start(order=Order(n=5))
        await app.until(run_id, attempt=1)
        app.step(minutes=5)
        run = await app.until(run_id, state=State.PAUSED)
        assert run.object == Order(n=5)
        assert run.error is not None
        assert run.error.type == "RecordTooLarge"
        assert "the limit is 20000" in run.error.message
        assert not app.log.dead_letters


class Nested(BaseModel):
    inner: dict[str, list[int]] = {}


async def test_objects_are_never_shared_between_tries() -> None:
    workflow = Workflow("nested", Nested, Status)
    seen = []

    @workflow.step(CREATED, to=DONE)
    async def edit(run: Run[Nested, Status]) -> Status:
        seen.append(dict(run.object.inner))
        run.object.inner["x"] = [run.attempt]
        if run.attempt == 1:
            raise ValueError("once")
        return DONE

    async with running(orders_done(), workflow) as app:
        run_id = await app.client.trigger(workflow, "o-1", Nested(), wait=True)
        await app.idle()
        app.step(seconds=1)
        run = await app.client.await_(workflow, run_id)
        assert run.object.inner == {"x": [2]}
    assert seen == [{}, {}]
