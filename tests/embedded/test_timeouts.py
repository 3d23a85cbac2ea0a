"""Timeouts: bound to the stay in a status, each on its own, and never twice."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from streamwf import Cancel, Fatal, Pause, Repeat, Run, Skip, State
from tests.embedded.app import (
    CREATED,
    DONE,
    FAILED,
    PACKED,
    PICKED,
    App,
    Gate,
    Order,
    Orders,
    Status,
    orders,
    running,
)
from tests.support import NOW, eventually

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
OrderRun = Run[Order, Status]


def waiting(after: Any = HOUR, result: Any = FAILED) -> tuple[Orders, list[OrderRun]]:
    """A workflow that waits at PICKED, and the runs that its timeout was called with."""
    workflow = orders()
    fired: list[OrderRun] = []

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        return PICKED

    @workflow.timeout(PICKED, after=after, to=FAILED)
    async def late(run: OrderRun) -> Any:
        fired.append(run)
        run.object.n += 1
        return result

    return workflow, fired


async def picked(app: App, **start: Any) -> str:
    run_id = await app.start(**start)
    await app.until(run_id, status=PICKED)
    return run_id


# ---- when it is due


async def test_after_a_duration() -> None:
    workflow, fired = waiting()
    async with running(workflow) as app:
        run_id = await picked(app)
        run = await app.get(run_id)
        assert [(timer.name, timer.due_at) for timer in run.timers] == [("late", NOW + HOUR)]
        assert run.due_at is None
        app.step(minutes=59, seconds=59.999999)
        await app.idle()
        assert not fired
        app.step(microseconds=1)
        run = await app.until(run_id, state=State.COMPLETED)
        assert (run.status, run.object.n, run.timers) == (FAILED, 1, [])
        assert app.events(run_id)[-1].timer == "late"


@pytest.mark.parametrize("zone", [0, -7])
async def test_at_an_instant(zone: int) -> None:
    at = datetime(2030, 1, 2, 12, 0, tzinfo=timezone(timedelta(hours=zone)))
    workflow, fired = waiting(after=at)
    async with running(workflow) as app:
        run_id = await picked(app)
        assert [timer.due_at for timer in (await app.get(run_id)).timers] == [at]
        app.clock.step(at - NOW - timedelta(microseconds=1))
        app.host.run_due()
        await app.idle()
        assert not fired
        app.step(microseconds=1)
        await app.until(run_id, state=State.COMPLETED)


async def test_at_an_instant_that_has_passed() -> None:
    workflow, _ = waiting(after=NOW - HOUR)
    async with running(workflow) as app:
        await app.until(await app.start(), state=State.COMPLETED)


async def test_as_a_function_of_the_run_says() -> None:
    seen: list[OrderRun] = []

    def after(run: OrderRun) -> timedelta | datetime | None:
        seen.append(run)
        return {1: MINUTE, 2: NOW + HOUR, 3: None}[run.object.n]

    workflow, _ = waiting(after=after)
    async with running(workflow) as app:
        timers = [
            (await app.get(await picked(app, foreign_id=f"o-{n}", order=Order(n=n)))).timers
            for n in (1, 2, 3)
        ]
        assert [[timer.due_at for timer in each] for each in timers] == [
            [NOW + MINUTE],
            [NOW + HOUR],
            [],
        ]
        assert {run.status for run in seen} == {PICKED}


async def test_a_function_that_gives_an_instant_of_no_time_zone_is_an_error() -> None:
    workflow, _ = waiting(after=lambda run: datetime(2030, 1, 1))
    async with running(workflow) as app:
        run = await app.until(await app.start(), attempt=1)
        assert run.error is not None
        assert run.error.type == "NaiveDeadline"
        assert run.status is CREATED


async def test_a_function_that_fails_at_the_start_is_tried_again() -> None:
    workflow = orders(start=PICKED)
    calls: list[int] = []

    def after(run: OrderRun) -> timedelta:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("not yet")
        return HOUR

    @workflow.timeout(PICKED, after=after, to=FAILED)
    async def late(run: OrderRun) -> Status:
        return FAILED

    async with running(workflow) as app:
        run_id = await app.start()
        for attempt in (1, 2):
            run = await app.until(run_id, attempt=attempt)
            assert run.timers == []
            app.step(minutes=1)
        run = await app.until(run_id, attempt=0)
        assert len(run.timers) == 1


async def test_a_plain_function() -> None:
    workflow = orders(start=PICKED)

    @workflow.timeout(PICKED, after=HOUR, to=FAILED)
    def late(run: OrderRun) -> Status:
        return FAILED

    async with running(workflow) as app:
        run_id = await app.start()
        await eventually(lambda: "started" in app.types(run_id))
        await app.idle()
        app.step(hours=1)
        await app.until(run_id, state=State.COMPLETED)


# ---- several


async def test_several_timeouts_each_on_its_own() -> None:
    workflow = orders(start=PICKED)
    fired: list[str] = []

    def timeout(name: str, minutes: int, result: Any) -> None:
        @workflow.timeout(PICKED, after=timedelta(minutes=minutes), to=FAILED, name=name)
        async def function(run: OrderRun) -> Any:
            fired.append(name)
            return result

    timeout("third", 30, FAILED)
    timeout("first", 10, Skip())
    timeout("second", 20, Skip())

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, version=2)
        for count in (1, 2):
            app.step(minutes=10)
            run = await app.until(run_id, version=2 + count)
            assert len(run.timers) == 3 - count
        assert fired == ["first", "second"]
        app.step(minutes=10)
        await app.until(run_id, state=State.COMPLETED)
        assert fired == ["first", "second", "third"]


async def test_timeouts_that_are_due_at_one_instant_are_all_answered() -> None:
    workflow = orders(start=PICKED)
    fired: set[str] = set()

    def timeout(name: str) -> None:
        @workflow.timeout(PICKED, after=HOUR, to=FAILED, name=name)
        async def function(run: OrderRun) -> Skip:
            fired.add(name)
            return Skip()

    names = {"a", "b", "c", "d"}
    for name in sorted(names):
        timeout(name)

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, version=2)
        app.step(hours=1)
        run = await app.until(run_id, timers=[])
        assert fired == names
        assert run.version == 2 + len(names), "each was answered by one event that counts"


async def test_one_that_hangs_holds_up_no_other() -> None:
    workflow = orders(start=PICKED)
    held = Gate()

    @workflow.timeout(PICKED, after=MINUTE, to=FAILED)
    async def hang(run: OrderRun) -> Status:
        await held.wait()
        return FAILED

    @workflow.timeout(PICKED, after=2 * MINUTE, to=DONE)
    async def late(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, version=2)
        app.step(minutes=1)
        await eventually(lambda: held.waiting)
        app.step(minutes=1)
        run = await app.until(run_id, state=State.COMPLETED)
        assert run.status is DONE
        held.open()
        await app.idle()
        assert (await app.get(run_id)).status is DONE, "its result came too late"


# ---- bound to the stay


async def test_it_ends_with_the_stay() -> None:
    workflow = orders()
    fired: list[int] = []

    @workflow.step(CREATED, to=[CREATED, PICKED])
    async def again(run: OrderRun) -> Status | Repeat:
        run.object.n += 1
        if run.object.n in (1, 2):
            return Repeat(after=40 * MINUTE)
        return PICKED if run.object.n == 5 else CREATED

    @workflow.timeout(CREATED, after=HOUR, to=FAILED)
    async def late(run: OrderRun) -> Skip:
        fired.append(run.object.n)
        return Skip()

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        run_id = await app.start()
        first = await app.until(run_id, version=3)
        assert first.object.n == 1
        app.step(minutes=40)
        second = await app.until(run_id, version=4)
        assert second.timers == first.timers, "to repeat is to stay"
        app.step(minutes=19)
        await app.idle()
        assert not fired
        app.step(minutes=1)
        await eventually(lambda: fired == [2])
        app.step(minutes=20)
        run = await app.until(run_id, state=State.COMPLETED)
        assert run.timers == []
        app.step(hours=5)
        await app.idle()
        assert fired == [2], "those of later stays ended with them"


async def test_a_move_to_the_same_status_is_a_new_stay() -> None:
    workflow = orders(start=CREATED)
    gate = iter([CREATED, DONE])

    @workflow.step(CREATED, to=[CREATED, DONE])
    async def again(run: OrderRun) -> Status | Repeat:
        run.object.n += 1
        return Repeat(after=30 * MINUTE) if run.object.n % 2 else next(gate)

    @workflow.timeout(CREATED, after=HOUR, to=FAILED)
    async def late(run: OrderRun) -> Status:
        return FAILED

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, version=3)
        app.step(minutes=30)
        run = await app.until(run_id, version=5)
        assert [timer.due_at for timer in run.timers] == [NOW + 90 * MINUTE]
        app.step(minutes=30)
        assert (await app.until(run_id, state=State.COMPLETED)).status is DONE


async def test_a_step_in_flight_is_overtaken_and_its_result_dropped() -> None:
    workflow = orders()
    held = Gate()

    @workflow.step(CREATED, to=DONE)
    async def slow(run: OrderRun) -> Status:
        await held.wait()
        run.object.n = 99
        return DONE

    @workflow.timeout(CREATED, after=HOUR, to=FAILED)
    async def late(run: OrderRun) -> Status:
        return FAILED

    async with running(workflow) as app:
        run_id = await app.start()
        await eventually(lambda: held.waiting)
        app.step(hours=1)
        run = await app.until(run_id, state=State.COMPLETED)
        held.open()
        await app.idle()
        run = await app.get(run_id)
        assert (run.status, run.object.n) == (FAILED, 0)
        assert app.types(run_id).count("moved") == 2, "the late result is in the log, and refused"


async def test_nothing_of_the_old_run_touches_the_next_of_the_same_foreign_id() -> None:
    workflow, fired = waiting()
    async with running(workflow) as app:
        old = await picked(app)
        app.step(minutes=30)
        await app.client.cancel(old)
        new = await picked(app)
        app.step(minutes=30)
        await app.idle()
        assert not fired, "the hour of the old run is over, that of the new one is not"
        assert (await app.get(new)).state is State.RUNNING
        app.step(minutes=30)
        await app.until(new, state=State.COMPLETED)
        assert [run.run_id for run in fired] == [new]
        assert (await app.get(old)).state is State.CANCELLED


# ---- pause and resume


async def test_a_deadline_survives_pause_and_resume_unchanged() -> None:
    workflow, fired = waiting()
    async with running(workflow) as app:
        run_id = await picked(app)
        await app.client.pause(run_id)
        app.step(minutes=20)
        assert [t.due_at for t in (await app.get(run_id)).timers] == [NOW + HOUR]
        await app.client.resume(run_id)
        await app.idle()
        assert [t.due_at for t in (await app.get(run_id)).timers] == [NOW + HOUR]
        app.step(minutes=40)
        await app.until(run_id, state=State.COMPLETED)
        assert len(fired) == 1


async def test_a_deadline_that_passes_in_a_pause_is_met_after_it_and_once() -> None:
    workflow, fired = waiting()
    async with running(workflow) as app:
        run_id = await picked(app)
        await app.client.pause(run_id)
        app.step(hours=3)
        await app.idle()
        assert not fired
        await app.client.resume(run_id)
        await app.until(run_id, state=State.COMPLETED)
        assert len(fired) == 1


# ---- what it may return


async def test_skip_answers_it_for_good() -> None:
    workflow, fired = waiting(result=Skip())
    async with running(workflow) as app:
        run_id = await picked(app)
        app.step(hours=1)
        run = await app.until(run_id, timers=[])
        assert (run.state, run.status, run.object.n) == (State.RUNNING, PICKED, 0)
        app.step(days=3)
        await app.client.pause(run_id)
        await app.client.resume(run_id)
        await app.idle()
        assert len(fired) == 1


async def test_repeat_saves_the_object_and_is_due_again() -> None:
    workflow, fired = waiting(result=Repeat(after=HOUR))
    async with running(workflow) as app:
        run_id = await picked(app)
        for count in (1, 2, 3):
            app.step(hours=1)
            run = await app.until(run_id, version=2 + count)
            assert run.object.n == count
            assert [t.due_at for t in run.timers] == [NOW + (count + 1) * HOUR]
        assert len(fired) == 3


async def test_pause_saves_the_object_and_answers_it() -> None:
    workflow, fired = waiting(result=Pause("nobody came"))
    async with running(workflow) as app:
        run_id = await picked(app)
        app.step(hours=1)
        run = await app.until(run_id, state=State.PAUSED)
        assert (run.object.n, run.reason, run.timers) == (1, "nobody came", [])
        await app.client.resume(run_id)
        await app.idle()
        app.step(days=1)
        await app.idle()
        assert (await app.get(run_id)).state is State.RUNNING
        assert len(fired) == 1


async def test_pause_leaves_the_wait_of_the_step_as_it_is() -> None:
    workflow = orders()
    calls: list[int] = []

    @workflow.step(CREATED, to=DONE)
    async def poll(run: OrderRun) -> Repeat:
        calls.append(1)
        return Repeat(after=10 * HOUR)

    @workflow.timeout(CREATED, after=HOUR, to=FAILED)
    async def late(run: OrderRun) -> Pause:
        return Pause()

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, version=3)
        app.step(hours=1)
        await app.until(run_id, state=State.PAUSED)
        await app.client.resume(run_id)
        await app.idle()
        assert (await app.get(run_id)).due_at == NOW + 10 * HOUR
        assert len(calls) == 1


async def test_cancel() -> None:
    workflow, _ = waiting(result=Cancel("too late"))
    async with running(workflow) as app:
        run_id = await picked(app)
        app.step(hours=1)
        run = await app.until(run_id, state=State.CANCELLED)
        assert (run.object.n, run.reason, run.timers) == (1, "too late", [])


async def test_an_error_is_told_and_tried_again() -> None:
    workflow = orders(start=PICKED)
    fired: list[datetime] = []

    async with running(workflow_failing_twice(workflow, fired)) as app:
        run_id = await app.start()
        await app.until(run_id, version=2)
        app.step(hours=1)
        run = await app.until(run_id, version=3)
        assert run.error is not None
        assert run.error.type == "ValueError"
        [timer] = run.timers
        assert NOW + HOUR < timer.due_at <= NOW + HOUR + timedelta(seconds=1)
        app.step(seconds=1)
        await app.until(run_id, version=4)
        app.step(seconds=2)
        assert (await app.until(run_id, state=State.COMPLETED)).error is None
        assert len(fired) == 3


def workflow_failing_twice(workflow: Orders, fired: list[datetime]) -> Orders:
    @workflow.timeout(PICKED, after=HOUR, to=FAILED)
    async def late(run: OrderRun) -> Status:
        fired.append(NOW)
        if len(fired) < 3:
            raise ValueError("not yet")
        return FAILED

    return workflow


async def test_an_undeclared_destination_is_an_error_too() -> None:
    workflow, _ = waiting(result=PACKED)
    async with running(workflow) as app:
        run_id = await picked(app)
        app.step(hours=1)
        run = await app.until(run_id, version=3)
        assert run.error is not None
        assert run.error.type == "UndeclaredTransition"
        assert run.status is PICKED


async def test_fatal_pauses_with_the_error_and_is_not_tried_again() -> None:
    workflow = orders(start=PICKED)
    fired: list[int] = []

    @workflow.timeout(PICKED, after=HOUR, to=FAILED)
    async def late(run: OrderRun) -> Status:
        fired.append(1)
        raise Fatal("nobody to tell")

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, version=2)
        app.step(hours=1)
        run = await app.until(run_id, state=State.PAUSED)
        assert run.error is not None
        assert run.error.type == "Fatal"
        app.step(days=2)
        await app.client.resume(run_id)
        await app.idle()
        assert len(fired) == 1


@pytest.mark.parametrize("result", [Skip(), Repeat(after=HOUR), ValueError("no")], ids=repr)
async def test_a_timeout_that_moves_nothing_leaves_a_step_in_flight_alone(result: Any) -> None:
    workflow = orders()
    held = Gate()
    calls: list[int] = []

    @workflow.step(CREATED, to=DONE, pause_after=2)
    async def slow(run: OrderRun) -> Status:
        calls.append(1)
        await held.wait()
        return DONE

    @workflow.timeout(CREATED, after=HOUR, to=FAILED)
    async def nag(run: OrderRun) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    async with running(workflow) as app:
        run_id = await app.start()
        await eventually(lambda: held.waiting)
        app.step(hours=1)
        await app.until(run_id, version=3)
        held.open()
        run = await app.until(run_id, state=State.COMPLETED)
        assert run.status is DONE
        assert len(calls) == 1


async def test_timeouts_that_are_due_at_one_instant_run_once_each() -> None:
    workflow = orders(start=PICKED)
    fired: list[str] = []
    answered: list[App] = []

    def timeout(name: str, version: int) -> None:
        @workflow.timeout(PICKED, after=HOUR, to=FAILED, name=name)
        async def function(run: OrderRun) -> Skip:
            fired.append(name)
            # It goes on while those before it are answered and folded.
            await answered[0].until(run.run_id, version=version)
            return Skip()

    for version, name in enumerate("abcd", 2):
        timeout(name, version)

    async with running(workflow) as app:
        answered.append(app)
        run_id = await app.start()
        await app.until(run_id, version=2)
        app.step(hours=1)
        await app.until(run_id, timers=[])
        assert sorted(fired) == list("abcd")


async def test_each_try_has_the_same_key_though_the_step_is_repeated_meanwhile() -> None:
    workflow, keys, polls = orders(), list[str](), list[str]()

    @workflow.step(CREATED, to=PICKED)
    async def poll(run: OrderRun) -> Repeat:
        polls.append(run.idempotency_key)
        return Repeat(after=timedelta(milliseconds=300))

    @workflow.timeout(CREATED, after=5 * SECOND, to=DONE)
    async def late(run: OrderRun) -> Status:
        keys.append(run.idempotency_key)
        if run.attempt < 3:
            raise OSError("the bank is shut")
        return DONE

    async with running(workflow) as app:
        run_id = await app.start()

        async def done() -> bool:
            app.step(seconds=1)
            return (await app.get(run_id)).status is DONE

        await eventually(done)
        assert len(set(keys)) == 1
        assert len(keys) >= 3
        assert len(set(polls)) == len(polls) > 3
