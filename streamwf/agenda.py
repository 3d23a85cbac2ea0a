"""The agenda of a run: what is to be done next and when, as a pure function of its record."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from .record import Record, State, unbegun


class Kind(StrEnum):
    """What an entry of the agenda asks for."""

    STEP = "step"
    TIMER = "timer"
    RESUME = "resume"
    CALL = "call"
    HOOK = "hook"
    DELETE = "delete"
    FORGET = "forget"

    # As that of State.
    __hash__ = str.__hash__


class Entry(NamedTuple):
    """Something to do at a time. name: the timer's, the callback's id, the hook's; else empty."""

    due_at: datetime
    kind: Kind
    name: str = ""


_STEP = Kind.STEP
_RUNNING, _INITIATED = State.RUNNING, State.INITIATED
_DELETING = State.DATA_DELETION_REQUESTED


def entries(record: Record) -> tuple[Entry, ...]:
    """What waits for its time in this run."""
    state = record.state
    if state is not _RUNNING and state is not _INITIATED:
        if state is State.COMPLETED and not record.hooks and record.forget_at is None:
            return ()
        return tuple(_at_rest(record))
    step = () if record.due_at is None else (Entry(record.due_at, _STEP),)
    if not (record.timers or record.calls or record.hooks):
        return step
    return (*step, *_beside(record))


def timers_of(record: Record) -> int:
    """How many timeouts of a run wait for their time, or to be answered."""
    if not record.timers or record.kind:
        return 0
    return len(record.timers) if record.state in (_RUNNING, _INITIATED) else 0


def _at_rest(record: Record) -> Iterator[Entry]:
    """What is due of a run that is paused or has ended."""
    state = record.state
    if state is State.PAUSED and record.resume_at is not None:
        yield Entry(record.resume_at, Kind.RESUME)
    # Each hook has had the object once before it is deleted.
    if state is _DELETING and all(hook.attempt for hook in record.hooks):
        yield Entry(record.updated_at, Kind.DELETE)
    yield from _hooks(record)
    # What is to be told or deleted of it comes first.
    if record.forget_at is not None and not record.hooks and state is not _DELETING:
        yield Entry(record.forget_at, Kind.FORGET)


def _beside(record: Record) -> Iterator[Entry]:
    """What is due beside the step."""
    for timer in record.timers:
        yield Entry(timer.due_at, Kind.TIMER, timer.name)
    for call in record.calls:
        if not unbegun(record, call.due_at):
            yield Entry(call.due_at, Kind.CALL, call.id)
    yield from _hooks(record)


def _hooks(record: Record) -> Iterator[Entry]:
    for hook in record.hooks:
        yield Entry(hook.due_at, Kind.HOOK, hook.on)
