"""Steps that fail: retries, limits, and errors of every kind."""

import asyncio
import os
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from streamwf import Fatal, Pause, Retry, Run, State, Workflow
from tests.embedded.app import (
    CREATED,
    DONE,
    FAILED,
    PICKED,
    App,
    Gate,
    Order,
    Status,
    orders,
    running,
)
from tests.support import NOW, eventually

HOUR = timedelta(hours=1)
EXACT = Retry(jitter=0)
OrderRun = Run[Order, Status]


def failing(error: BaseException | type[BaseException] = ValueError, **options: Any) -> Any:
    """A workflow whose step always fails, and the attempts that were made."""
    auto_resume = options.pop("auto_resume", HOUR)
    workflow = orders(auto_resume=auto_resume)
    attempts: list[int] = []

    @workflow.step(CREATED, to=[DONE, FAILED], **{"retry": EXACT, **options})
    async def fail(run: OrderRun) -> Status:
        attempts.append(run.attempt)
        run.object.n = 99
        raise error

    return workflow, attempts


# ---- retries


async def test_an_error_is_told_and_tried_again_ever_later() -> None:
    workflow, attempts = failing(ValueError("no such item"))
    async with running(workflow) as app:
        run_id = await app.start()
        waited = 0
        for attempt, delay in enumerate([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300], 1):
            run = await app.until(run_id, attempt=attempt)
            assert run.due_at == NOW + timedelta(seconds=waited + delay)
            assert run.error is not None
            assert (run.error.type, run.error.message) == ("ValueError", "no such item")
            assert "in fail" in run.error.traceback
            assert (run.state, run.status, run.object.n) == (State.RUNNING, CREATED, 0)
            app.step(seconds=delay - 0.001)
            await app.idle()
            assert len(attempts) == attempt
            app.step(seconds=0.001)
            waited += delay
        await eventually(lambda: attempts == list(range(1, 13)))


async def test_success_ends_the_count() -> None:
    workflow = orders()
    failures = iter([True, True, False, True, True, False])

    async def flaky(run: OrderRun) -> Status:
        if next(failures):
            raise ValueError
        return PICKED if run.status is CREATED else DONE

    workflow.step(CREATED, to=PICKED, pause_after=3, retry=EXACT)(flaky)
    workflow.step(PICKED, to=DONE, pause_after=3, retry=EXACT)(flaky)

    async with running(workflow) as app:
        run_id = await app.start()
        for status in (CREATED, PICKED):
            await app.until(run_id, status=status, attempt=1)
            app.step(seconds=1)
            await app.until(run_id, status=status, attempt=2)
            app.step(seconds=2)
        run = await app.until(run_id, state=State.COMPLETED)
        assert (run.attempt, run.error) == (0, None)


async def test_retries_hold_up_no_other_run() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE, parallel=1, retry=EXACT)
    async def fail_some(run: OrderRun) -> Status:
        if run.foreign_id.startswith("bad"):
            raise ValueError
        return DONE

    async with running(workflow) as app:
        bad = [await app.start(f"bad-{n}") for n in range(50)]
        good = [await app.start(f"good-{n}") for n in range(50)]
        for run_id in good:
            await app.until(run_id, state=State.COMPLETED)
        for run_id in bad:
            assert (await app.get(run_id)).attempt == 1


async def test_the_key_for_outside_services_is_the_same_in_every_try() -> None:
    workflow = orders()
    keys: list[str] = []

    @workflow.step(CREATED, to=PICKED, pause_after=3, retry=EXACT)
    async def charge(run: OrderRun) -> Status:
        keys.append(run.idempotency_key)
        if len(keys) < 6:
            raise ValueError
        return PICKED

    @workflow.timeout(CREATED, after=timedelta(seconds=1), to=FAILED)
    async def late(run: OrderRun) -> Any:
        raise Fatal("look at it")

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        keys.append(run.idempotency_key)
        return DONE

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, attempt=1)
        await app.client.pause(run_id)
        await app.client.resume(run_id)
        await app.until(run_id, state=State.RUNNING, attempt=1)
        while len(keys) < 6:
            run = await app.get(run_id)
            if run.state is State.PAUSED:
                await app.client.resume(run_id)
            else:
                app.step(seconds=5)
            await app.idle()
        await app.until(run_id, state=State.COMPLETED)
        *tries, last = keys
        assert len(set(tries)) == 1
        assert last != tries[0]


