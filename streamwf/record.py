"""The record of a run: what the fold of its events has led to."""

from datetime import datetime
from enum import StrEnum

import msgspec


class State(StrEnum):
    """The life cycle of a run, whatever its workflow."""

    INITIATED = "INITIATED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


#: The one table of the life cycle; everything that changes a state asks it.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.INITIATED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED}),
    State.RUNNING: frozenset({State.COMPLETED, State.PAUSED, State.CANCELLED}),
    State.PAUSED: frozenset({State.RUNNING, State.CANCELLED}),
    State.COMPLETED: frozenset(),
    State.CANCELLED: frozenset(),
}

#: States of a run that is in progress: there is at most one for each foreign id.
LIVE = frozenset({State.INITIATED, State.RUNNING, State.PAUSED})


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The error that a step ended with."""

    type: str
    message: str
    traceback: str = ""


class Timer(msgspec.Struct, frozen=True, array_like=True):
    """A timeout that waits for its time, bound to the run's stay in its status.

    attempt: how many times in a row it has failed.
    """

    name: str
    due_at: datetime
    attempt: int = 0


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A run as its events have left it.

    status: the name of the enum's member.
    version: the number of events that have changed the run; each result of a step names the
        version that it was computed from, and folds only if nothing it should know came since.
    lag: how many of the last events no result in flight needs to know: timers that were answered
        and left all else as it was.
    object: the user's object as JSON; decoded only when a step needs it.
    due_at: when the step at `status` is to run; None while the run waits for something else.
    skipped: whether the step has said that it waits for something else; a resumption wakes it.
    entered: whether its status was entered: its timers are set. False from the trigger until the
        first result.
    attempt: how many times in a row the step has failed.
    since: the version at which the step's present try began; its attempts share it.
    resume_at: when a paused run resumes by itself.
    offsets: where its events are in the log, the most recent `MAX_OFFSETS` of them.
    requests: the ids of the latest requests from outside that it has accepted, so that one
        that is read twice counts once.
    """

    foreign_id: str
    run_id: str
    status: str
    state: State
    version: int
    lag: int = 0
    object: msgspec.Raw
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None = None
    skipped: bool = False
    entered: bool = False
    attempt: int = 0
    since: int = 1
    error: Failure | None = None
    reason: str = ""
    timers: tuple[Timer, ...] = ()
    resume_at: datetime | None = None
    offsets: tuple[int, ...] = ()
    requests: tuple[str, ...] = ()


MAX_OFFSETS = 256
MAX_REQUESTS = 8

encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(Record).decode
