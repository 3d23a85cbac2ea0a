"""2 What a step may return or raise."""

from datetime import timedelta

import pytest

from streamwf import RunInfo, State
from streamwf.views import EventView, HeldView
from tests.acceptance.flows.carried import DONE, EXPIRED, FAILED, MORE, NEW, WAITING, Status
from tests.acceptance.flows.outcomes import LIMIT, SOON, Scripted, dead_ends, outcomes
from tests.acceptance.flows.pacing import BREAKER, Call, paced
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row
from tests.acceptance.signs import Signs

SECOND = timedelta(seconds=1)

#: Longer than any retry of the steps at other statuses than NEW takes.
WHILE = 10 * SOON.initial

Info = RunInfo[Scripted, Status]


async def start(host: Host, name: str, signs: Signs, *script: str, at: Status = NEW) -> str:
    scripted = Scripted(folder=signs.folder, script=list(script))
    return await host.client.trigger(outcomes, name, scripted, at=at, wait=True)


async def until(host: Host, run_id: str, **wanted: object) -> Info:
    """The run, once its fields are as wanted."""

    async def look() -> Info | None:
        run = await host.client.get(outcomes, run_id)
        fits = all(getattr(run, field) == value for field, value in wanted.items())
        return run if fits else None

    found = await host.until(look)
    assert found is not None
    return found


async def events(host: Host, run_id: str) -> list[EventView]:
    return (await host.client.history(run_id)).events


def about(found: timedelta, least: float, most: float | None = None) -> bool:
    """Whether it is so many seconds, but for the moment between two looks at the clock."""
    return least - 0.05 <= found.total_seconds() <= (most or least)


def calls(signs: Signs, name: str) -> int:
    """How often a step was called for a run."""
    return signs.notes().count(name)


@row(
    "2 a declared status", "Object and status change in one event; the last one completes the run."
)
async def test_a_declared_status(host: Host, name: str, signs: Signs) -> None:
    run_id = await start(host, name, signs, "MORE", "DONE")
    run = await host.client.await_(outcomes, run_id)
    assert (run.status, run.state, run.version) == (DONE, State.COMPLETED, 3)
    told = [
        (event.type, event.status, event.state, event.object["trail"])
        for event in await events(host, run_id)
    ]
    assert told == [
        ("trigger", "NEW", None, []),
        ("moved", "MORE", None, ["NEW 1"]),
        ("moved", "DONE", State.COMPLETED, ["NEW 1", "MORE 2"]),
    ]


@row("under faults", "An undeclared destination is not tried for ever.")
@row("2 an undeclared status", "It counts as an error like any other, so that it pauses the run.")
async def test_an_undeclared_status(host: Host, name: str, signs: Signs) -> None:
    run_id = await start(host, name, signs, "FAILED", at=MORE)
    await host.pass_time(WHILE)
    run = await until(host, run_id, state=State.PAUSED)
    assert run.error is not None
    assert run.error.type == "UndeclaredTransition"
    assert "returned 'FAILED'" in run.error.message
    assert "NEW, DONE" in run.error.message
    assert (run.status, run.attempt, calls(signs, name)) == (MORE, 3, 3)


@row("2 Skip", "Nothing changes, and the run waits for the next event: a callback, or a resume.")
async def test_skip(host: Host, name: str, signs: Signs) -> None:
    run_id = await start(host, name, signs, "skip", "skip", at=WAITING)
    await host.until(lambda: calls(signs, name) == 1)
    await until(host, run_id, due_at=None, state=State.RUNNING)
    await host.pass_time(SECOND)
    run = await host.client.get(outcomes, run_id)
    assert (run.status, run.object.trail, calls(signs, name)) == (WAITING, [], 1)
    await host.client.pause(run_id)
    await host.client.resume(run_id)
    await host.until(lambda: calls(signs, name) == 2)
    await until(host, run_id, due_at=None, state=State.RUNNING)
    await host.client.callback(outcomes, "wake", b"", run_id=run_id)
    run = await host.client.await_(outcomes, run_id)
    assert (run.status, run.object.trail, calls(signs, name)) == (DONE, ["woken"], 2)


@row("2 Repeat", "The object is saved and the step runs again, now or later.")
async def test_repeat(host: Host, name: str, signs: Signs) -> None:
    run_id = await start(host, name, signs, "repeat", "repeat 0.5", "DONE")
    await host.until(lambda: calls(signs, name) == 2)
    run = await until(host, run_id, version=3)
    assert run.object.trail == ["NEW 1", "NEW 2"]
    assert run.due_at is not None
    assert about(run.due_at - run.updated_at, 0.5)
    await host.pass_time(timedelta(seconds=0.5))
    run = await host.client.await_(outcomes, run_id)
    assert run.object.trail == ["NEW 1", "NEW 2", "NEW 3"]


