"""The fold: from the record of a run and the next event of its log to the record after it.

Pure: no clock, no I/O, no randomness, and no look at the definition. The executor decides and its
event states what became; a request from outside is judged by the state that it meets. So the same
log gives the same records for ever, whatever the code of the steps has become.
"""

from enum import StrEnum

import msgspec
from msgspec import UNSET

from .events import (
    CANCEL,
    EXPIRED,
    MOVED,
    PAUSE,
    REPEATED,
    REQUESTS,
    RESUME,
    RESUMED,
    SKIPPED,
    STARTED,
    TRIGGER,
    Event,
    unpack_timers,
)
from .record import LIVE, MAX_OFFSETS, MAX_REQUESTS, TRANSITIONS, Record, State


class Verdict(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    RUN_IN_PROGRESS = "run_in_progress"
    NO_SUCH_RUN = "no_such_run"
    STALE = "stale"
    STATE_FORBIDS = "state_forbids"


_NO_OBJECT = msgspec.Raw(b"null")
# A member of an enum costs a look-up in its class; these are looked up for every event.
_ACCEPTED, _RUNNING = Verdict.ACCEPTED, State.RUNNING

_AT_WORK = (State.INITIATED, State.RUNNING)
_AFTER_WORK = TRANSITIONS[State.RUNNING] | {State.RUNNING}
_ENTERS = (STARTED, MOVED)
_ENDS_TRY = (MOVED, REPEATED)
_REQUESTED = {PAUSE: State.PAUSED, RESUME: State.RUNNING, CANCEL: State.CANCELLED}


def fold(record: Record | None, event: Event, offset: int) -> tuple[Record | None, Verdict]:
    """Judge one event and apply it.

    record: the run that the event names; for a trigger the latest run of its foreign id.
    offset: the event's place in the log.

    Returns the record after the event, the same one if it was refused, and the verdict.
    Raises UnreadableRecord if the event contradicts itself.
    """
    if event.type == TRIGGER:
        return _trigger(record, event, offset)
    if record is None or (event.runid and event.runid != record.run_id):
        return record, Verdict.NO_SUCH_RUN
    if event.type in REQUESTS:
        return _request(record, event, offset)
    if not record.version - record.lag <= event.version <= record.version:
        return record, Verdict.STALE
    return _result(record, event, offset)


def _trigger(record: Record | None, event: Event, offset: int) -> tuple[Record | None, Verdict]:
    if record is not None:
        if record.run_id == event.runid:
            return record, Verdict.DUPLICATE
        if record.state in LIVE:
            return record, Verdict.RUN_IN_PROGRESS
    return (
        Record(
            foreign_id=event.subject,
            run_id=event.runid,
            status=event.status,
            state=State.INITIATED,
            version=1,
            object=_NO_OBJECT if event.data is UNSET else event.data,
            created_at=event.time,
            updated_at=event.time,
            due_at=event.startat or event.time,
            offsets=(offset,),
        ),
        Verdict.ACCEPTED,
    )


def _request(record: Record, event: Event, offset: int) -> tuple[Record, Verdict]:
    if event.id in record.requests:
        return record, Verdict.DUPLICATE
    state = _REQUESTED[event.type]
    if state not in TRANSITIONS[record.state] or (
        event.type == RESUME and record.state is not State.PAUSED
    ):
        return record, Verdict.STATE_FORBIDS
    changed = _steered(record, event, offset, state)
    requests = (*record.requests, event.id)[-MAX_REQUESTS:]
    return msgspec.structs.replace(changed, requests=requests), Verdict.ACCEPTED


def _steered(record: Record, event: Event, offset: int, state: State) -> Record:
    """The record in another state, with status and object as they were."""
    resumed = state is State.RUNNING
    live = state in LIVE
    due_at = record.due_at
    if resumed and (record.attempt or record.skipped):
        # After errors the step tries at once; one that skipped is woken. Other waits go on.
        due_at = event.time
    return msgspec.structs.replace(
        record,
        state=state,
        version=record.version + 1,
        lag=0,
        updated_at=event.time,
        due_at=due_at if live else None,
        skipped=record.skipped and not resumed,
        attempt=0 if resumed else record.attempt,
        error=None if resumed else record.error,
        reason=event.reason,
        timers=record.timers if live else (),
        resume_at=event.resumeat,
        offsets=_more(record.offsets, offset),
    )


def _result(record: Record, event: Event, offset: int) -> tuple[Record, Verdict]:
    if event.type == RESUMED:
        if record.state is not State.PAUSED:
            return record, Verdict.STATE_FORBIDS
        return _steered(record, event, offset, State.RUNNING), _ACCEPTED
    state = event.state or _RUNNING
    if record.state not in _AT_WORK or state not in _AFTER_WORK:
        return record, Verdict.STATE_FORBIDS
    if event.timer and all(timer.name != event.timer for timer in record.timers):
        return record, Verdict.STALE
    if event.type == EXPIRED:
        return _expired(record, event, offset)
    timers = record.timers
    if event.type in _ENTERS:
        timers = unpack_timers(event.timers)
    elif event.timer:
        timers = tuple(timer for timer in timers if timer.name != event.timer)
    return (
        Record(
            foreign_id=record.foreign_id,
            run_id=record.run_id,
            status=event.status or record.status,
            state=state,
            version=record.version + 1,
            object=record.object if event.data is UNSET else event.data,
            created_at=record.created_at,
            updated_at=event.time,
            due_at=event.dueat,
            skipped=event.type == SKIPPED or (record.skipped and event.type != MOVED),
            entered=record.entered or event.type in _ENTERS,
            attempt=event.attempt,
            since=record.version + 1 if event.type in _ENDS_TRY else record.since,
            error=event.failure,
            reason=event.reason,
            timers=timers if state in LIVE else (),
            resume_at=event.resumeat,
            offsets=_more(record.offsets, offset),
            requests=record.requests,
        ),
        _ACCEPTED,
    )


def _expired(record: Record, event: Event, offset: int) -> tuple[Record, Verdict]:
    """A timer was answered without a move: it is gone, or due again. All else goes on."""
    answered = next((t for t in record.timers if t.name == event.timer), None)
    if answered is None or answered.due_at != event.dueat:
        return record, Verdict.STALE
    others = tuple(timer for timer in record.timers if timer is not answered)
    own_error = answered.attempt and not record.attempt
    saved = event.data is not UNSET
    after = msgspec.structs.replace(
        record,
        state=_RUNNING,
        version=record.version + 1,
        # A step in flight goes on, unless it works on an object that is no more.
        lag=0 if saved else record.lag + 1,
        object=event.data if saved else record.object,
        updated_at=event.time,
        error=event.failure or (None if own_error else record.error),
        timers=others + unpack_timers(event.timers),
        offsets=_more(record.offsets, offset),
    )
    return after, _ACCEPTED


def _more(offsets: tuple[int, ...], offset: int) -> tuple[int, ...]:
    if len(offsets) < MAX_OFFSETS:
        return (*offsets, offset)
    return (*offsets[1 - MAX_OFFSETS :], offset)
