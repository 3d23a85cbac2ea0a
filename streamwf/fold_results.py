"""What results make of a run: they state what became, and the fold applies it. Pure."""

from collections.abc import Callable

import msgspec
from msgspec import UNSET

from .events import (
    DECLINED,
    DELETED,
    EXPIRED,
    FAILED,
    FORGOTTEN,
    HOOKED,
    MOVED,
    POSTPONED,
    REPEATED,
    RESUMED,
    SKIPPED,
    STARTED,
    Event,
    trace_of,
    unpack_starts,
    unpack_timers,
)
from .fold_requests import enough, steered
from .record import LIVE, NOTHING, TRANSITIONS, Call, Child, Record, State
from .verdict import Changed, Verdict

# A member of an enum costs a look-up in its class; these are looked up for every event.
_RUNNING = State.RUNNING

_AT_WORK = (State.INITIATED, State.RUNNING)
_AFTER_WORK = TRANSITIONS[State.RUNNING] | {State.RUNNING}
_ENTERS = (STARTED, MOVED)
_ENDS_TRY = (MOVED, REPEATED)
# What is tried again goes on from where it was tried first, however often that is.
_AGAIN = (FAILED, REPEATED, SKIPPED)
_replace = msgspec.structs.replace


def resulted(record: Record, event: Event) -> Changed:
    """The record after a result; None once it is forgotten, the verdict if it is refused."""
    return _RESULTED.get(event.type, _result)(record, event)


def _result(record: Record, event: Event) -> Changed:
    state = event.state or _RUNNING
    if record.state not in _AT_WORK or state not in _AFTER_WORK:
        return Verdict.STATE_FORBIDS
    timers, calls = record.timers, record.calls
    if event.timer:
        timers = tuple(timer for timer in timers if timer.name != event.timer)
        if len(timers) == len(record.timers):
            return Verdict.STALE
    if event.call:
        calls = tuple(call for call in calls if call.id != event.call)
        if len(calls) == len(record.calls):
            return Verdict.STALE
    enters = event.type in _ENTERS
    if enters:
        timers = unpack_timers(event.timers)
    changed = _replace(
        record,
        status=event.status or record.status,
        state=state,
        version=record.version + 1,
        lag=0,
        object=record.object if event.data is UNSET else event.data,
        updated_at=event.time,
        due_at=event.dueat,
        skipped=event.type == SKIPPED or (record.skipped and event.type != MOVED),
        entered=record.entered or enters,
        attempt=event.attempt,
        since=record.version + 1 if event.type in _ENDS_TRY else record.since,
        error=event.failure,
        reason=event.reason,
        timers=timers if state in LIVE else (),
        resume_at=event.resumeat,
    )
    if event.type == REPEATED:
        changed = _replace(changed, stay=record.since if record.stay is None else record.stay)
    elif record.stay is not None and event.type == MOVED:
        changed = _replace(changed, stay=None)
    if event.traceparent and event.type not in _AGAIN:
        changed = _replace(changed, trace=trace_of(event))
    if record.calls or record.correlations:
        changed = _replace(
            changed,
            calls=_still_waiting(calls, event) if state in LIVE else (),
            correlations=record.correlations if state in LIVE and not enters else "",
        )
    if event.starts or (enters and (event.waits or record.waits or event.correlations)):
        return _entered(record, changed, event)
    return changed


def _still_waiting(calls: tuple[Call, ...], event: Event) -> tuple[Call, ...]:
    """What waits to be wanted may be so at another status."""
    if event.type != MOVED:
        return calls
    return tuple(_replace(call, due_at=event.time) for call in calls)


def _entered(record: Record, changed: Record, event: Event) -> Record:
    """The children that a status is entered with, or stayed at, and what waits for them."""
    enters, live = event.type in _ENTERS, changed.state in LIVE
    waits = event.waits if enters else record.waits
    children = record.children
    if enters and record.waits and not event.timer and not event.call:
        # They were waited for, and the step has seen them.
        children = tuple(child for child in children if not child.state)
    children = _with_started(children, event)
    due_at = changed.due_at
    if live and waits and due_at is None and enough(waits, children):
        due_at = event.time
    return _replace(
        changed,
        children=children,
        waits=waits,
        due_at=due_at,
        correlations=event.correlations if enters and live else changed.correlations,
    )