@row("under faults", "What a step did to the object is not lost when it pauses the run.")
@row("2 Pause and Cancel", "What was done to the object is kept, and the state changes.")
@pytest.mark.parametrize(("what", "state"), [("pause", State.PAUSED), ("cancel", State.CANCELLED)])
async def test_pause_and_cancel(
    host: Host, name: str, signs: Signs, what: str, state: State
) -> None:
    run_id = await start(host, name, signs, f"{what} out of stock", "DONE")
    run = await until(host, run_id, state=state)
    assert (run.status, run.reason, run.object.trail) == (NEW, "out of stock", ["NEW 1"])
    if state is State.PAUSED:
        await host.client.resume(run_id)
        run = await host.client.await_(outcomes, run_id)
        assert run.object.trail == ["NEW 1", "NEW 2"]
    else:
        assert calls(signs, name) == 1


# ---- errors


@row(
    "2 an exception",
    "It is tried again after 1 s, 2 s and so on; the attempt, the next due time and the error are"
    " visible, and no other run is held up.",
)
async def test_an_exception(host: Host, name: str, signs: Signs) -> None:
    run_id = await start(host, name, signs, "raise no stock", "raise no box", "DONE")
    run = await until(host, run_id, attempt=1)
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("RuntimeError", "no stock")
    assert "raise RuntimeError(text)" in run.error.traceback
    assert (run.state, run.status, run.object.trail) == (State.RUNNING, NEW, [])
    other = await host.client.trigger(
        outcomes, f"{name}-other", Scripted(folder=signs.folder), wait=True
    )
    await host.client.await_(outcomes, other)
    await host.pass_time(SECOND)
    await until(host, run_id, attempt=2)
    await host.pass_time(2 * SECOND)
    run = await host.client.await_(outcomes, run_id)
    assert (run.status, run.error, run.attempt, run.object.trail) == (DONE, None, 0, ["NEW 3"])
    failed = [event for event in await events(host, run_id) if event.type == "failed"]
    assert [event.attempt for event in failed] == [1, 2]
    for event, delay in zip(failed, (1, 2), strict=True):
        assert event.due_at is not None
        # A tenth of it is up to chance.
        assert about(event.due_at - event.time, 0.9 * delay, delay)


@row("2 an exception", "`Retry(...)` of a step says when it is tried again.")
async def test_an_exception_and_the_retry_of_its_step(host: Host, name: str, signs: Signs) -> None:
    run_id = await start(host, name, signs, "raise one", "raise two", "DONE", at=MORE)
    await host.pass_time(WHILE)
    await host.client.await_(outcomes, run_id)
    failed = [event for event in await events(host, run_id) if event.type == "failed"]
    delays = [event.due_at - event.time for event in failed if event.due_at is not None]
    assert len(delays) == 2
    assert all(about(delay, 0.1) for delay in delays)


@row("2 Fatal", "It is not tried again: the run goes to `on_error=`, with the object as it was.")
@pytest.mark.parametrize(
    ("script", "attempts"),
    [("fatal no such thing", 1), ("lookup no such thing", 1), ("raise no such thing", 3)],
    ids=["Fatal", "listed", "attempts"],
)
async def test_fatal_with_on_error(
    host: Host, name: str, signs: Signs, script: str, attempts: int
) -> None:
    run_id = await start(host, name, signs, script, at=EXPIRED)
    await host.pass_time(WHILE)
    run = await host.client.await_(outcomes, run_id)
    assert (run.status, run.state, run.object.trail) == (FAILED, State.COMPLETED, [])
    assert calls(signs, name) == attempts
    last = (await events(host, run_id))[-1]
    assert last.error is not None
    assert last.error.message == "no such thing"


@row(
    "2 Fatal",
    "Without `on_error=` the run pauses, with the error's type, message and traceback kept on it.",
)
@pytest.mark.parametrize(
    ("script", "kind", "attempts"),
    [
        ("fatal gone", "Fatal", 1),
        ("lookup gone", "LookupError", 1),
        ("raise gone", "RuntimeError", 2),
    ],
)
async def test_fatal_without_on_error(
    host: Host, name: str, signs: Signs, script: str, kind: str, attempts: int
) -> None:
    run_id = await host.client.trigger(
        dead_ends, name, Scripted(folder=signs.folder, script=[script, "DONE"]), wait=True
    )
    await host.pass_time(WHILE)

    async def paused() -> bool:
        return (await host.client.get(dead_ends, run_id)).state is State.PAUSED

    if attempts == 1:
        await host.until(paused)
        run = await host.client.get(dead_ends, run_id)
        assert run.error is not None
        assert (run.error.type, run.error.message, run.attempt) == (kind, "gone", 1)
        assert "flows/outcomes.py" in run.error.traceback
        await host.client.resume(run_id, "mended")
    run = await host.client.await_(dead_ends, run_id)
    assert (run.status, run.error, calls(signs, name)) == (DONE, None, 2)


