"""The envelope: CloudEvents 1.0, structured JSON, one event for each move of a run.

Requests come from outside (clients, other programs, connectors) and name no version: the fold
judges them by the state that they meet. Results come from the engine and name the run and the
version that they were computed from: they state what became, and fold only onto that version.

Attributes beyond the core of CloudEvents are extensions, in its spelling (lower case, no
underscores, simple types). https://github.com/cloudevents/spec
"""

import uuid
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from .errors import InvalidForeignId, RecordTooLarge, UnreadableRecord
from .record import Failure, State, Timer

TRIGGER, PAUSE, RESUME, CANCEL = "trigger", "pause", "resume", "cancel"
REQUESTS = frozenset({TRIGGER, PAUSE, RESUME, CANCEL})

STARTED, MOVED, REPEATED, SKIPPED, FAILED = "started", "moved", "repeated", "skipped", "failed"
PAUSED, CANCELLED, RESUMED, REJECTED = "paused", "cancelled", "resumed", "rejected"
EXPIRED = "expired"
RESULTS = frozenset(
    {STARTED, MOVED, REPEATED, SKIPPED, FAILED, PAUSED, CANCELLED, RESUMED, REJECTED, EXPIRED}
)

MAX_FOREIGN_ID = 500
MAX_ID = 500

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One record of a workflow's log.

    subject: the foreign id; also the record's key, so that one partition holds one foreign id.
    runid, version: the run, and for results its version before this event.
    data: the user's object as JSON, left undecoded; unset means unchanged.
    dueat: when the run's step is next to run; of an expired timer, when it was due.
    startat: when a run that is triggered is to start, in the future.
    timers: the timers that are set, as `name=instant` separated by spaces, with `*n` after n
        failed attempts: all those of a status that is entered (started, moved), or the one that
        is due again (expired).
    timer: the name of the timer that this event answers.
    """

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: Instant
    runid: str = ""
    version: int = 0
    status: str = ""
    state: State | None = None
    dueat: Instant | None = None
    startat: Instant | None = None
    attempt: int = 0
    reason: str = ""
    errortype: str = ""
    errormessage: str = ""
    errortrace: str = ""
    timers: str = ""
    timer: str = ""
    resumeat: Instant | None = None
    forwarded: bool = False
    traceparent: str = ""
    data: msgspec.Raw | UnsetType = UNSET

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
    runid: str = ""
    key: str = ""
    status: str = ""
    startat: Instant | None = None
    reason: str = ""
    forwarded: bool = False
    traceparent: str = ""
    data: msgspec.Raw | UnsetType = UNSET


encode_event = msgspec.json.Encoder().encode
_decode_full = msgspec.json.Decoder(Event).decode
_decode_short = msgspec.json.Decoder(_ShortForm).decode

#: The namespace of every id that streamwf derives.
_IDS = uuid.UUID("5f0a3c1e-7d2b-5e64-9c0f-1b1f6f3a9d51")


def derived_id(*parts: str | int) -> str:
    """An id that is always the same for the same parts."""
    return str(uuid.uuid5(_IDS, "\x1f".join(map(str, parts))))


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
    if event.source != source_of(workflow):
        raise UnreadableRecord(why=f"its source {event.source!r} is not {source_of(workflow)!r}")
    if event.type in RESULTS:
        return event
    if event.type not in REQUESTS:
        raise UnreadableRecord(why=f"there is no event type {event.type!r}")
    check_foreign_id(event.subject)
    if event.type == TRIGGER:
        _check_text(value)
        if not event.runid:
            incomplete = msgspec.ValidationError("it has no runid")
            return _complete(value, incomplete, workflow, partition, offset, timestamp_ms)
    if max(len(event.id), len(event.runid)) > MAX_ID:
        raise UnreadableRecord(why=f"its id or runid has more than {MAX_ID} characters")
    return event


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
        id=short.id or place,
        source=short.source or source_of(workflow),
        type=short.type,
        subject=short.subject,
        time=short.time or _instant(timestamp_ms),
        runid=short.runid or _run_id(short, workflow, place),
        status=short.status,
        startat=short.startat,
        reason=short.reason,
        forwarded=short.forwarded,
        traceparent=short.traceparent,
        data=short.data,
    )


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


def request(
    workflow: str,
    kind: str,
    foreign_id: str,
    now: datetime,
    *,
    event_id: str,
    run_id: str = "",
    status: str = "",
    data: bytes | None = None,
    start_at: datetime | None = None,
    reason: str = "",
) -> Event:
    """A request from outside, ready to be appended.

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
        runid=run_id,
        status=status,
        startat=start_at,
        reason=reason,
        data=UNSET if data is None else msgspec.Raw(data),
    )


def check_foreign_id(foreign_id: str) -> None:
    """Raises InvalidForeignId unless it can serve as a key."""
    if not 1 <= len(foreign_id) <= MAX_FOREIGN_ID or not foreign_id.isprintable():
        raise InvalidForeignId(foreign_id=foreign_id[:80])


def pack_timers(timers: tuple[Timer, ...]) -> str:
    return " ".join(
        f"{timer.name}={timer.due_at.isoformat()}" + (f"*{timer.attempt}" if timer.attempt else "")
        for timer in timers
    )


def unpack_timers(text: str) -> tuple[Timer, ...]:
    """Raises UnreadableRecord if `text` is not what `pack_timers` makes."""
    timers = []
    for part in text.split():
        name, _, due = part.partition("=")
        instant, _, attempt = due.partition("*")
        try:
            timers.append(Timer(name, datetime.fromisoformat(instant), int(attempt or 0)))
        except ValueError as error:
            raise UnreadableRecord(why=f"timer {part!r} can't be read: {error}") from error
    return tuple(timers)