# ---- for good


async def test_attempts_used_up_leads_to_on_error() -> None:
    workflow, attempts = failing(
        ValueError("no"), retry=Retry(attempts=3, jitter=0), on_error=FAILED
    )
    async with running(workflow) as app:
        run_id = await app.start(order=Order(n=5))
        for attempt in (1, 2):
            await app.until(run_id, attempt=attempt)
            app.step(minutes=1)
        run = await app.until(run_id, state=State.COMPLETED)
        assert (run.status, run.object.n, attempts) == (FAILED, 5, [1, 2, 3])
        assert run.error is not None
        assert (run.error.type, run.error.message) == ("ValueError", "no")


async def test_attempts_used_up_pauses_where_there_is_no_on_error() -> None:
    workflow, attempts = failing(retry=Retry(attempts=2, jitter=0))
    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, attempt=1)
        app.step(seconds=1)
        run = await app.until(run_id, state=State.PAUSED)
        assert (attempts, run.attempt, run.status) == ([1, 2], 2, CREATED)
        assert run.reason == "paused after 2 failed attempts"


@pytest.mark.parametrize("on_error", [FAILED, None])
async def test_fatal_is_not_tried_again(on_error: Status | None) -> None:
    workflow, attempts = failing(Fatal("card refused"), on_error=on_error)
    async with running(workflow) as app:
        run_id = await app.start()
        await app.idle()
        app.step(days=2)
        await app.idle()
        run = await app.get(run_id)
        assert run.status is (on_error or CREATED)
        assert run.state is (State.COMPLETED if on_error else State.PAUSED)
        assert run.error is not None
        assert (run.error.type, run.error.message) == ("Fatal", "card refused")
        assert attempts == [1], "nor does it resume by itself"


@pytest.mark.parametrize("fatal", [KeyError, [OSError, LookupError]])
async def test_an_exception_that_is_listed_as_fatal_is_not_tried_again(fatal: Any) -> None:
    workflow, attempts = failing(KeyError("no such card"), on_error=FAILED, fatal=fatal)
    async with running(workflow) as app:
        run = await app.until(await app.start(), state=State.COMPLETED)
        assert run.status is FAILED
        assert run.error is not None
        assert run.error.type == "KeyError"
        assert attempts == [1]


async def test_pause_after_counts_errors_in_a_row_whatever_they_say() -> None:
    workflow = orders()
    errors = [ValueError("a"), KeyError("b"), RuntimeError("c")]

    @workflow.step(CREATED, to=DONE, pause_after=3, retry=EXACT)
    async def fail(run: OrderRun) -> Status:
        raise errors[run.attempt - 1]

    async with running(workflow) as app:
        run_id = await app.start()
        for attempt in (1, 2):
            await app.until(run_id, attempt=attempt, state=State.RUNNING)
            app.step(minutes=1)
        run = await app.until(run_id, state=State.PAUSED)
        assert run.error is not None
        assert (run.attempt, run.error.type) == (3, "RuntimeError")


async def test_resume_of_a_run_paused_by_errors_tries_at_once_and_counts_anew() -> None:
    workflow, attempts = failing(pause_after=2)
    async with running(workflow) as app:
        run_id = await app.start()
        for _ in range(2):
            await app.until(run_id, attempt=1)
            app.step(seconds=1)
            await app.until(run_id, state=State.PAUSED, attempt=2)
            await app.client.resume(run_id)
        await eventually(lambda: attempts == [1, 2, 1, 2, 1])
        assert (await app.until(run_id, attempt=1)).state is State.RUNNING


async def test_a_run_paused_by_errors_resumes_by_itself() -> None:
    workflow, attempts = failing(pause_after=1)
    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, state=State.PAUSED)
        app.step(minutes=59, seconds=59)
        await app.idle()
        assert attempts == [1]
        app.step(seconds=1)
        await eventually(lambda: attempts == [1, 1])
        await app.until(run_id, state=State.PAUSED)
        assert app.types(run_id) == ["trigger", "paused", "resumed", "paused"]


