"""The operations on the schedules that a host owns."""

import uuid
from datetime import datetime
from typing import Any

import msgspec

from .access import who_asks
from .changing import Changing
from .cron import EPOCH, INSTANT
from .definition import Workflow
from .errors import (
    InvalidCron,
    InvalidQuery,
    ScheduleDeclared,
    ScheduleNotFound,
    ScheduleRefused,
    SlotFailed,
    SlotLeftOut,
    StreamwfError,
)
from .events import CANCEL, PAUSE, RESUME, derived_id, request
from .firing import fire
from .fold import Verdict
from .masked_views import for_who_asks
from .record import LIVE, SCHEDULE, Record, row_key
from .redaction import Redaction
from .schedule_views import (
    UPCOMING,
    BackfillRequest,
    BackfillView,
    ScheduleAction,
    ScheduleRequest,
    Schedules,
    ScheduleView,
)
from .schedules import (
    LAST,
    SlotRun,
    Spec,
    change,
    changed,
    check_name,
    check_spec,
    is_undeclared,
    plan_of,
    run_of_past_slot,
    run_of_request,
    schedules_in,
    slot_name,
    started,
)
from .shard import Shard
from .telling import text
from .views import Requested, run_view

_REQUESTS = {"pause": PAUSE, "resume": RESUME, "delete": CANCEL}


