"""2: one step after another, each of which does what the run's script says."""

import asyncio
from datetime import timedelta
from typing import TypeAlias

from streamwf import Cancel, Fatal, Pause, Repeat, Retry, Run, Skip, Workflow
from streamwf.declared import StepResult
from tests.acceptance.flows.carried import (
    DONE,
    EXPIRED,
    FAILED,
    MORE,
    NEW,
    WAITING,
    Status,
    Thing,
)

#: Tries again so soon that a test need not wait, and always after the same time.
SOON = Retry(timedelta(milliseconds=100), factor=1, jitter=0)

#: How long the step at WAITING may take.
LIMIT = timedelta(milliseconds=200)


#: What stops other programs.
ANY: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (TimeoutError, asyncio.CancelledError, SystemExit, RecursionError)
}


class Scripted(Thing):
    """script: what each call of a step leads to, in turn; the last one for ever.

    They are counted in notes, as what a failed attempt does to the object is lost.
    """

    script: list[str] = ["DONE"]


ScriptedRun: TypeAlias = Run[Scripted, Status]

outcomes = Workflow("outcomes", Scripted, Status, start=NEW)


async def act(run: ScriptedRun) -> StepResult[Status]:
    """Do what the script says. The object is changed first, whatever comes of it."""
    thing = run.object
    count = thing.signs.note(run.foreign_id)
    thing.signs.note(f"{run.idempotency_key} {run.status.name} {run.attempt}")
    thing.trail.append(f"{run.status.name} {count}")
    what, _, text = thing.script[min(count, len(thing.script)) - 1].partition(" ")
    match what:
        case "skip":
            return Skip()
        case "repeat":
            return Repeat(timedelta(seconds=float(text or 0)))
        case "pause":
            return Pause(text)
        case "cancel":
            return Cancel(text)
        case "raise":
            raise RuntimeError(text)
        case "lookup":
            raise LookupError(text)
        case "any":
            raise ANY[text](text)
        case "fatal":
            raise Fatal(text)
        case "hang":
            await asyncio.sleep(3_600)
        case "hold":
            await thing.signs.wait_for("go on")
            return DONE
    return Status[what]


@outcomes.step(NEW, to=[MORE, WAITING, EXPIRED, DONE])
async def as_it_is(run: ScriptedRun) -> StepResult[Status]:
    return await act(run)


@outcomes.step(MORE, to=[NEW, DONE], retry=SOON, pause_after=3)
async def counted(run: ScriptedRun) -> StepResult[Status]:
    return await act(run)


@outcomes.step(WAITING, to=DONE, retry=SOON, timeout=LIMIT, pause_after=2)
async def limited(run: ScriptedRun) -> StepResult[Status]:
    return await act(run)


@outcomes.callback(WAITING, to=DONE)
async def wake(run: ScriptedRun, data: bytes) -> Status:
    run.object.trail.append("woken")
    return DONE


@outcomes.step(
    EXPIRED,
    to=DONE,
    retry=Retry(timedelta(milliseconds=100), factor=1, jitter=0, attempts=3),
    on_error=FAILED,
    fatal=LookupError,
)
async def attempted(run: ScriptedRun) -> StepResult[Status]:
    return await act(run)


#: As the last one, but with nowhere to go on errors.
dead_ends = Workflow("dead-ends", Scripted, Status, start=NEW)


@dead_ends.step(
    NEW,
    to=DONE,
    retry=Retry(timedelta(milliseconds=100), factor=1, jitter=0, attempts=2),
    fatal=[LookupError],
)
async def nowhere(run: ScriptedRun) -> StepResult[Status]:
    return await act(run)
