"""The agenda of a run: what is to be done next and when, as a pure function of its record."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from .record import Record, State


class Kind(StrEnum):
    """What an entry of the agenda asks for."""

    STEP = "step"
    TIMER = "timer"
    RESUME = "resume"


class Entry(NamedTuple):
    """Something to do at a time. name: the timer's, else empty."""

    due_at: datetime
    kind: Kind
    name: str = ""


_STEP = Kind.STEP
_PAUSED, _RUNNING, _INITIATED = State.PAUSED, State.RUNNING, State.INITIATED


def entries(record: Record) -> tuple[Entry, ...]:
    """What waits for its time in this run."""
    state = record.state
    if state is not _RUNNING and state is not _INITIATED:
        if state is _PAUSED and record.resume_at is not None:
            return (Entry(record.resume_at, Kind.RESUME),)
        return ()
    step = () if record.due_at is None else (Entry(record.due_at, _STEP),)
    if not record.timers:
        return step
    return step + tuple(Entry(timer.due_at, Kind.TIMER, timer.name) for timer in record.timers)
