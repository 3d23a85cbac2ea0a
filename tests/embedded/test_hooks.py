"""Hooks: called once a change is durable, until they succeed, and without a say in it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Cancel, Fatal, Pause, Retry, Run, State
from streamwf.errors import InvalidDefinition
from streamwf.testing import Engine, engine
from tests.embedded.app import (
    CREATED,
    DONE,
    FAILED,
    PICKED,
    Gate,
    Order,
    Orders,
    Status,
    orders,
)
from tests.embedded.kit import append, started, types
from tests.support import eventually

HOUR = timedelta(hours=1)
OrderRun = Run[Order, Status]


def hooked(first: Any = None, **options: Any) -> tuple[Orders, list[str]]:
    """It waits at PICKED for `end`, and notes what its hooks are told.

    first: what its first step returns or raises, the first time.
    """
    workflow, told, left = orders(**options), list[str](), [first]

    @workflow.step(CREATED, to=PICKED, pause_after=1)
    async def begin(run: OrderRun) -> Any:
        outcome = left.pop() if left else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or PICKED

    @workflow.callback(PICKED, to=[DONE, FAILED])
    async def end(run: OrderRun, data: bytes) -> Status:
        run.object.n += 1
        return DONE

    def note(what: str) -> Callable[[OrderRun], None]:
        def noted(run: OrderRun) -> None:
            n = run.object and run.object.n
            told.append(f"{what}: {run.state}, {n} {run.reason}".rstrip())

        return noted

    workflow.on_pause(note("pause"))
    workflow.on_resume(note("resume"))
    workflow.on_cancel(note("cancel"))
    workflow.on_complete(note("complete"))
    workflow.on_data_deleted(note("deleted"))
    return workflow, told


async def test_they_are_told_of_every_change_of_state() -> None:
    workflow, told = hooked()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.settle()
        await app.client.pause(run.run_id, "lunch")
        await app.settle()
        await app.client.resume(run.run_id, "back")
        await app.callback_when(run, PICKED, "end")
        await app.client.delete_data(run.run_id, "they asked")
        await app.settle()
        assert told == [
            "pause: PAUSED, 0 lunch",
            "resume: RUNNING, 0 back",
            "complete: COMPLETED, 1",
            "deleted: DATA_DELETED, None",
        ]
        other = await app.trigger(workflow, "o-2", Order())
        await app.client.cancel(other.run_id, "no")
        await app.settle()
        assert told[4:] == ["cancel: CANCELLED, 0 no"]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Pause("look"), ["pause: PAUSED, 0 look"]),
        (Cancel("never"), ["cancel: CANCELLED, 0 never"]),
        (Fatal("broken"), ["pause: PAUSED, 0 paused after 1 failed attempts"]),
        (
            OSError("broken"),
            [
                "pause: PAUSED, 0 paused after 1 failed attempts",
                "resume: RUNNING, 0",
            ],
        ),
    ],
)
async def test_they_are_told_whatever_the_reason(outcome: Any, expected: list[str]) -> None:
    workflow, told = hooked(outcome)
    async with started(workflow) as app:
        await app.trigger(workflow, "o-1", Order())
        await app.advance(2 * HOUR)
        assert told == expected


async def test_they_come_after_the_change_is_in_the_log() -> None:
    workflow, _ = hooked()
    seen = []

    async def look(run: OrderRun) -> None:
        seen.append([event.type for event in (await app.client.history(run.run_id)).events])

    workflow.hooks.clear()
    workflow.on_complete(look)
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.callback_when(run, PICKED, "end")
        assert seen == [["trigger", "moved", "callback", "moved", "hook"]]
        assert (await types(app, run.run_id))[-2:] == ["hook", "hooked"]


async def test_they_change_nothing() -> None:
    workflow, _ = hooked()
    workflow.hooks.clear()

    @workflow.on_pause
    async def meddle(run: OrderRun) -> Any:
        run.object.n = 99
        run.status = DONE
        run.start(workflow, "another", Order())
        return DONE

    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.settle()
        await app.client.pause(run.run_id)
        found = await app.get(run)
        assert (found.state, found.status, found.object.n) == (State.PAUSED, PICKED, 0)
        assert await app.client.count() == 1


async def test_one_that_fails_is_tried_again_until_it_succeeds() -> None:
    workflow, _ = hooked()
    attempts = []
    workflow.hooks.clear()

    @workflow.on_complete
    async def tell(run: OrderRun) -> None:
        attempts.append((run.attempt, run.idempotency_key))
        if run.attempt < 4:
            raise OSError("nobody listens")

    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        run = await app.callback_when(run, PICKED, "end")
        assert (run.state, run.hooks) == (State.COMPLETED, ["complete"])
        await app.advance(HOUR)
        run = await app.get(run)
        assert (run.state, run.hooks, run.error) == (State.COMPLETED, [], None)
        assert [attempt for attempt, _ in attempts] == [1, 2, 3, 4]
        assert len({key for _, key in attempts}) == 1
        errors = [event.error for event in (await app.client.history(run.run_id)).events]
        assert [error.message for error in errors if error] == ["nobody listens"] * 3


async def test_one_that_says_so_is_not_tried_again() -> None:
    workflow, _ = hooked()
    calls = []
    workflow.hooks.clear()

    @workflow.on_complete
    def tell(run: OrderRun) -> None:
        calls.append(run.attempt)
        raise Fatal("they moved")

    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.callback_when(run, PICKED, "end")
        await app.advance(24 * HOUR)
        assert (calls, (await app.get(run)).hooks) == ([1], [])


async def test_each_change_is_told_even_if_the_next_comes_first() -> None:
    workflow, told = hooked()
    down = True

    @workflow.on_pause
    async def tell(run: OrderRun) -> None:
        if down:
            raise OSError("nobody listens")
        told.append("pause")

    workflow.noted.clear()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.settle()
        for _ in range(2):
            await app.client.pause(run.run_id)
            await app.settle()
            await app.client.resume(run.run_id)
            await app.settle()
        run = await app.get(run)
        assert (run.state, run.hooks) == (State.RUNNING, ["pause", "pause"])
        down = False
        await app.advance(HOUR)
        assert told.count("pause") == 2
        assert [each for each in told if each.startswith("resume")] == ["resume: RUNNING, 0"] * 2


async def test_a_slow_one_holds_up_neither_its_run_nor_others() -> None:
    workflow, _ = hooked()
    gate = Gate()
    workflow.hooks.clear()

    @workflow.on_pause
    async def wait(run: OrderRun) -> None:
        await gate.wait()

    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.settle()
        await app.client.pause(run.run_id)
        await eventually(lambda: gate.waiting)
        await app.client.resume(run.run_id)
        for foreign_id in ("o-1", "o-2"):
            if foreign_id == "o-2":
                await app.client.trigger(workflow, "o-2", Order())
            await app.client.await_(workflow, await latest(app, workflow, foreign_id), PICKED)
            told = await app.client.callback(workflow, "end", foreign_id=foreign_id)
            assert told.outcome == "moved"
        gate.open()
        await app.settle()
        assert gate.most == 1


async def latest(app: Engine, workflow: Orders, foreign_id: str) -> str:
    async with asyncio.timeout(30):
        while (run := await app.client.latest(workflow, foreign_id)) is None:
            await asyncio.sleep(0)
    return run.run_id


async def test_one_that_is_declared_no_more_is_not_waited_for() -> None:
    workflow, _ = hooked()
    workflow.hooks.clear()

    @workflow.on_complete
    async def tell(run: OrderRun) -> None:
        raise OSError("nobody listens")

    async with engine(workflow) as former:
        run = await former.trigger(workflow, "o-1", Order())
        await former.callback_when(run, PICKED, "end")
    workflow.hooks.clear()
    async with engine(workflow, former=former) as app:
        await app.advance(HOUR)
        assert (await app.get(run)).hooks == []


async def test_one_that_is_declared_later_is_not_told_of_what_was() -> None:
    workflow, told = hooked()
    hooks = dict(workflow.hooks)
    workflow.hooks.clear()
    async with engine(workflow) as former:
        run = await former.trigger(workflow, "o-1", Order())
        await former.callback_when(run, PICKED, "end")
    workflow.hooks.update(hooks)
    async with engine(workflow, former=former) as app:
        await app.advance(HOUR)
        assert told == []
        await app.client.delete_data(run.run_id)
        await app.settle()
        assert told == ["deleted: DATA_DELETED, None"]


async def test_of_a_run_that_was_rejected_there_may_be_nothing_to_tell() -> None:
    workflow, told = hooked()
    async with started(workflow) as app:
        append(app, workflow, type="trigger", subject="o-1", data={"n": 1}, status="NOWHERE")
        append(app, workflow, type="trigger", subject="o-2", data={"n": "many"})
        append(app, workflow, type="trigger", subject="o-3", data={"n": 3}, status="DONE")
        await app.advance(24 * HOUR)
        runs = (await app.client.find()).runs
        assert [(run.state, run.hooks) for run in runs] == [(State.CANCELLED, [])] * 3
        assert len(told) == 1
        assert told[0].startswith("cancel: CANCELLED, 3 A run of 'orders' can't start at 'DONE'")


def test_there_is_one_of_a_kind() -> None:
    workflow, _ = hooked()
    workflow.on_cancel(lambda run: None)
    with pytest.raises(InvalidDefinition, match="two hooks on_cancel: keep one"):
        workflow.validate()


async def test_retries_of_steps_are_no_change_of_state() -> None:
    workflow, told = orders(), list[str]()

    @workflow.step(CREATED, to=DONE, retry=Retry(HOUR, maximum=HOUR, jitter=0))
    async def flaky(run: OrderRun) -> Status:
        if run.attempt < 3:
            raise OSError("down")
        return DONE

    for declare in (workflow.on_pause, workflow.on_resume, workflow.on_complete):
        declare(lambda run: told.append(run.state))
    async with started(workflow) as app:
        await app.trigger(workflow, "o-1", Order())
        await app.advance(3 * HOUR)
        assert told == [State.COMPLETED]
