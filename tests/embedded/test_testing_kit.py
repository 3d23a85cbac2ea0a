"""The testing kit, used as a user would: nothing here waits for the machine's clock."""

import asyncio
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from streamwf import Fatal, Pause, Repeat, Retry, Run, Skip, State
from streamwf.errors import InvalidDefinition, InvalidPayload, NotWaiting, RunInProgress
from streamwf.testing import START, SteppedClock, build_run, engine
from tests.embedded.app import (
    CREATED,
    DONE,
    FAILED,
    PACKED,
    PICKED,
    Gate,
    Order,
    Orders,
    Status,
    orders,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
OrderRun = Run[Order, Status]


def of_step(function: Any, **options: Any) -> Orders:
    """A workflow of one step."""
    workflow = orders()
    workflow.step(CREATED, to=[PICKED, DONE], **options)(function)
    return workflow


def patient() -> Orders:
    """A workflow that goes to PICKED at once, and fails after an hour there."""

    async def pick(run: OrderRun) -> Status:
        run.object.notes.append("picked")
        return PICKED

    workflow = of_step(pick)

    @workflow.timeout(PICKED, after=HOUR, to=FAILED)
    async def late(run: OrderRun) -> Status:
        return FAILED

    return workflow


# ---- the clock


def test_the_clock_stands_still_until_it_is_stepped() -> None:
    clock = SteppedClock()
    assert clock.now() == clock.now() == START
    clock.advance(HOUR)
    assert clock.now() == START + HOUR
    assert clock.now().utcoffset() == timedelta(0)


def test_the_clock_refuses_what_is_no_time_and_to_go_back() -> None:
    with pytest.raises(ValueError, match="time zone"):
        SteppedClock(datetime(2030, 1, 1))
    with pytest.raises(ValueError, match="forward"):
        SteppedClock().advance(-MINUTE)


# ---- a run built by hand


async def test_a_step_is_called_with_a_run_built_by_hand() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status | Pause:
        run.object.n += run.attempt
        return PICKED if run.attempt < 3 else Pause("enough")

    run = build_run(workflow, Order(n=1))
    assert (run.workflow, run.status, run.attempt, run.created_at) == ("orders", CREATED, 1, START)
    assert run.idempotency_key
    assert await pick(run) is PICKED
    assert run.object.n == 2
    assert await pick(build_run(workflow, Order(), attempt=3)) == Pause("enough")


def test_a_run_built_by_hand_is_where_it_is_told_to_be() -> None:
    run = build_run(patient(), Order(), status=PICKED, foreign_id="o-9", now=START + HOUR)
    assert (run.status, run.foreign_id, run.updated_at) == (PICKED, "o-9", START + HOUR)


# ---- stepping


async def test_a_timeout_of_an_hour_takes_no_time() -> None:
    workflow = patient()
    async with engine(workflow) as app:
        began = time.monotonic()
        run = await app.trigger(workflow, "o-1", Order())
        await app.await_status(run, PICKED)
        timer = await app.expect_timeout(run, "late", due_at=START + HOUR)
        assert timer.due_at == START + HOUR
        await app.advance(HOUR - timedelta(microseconds=1))
        assert (await app.get(run)).status is PICKED
        await app.advance(timedelta(microseconds=1))
        failed = await app.get(run)
        assert (failed.status, failed.state) == (FAILED, State.COMPLETED)
        assert failed.updated_at == app.clock.now() == START + HOUR
        assert time.monotonic() - began < 0.5


async def test_siblings_fire_in_order_and_each_at_its_own_instant() -> None:
    workflow = orders(start=PICKED)
    clock = SteppedClock()
    fired: list[tuple[str, timedelta]] = []

    def timeout(name: str, minutes: int, result: Any) -> None:
        @workflow.timeout(PICKED, after=minutes * MINUTE, to=PACKED, name=name)
        async def function(run: OrderRun) -> Any:
            fired.append((name, clock.now() - START))
            return result

    timeout("third", 30, PACKED)
    timeout("first", 10, Skip())
    timeout("second", 20, Skip())

    @workflow.timeout(PACKED, after=5 * MINUTE, to=DONE)
    async def set_in_between(run: OrderRun) -> Status:
        fired.append(("fourth", clock.now() - START))
        return DONE

    async with engine(workflow, clock=clock) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.advance(timedelta(days=1))
        assert (await app.get(run)).status is DONE
        assert clock.now() == START + timedelta(days=1)
    assert fired == [
        ("first", 10 * MINUTE),
        ("second", 20 * MINUTE),
        ("third", 30 * MINUTE),
        ("fourth", 35 * MINUTE),
    ]


async def test_retries_with_backoff() -> None:
    tried: list[timedelta] = []

    async def flaky(run: OrderRun) -> Status:
        tried.append(app.clock.now() - START)
        if run.attempt < 4:
            raise ConnectionError("the bank is shut")
        return DONE

    workflow = of_step(flaky, retry=Retry(initial=MINUTE, factor=3, maximum=HOUR, jitter=0))
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        failed = await app.get(run)
        assert (failed.attempt, failed.due_at) == (1, START + MINUTE)
        await app.advance(HOUR)
        await app.await_status(run, DONE)
    assert tried == [0 * MINUTE, 1 * MINUTE, 4 * MINUTE, 13 * MINUTE]


async def test_a_run_that_was_paused_by_errors_resumes_by_itself() -> None:
    async def flaky(run: OrderRun) -> Status:
        if app.clock.now() < START + HOUR:
            raise ConnectionError("the bank is shut")
        return DONE

    workflow = of_step(flaky, pause_after=1)
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        assert (await app.get(run)).state is State.PAUSED
        await app.advance(HOUR)
        await app.await_status(run, DONE)


async def test_a_start_in_the_future() -> None:
    workflow = patient()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order(), start_at=START + HOUR)
        await app.advance(HOUR - MINUTE)
        assert (await app.get(run)).status is CREATED
        await app.advance(MINUTE)
        await app.await_status(run, PICKED)


