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
    DATA_DELETION_REQUESTED = "DATA_DELETION_REQUESTED"
    DATA_DELETED = "DATA_DELETED"

    # An enum's own is a function of Python's; these are keys of what is looked at for every event.
    __hash__ = str.__hash__


#: The kinds of inner runs, which the engine itself has in a workflow's log: schedules, connectors,
#: and the callbacks that came before whom they are for.
SCHEDULE, CONNECTOR, MAILBOX, CORRELATION = "schedule", "connector", "mailbox", "correlation"
MAIL = frozenset({MAILBOX, CORRELATION})
INNER = frozenset({SCHEDULE, CONNECTOR}) | MAIL

NOTHING = msgspec.Raw(b"null")

#: The one table of the life cycle; everything that changes a state asks it.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.INITIATED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED}),
    State.RUNNING: frozenset({State.COMPLETED, State.PAUSED, State.CANCELLED}),
    State.PAUSED: frozenset({State.RUNNING, State.CANCELLED}),
    State.COMPLETED: frozenset({State.DATA_DELETION_REQUESTED}),
    State.CANCELLED: frozenset({State.DATA_DELETION_REQUESTED}),
    State.DATA_DELETION_REQUESTED: frozenset({State.DATA_DELETED}),
    State.DATA_DELETED: frozenset({State.DATA_DELETION_REQUESTED}),
}

#: States of a run that is in progress: there is at most one for each foreign id.
LIVE = frozenset({State.INITIATED, State.RUNNING, State.PAUSED})


#: States of a run whose data nobody is to see any more.
DELETED = frozenset({State.DATA_DELETION_REQUESTED, State.DATA_DELETED})


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The error that a step ended with."""

    type: str
    message: str
    traceback: str = ""


class Trace(msgspec.Struct, frozen=True, array_like=True):
    """What something comes after, in a trace: what comes of it continues that.

    parent: the span, as a W3C traceparent. at: when it was. former: the traceparent that the run
        was at before another trace took it up.
    """

    parent: str
    at: datetime
    former: str = ""


class Timer(msgspec.Struct, frozen=True, array_like=True):
    """A timeout that waits for its time, bound to the run's stay in its status.

    attempt: how many times in a row it has failed. rounds: how often it has asked to be repeated.
    """

    name: str
    due_at: datetime
    attempt: int = 0
    rounds: int = 0


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A callback that was accepted and waits to be answered.

    id: of the event that brought it. name: of the callback; empty for the only one there is.
    due_at: when it is next looked at. until: when it stops waiting to be wanted.
    payload, bytes64: what came: JSON, or bytes in base64.
    attempt: how many times in a row the callback has failed. trace: of who called.
    """

    id: str
    name: str
    due_at: datetime
    until: datetime
    payload: msgspec.Raw
    bytes64: str = ""
    attempt: int = 0
    trace: Trace | None = None


class DueHook(msgspec.Struct, frozen=True, array_like=True):
    """A hook that is to run.

    on: what it is for. attempt: how often in a row it has failed. id: of the event that asked
        for it. trace: of what it is told of.
    """

    on: str
    due_at: datetime
    attempt: int = 0
    id: str = ""
    trace: Trace | None = None


class Child(msgspec.Struct, frozen=True, array_like=True):
    """A run that a step has started. state: as it ended; empty while it is in progress.

    cascade: whether it is cancelled with its parent.
    """

    workflow: str
    foreign_id: str
    run_id: str
    state: str = ""
    status: str = ""
    reason: str = ""
    object: msgspec.Raw = NOTHING
    cascade: bool = False


class Target(msgspec.Struct, frozen=True, array_like=True):
    """A run that a correlation value leads to."""

    foreign_id: str
    run_id: str


