"""Firing: the step of a schedule. It starts a run for each slot that is due."""

import contextlib
import random
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from . import events
from .agenda import Kind
from .calling import call, of_the_loop
from .definition import Workflow
from .errors import (
    InvalidQuery,
    KeyDestroyed,
    RecordTooLarge,
    RequestRefused,
    ScheduleNotDeclared,
)
from .events import Event, derived_id, encode_event, request
from .failures import Failures
from .logs import steered
from .looking import Host
from .record import Record, State
from .schedules import (
    Plan,
    SlotRun,
    Spec,
    as_declared,
    check_spec,
    due_of,
    packed,
    plan_of,
    run_of_slot,
    slot_name,
)

#: Slots that are fired before the position is made durable.
BATCH = 100


class Firing:
    """Does what is due of the schedules of a workflow. Implements `streamwf.execute.Inner`.

    The runs' ids are derived from their slots, so that each is started once, whoever does it again
    because the position was not durable yet.
    """

    def __init__(self, host: Host, workflow: Workflow[Any, Any]) -> None:
        self._host = host
        self._workflow = workflow
        self._results = Failures(workflow, host.clock, host.max_record_bytes, random.random)

    async def __call__(self, record: Record, kind: Kind) -> Event:
        try:
            plan, position = plan_of(record)
            now = self._host.clock.now()
            plan = as_declared(self._workflow, record.foreign_id, plan, position, now)
            position, cron = plan.position or position, plan.spec.parse()
            if record.state is State.INITIATED:
                check_spec(self._workflow, plan.spec)
        except RequestRefused as error:
            if record.state is State.INITIATED or isinstance(error, InvalidQuery):
                return self._results.rejected(record, error)
            # Another worker may know the time zone.
            return self._results.put_off(record, error)
        due = due_of(plan, position, cron, now)
        first = cron.next_after(position)
        left_out = first is not None and first <= due.after
        done = Progress(plan, due.after)
        try:
            for slot in cron.slots(due.after, due.until, BATCH):
                name = record.foreign_id
                run = run_of_slot(self._workflow.name, name, plan, slot)
                fired = await fire(self._host, self._workflow, name, plan.spec, run)
                done.passed(slot, fired)
        except BaseException as error:
            if of_the_loop(error):
                raise
            return self._results.put_off(record, error, data=done.packed(owed=due.until))
        upcoming = cron.next_after(done.position)
        more = upcoming is not None and upcoming <= due.until
        return self._results.event(
            record,
            events.REPEATED,
            data=done.packed(owed=due.until if more else None),
            dueat=upcoming,
            reason=f"missed slots up to {slot_name(due.after)} are left out" if left_out else "",
        )


class Progress:
    """How far a schedule comes in one step."""

    def __init__(self, plan: Plan, position: datetime) -> None:
        self._plan = plan
        self.position = position
        self._fired = plan.fired

    def passed(self, slot: datetime, fired: bool) -> None:
        self.position = slot
        if fired:
            self._fired = slot

    def packed(self, owed: datetime | None) -> msgspec.Raw:
        return packed(
            msgspec.structs.replace(
                self._plan, position=self.position, owed=owed, fired=self._fired
            )
        )


async def fire(
    host: Host,
    workflow: Workflow[Any, Any],
    name: str,
    spec: Spec,
    run: SlotRun,
    *,
    asked: bool = False,
    by: str = "",
) -> bool:
    """Request a run of a schedule, and say whether there is one. Nothing is requested if not.

    asked: whether somebody has asked for it. by: who that was, as far as is known.

    Raises ScheduleNotDeclared, InvalidObject, UnknownStatus, TerminalStart, RecordTooLarge, and
    what the schedule's function and `Host.append` do.
    """
    event = await _event(host, workflow, name, spec, run, by)
    if event is not None:
        # Its data may have been deleted: then it was started before.
        with (
            contextlib.suppress(KeyDestroyed),
            host.tracing.request(workflow.name, event, cause=None if asked else "") as traced,
        ):
            await host.append(workflow.name, traced)
            steered(host.logger, workflow, traced, "appended")
    return event is not None


async def _event(
    host: Host,
    workflow: Workflow[Any, Any],
    name: str,
    spec: Spec,
    run: SlotRun,
    by: str,
) -> Event | None:
    """The trigger of a run; None if its slot is left out."""
    data = await _object(workflow, name, spec, run.slot)
    if data is None:
        return None
    event = request(
        workflow.name,
        events.TRIGGER,
        run.foreign_id,
        host.clock.now(),
        event_id=derived_id(events.TRIGGER, run.run_id),
        runid=run.run_id,
        status=workflow.check_start(spec.status).name,
        data=data,
        reason=run.reason,
        instead=run.instead,
        by=by,
    )
    size = len(encode_event(event))
    if size > host.max_record_bytes:
        raise RecordTooLarge(what="object", size=size, limit=host.max_record_bytes)
    return event


async def _object(
    workflow: Workflow[Any, Any], name: str, spec: Spec, slot: datetime
) -> bytes | None:
    """The JSON of the object of a slot's run."""
    if not spec.declared:
        return workflow.dump(workflow.load(bytes(spec.object)))
    schedule = workflow.schedules.get(name)
    if schedule is None:
        raise ScheduleNotDeclared(workflow=workflow.name, name=name)
    made = await call(schedule, None, slot.astimezone(ZoneInfo(spec.timezone)))
    return None if made is None else workflow.dump_checked(workflow.plain(made))