async def test_what_polls_every_minute_runs_every_minute() -> None:
    async def poll(run: OrderRun) -> Status | Repeat:
        run.object.n += 1
        return DONE if run.object.n == 100 else Repeat(after=MINUTE)

    workflow = of_step(poll)
    async with engine(workflow) as app:
        runs = [await app.trigger(workflow, f"o-{n}", Order(n=n)) for n in range(3)]
        await app.advance(98 * MINUTE)
        assert [(await app.get(run)).object.n for run in runs] == [99, 100, 100]
        await app.advance(MINUTE)
        await app.expect_object(runs[0], lambda order: order.n == 100)


async def test_it_waits_for_steps_that_wait_and_for_threads() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED)
    async def waits(run: OrderRun) -> Status:
        await asyncio.sleep(0.01)
        return PICKED

    @workflow.step(PICKED, to=PACKED)
    def in_a_thread(run: OrderRun) -> Status:
        time.sleep(0.01)
        return PACKED

    @workflow.timeout(PACKED, after=HOUR, to=DONE)
    def late(run: OrderRun) -> Status:
        time.sleep(0.01)
        return DONE

    async with engine(workflow) as app:
        runs = [await app.trigger(workflow, f"o-{n}", Order()) for n in range(20)]
        await app.settle()
        assert {(await app.client.get(workflow, run.run_id)).status for run in runs} == {PACKED}
        await app.advance(HOUR)
        assert {(await app.client.get(workflow, run.run_id)).status for run in runs} == {DONE}


async def test_several_workflows_share_the_clock() -> None:
    one, other = patient(), patient()
    other.name = "others"
    async with engine(one, other) as app:
        first = await app.trigger(one, "o-1", Order())
        await app.advance(30 * MINUTE)
        second = await app.trigger(other, "o-1", Order())
        await app.advance(30 * MINUTE)
        assert ((await app.get(first)).status, (await app.get(second)).status) == (FAILED, PICKED)
        await app.expect_timeout(second, "late", due_at=START + 90 * MINUTE)


async def test_the_client_steers() -> None:
    workflow = patient()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.await_status(run, PICKED)
        await app.client.pause(run.run_id)
        await app.advance(2 * HOUR)
        assert (await app.get(run)).status is PICKED
        await app.client.resume(run.run_id)
        await app.await_status(run, FAILED)


