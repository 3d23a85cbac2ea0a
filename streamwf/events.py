"""The envelope: CloudEvents 1.0, structured JSON, one event for each move of a run.

Requests come from outside (clients, other programs, connectors) and name no version: the fold
judges them by the state that they meet. Results come from the engine and name the run and the
version that they were computed from: they state what became, and fold only onto that version.

Attributes beyond the core of CloudEvents are extensions, in its spelling (lower case, no
underscores, simple types). https://github.com/cloudevents/spec
"""

import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import quote, unquote

import msgspec
from msgspec import UNSET, UnsetType

from .errors import InvalidForeignId, RecordTooLarge, UnreadableRecord
from .record import INNER, NOTHING, Failure, Record, State, Timer, Trace

TRIGGER, PAUSE, RESUME, CANCEL, RETRY = "trigger", "pause", "resume", "cancel", "retry"
CALLBACK, DELETE = "callback", "delete"
#: Of an inner run: what it works by is replaced.
CHANGE = "change"
#: What the engine itself requests of a run, from the folding of another event.
CHILD, HOOK, RETAIN, CORRELATE, UNCORRELATE, RELEASED = (
    "child",
    "hook",
    "retain",
    "correlate",
    "uncorrelate",
    "released",
)
REQUESTS = frozenset(
    {
        *(TRIGGER, PAUSE, RESUME, CANCEL, RETRY, CALLBACK, DELETE, CHANGE),
        *(CHILD, HOOK, RETAIN, CORRELATE, UNCORRELATE, RELEASED),
    }
)

STARTED, MOVED, REPEATED, SKIPPED, FAILED = "started", "moved", "repeated", "skipped", "failed"
PAUSED, CANCELLED, RESUMED, REJECTED = "paused", "cancelled", "resumed", "rejected"
EXPIRED, DECLINED, POSTPONED, HOOKED = "expired", "declined", "postponed", "hooked"
DELETED, FORGOTTEN = "deleted", "forgotten"
RESULTS = frozenset(
    {
        *(STARTED, MOVED, REPEATED, SKIPPED, FAILED, PAUSED, CANCELLED, RESUMED, REJECTED),
        *(EXPIRED, DECLINED, POSTPONED, HOOKED, DELETED, FORGOTTEN),
    }
)

MAX_FOREIGN_ID = 500
MAX_ID = 500

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