def _with_started(children: tuple[Child, ...], event: Event) -> tuple[Child, ...]:
    known = {child.run_id for child in children}
    started = (
        Child(start.workflow, start.foreign_id, start.run_id, cascade=start.cascade)
        for start in unpack_starts(event.starts)
    )
    return (*children, *(child for child in started if child.run_id not in known))


def _resumed(record: Record, event: Event) -> Changed:
    if record.state is not State.PAUSED:
        return Verdict.STATE_FORBIDS
    return steered(record, event, State.RUNNING)


def _skipped(record: Record, event: Event) -> Changed:
    return _call_answered(record, event) if event.call else _result(record, event)


def _expired(record: Record, event: Event) -> Changed:
    """A timer was answered without a move: it is gone, or due again."""
    answered = next((t for t in record.timers if t.name == event.timer), None)
    if answered is None or answered.due_at != event.dueat:
        return Verdict.STALE
    others = tuple(timer for timer in record.timers if timer is not answered)
    own_error = answered.attempt and not record.attempt
    return _answered(
        record, event, own_error=bool(own_error), timers=others + unpack_timers(event.timers)
    )


def _call_answered(record: Record, event: Event) -> Changed:
    """A callback was answered without a move: it is gone, or due again."""
    answered = next((call for call in record.calls if call.id == event.call), None)
    if answered is None:
        return Verdict.STALE
    calls = tuple(call for call in record.calls if call is not answered)
    if event.type == POSTPONED and event.dueat is not None:
        calls += (_replace(answered, due_at=event.dueat, attempt=event.attempt),)
    requests = record.requests
    if event.type == DECLINED:
        # What has changed nothing may be asked again under its key.
        requests = tuple(request for request in requests if request != event.call)
    own_error = answered.attempt and not record.attempt
    return _answered(record, event, own_error=bool(own_error), calls=calls, requests=requests)


def _answered(record: Record, event: Event, *, own_error: bool, **fields: object) -> Changed:
    """Something other than the step was answered. All else goes on."""
    if record.state not in _AT_WORK:
        return Verdict.STATE_FORBIDS
    saved = event.data is not UNSET
    return _replace(
        record,
        state=_RUNNING,
        version=record.version + 1,
        # A step in flight goes on, unless it works on an object that is no more.
        lag=0 if saved else record.lag + 1,
        object=event.data if saved else record.object,
        updated_at=event.time,
        error=(event.failure if event.type != DECLINED else None)
        or (None if own_error else record.error),
        children=_with_started(record.children, event) if event.starts else record.children,
        **fields,
    )


def _hooked(record: Record, event: Event) -> Changed:
    """A hook has run, or is due again. The run itself is as it was."""
    asked = (event.hook, event.call)
    answered = next((hook for hook in record.hooks if (hook.on, hook.id) == asked), None)
    if answered is None:
        return Verdict.STALE
    hooks = tuple(hook for hook in record.hooks if hook is not answered)
    if event.dueat is not None:
        hooks = (_replace(answered, due_at=event.dueat, attempt=event.attempt), *hooks)
    return _replace(
        record,
        version=record.version + 1,
        lag=record.lag + 1,
        updated_at=event.time,
        hooks=hooks,
    )


def _deleted(record: Record, event: Event) -> Changed:
    if record.state is not State.DATA_DELETION_REQUESTED:
        return Verdict.STATE_FORBIDS
    return _replace(
        record,
        state=State.DATA_DELETED,
        version=record.version + 1,
        lag=0,
        updated_at=event.time,
        object=NOTHING if event.data is UNSET else event.data,
        forget_at=None,
        error=None,
        reason="",
        children=tuple(_replace(child, object=NOTHING, reason="") for child in record.children),
    )


def _forgotten(record: Record, event: Event) -> Changed:
    return Verdict.STATE_FORBIDS if record.state in LIVE else None


_RESULTED: dict[str, Callable[[Record, Event], Changed]] = {
    RESUMED: _resumed,
    SKIPPED: _skipped,
    EXPIRED: _expired,
    DECLINED: _call_answered,
    POSTPONED: _call_answered,
    HOOKED: _hooked,
    DELETED: _deleted,
    FORGOTTEN: _forgotten,
}