async def test_what_the_client_raises_comes_through() -> None:
    workflow = patient()
    async with engine(workflow) as app:
        await app.trigger(workflow, "o-1", Order())
        with pytest.raises(RunInProgress):
            await app.trigger(workflow, "o-1", Order())
    with pytest.raises(InvalidDefinition):
        async with engine(orders()):
            pass


async def test_a_test_that_ends_waits_for_no_step() -> None:
    held = Gate()

    async def hang(run: OrderRun) -> Status:
        await held.wait()
        return DONE

    began = time.monotonic()
    workflow = of_step(hang)
    async with engine(workflow) as app:
        await app.trigger(workflow, "o-1", Order())
    assert time.monotonic() - began < 2


# ---- expecting


async def test_expectations_that_are_met_give_what_was_found() -> None:
    workflow = patient()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order(n=7))
        assert (await app.expect_object(run, Order(n=7, notes=["picked"]))).status is PICKED
        assert (await app.expect_object(run, lambda order: order.n == 7)).object.n == 7
        assert (await app.expect_timeout(run, "late")).name == "late"
        await app.advance(HOUR)
        assert (await app.await_status(run, PICKED)).status is FAILED, "it has passed it"


async def test_a_status_is_awaited_while_another_run_hangs() -> None:
    held = Gate()

    async def pick(run: OrderRun) -> Status:
        if run.object.n:
            await held.wait()
        return DONE

    workflow = of_step(pick)
    async with engine(workflow) as app:
        await app.trigger(workflow, "o-1", Order(n=1))
        run = await app.trigger(workflow, "o-2", Order())
        await app.await_status(run, DONE)


def test_a_status_that_only_time_leads_to_fails_at_once_and_tells_the_history() -> None:
    workflow = patient()

    async def play() -> None:
        async with engine(workflow) as app:
            await app.advance(MINUTE)
            run = await app.trigger(workflow, "o-1", Order())
            await app.await_status(run, FAILED)

    began = time.monotonic()
    with pytest.raises(AssertionError) as failure:
        asyncio.run(play())
    assert time.monotonic() - began < 2
    assert str(failure.value) == "\n".join(
        [
            "orders 'o-1': it has not reached FAILED; it is RUNNING at PICKED",
            "  now     +0:01:00",
            "  object  Order(n=0, notes=['picked'])",
            "  waits   timer late at PICKED, due +1:01:00",
            "  history",
            "      1  +0:01:00  trigger    CREATED",
            "      2  +0:01:00  moved      PICKED",
        ]
    )
    assert failure.value.__suppress_context__


async def test_a_status_that_it_can_not_reach() -> None:
    async def broken(run: OrderRun) -> Status:
        raise Fatal("no such item")

    workflow = of_step(broken)
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        with pytest.raises(AssertionError) as failure:
            await app.await_status(run, DONE)
    told = str(failure.value)
    assert "orders 'o-1': it will not reach DONE; it is PAUSED at CREATED" in told
    assert told.endswith(
        "paused     attempt 1  paused after 1 failed attempts  Fatal: no such item"
    )


async def test_a_failed_attempt_is_told_with_its_error_and_when_it_is_tried_again() -> None:
    async def broken(run: OrderRun) -> Status:
        raise ConnectionError("the bank is shut")

    workflow = of_step(broken, retry=Retry(initial=MINUTE, jitter=0))
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        with pytest.raises(AssertionError) as failure:
            await app.await_status(run, DONE)
    told = str(failure.value)
    assert "failed     attempt 1  due +0:01:00  ConnectionError: the bank is shut" in told
    assert "waits   step at CREATED, due +0:01:00" in told


async def test_an_object_that_is_not_as_expected() -> None:
    def is_paid(order: Order) -> bool:
        return order.n > 10

    workflow = patient()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        with pytest.raises(AssertionError) as failure:
            await app.expect_object(run, Order(n=3))
        assert "its object is not the expected Order(n=3, notes=[])" in str(failure.value)
        assert "object  Order(n=0, notes=['picked'])" in str(failure.value)
        with pytest.raises(AssertionError, match="is_paid is not true of its object"):
            await app.expect_object(run, is_paid)