# No cycle can lead through one, and there are too many of them for the collector to look at.
class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One record of a workflow's log.

    subject: the foreign id; also the record's key, so that one partition holds one foreign id.
    kind: of what kind the run is; empty for a run of the workflow itself.
    runid, version: the run, and for results its version before this event.
    definition: the version of the definition that wrote it.
    data: the user's object as JSON, left undecoded; unset means unchanged. Of a callback, what
        came; of a child's end, what is told of it.
    data_base64: of a callback, what came if it was bytes.
    dueat: when the run's step is next to run; of an expired timer, when it was due.
    startat: when a run that is triggered is to start, in the future.
    instead: of a trigger, the foreign id that the run is to have, unless the one that is named
        has a run of that id already.
    timers: the timers that are set, as `name=instant` separated by spaces, with `*n` after n
        failed attempts, or `*n*m` if it has asked m times to be repeated: all those of a status
        that is entered (started, moved), or the one that is due again (expired).
    timer: the name of the timer that this event answers.
    call: of a callback, its name; of a result, the id of what it answers: a callback, or what has
        asked for a hook; of what was released, the ids of callbacks, separated by spaces.
    until: how long a callback waits to be wanted.
    hook: the hook that this event asks for or answers.
    starts: the runs that a step has started, as JSON.
    waits: for which of them the step of the status that is entered waits.
    correlations: the values by which the callbacks of the status that is entered are known, packed.
    parent, origin: of a trigger, as in the record. Of a callback that comes from a mailbox, for
        what that one was kept in it.
    forgetat: of a request to retain a run that has ended, when it leaves the tables.
    traceparent: the span that it comes of, as W3C writes it.
    by: of a request, who has asked for it; empty if it is not known.
    ifversion: of a request to a run, the version that the run must have for it to count.
    unheard: of a request, that nobody waits to hear what became of it: if it is refused, it goes to
        the dead letters.
    """

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: Instant
    kind: str = ""
    runid: str = ""
    version: int = 0
    definition: str = ""
    status: str = ""
    state: State | None = None
    dueat: Instant | None = None
    startat: Instant | None = None
    instead: str = ""
    attempt: int = 0
    reason: str = ""
    errortype: str = ""
    errormessage: str = ""
    errortrace: str = ""
    timers: str = ""
    timer: str = ""
    call: str = ""
    until: Instant | None = None
    hook: str = ""
    starts: str = ""
    waits: str = ""
    correlations: str = ""
    parent: str = ""
    origin: str = ""
    resumeat: Instant | None = None
    forgetat: Instant | None = None
    forwarded: bool = False
    unheard: bool = False
    traceparent: str = ""
    by: str = ""
    ifversion: int | None = None
    data: msgspec.Raw | UnsetType = UNSET
    data_base64: str = ""

    @property
    def failure(self) -> Failure | None:
        if not self.errortype:
            return None
        return Failure(type=self.errortype, message=self.errormessage, traceback=self.errortrace)


class _ShortForm(msgspec.Struct, kw_only=True):
    """A request as a person writes it: what a full event must say is filled in from its place."""

    type: str
    subject: str
    specversion: str = "1.0"
    id: str = ""
    source: str = ""
    time: Instant | None = None
    kind: str = ""
    runid: str = ""
    key: str = ""
    status: str = ""
    startat: Instant | None = None
    call: str = ""
    until: Instant | None = None
    reason: str = ""
    forwarded: bool = False
    traceparent: str = ""
    ifversion: int | None = None
    data: msgspec.Raw | UnsetType = UNSET
    data_base64: str = ""


class Start(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A run that a step has started: the trigger that its result leads to.

    data: its object as JSON. cascade: whether it is cancelled with its parent.
    """

    workflow: str
    foreign_id: str
    run_id: str
    status: str
    data: msgspec.Raw
    start_at: Instant | None = None
    cascade: bool = False


