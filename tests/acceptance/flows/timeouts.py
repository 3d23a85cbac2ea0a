"""1 timeout: after a duration, at an instant, or as the run says; several of a status."""

from datetime import datetime, timedelta
from typing import TypeAlias

from streamwf import Cancel, Pause, Repeat, Retry, Run, Skip, Workflow
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

#: How long a run stays at WAITING at most.
STAY = timedelta(seconds=1)

#: An instant that has passed whenever the suite runs.
PAST = datetime.fromisoformat("2001-02-03T04:05:06Z")


class Order(Thing):
    """remind, expire: seconds after which those are due at MORE. at: when it is due at NEW.

    answers: what a reminder gives each time, in turn; the last one for ever.
    """

    remind: float | None = None
    expire: float | None = None
    at: datetime | None = None
    answers: list[str] = ["skip"]


OrderRun: TypeAlias = Run[Order, Status]

timeouts = Workflow("timeouts", Order, Status, start=NEW)


def _at(run: OrderRun) -> datetime | None:
    return run.object.at


def _remind(run: OrderRun) -> timedelta | None:
    return None if run.object.remind is None else timedelta(seconds=run.object.remind)


def _expire(run: OrderRun) -> timedelta | None:
    return None if run.object.expire is None else timedelta(seconds=run.object.expire)


@timeouts.timeout(NEW, after=_at, to=EXPIRED)
async def at_an_instant(run: OrderRun) -> Status:
    return EXPIRED


@timeouts.callback(NEW, to=[WAITING, MORE, FAILED], payload=str, name="go")
async def go(run: OrderRun, where: str) -> Status:
    return Status[where]


@timeouts.timeout(WAITING, after=STAY, to=EXPIRED)
async def after_a_while(run: OrderRun) -> Status:
    run.object.trail.append(f"expired at {run.status.name}")
    return EXPIRED


@timeouts.callback(WAITING, to=[WAITING, MORE, DONE], payload=str, name="go")
async def go_on(run: OrderRun, where: str) -> Status:
    return Status[where]


@timeouts.timeout(MORE, after=_remind, to=DONE, retry=Retry(timedelta(milliseconds=200), jitter=0))
async def remind(run: OrderRun) -> StepResult[Status]:
    count = run.object.signs.note("remind")
    run.object.trail.append("reminded")
    answers = run.object.answers
    match answers[min(count, len(answers)) - 1]:
        case "repeat":
            return Repeat(timedelta(milliseconds=200))
        case "pause":
            return Pause("remind says so")
        case "cancel":
            return Cancel("remind says so")
        case "fail":
            raise RuntimeError(f"no mail server, attempt {run.attempt}")
        case "done":
            return DONE
    return Skip()


@timeouts.timeout(MORE, after=_expire, to=EXPIRED)
def expire(run: OrderRun) -> Status:
    run.object.signs.note("expire")
    run.object.trail.append("expired")
    return EXPIRED


@timeouts.callback(MORE, to=[WAITING, MORE, DONE], payload=str, name="go")
async def go_away(run: OrderRun, where: str) -> Status:
    return Status[where]


@timeouts.timeout(FAILED, after=PAST, to=EXPIRED)
async def at_once(run: OrderRun) -> Status:
    return EXPIRED