async def test_a_timeout_that_is_not_as_expected() -> None:
    workflow = patient()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        with pytest.raises(AssertionError, match=r"'early' does not wait \(those that do: late\)"):
            await app.expect_timeout(run, "early")
        with pytest.raises(AssertionError, match=r"is due at \+1:00:00, and not at \+2:00:00"):
            await app.expect_timeout(run, "late", due_at=START + 2 * HOUR)
        await app.advance(HOUR)
        with pytest.raises(AssertionError, match=r"does not wait \(those that do: none\)"):
            await app.expect_timeout(run, "late")


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "repeats itself at once"])
async def test_what_never_ends_is_told(hangs: bool) -> None:
    held = Gate()

    async def step(run: OrderRun) -> Repeat:
        if hangs:
            await held.wait()
        return Repeat()

    workflow = of_step(step)
    async with engine(workflow, patience=timedelta(seconds=0.05)) as app:
        await app.trigger(workflow, "o-1", Order())
        with pytest.raises(AssertionError) as failure:
            await app.advance(HOUR)
        assert app.clock.now() == START
    told = str(failure.value)
    assert "what is due at +0:00:00 was not done within 0.05 s" in told
    assert "orders 'o-1': step at CREATED, due +0:00:00" in told
    assert ("still running: 1" in told) or not hangs


# ---- calling back


def asking() -> Orders:
    """It waits at PICKED, which it reaches after an hour, for `decide`."""
    workflow = orders()

    @workflow.step(CREATED, to=[PICKED, FAILED], lag=HOUR)
    async def pick(run: OrderRun) -> Status:
        return FAILED if run.object.n < 0 else PICKED

    @workflow.callback(PICKED, to=[DONE, FAILED], payload=int)
    async def decide(run: OrderRun, n: int) -> Status:
        if n < 0:
            raise OSError("the scales are broken")
        run.object.n = n
        return DONE

    return workflow


async def test_a_run_is_called_back_once_it_waits_for_it() -> None:
    workflow = asking()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        with pytest.raises(AssertionError, match="it has not reached PICKED; it is RUNNING"):
            await app.callback_when(run, PICKED, "decide", 7)
        await app.advance(HOUR)
        run = await app.callback_when(run, PICKED, "decide", 7, key="k")
        assert (run.status, run.object.n) == (DONE, 7)
        again = await app.callback_when(run, PICKED, "decide", 7, key="k")
        assert again.object.n == 7
        with pytest.raises(NotWaiting):
            await app.callback_when(run, PICKED, "decide", 8)


async def test_a_run_that_will_never_wait_for_it_is_not_called_back() -> None:
    workflow = asking()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order(n=-1))
        await app.advance(HOUR)
        with pytest.raises(AssertionError, match="it will not reach PICKED"):
            await app.callback_when(run, PICKED, "decide", 7)
        other = await app.trigger(workflow, "o-2", Order())
        await app.advance(HOUR)
        with pytest.raises(InvalidPayload):
            await app.callback_when(other, PICKED, "decide", "seven")


async def test_a_callback_that_fails_is_seen_on_the_run_and_in_what_is_told_of_it() -> None:
    workflow = asking()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.advance(HOUR)
        run = await app.callback_when(run, PICKED, "decide", -1)
        assert run.error is not None
        assert [(call.name, call.attempt) for call in run.callbacks] == [("decide", 1)]
        with pytest.raises(AssertionError) as failure:
            await app.await_status(run, DONE)
        told = str(failure.value)
        assert re.search(r"\n +4  \+1:00:00  callback   decide\n", told), told
        assert "OSError: the scales are broken" in told
        assert re.search(r"\n  waits   call [0-9a-f-]+ at PICKED, due \+1:00:0", told), told


# ---- what it needs


def test_it_pulls_in_no_test_library() -> None:
    code = (
        "import sys, streamwf, streamwf.testing;"
        "print({name.partition('.')[0] for name in sys.modules}"
        " & {'pytest', '_pytest', 'pytest_asyncio', 'pluggy', 'hypothesis', 'unittest', 'tests'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()", done.stdout


def test_a_production_import_does_not_pull_in_the_kit() -> None:
    code = "import sys, streamwf.cli, streamwf.agents; print('streamwf.testing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