class Ended(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a run that has ended tells its parent."""

    workflow: str
    foreign_id: str
    run_id: str
    state: State
    status: str = ""
    reason: str = ""
    object: msgspec.Raw = NOTHING


encode_event = msgspec.json.Encoder().encode
_decode_full = msgspec.json.Decoder(Event).decode
_decode_short = msgspec.json.Decoder(_ShortForm).decode
_decode_starts = msgspec.json.Decoder(tuple[Start, ...]).decode
_decode_ended = msgspec.json.Decoder(Ended).decode

#: The namespace of every id that streamwf derives.
_IDS = uuid.UUID("5f0a3c1e-7d2b-5e64-9c0f-1b1f6f3a9d51")


def derived_id(*parts: str | int) -> str:
    """An id that is always the same for the same parts."""
    return str(uuid.uuid5(_IDS, "\x1f".join(map(str, parts))))


@lru_cache(1_000)
def source_of(workflow: str) -> str:
    """The CloudEvents source of a workflow's events."""
    return f"/workflows/{workflow}"


def decode_event(
    value: bytes | None,
    *,
    workflow: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    limit: int,
) -> Event:
    """Read a record of a workflow's log, in full or short form.

    What the short form leaves out comes from the record's place in the log, so that reading it
    again gives the same event.

    Raises RecordTooLarge above `limit` bytes, and UnreadableRecord for anything that is not an
    event of this workflow.
    """
    if not value:
        raise UnreadableRecord(why="the record is empty")
    if len(value) > limit:
        raise RecordTooLarge(what="record", size=len(value), limit=limit)
    try:
        event = _decode_full(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        event = _complete(value, cause, workflow, partition, offset, timestamp_ms)
    source = source_of(workflow)
    if event.source != source:
        raise UnreadableRecord(why=f"its source {event.source!r} is not {source!r}")
    if event.type in RESULTS:
        return event
    if event.type not in REQUESTS:
        raise UnreadableRecord(why=f"there is no event type {event.type!r}")
    if event.kind and event.kind not in INNER:
        raise UnreadableRecord(why=f"there is no kind {event.kind!r}")
    check_foreign_id(event.subject)
    if event.data is not UNSET:
        _check_text(value)
    if event.type == TRIGGER and not event.runid:
        incomplete = msgspec.ValidationError("it has no runid")
        return _complete(value, incomplete, workflow, partition, offset, timestamp_ms)
    if max(len(event.id), len(event.runid)) > MAX_ID:
        raise UnreadableRecord(why=f"its id or runid has more than {MAX_ID} characters")
    if event.type == CALLBACK and event.id.split() != [event.id]:
        # It is told with others, apart by spaces.
        raise UnreadableRecord(why=f"the id {event.id!r} of a callback can have no spaces")
    if event.parent:
        parent_of(event.parent)
    return event


def parent_of(parent: str) -> tuple[str, str, str]:
    """The workflow, run id and foreign id of a parent. Raises UnreadableRecord."""
    workflow, _, rest = parent.partition("/")
    run_id, _, foreign_id = rest.partition("/")
    try:
        check_foreign_id(foreign_id)
    except InvalidForeignId as error:
        raise UnreadableRecord(why=f"its parent {parent[:80]!r} is none: {error}") from error
    return workflow, unquote(run_id), foreign_id


def _check_text(value: bytes) -> None:
    # What stays undecoded has not been looked at yet.
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise UnreadableRecord(why=f"it is not UTF-8: {error}") from error


def _complete(
    value: bytes, cause: Exception, workflow: str, partition: int, offset: int, timestamp_ms: int
) -> Event:
    try:
        short = _decode_short(value)
    except msgspec.ValidationError as error:
        raise UnreadableRecord(why=f"it is not an event: {error}") from cause
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRecord(why=f"it is not JSON: {error}") from cause
    if short.type in RESULTS:
        raise UnreadableRecord(why=f"it is not an event: {cause}") from cause
    # No subject is empty, so no other id is derived from the same parts.
    place = derived_id(workflow, "", partition, offset)
    return Event(
        specversion=short.specversion,
        id=_event_id(short, workflow, place),
        source=short.source or source_of(workflow),
        type=short.type,
        subject=short.subject,
        time=short.time or _instant(timestamp_ms),
        kind=short.kind,
        runid=short.runid or _run_id(short, workflow, place),
        status=short.status,
        startat=short.startat,
        call=short.call,
        until=short.until,
        reason=short.reason,
        forwarded=short.forwarded,
        traceparent=short.traceparent,
        ifversion=short.ifversion,
        data=short.data,
        data_base64=short.data_base64,
    )


def _event_id(short: _ShortForm, workflow: str, place: str) -> str:
    """That of the request itself; or, with a key, always the same for that key."""
    if short.id or not short.key or short.type == TRIGGER:
        return short.id or place
    return keyed_id(short.type, workflow, short.runid or short.subject, short.call, short.key)


def _run_id(short: _ShortForm, workflow: str, place: str) -> str:
    """The same again for the same key, the same id, or at least the same place in the log."""
    if short.type != TRIGGER:
        return ""
    if short.key:
        return derived_id(workflow, short.subject, short.key)
    return derived_id(workflow, short.subject, short.source, short.id) if short.id else place


def _instant(timestamp_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UnreadableRecord(why=f"its timestamp {timestamp_ms} is no time: {error}") from error


# Versions after the first may have more at the end. https://www.w3.org/TR/trace-context/
_TRACEPARENT = re.compile(
    r"(?!00-.{52}-)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,200})?"
)


def trace_id_of(traceparent: str) -> str:
    """The id of the trace that a W3C `traceparent` names; empty if it names none."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return found[1] if found else ""


def object_of(event: Event) -> msgspec.Raw | None:
    """What a run carries after an event; None if the event changes nothing of it."""
    carries = event.type in RESULTS or event.type in (TRIGGER, CHANGE)
    return event.data if carries and isinstance(event.data, msgspec.Raw) else None


def trace_of(event: Event) -> Trace | None:
    """What continues an event in its trace; None if it has none, or what can't be one."""
    traceparent = event.traceparent
    return Trace(traceparent, event.time) if trace_id_of(traceparent) else None


def taken_up(record: Record, event: Event) -> Trace | None:
    """The trace of a run that somebody outside moves on: theirs, and where it was before."""
    trace, former = trace_of(event), record.trace
    if trace is None or former is None:
        return trace or former
    if trace_id_of(trace.parent) == trace_id_of(former.parent):
        return trace
    return Trace(trace.parent, trace.at, former.parent)


def keyed_id(kind: str, workflow: str, run: str, name: str, key: str) -> str:
    """The id of every request of that kind and key to a run, or to the latest of a foreign id."""
    return derived_id(kind, workflow, run, name, key)


def request(
    workflow: str,
    kind: str,
    foreign_id: str,
    now: datetime,
    *,
    event_id: str,
    data: bytes | None = None,
    inner: str = "",
    **fields: Any,
) -> Event:
    """A request from outside, ready to be appended.

    inner: the kind of the run, if it is none of the workflow itself. fields: further attributes.

    Raises InvalidForeignId.
    """
    check_foreign_id(foreign_id)
    return Event(
        specversion="1.0",
        id=event_id,
        source=source_of(workflow),
        type=kind,
        subject=foreign_id,
        time=now,
        kind=inner,
        data=UNSET if data is None else msgspec.Raw(data),
        **fields,
    )


def check_foreign_id(foreign_id: str) -> None:
    """Raises InvalidForeignId unless it can serve as a key."""
    if not 1 <= len(foreign_id) <= MAX_FOREIGN_ID or not foreign_id.isprintable():
        raise InvalidForeignId(foreign_id=foreign_id[:80])


def pack_timers(timers: tuple[Timer, ...]) -> str:
    return " ".join(f"{timer.name}={timer.due_at.isoformat()}{_counts(timer)}" for timer in timers)


def _counts(timer: Timer) -> str:
    if timer.rounds:
        return f"*{timer.attempt}*{timer.rounds}"
    return f"*{timer.attempt}" if timer.attempt else ""


def unpack_timers(text: str) -> tuple[Timer, ...]:
    """Raises UnreadableRecord if `text` is not what `pack_timers` makes."""
    if not text:
        return ()
    timers = []
    for part in text.split():
        name, _, due = part.partition("=")
        instant, *counts = due.split("*")
        try:
            timers.append(Timer(name, datetime.fromisoformat(instant), *map(int, counts)))
        except (ValueError, TypeError) as error:
            raise UnreadableRecord(why=f"timer {part!r} can't be read: {error}") from error
    return tuple(timers)


def pack_starts(starts: Sequence[Start]) -> str:
    return encode_event(starts).decode() if starts else ""


def unpack_starts(text: str) -> tuple[Start, ...]:
    """Raises UnreadableRecord if `text` is not what `pack_starts` makes."""
    try:
        return _decode_starts(text) if text else ()
    except msgspec.DecodeError as error:
        raise UnreadableRecord(why=f"its starts can't be read: {error}") from error


def unpack_ended(event: Event) -> Ended:
    """What the event of a child's end tells. Raises UnreadableRecord."""
    try:
        return _decode_ended(b"" if event.data is UNSET else event.data)
    except msgspec.DecodeError as error:
        raise UnreadableRecord(why=f"the end of a child can't be read: {error}") from error


def pack_correlations(values: Iterable[str]) -> str:
    return " ".join(quote(value, safe="=@:/+,") for value in values)


def unpack_correlations(text: str) -> tuple[str, ...]:
    return tuple(unquote(value) for value in text.split())


def correlation_of(name: str, value: str) -> str:
    """What a callback's correlation value is kept under: the subject of events about it."""
    return f"{name}={value}"