async def test_resuming_by_itself_can_be_turned_off() -> None:
    workflow, attempts = failing(pause_after=1, auto_resume=None)
    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, state=State.PAUSED)
        app.step(days=400)
        await app.idle()
        assert attempts == [1]


async def test_a_run_that_people_resumed_first_does_not_resume_twice() -> None:
    workflow, attempts = failing(pause_after=1)
    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, state=State.PAUSED)
        app.step(minutes=30)
        await app.client.resume(run_id)
        await eventually(lambda: attempts == [1, 1])
        await app.until(run_id, state=State.PAUSED)
        app.step(minutes=30)
        await app.idle()
        assert attempts == [1, 1], "the hour counts from the second pause"
        app.step(minutes=30)
        await eventually(lambda: attempts == [1, 1, 1])


# ---- a timeout of the step itself


@pytest.mark.parametrize("plain", [False, True])
async def test_running_longer_than_its_timeout_is_an_error(plain: bool) -> None:
    workflow = orders()
    held = Gate()
    options: Any = {"timeout": timedelta(milliseconds=20), "pause_after": 1}

    if plain:

        @workflow.step(CREATED, to=DONE, **options)
        def block(run: OrderRun) -> Status:
            asyncio.run(asyncio.sleep(0.1))
            return DONE

    else:

        @workflow.step(CREATED, to=DONE, **options)
        async def hang(run: OrderRun) -> Status:
            await held.wait()
            return DONE

    async with running(workflow) as app:
        run = await app.until(await app.start(), state=State.PAUSED)
        assert run.error is not None
        assert run.error.type == "StepTimedOut"
        assert run.error.message == "The step at CREATED ran longer than its timeout of 0.02 s."
        assert held.waiting == 0, "it was cancelled"


async def test_a_timeout_error_of_the_steps_own_is_told_as_it_is() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE, timeout=HOUR, pause_after=1)
    async def impatient(run: OrderRun) -> Status:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(5)
        return DONE

    async with running(workflow) as app:
        run = await app.until(await app.start(), state=State.PAUSED)
        assert run.error is not None
        assert run.error.type == "TimeoutError"


# ---- errors of every kind