class Scheduling(Changing):
    """Looks at schedules and changes them."""

    # ---- looking

    def schedules(self, name: str) -> Schedules:
        """The schedules of a workflow that this host owns. Raises WorkflowNotFound."""
        self.workflow(name)
        found = [
            view
            for shard in self.host.shards(name)
            for record in schedules_in(shard.scan)
            if record.state in LIVE and (view := self._schedule_view(shard, record)) is not None
        ]
        return Schedules(schedules=sorted(found, key=lambda view: view.name))

    def get_schedule(self, name: str, schedule: str) -> ScheduleView:
        """Raises WorkflowNotFound, NotReady and ScheduleNotFound."""
        shard, record = self._schedule(name, schedule)
        return self._schedule_told(shard, record)

    def _schedule(self, name: str, schedule: str, or_deleted: bool = False) -> tuple[Shard, Record]:
        self.workflow(name)
        shard = self._shard_of(name, schedule)
        record = shard.rows.get(row_key(SCHEDULE, schedule))
        if record is None or (record.state not in LIVE and not or_deleted):
            raise ScheduleNotFound(workflow=name, name=schedule)
        return shard, record

    def _schedule_told(self, shard: Shard, record: Record) -> ScheduleView:
        view = self._schedule_view(shard, record)
        if view is None:
            # What it says can't be read, and its step is about to reject it.
            raise ScheduleNotFound(workflow=shard.workflow.name, name=record.foreign_id)
        return view

    def _schedule_view(self, shard: Shard, record: Record) -> ScheduleView | None:
        workflow = shard.workflow
        try:
            plan, position = plan_of(record)
        except InvalidQuery:
            return None
        view = run_view(workflow.name, workflow.start_name, record)
        run, spec = for_who_asks(workflow, record, view), plan.spec
        gone = is_undeclared(workflow, record)
        return ScheduleView(
            workflow=workflow.name,
            name=record.foreign_id,
            run_id=record.run_id,
            state=record.state,
            cron=spec.cron,
            timezone=spec.timezone,
            foreign_id=spec.foreign_id,
            status=spec.status or workflow.start_name,
            overlap=spec.overlap,
            catch_up=spec.catch_up,
            object=_object(run.object),
            declared=spec.declared,
            created_at=record.created_at,
            updated_at=record.updated_at,
            last_slot=plan.fired,
            next_slots=_upcoming(spec, max(position, self.host.clock.now())),
            due_at=record.due_at,
            attempt=record.attempt,
            error=run.error,
            reason="it is not in the code any more" if gone else run.reason,
        )

    # ---- changing

    async def schedule(self, name: str, schedule: str, asked: ScheduleRequest) -> ScheduleView:
        """Make sure of a schedule: a new one begins now, another goes on by what is asked.

        It keeps its position, and stays paused if it is.

        Raises WorkflowNotFound, NotReady, InvalidQuery, InvalidCron, InvalidForeignId,
        UnknownStatus, TerminalStart, InvalidObject, RecordTooLarge, DeadlineExceeded, and
        ScheduleDeclared if it is declared in code.
        """
        spec = self._schedule_spec(name, schedule, asked)
        shard = self._shard_of(name, schedule)
        record = shard.rows.get(row_key(SCHEDULE, schedule))
        now = self.host.clock.now()
        if record is None or record.state not in LIVE:
            event = started(name, schedule, str(uuid.uuid4()), spec, now)
        else:
            plan, position = plan_of(record)
            if plan.spec == spec:
                return self._schedule_told(shard, record)
            plan = changed(plan, position, spec, now)
            event = change(name, record, plan, now, str(uuid.uuid4()))
        self._check_size("schedule", event)
        answer = await self._submit(shard, event)
        if answer.verdict is not Verdict.ACCEPTED or answer.record is None:
            # Somebody else has made or deleted it at the same time.
            return await self.schedule(name, schedule, asked)
        return self._schedule_told(shard, answer.record)

    def _schedule_spec(self, name: str, schedule: str, asked: ScheduleRequest) -> Spec:
        workflow = self.workflow(name)
        check_name(schedule)
        if schedule in workflow.schedules:
            raise ScheduleDeclared(workflow=name, name=schedule, action="Change")
        spec = Spec(
            cron=" ".join(asked.cron.split()),
            timezone=asked.timezone,
            foreign_id=schedule if asked.foreign_id is None else asked.foreign_id,
            status=asked.status or "",
            overlap=asked.overlap,
            catch_up=asked.catch_up,
            object=msgspec.Raw(workflow.dump_checked(asked.object)),
        )
        check_spec(workflow, spec)
        return spec

    async def steer_schedule(
        self,
        name: str,
        schedule: str,
        action: ScheduleAction,
        reason: str = "",
        key: str | None = None,
    ) -> ScheduleView:
        """Pause, resume or delete a schedule. key: makes a repeat harmless.

        Raises WorkflowNotFound, NotReady, ScheduleNotFound, ScheduleRefused, KeyReused,
        RecordTooLarge, DeadlineExceeded, and ScheduleDeclared if one is to be deleted
        that is declared in code.
        """
        if action == "delete" and schedule in self.workflow(name).schedules:
            raise ScheduleDeclared(workflow=name, name=schedule, action="Remove")
        shard, record = self._schedule(name, schedule, or_deleted=bool(key))
        event_id = derived_id(record.run_id, action, key) if key else str(uuid.uuid4())
        if record.state not in LIVE and event_id not in record.requests:
            raise ScheduleNotFound(workflow=name, name=schedule)
        event = request(
            name,
            _REQUESTS[action],
            schedule,
            self.host.clock.now(),
            event_id=event_id,
            inner=SCHEDULE,
            runid=record.run_id,
            reason=reason,
        )
        self._check_size("reason", event)
        answer = await self._submit(shard, event)
        if answer.record is None:
            raise ScheduleNotFound(workflow=name, name=schedule)
        await self._check_repeat(shard, answer, event, key)
        if answer.verdict is Verdict.STATE_FORBIDS:
            raise ScheduleRefused(action=action, name=schedule, state=answer.record.state)
        return self._schedule_told(shard, answer.record)

    # ---- beside its time

    async def run_schedule(
        self, name: str, schedule: str, reason: str = "", key: str | None = None
    ) -> Requested:
        """Request a run at once, under a foreign id of its own; the slots stay as they are.

        Of a paused schedule, too. key: makes a repeat harmless: the same key leads to the same run.

        Raises WorkflowNotFound, NotReady, ScheduleNotFound, ScheduleNotDeclared, InvalidForeignId,
        InvalidObject, UnknownStatus, TerminalStart, RecordTooLarge, SlotFailed, and SlotLeftOut.
        """
        shard, record = self._schedule(name, schedule)
        plan, _ = plan_of(record)
        now, once = self.host.clock.now(), key or str(uuid.uuid4())
        run = run_of_request(name, schedule, plan, now, once, reason)
        if not await self._fired(shard.workflow, schedule, plan.spec, run):
            raise SlotLeftOut(name=schedule, slot=slot_name(run.slot))
        return Requested(run_id=run.run_id)

    async def backfill(self, name: str, schedule: str, asked: BackfillRequest) -> BackfillView:
        """Request runs for slots of the past that have none, each under a foreign id of its own.

        Slots that the schedule itself still has to look at are left to it.

        Raises WorkflowNotFound, NotReady, ScheduleNotFound, InvalidQuery, ScheduleNotDeclared,
        InvalidObject, UnknownStatus, TerminalStart, RecordTooLarge, and SlotFailed.
        """
        if asked.start >= asked.end:
            raise InvalidQuery(field="start", why="it is not before the end")
        shard, record = self._schedule(name, schedule)
        plan, position = plan_of(record)
        cron = plan.spec.parse()
        until = min(max(asked.end, EPOCH) - INSTANT, position)
        slots = cron.slots(max(asked.start, EPOCH) - INSTANT, until, asked.limit)
        left_out = 0
        for slot in slots:
            run = run_of_past_slot(name, schedule, plan, slot)
            left_out += not await self._fired(shard.workflow, schedule, plan.spec, run)
        after = cron.next_after(slots[-1]) if slots else None
        return BackfillView(
            slots=slots,
            left_out=left_out,
            cursor=after if after is not None and after <= until else None,
        )

    async def _fired(
        self, workflow: Workflow[Any, Any], schedule: str, spec: Spec, run: SlotRun
    ) -> bool:
        try:
            return await fire(self.host, workflow, schedule, spec, run, asked=True, by=who_asks())
        except StreamwfError:
            raise
        except Exception as error:
            said = Redaction().of(str(error)) if workflow.masks else error
            why = text(f"{type(error).__name__}: {said}")
            raise SlotFailed(name=schedule, slot=slot_name(run.slot), error=why) from error


def _object(plan: Any) -> Any:
    """The object in a plan as it is told."""
    return plan["spec"].get("object") if isinstance(plan, dict) else None


def _upcoming(spec: Spec, now: datetime) -> list[datetime]:
    try:
        return spec.parse().slots(now, LAST, UPCOMING)
    except InvalidCron:
        return []
