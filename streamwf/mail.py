"""Mailboxes: callbacks that came before whom they are for, as inner runs. Pure.

A mailbox keeps what came for a foreign id that had no run in progress. A correlation keeps the runs
that a value leads to, and what came for it before there was one. What they hand on leaves them with
the event that it meets its run by, and goes on as an emission (emit.py), so that no other run can
have it. `released` takes out what has waited for too long.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec
from msgspec import UNSET

from .events import CALLBACK, CORRELATE, RELEASED, UNCORRELATE, Event, derived_id, trace_of
from .record import (
    CORRELATION,
    MAX_CALLS,
    MAX_OFFSETS,
    MAX_REQUESTS,
    MAX_TARGETS,
    NOTHING,
    Call,
    Record,
    State,
    Target,
    has_room,
)
from .verdict import Changed, Verdict

#: What only mailboxes are told.
REQUESTS = (CORRELATE, UNCORRELATE, RELEASED)

_replace = msgspec.structs.replace


def fold(record: Record | None, event: Event, offset: int) -> Changed:
    """The mailbox after an event; None once it is empty, the verdict if nothing changes."""
    former = _empty(event) if record is None else record
    judge = _TOLD.get(event.type)
    changed = Verdict.STATE_FORBIDS if judge is None else judge(former, event)
    if isinstance(changed, Verdict):
        return changed
    if not changed.calls and not changed.targets:
        return None
    return _replace(
        changed,
        version=former.version + 1,
        updated_at=event.time,
        offsets=(*former.offsets, offset)[-MAX_OFFSETS:],
    )


def _call(mailbox: Record, event: Event) -> Record | Verdict:
    if event.id in mailbox.requests:
        return Verdict.DUPLICATE
    requests = (*mailbox.requests, event.id)[-MAX_REQUESTS:]
    if mailbox.targets:
        # It goes on at once.
        return _replace(mailbox, requests=requests)
    if event.until is None or event.until <= event.time:
        return Verdict.NO_SUCH_RUN
    # Looked at once: when it has waited for too long.
    calls = with_call(mailbox.calls, call_of(event, event.until))
    if isinstance(calls, Verdict):
        return calls
    return _replace(mailbox, requests=requests, calls=calls)


def _correlate(mailbox: Record, event: Event) -> Record | Verdict:
    target = Target(event.origin, event.runid)
    if event.kind != CORRELATION:
        return Verdict.STATE_FORBIDS
    if target in mailbox.targets:
        return Verdict.DUPLICATE
    if len(mailbox.targets) >= MAX_TARGETS:
        return Verdict.FULL
    # What it keeps goes to the first run that there is.
    return _replace(mailbox, targets=(*mailbox.targets, target), calls=())


def _uncorrelate(mailbox: Record, event: Event) -> Record | Verdict:
    gone = Target(event.origin, event.runid)
    left = tuple(target for target in mailbox.targets if target != gone)
    return Verdict.NO_SUCH_RUN if left == mailbox.targets else _replace(mailbox, targets=left)


def _released(mailbox: Record, event: Event) -> Record | Verdict:
    released = event.call.split()
    left = tuple(call for call in mailbox.calls if call.id not in released)
    if left == mailbox.calls:
        return Verdict.STALE
    # What nobody came for may be asked again under its key.
    requests = tuple(request for request in mailbox.requests if request not in released)
    return _replace(mailbox, calls=left, requests=requests)


_TOLD: dict[str, Callable[[Record, Event], Record | Verdict]] = {
    CALLBACK: _call,
    CORRELATE: _correlate,
    UNCORRELATE: _uncorrelate,
    RELEASED: _released,
}


def with_call(calls: tuple[Call, ...], more: Call) -> tuple[Call, ...] | Verdict:
    """The callbacks that wait, with another one; the verdict if there is no room for it."""
    if any(call.id == more.id for call in calls):
        return Verdict.DUPLICATE
    if len(calls) >= MAX_CALLS or not has_room(sum(map(_weight, calls)), _weight(more)):
        return Verdict.FULL
    return (*calls, more)


def _weight(call: Call) -> int:
    return len(memoryview(call.payload)) + len(call.bytes64) + 4 * len(call.name)


def call_of(event: Event, due_at: datetime) -> Call:
    """The callback that an event brings. due_at: when it is to be looked at."""
    return Call(
        id=event.id,
        name=event.call,
        due_at=due_at,
        until=event.until or event.time,
        payload=NOTHING if event.data is UNSET else event.data,
        bytes64=event.data_base64,
        trace=trace_of(event),
    )


def _empty(event: Event) -> Record:
    return Record(
        foreign_id=event.subject,
        run_id=derived_id(event.kind, event.source, event.subject),
        kind=event.kind,
        status="",
        state=State.RUNNING,
        version=0,
        object=NOTHING,
        created_at=event.time,
        updated_at=event.time,
        entered=True,
    )
