"""How a run stands, for whoever looks at it at night: what it waits for, and what to type next."""

import shlex
from datetime import datetime, timedelta
from typing import NamedTuple

from streamwf.cli.output import instant, why
from streamwf.record import State
from streamwf.views import RunView

_ENDED = (State.COMPLETED, State.CANCELLED, State.DATA_DELETED)


class Next(NamedTuple):
    """A command that may help, and what it does."""

    command: str
    does: str


def standing(run: RunView, now: datetime) -> str:
    """What a run waits for, in one sentence; empty once it has ended."""
    if run.state in _ENDED:
        return ""
    if run.state is State.PAUSED:
        return _paused(run, now)
    if run.state is State.DATA_DELETION_REQUESTED:
        return "Its data is about to be deleted."
    if run.held_until is not None:
        return (
            "Its step is held for every run, as it has failed too often: another run tries it"
            f" {_when(run.held_until, now)}."
        )
    if run.attempt:
        return f"{_failed(run)}. It is tried again {_when(run.due_at, now)}."
    if run.due_at is not None and run.due_at > now:
        return f"Its step is due {_when(run.due_at, now)}."
    if run.due_at is not None:
        return f"Its step is running, or waits for its turn, {_since(run.due_at, now)}."
    return _waits(run, now)


def _paused(run: RunView, now: datetime) -> str:
    said = _failed(run) if run.error is not None else (why(run) or "Somebody has paused it")
    goes_on = "It stays so until it is resumed"
    if run.resume_at is not None:
        goes_on = f"It is resumed {_when(run.resume_at, now)}"
    return f"{said.rstrip('.')}. {goes_on}."


def _failed(run: RunView) -> str:
    times = f"{run.attempt} times in a row" if run.attempt > 1 else "once"
    error = run.error
    first_line = "" if error is None else error.message.partition("\n")[0]
    told = "" if error is None else f": {error.type}" + (f": {first_line}" if first_line else "")
    return f"Its step has failed {times}{told}" if run.attempt else f"It has failed{told}"


def _waits(run: RunView, now: datetime) -> str:
    children = [child for child in run.children if child.state is None]
    if children:
        return f"It waits for {len(children)} of its {len(run.children)} children."
    if run.timers:
        first = min(run.timers, key=lambda timer: timer.due_at)
        return f"It waits for a callback, or its timeout {first.name}, {_when(first.due_at, now)}."
    return "It waits for a callback."


def following(run: RunView) -> list[Next]:
    """What to type next. A run that goes on by itself, or has ended, needs nothing."""
    which = shlex.quote(run.run_id)
    failed = run.error is not None or run.attempt > 0
    commands: list[Next] = []
    if run.state is State.PAUSED:
        commands.append(Next(f"streamwf runs resume {which}", "let it go on"))
    elif run.state not in (State.INITIATED, State.RUNNING):
        return []
    elif failed:
        commands.append(Next(f"streamwf runs retry {which}", "try again now"))
    elif run.due_at is None:
        commands += [_look_at(run)]
    if failed or run.due_at is None or run.state is State.PAUSED:
        commands.append(Next(f"streamwf runs cancel {which} --reason WHY", "give it up"))
    commands.append(Next(f"streamwf runs history {which}", "what has happened up to now"))
    return commands


def _look_at(run: RunView) -> Next:
    waiting = [child for child in run.children if child.state is None]
    if waiting:
        return Next(f"streamwf runs show {shlex.quote(waiting[0].run_id)}", "look at a child")
    of_run = f"{shlex.quote(run.workflow)} NAME --foreign-id {shlex.quote(run.foreign_id)}"
    return Next(f"streamwf callback {of_run} --data JSON", "answer it")


# ---- times


def _when(due: datetime | None, now: datetime) -> str:
    if due is None or due <= now:
        return "now"
    return f"in {_told(due - now)}, at {instant(due)}"


def _since(due: datetime, now: datetime) -> str:
    return f"since {_told(now - due)}"


def _told(time: timedelta) -> str:
    """A length of time in its largest unit that counts two at least: 90 s, 45 min, 36 h, 3 days."""
    seconds = max(time.total_seconds(), 0)
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
