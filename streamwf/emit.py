"""Emissions: what folding one event leads to elsewhere, as events for other runs' logs. Pure.

They are durable before the checkpoint that passes over their cause, so they are never lost; after a
crash they may be sent again. Their ids are derived from the cause, so that each counts once.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from .declared import HookOn
from .definition import Workflow
from .events import (
    CALLBACK,
    CANCEL,
    CHILD,
    CORRELATE,
    HOOK,
    RELEASED,
    RETAIN,
    TRIGGER,
    UNCORRELATE,
    Ended,
    Event,
    derived_id,
    parent_of,
    request,
    unpack_correlations,
    unpack_starts,
)
from .mail import call_of
from .objects import has_own_key
from .record import CORRELATION, LIVE, MAIL, MAILBOX, Call, Record, State, Target

_encode = msgspec.json.Encoder().encode

_HOOKS = {
    State.PAUSED: HookOn.PAUSE,
    State.RUNNING: HookOn.RESUME,
    State.CANCELLED: HookOn.CANCEL,
    State.COMPLETED: HookOn.COMPLETE,
    State.DATA_DELETED: HookOn.DATA_DELETED,
}


class Emission(NamedTuple):
    """An event for the log of a workflow."""

    workflow: str
    event: Event


def emissions(
    workflow: Workflow[Any, Any], before: Record | None, after: Record | None, event: Event
) -> Iterable[Emission]:
    """What an accepted event leads to elsewhere. before, after: the run that it has changed."""
    if after is None:
        return ()
    if event.kind in MAIL:
        return _handed_on(workflow.name, before, after, event) if after.targets else ()
    # Asked for every event, and mostly there is nothing.
    if before is None or before.run_id != after.run_id:
        return ()
    if (
        event.starts
        or after.correlations != before.correlations
        or (workflow.encrypt and before.calls)
    ):
        return _traced(_all(workflow, before, after, event), after, event)
    if before.state is after.state:
        return ()
    told = after.parent or after.children or workflow.hooks or workflow.retention is not None
    return _traced(_changed_state(workflow, before, after, event), after, event) if told else ()


def _traced(found: Iterable[Emission], after: Record, event: Event) -> Iterable[Emission]:
    """Emissions in the trace of what they come of."""
    traceparent = event.traceparent or (after.trace.parent if after.trace else "")
    if not traceparent:
        return found
    return (
        emission._replace(event=msgspec.structs.replace(emission.event, traceparent=traceparent))
        for emission in found
    )


def _all(
    workflow: Workflow[Any, Any], before: Record, after: Record, event: Event
) -> Iterator[Emission]:
    if event.starts:
        yield from _children(workflow.name, before, after, event)
    if after.correlations != before.correlations:
        yield from _correlated(workflow.name, before.correlations, after, event)
    if workflow.encrypt and before.calls:
        yield from _answered(workflow.name, before, after, event)
    if before.state is not after.state:
        yield from _changed_state(workflow, before, after, event)


def _answered(workflow: str, before: Record, after: Record, event: Event) -> Iterator[Emission]:
    left = {call.id for call in after.calls}
    own = [call.id for call in before.calls if has_own_key(call.payload, call.bytes64)]
    done = [call_id for call_id in own if call_id not in left]
    if done:
        yield needed_no_more(workflow, done, event)


def needed_no_more(workflow: str, calls: Sequence[str], event: Event) -> Emission:
    """Callbacks that have keys of their own are answered, or refused: the keys can go."""
    told = request(
        workflow,
        RELEASED,
        event.subject,
        event.time,
        event_id=derived_id(RELEASED, *calls),
        inner=MAILBOX,
        call=" ".join(calls),
    )
    return Emission(workflow, told)


def _changed_state(
    workflow: Workflow[Any, Any], before: Record, after: Record, event: Event
) -> Iterator[Emission]:
    hook = None if after.kind else _HOOKS.get(after.state)
    if hook in workflow.hooks and (hook is not HookOn.RESUME or before.state is State.PAUSED):
        yield _to_itself(workflow.name, after, event, HOOK, hook=str(hook))
    if after.state in LIVE:
        return
    if before.state in LIVE:
        yield from _ended(workflow, after, event)
    # After the hook, so that nothing is forgotten before what it is to be told of is known.
    if workflow.retention is not None and after.state is not State.DATA_DELETION_REQUESTED:
        forget_at = after.updated_at + workflow.retention
        yield _to_itself(workflow.name, after, event, RETAIN, forgetat=forget_at)


def _ended(workflow: Workflow[Any, Any], after: Record, event: Event) -> Iterator[Emission]:
    if after.parent:
        yield _told(workflow.name, after, event)
    for child in after.children:
        if child.cascade and not child.state and after.state is State.CANCELLED:
            yield _cascaded(child.workflow, child.foreign_id, child.run_id, after, event)


def _to_itself(workflow: str, run: Record, event: Event, kind: str, **fields: Any) -> Emission:
    event_id = derived_id(kind, run.run_id, run.version)
    emitted = request(
        workflow,
        kind,
        run.foreign_id,
        event.time,
        event_id=event_id,
        inner=run.kind,
        runid=run.run_id,
        **fields,
    )
    return Emission(workflow, emitted)


def _children(workflow: str, before: Record, run: Record, event: Event) -> Iterator[Emission]:
    parent = "/".join((workflow, quote(run.run_id, safe=""), run.foreign_id))
    known = {child.run_id for child in before.children}
    fresh = {child.run_id for child in run.children if child.run_id not in known}
    starts = unpack_starts(event.starts) if fresh else ()
    for start in (start for start in starts if start.run_id in fresh):
        trigger = request(
            start.workflow,
            TRIGGER,
            start.foreign_id,
            event.time,
            event_id=derived_id(TRIGGER, start.run_id),
            data=bytes(start.data),
            runid=start.run_id,
            status=start.status,
            startat=start.start_at,
            parent=parent,
        )
        yield Emission(start.workflow, trigger)


def _told(workflow: str, run: Record, event: Event) -> Emission:
    """A run that has ended tells its parent."""
    ended = Ended(
        workflow=workflow,
        foreign_id=run.foreign_id,
        run_id=run.run_id,
        state=run.state,
        status=run.status,
        reason=run.reason,
        object=run.object,
    )
    return _to_parent(run.parent, ended, event)


def refused(workflow: str, trigger: Event, why: str) -> Emission:
    """The parent of a run that was refused hears that it will never come."""
    ended = Ended(
        workflow=workflow,
        foreign_id=trigger.subject,
        run_id=trigger.runid,
        state=State.CANCELLED,
        reason=why,
    )
    return _to_parent(trigger.parent, ended, trigger)


def handed_over(workflow: str, trigger: Event) -> Emission:
    """A run that is not known under the foreign id that was asked, under its other one."""
    return Emission(
        workflow,
        msgspec.structs.replace(trigger, subject=trigger.instead, forwarded=False),
    )


def _to_parent(parent: str, ended: Ended, event: Event) -> Emission:
    workflow, run_id, foreign_id = parent_of(parent)
    told = request(
        workflow,
        CHILD,
        foreign_id,
        event.time,
        event_id=derived_id(CHILD, ended.run_id),
        data=_encode(ended),
        runid=run_id,
        traceparent=event.traceparent,
    )
    return Emission(workflow, told)


def _cascaded(
    workflow: str, foreign_id: str, run_id: str, parent: Record, event: Event
) -> Emission:
    cancel = request(
        workflow,
        CANCEL,
        foreign_id,
        event.time,
        event_id=derived_id(CANCEL, run_id, parent.run_id),
        runid=run_id,
        reason=f"its parent {parent.run_id} was cancelled",
    )
    return Emission(workflow, cancel)


def _correlated(workflow: str, former: str, run: Record, event: Event) -> Iterator[Emission]:
    """The values that lead to a run, or no longer do."""
    was, now = set(unpack_correlations(former)), set(unpack_correlations(run.correlations))
    for kind, values in ((UNCORRELATE, was - now), (CORRELATE, now - was)):
        for value in sorted(values):
            told = request(
                workflow,
                kind,
                value,
                event.time,
                event_id=derived_id(kind, run.run_id, run.version, value),
                inner=CORRELATION,
                runid=run.run_id,
                origin=run.foreign_id,
            )
            yield Emission(workflow, told)


def _handed_on(
    workflow: str, before: Record | None, after: Record, event: Event
) -> Iterator[Emission]:
    """What comes for a value goes to the run that it leads to: of several, the first."""
    target = after.targets[0]
    if event.type == CALLBACK:
        yield Emission(workflow, _again(workflow, after, call_of(event, event.time), target, event))
    elif before is not None:
        yield from handed_on(workflow, before, target, event)


def handed_on(workflow: str, mailbox: Record, target: Target, event: Event) -> Iterator[Emission]:
    """All that a mailbox keeps goes to a run."""
    for call in mailbox.calls:
        yield Emission(workflow, _again(workflow, mailbox, call, target, event))


def _again(workflow: str, mailbox: Record, call: Call, target: Target, event: Event) -> Event:
    return request(
        workflow,
        CALLBACK,
        target.foreign_id,
        event.time,
        event_id=call.id,
        data=None if call.bytes64 else bytes(call.payload),
        runid=target.run_id,
        call=call.name,
        until=call.until,
        origin=mailbox.foreign_id,
        data_base64=call.bytes64,
        traceparent=call.trace.parent if call.trace else "",
    )
