"""What requests make of a run: they are judged by the state that they meet. Pure.

Those who ask are outside; or they are the engine itself, from the folding of another event.
"""

from collections.abc import Callable

import msgspec
from msgspec import UNSET

from . import mail
from .events import (
    CALLBACK,
    CANCEL,
    CHANGE,
    CHILD,
    DELETE,
    HOOK,
    PAUSE,
    RESUME,
    RETAIN,
    RETRY,
    Event,
    taken_up,
    trace_of,
    unpack_ended,
)
from .record import (
    DELETED,
    LIVE,
    MAX_REASON,
    MAX_REQUESTS,
    NOTHING,
    TRANSITIONS,
    Child,
    DueHook,
    Record,
    State,
    has_room,
    unbegun,
)
from .verdict import Changed, Verdict

_AT_WORK = (State.INITIATED, State.RUNNING)
_STEERS = {
    PAUSE: State.PAUSED,
    RESUME: State.RUNNING,
    CANCEL: State.CANCELLED,
    DELETE: State.DATA_DELETION_REQUESTED,
}
_replace = msgspec.structs.replace


def requested(record: Record, event: Event) -> Changed:
    """The record after a request; the verdict if it is refused."""
    if event.id in record.requests:
        return Verdict.DUPLICATE
    if event.ifversion is not None and event.ifversion != record.version:
        return Verdict.OTHER_VERSION
    return _REQUESTED[event.type](record, event)


def _with(record: Record, event: Event) -> tuple[str, ...]:
    return (*record.requests, event.id)[-MAX_REQUESTS:]


def _steer(record: Record, event: Event) -> Changed:
    state = _STEERS[event.type]
    if state not in TRANSITIONS[record.state] or (
        event.type == RESUME and record.state is not State.PAUSED
    ):
        return Verdict.STATE_FORBIDS
    return _replace(steered(record, event, state), requests=_with(record, event))


def steered(record: Record, event: Event, state: State) -> Record:
    """The record in another state, with status and object as they were."""
    resumed = state is State.RUNNING
    live = state in LIVE
    due_at = record.due_at
    if resumed and (record.attempt or record.skipped):
        # After errors the step tries at once; one that skipped is woken. Other waits go on.
        due_at = event.time
    return _replace(
        record,
        state=state,
        version=record.version + 1,
        lag=0,
        updated_at=event.time,
        due_at=due_at if live else None,
        skipped=record.skipped and not resumed,
        attempt=0 if resumed else record.attempt,
        error=None if resumed else record.error,
        reason=event.reason[:MAX_REASON],
        timers=record.timers if live else (),
        calls=record.calls if live else (),
        correlations=record.correlations if live else "",
        resume_at=event.resumeat,
        forget_at=None,
        trace=taken_up(record, event) if event.traceparent else record.trace,
    )


def _retry(record: Record, event: Event) -> Changed:
    """What waits because of errors is tried at once."""
    if record.state is State.PAUSED:
        changed = steered(record, event, State.RUNNING)
    elif record.state in _AT_WORK and record.attempt and record.due_at is not None:
        if record.due_at <= event.time:
            # It is being tried.
            return _noted(record, event)
        changed = _replace(
            record,
            version=record.version + 1,
            lag=0,
            updated_at=event.time,
            due_at=event.time,
            reason=event.reason[:MAX_REASON],
            trace=taken_up(record, event),
        )
    else:
        return Verdict.STATE_FORBIDS
    return _replace(changed, requests=_with(record, event))


def _change(record: Record, event: Event) -> Changed:
    """An inner run is to go by something else. Its step looks at it at once."""
    if not record.kind or record.state not in LIVE or event.data is UNSET:
        return Verdict.STATE_FORBIDS
    return _replace(
        record,
        version=record.version + 1,
        lag=0,
        object=event.data,
        updated_at=event.time,
        due_at=event.time,
        attempt=0,
        error=None,
        requests=_with(record, event),
    )


def _call(record: Record, event: Event) -> Changed:
    if record.state not in LIVE or record.kind:
        return Verdict.STATE_FORBIDS
    if unbegun(record, event.time) and (event.until is None or event.until <= event.time):
        return Verdict.STATE_FORBIDS
    calls = mail.with_call(record.calls, mail.call_of(event, event.time))
    return calls if isinstance(calls, Verdict) else _noted(record, event, calls=calls)


def _child(record: Record, event: Event) -> Changed:
    """A child has ended. It wakes the step that waits for it."""
    ended = unpack_ended(event)
    waiting = next((c for c in record.children if c.run_id == ended.run_id and not c.state), None)
    if waiting is None:
        return Verdict.DUPLICATE
    told = _replace(waiting, state=ended.state, status=ended.status)
    if record.state not in DELETED:
        whole = _replace(told, reason=ended.reason, object=ended.object)
        held = sum(map(_weight, record.children))
        told = whole if has_room(held, _weight(whole)) else told
    children = tuple(told if child is waiting else child for child in record.children)
    if not record.waits or record.state not in LIVE:
        # What it has heard of is known by the child: the ids of other requests stay.
        return _replace(_noted(record, event, children=children), requests=record.requests)
    awaited = record.due_at is None and enough(record.waits, children)
    # The step must see it: what it makes of fewer children does not count any more.
    return _replace(
        record,
        version=record.version + 1,
        lag=0,
        updated_at=event.time,
        children=children,
        due_at=event.time if awaited else record.due_at,
        trace=taken_up(record, event) if awaited else record.trace,
    )


def _weight(child: Child) -> int:
    return len(memoryview(child.object)) - len(memoryview(NOTHING)) + len(child.reason)


def enough(waits: str, children: tuple[Child, ...]) -> bool:
    """Whether those have ended that a step waits for. Of none, all have."""
    ended = [bool(child.state) for child in children]
    return all(ended) if waits == "all" else any(ended) or not ended


def _hook(record: Record, event: Event) -> Changed:
    due = DueHook(event.hook, event.time, id=event.id, trace=trace_of(event))
    return _noted(record, event, hooks=(*record.hooks, due))


def _retain(record: Record, event: Event) -> Changed:
    if record.state in LIVE:
        return Verdict.STATE_FORBIDS
    return _noted(record, event, forget_at=event.forgetat)


def _noted(record: Record, event: Event, **fields: object) -> Record:
    """The record with something that no step in flight needs to know."""
    return _replace(
        record,
        version=record.version + 1,
        lag=record.lag + 1,
        updated_at=event.time,
        requests=_with(record, event),
        **fields,
    )


def _misdirected(record: Record, event: Event) -> Changed:
    """It is for mailboxes only."""
    return Verdict.STATE_FORBIDS


_REQUESTED: dict[str, Callable[[Record, Event], Changed]] = {
    **dict.fromkeys(_STEERS, _steer),
    RETRY: _retry,
    CHANGE: _change,
    CALLBACK: _call,
    CHILD: _child,
    HOOK: _hook,
    RETAIN: _retain,
    **dict.fromkeys(mail.REQUESTS, _misdirected),
}