# As for events: no cycle can lead through one.
class Record(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A run as its events have left it.

    kind: what it is a run of: empty for the workflow itself; else one of `INNER`.
    status: the name of the enum's member.
    version: the number of events that have changed the run; each result of a step names the
        version that it was computed from, and folds only if nothing it should know came since.
    lag: how many of the last events no result in flight needs to know: timers and callbacks that
        were answered and left all else as it was.
    object: the user's object as JSON; decoded only when a step needs it.
    due_at: when the step at `status` is to run; None while the run waits for something else.
    skipped: whether the step has said that it waits for something else; a resumption wakes it.
    entered: whether its status was entered: its timers are set. False from the trigger until the
        first result.
    attempt: how many times in a row the step has failed.
    since: the version at which the step's present try began; its attempts share it.
    stay: the version at which the run came to its status, if a step that was repeated there has
        moved `since` on: what else is tried there goes on from it.
    resume_at: when a paused run resumes by itself.
    forget_at: when a run that has ended leaves the tables.
    offsets: where its events are in the log, the most recent `MAX_OFFSETS` of them.
    requests: the ids of the latest requests from outside that it has accepted, so that one
        that is read twice counts once.
    calls: callbacks that wait to be answered.
    hooks: hooks that are to run.
    waits: for which of its children the step at `status` waits: all, any or each.
    children: the runs that it has started, but for those that a step has waited for.
    parent: the run that started it, as `workflow/run id/foreign id`.
    origin: the run that it was forked from, as `run id@version`.
    correlations: the values by which the callbacks of its status are known outside, packed.
    targets: of a correlation value: the runs that it leads to.
    trace: of what made it what it is; None if nobody traces it.
    """

    foreign_id: str
    run_id: str
    kind: str = ""
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
    stay: int | None = None
    error: Failure | None = None
    reason: str = ""
    timers: tuple[Timer, ...] = ()
    resume_at: datetime | None = None
    forget_at: datetime | None = None
    offsets: tuple[int, ...] = ()
    requests: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    hooks: tuple[DueHook, ...] = ()
    waits: str = ""
    children: tuple[Child, ...] = ()
    parent: str = ""
    origin: str = ""
    correlations: str = ""
    targets: tuple[Target, ...] = ()
    trace: Trace | None = None


MAX_OFFSETS = 256
MAX_REQUESTS = 128
MAX_CALLS = 100
#: How many runs one correlation value leads to.
MAX_TARGETS = 1_000
MAX_CHILDREN = 2_000
#: Characters of the reason of a request that are kept with the run. The log has all of it.
MAX_REASON = 2_000
#: Bytes that the callbacks which wait at a run have in all, and its children's objects. A row that
#: is too large for the changelog could never be written.
MAX_HELD = 1_000_000

#: Between a foreign id and the run id in the key of a run that is not its latest.
SEPARATOR = "\0"

#: What the keys of inner runs begin with. No foreign id begins with a control character.
INNER_PREFIX = "\x01"

#: The first key of a run of the workflow itself.
FIRST_KEY = " "

#: Every key comes before it.
LAST_KEY = "\U0010ffff"


def has_room(held: int, more: int) -> bool:
    """Whether a run that holds so many bytes of others can hold more. Something alone it can."""
    return not held or held + more <= MAX_HELD


def row_key(kind: str, foreign_id: str) -> str:
    """The key of the latest run of a foreign id."""
    return f"{INNER_PREFIX}{kind}{SEPARATOR}{foreign_id}" if kind else foreign_id


def archive_key(record: Record) -> str:
    """The key of a run that is not the latest of its foreign id."""
    return f"{row_key(record.kind, record.foreign_id)}{SEPARATOR}{record.run_id}"


def unbegun(record: Record, now: datetime) -> bool:
    """Whether a run has not entered the status that it starts at, and is not about to."""
    # It may have been triggered just now, by a clock that is ahead.
    about_to = record.due_at is not None and record.due_at <= max(now, record.created_at)
    return not record.entered and not about_to


encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(Record).decode