class Odd(BaseException):
    """Not even an Exception, as the ones that pytest raises."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("I say nothing")


def nested() -> ExceptionGroup[Exception]:
    return ExceptionGroup("two", [ValueError("a"), ExceptionGroup("more", [KeyError("b")])])


ERRORS = [
    TimeoutError("slow"),
    asyncio.CancelledError("gone"),
    SystemExit(3),
    StopIteration("end"),
    StopAsyncIteration("end"),
    RecursionError("deep"),
    MemoryError(),
    Odd("strange"),
    Mute(),
    nested(),
    BaseExceptionGroup("base", [Odd("strange")]),
    FileNotFoundError(2, "no", os.fsdecode(b"\xff")),
    ValueError("\ud800 \0 \x1b[31m"),
    ValueError("x" * 3_000_000),
    ValueError({"a": object()}),
]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_whatever_a_step_raises_is_an_error_of_that_run_alone(
    error: BaseException, plain: bool
) -> None:
    workflow = orders()

    def fail(run: OrderRun) -> Status:
        if run.foreign_id == "bad" and run.attempt == 1:
            raise error
        return DONE

    async def fail_async(run: OrderRun) -> Status:
        return fail(run)

    workflow.step(CREATED, to=DONE, parallel=1)(fail if plain else fail_async)

    async with running(workflow) as app:
        bad, good = await app.start("bad"), await app.start("good")
        run = await app.until(bad, attempt=1)
        await app.until(good, state=State.COMPLETED)
        assert run.error is not None
        stopped = isinstance(error, StopIteration | StopAsyncIteration)
        assert run.error.type == type(error).__name__ or (
            stopped and run.error.type == "RuntimeError"
        )
        assert len(run.error.message) <= 2_000
        assert len(run.error.traceback) <= 8_000
        assert not app.log.dead_letters
        app.step(seconds=1)
        await app.until(bad, state=State.COMPLETED)


async def test_errors_are_told_in_part_where_the_record_has_no_room() -> None:
    workflow, _ = failing(ValueError("ä" * 5_000), pause_after=2)
    async with running(workflow, max_record_bytes=3_000) as app:
        run_id = await app.start()
        run = await app.until(run_id, attempt=1)
        assert run.error is not None
        assert run.error.message == "ä" * 200
        app.step(seconds=1)
        await app.until(run_id, state=State.PAUSED)
        assert not app.log.dead_letters


async def test_on_error_with_an_object_that_leaves_no_room_for_the_error() -> None:
    workflow, _ = failing(Fatal("no"), on_error=FAILED)
    async with running(workflow, max_record_bytes=20_000) as app:
        large = Order(notes=["x" * 18_000])
        run_id = await app.start(order=large)
        run = await app.until(run_id, status=FAILED)
        assert run.object == large
        assert run.error is not None
        assert run.error.message == "no"


async def test_on_error_that_is_impossible_pauses_with_both_errors() -> None:
    workflow = orders()

    def broken(run: OrderRun) -> timedelta:
        raise KeyError("no deadline")

    @workflow.step(CREATED, to=DONE, on_error=PICKED)
    async def fail(run: OrderRun) -> Status:
        raise Fatal("the first one")

    @workflow.timeout(PICKED, after=broken, to=DONE)
    async def late(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        run = await app.until(await app.start(), state=State.PAUSED)
        assert run.error is not None
        assert run.error.type == "KeyError"
        assert "the first one" in run.error.traceback


@pytest.mark.parametrize("never", [timedelta.max, timedelta(days=4_000_000)])
async def test_waits_longer_than_time_itself(never: timedelta) -> None:
    retry = Retry(initial=never, maximum=never, jitter=0)
    workflow, _ = failing(retry=retry)
    async with running(workflow) as app:
        run = await app.until(await app.start(), state=State.PAUSED)
        assert run.error is not None
        assert run.error.type == "OverflowError"


# ---- objects that don't fit the definition any more


async def test_an_object_that_fits_no_more_pauses_the_run() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Pause:
        return Pause("deploy meanwhile")

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, state=State.PAUSED)
        spoil(app, run_id, b'{"n":"no number"}')
        await app.idle()
        await app.client.resume(run_id)
        view = await eventually(lambda: paused_by_error(app, run_id))
        assert view.error.type == "InvalidObject"
        assert view.resume_at is None, "no attempt can mend it"
        assert view.object == {"n": "no number"}


def spoil(app: App, run_id: str, data: bytes) -> None:
    """As another version of the code may have left it."""
    moved = b'{"type":"repeated","specversion":"1.0","id":"x","source":"/workflows/orders",'
    resumed = b'{"type":"resumed","specversion":"1.0","id":"y","source":"/workflows/orders",'
    place = b'"subject":"o-1","time":"2030-01-02T03:04:05Z","runid":"%s",' % run_id.encode()
    app.append(resumed + place + b'"version":2}')
    app.append(
        moved
        + place
        + b'"version":3,"state":"PAUSED","dueat":"2030-01-02T03:04:05Z","data":'
        + data
        + b"}"
    )


async def paused_by_error(app: App, run_id: str) -> Any:
    view = next(run for run in (await app.client.find()).runs if run.run_id == run_id)
    return view if view.error else None


async def test_validators_may_raise_anything() -> None:
    class Picky(BaseModel):
        n: int = 0

        @field_validator("n")
        @classmethod
        def check(cls, value: int) -> int:
            if value == 13:
                raise KeyError("thirteen")
            return value

    workflow = Workflow("picky", Picky, Status)

    @workflow.step(CREATED, to=DONE, pause_after=1)
    async def finish(run: Run[Picky, Status]) -> Status:
        return DONE

    async with running(failing()[0], workflow) as app:
        log = app.host.logs["picky"]
        log.append(b"x", b'{"type":"trigger","subject":"x","data":{"n":13}}', 0)
        log.append(b"y", b'{"type":"trigger","subject":"y","data":{"n":1}}', 0)
        good = await eventually(lambda: app.client.latest(workflow, "y"))
        assert good is not None
        await app.client.await_(workflow, good.run_id)

        async def looked() -> Any:
            views = (await app.client.find()).runs
            return next((v for v in views if v.foreign_id == "x" and v.error), None)

        view = await eventually(looked)
        assert (view.state, view.error.type) == (State.PAUSED, "KeyError")
