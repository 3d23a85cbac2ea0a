"""The fold: from the record of a run and the next event of its log to the record after it.

Pure: no clock, no I/O, no randomness, and no look at the definition. The executor decides and its
event states what became; a request from outside is judged by the state that it meets. So the same
log gives the same records for ever, whatever the code of the steps has become.
"""

import msgspec
from msgspec import UNSET

from . import mail
from .events import HOOKED, REQUESTS, TRIGGER, Event, trace_of
from .fold_requests import requested
from .fold_results import resulted
from .record import LIVE, MAIL, MAX_OFFSETS, NOTHING, Record, State
from .verdict import Verdict

__all__ = ["Verdict", "fold"]

_ACCEPTED = Verdict.ACCEPTED


def fold(record: Record | None, event: Event, offset: int) -> tuple[Record | None, Verdict]:
    """Judge one event and apply it.

    record: the run that the event names; for a trigger the latest run of its foreign id.
    offset: the event's place in the log.

    Returns the record after the event, the same one if it was refused, and the verdict. A record
    that is forgotten becomes None.
    Raises UnreadableRecord if the event contradicts itself.
    """
    if event.kind in MAIL:
        changed = mail.fold(record, event, offset)
        return (record, changed) if isinstance(changed, Verdict) else (changed, _ACCEPTED)
    if event.type == TRIGGER:
        return _trigger(record, event, offset)
    if record is None or (event.runid and event.runid != record.run_id):
        return record, Verdict.NO_SUCH_RUN
    if event.type in REQUESTS:
        changed = requested(record, event)
    elif (
        not record.version - record.lag <= event.version <= record.version
        # A hook has run for what has been, whatever has become of the run since.
        and event.type != HOOKED
    ):
        return record, Verdict.STALE
    else:
        changed = resulted(record, event)
    if isinstance(changed, Verdict):
        return record, changed
    if changed is None:
        return None, _ACCEPTED
    return msgspec.structs.replace(changed, offsets=_more(record.offsets, offset)), _ACCEPTED


def _trigger(record: Record | None, event: Event, offset: int) -> tuple[Record | None, Verdict]:
    if record is not None:
        if record.run_id == event.runid:
            return record, Verdict.DUPLICATE
        if record.state in LIVE and event.instead in ("", event.subject):
            return record, Verdict.RUN_IN_PROGRESS
    if event.instead not in ("", event.subject):
        return record, Verdict.HANDED_ON
    return (
        Record(
            foreign_id=event.subject,
            run_id=event.runid,
            kind=event.kind,
            status=event.status,
            state=State.INITIATED,
            version=1,
            object=NOTHING if event.data is UNSET else event.data,
            created_at=event.time,
            updated_at=event.time,
            due_at=event.startat or event.time,
            parent=event.parent,
            origin=event.origin,
            offsets=(offset,),
            trace=trace_of(event) if event.traceparent else None,
        ),
        Verdict.ACCEPTED,
    )


def _more(offsets: tuple[int, ...], offset: int) -> tuple[int, ...]:
    if len(offsets) < MAX_OFFSETS:
        return (*offsets, offset)
    return (*offsets[1 - MAX_OFFSETS :], offset)