@row("under faults", "Errors whose texts vary reach `pause_after` all the same.")
@row(
    "2 pause_after",
    "The run pauses after so many errors in a row, whatever they say; a success resets the count.",
)
async def test_pause_after(host: Host, name: str, signs: Signs) -> None:
    script = ["raise 1", "raise 2", "NEW", "MORE", "raise 3", "raise 4", "raise 5", "DONE"]
    run_id = await start(host, name, signs, *script, at=MORE)
    await host.pass_time(WHILE)
    run = await until(host, run_id, state=State.PAUSED)
    assert run.error is not None
    assert (run.status, run.attempt, run.error.message) == (MORE, 3, "5")
    assert calls(signs, name) == 7
    await host.client.resume(run_id)
    run = await host.client.await_(outcomes, run_id)
    assert run.object.trail == ["MORE 3", "NEW 4", "MORE 8"]


@row("2 timeout=", "A step that runs for too long is stopped, and that counts as an error.")
async def test_a_step_that_runs_for_too_long(host: Host, name: str, signs: Signs) -> None:
    run_id = await start(host, name, signs, "hang", "hang", "DONE", at=WAITING)
    # The first attempt has to run into its limit before the clock can be stepped to the second.
    await until(host, run_id, attempt=1)
    await host.pass_time(WHILE, held=True)
    run = await until(host, run_id, state=State.PAUSED)
    assert run.error is not None
    assert run.error.type == "StepTimedOut"
    assert f"its timeout of {LIMIT.total_seconds():g} s" in run.error.message
    assert (run.attempt, calls(signs, name)) == (2, 2)
    await host.client.resume(run_id)
    assert (await host.client.await_(outcomes, run_id)).status is DONE


@row(
    "2 breaker=",
    "After N failures in a row, whichever runs they are of, the step is held for all, visibly;"
    " after a rest one is tried, and its success lets the others go on. Other steps feel nothing.",
)
async def test_a_breaker(host: Host, name: str, signs: Signs) -> None:
    signs.put_up("down")
    names = host.spread(name, 6, together=True)
    runs = [
        await host.client.trigger(paced, each, Call(folder=signs.folder), wait=True)
        for each in names
    ]

    async def held() -> HeldView | None:
        return (await host.client.describe(paced.name)).held.get("NEW")

    async def within_one_rest() -> HeldView | None:
        told, tried = await held(), len(signs.notes())
        waiting = [await host.client.get(paced, run_id) for run_id in runs]
        other = await host.client.trigger(
            paced, f"{name}-other", Call(folder=signs.folder), at=MORE
        )
        await host.client.await_(paced, other)
        still = len(signs.notes()) == tried
        if told is None or host.now() >= told.until:
            return None
        assert still
        assert any(run.held_until == told.until for run in waiting)
        return told

    told = await host.until(within_one_rest)
    assert told is not None
    # A rest may have ended, and one more may have been tried, before it could be looked at.
    assert BREAKER.failures <= told.failures <= len(signs.notes())
    assert told.reason == "ConnectionError: refused"
    signs.take_down("down")
    await host.pass_time(BREAKER.rest)
    for run_id in runs:
        assert (await host.client.await_(paced, run_id)).status is DONE
    assert not await held()


@row(
    "2 the worker dies in it",
    "The step runs again where the run goes on, with the same idempotency key, and the state"
    " changes once; errors are still counted.",
)
async def test_the_worker_dies_in_a_step(host: Host, name: str, signs: Signs) -> None:
    run_id = await start(host, name, signs, "hold", "DONE")
    counted = await start(host, f"{name}-counted", signs, "raise 1", "raise 2", "DONE")
    await host.until(lambda: calls(signs, name) == 1)
    await until(host, counted, attempt=1)
    await host.restart(kill=True)
    signs.put_up("go on")
    run = await host.client.await_(outcomes, run_id)
    assert (run.status, run.version) == (DONE, 2)
    of_run = [note for note in signs.notes() if note.startswith(run_id)]
    assert of_run == [f"{run_id}-1 NEW 1"] * 2
    await host.pass_time(3 * SECOND)
    await host.client.await_(outcomes, counted)
    told = [event.attempt for event in await events(host, counted) if event.type == "failed"]
    assert told == [1, 2]
