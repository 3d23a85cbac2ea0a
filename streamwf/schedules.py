"""Schedules as data: what one says, how far it has come, and which of its slots are due. Pure.

A schedule is an inner run of its workflow. Its object is a `Plan`; its step (firing.py) starts a
run for each slot that is due, and is due again at the next one.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from . import recurring
from .cron import INSTANT, Cron
from .definition import Workflow
from .errors import InvalidCron, InvalidQuery, ScheduleNotDeclared
from .events import CHANGE, TRIGGER, Event, Instant, check_foreign_id, derived_id, request
from .record import LIVE, NOTHING, SCHEDULE, Record, row_key
from .recurring import MAX_CATCH_UP, NAME, NAME_RULE, CatchUp, Overlap, Schedule

#: How late a slot may be and still be on time: about what it takes until another worker goes on.
ON_TIME = timedelta(minutes=1)

#: Later than any slot.
LAST = datetime.max.replace(tzinfo=UTC)


class Spec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a schedule says.

    foreign_id: of the runs. status: where they start; empty for the workflow's start.
    overlap: what happens at a slot while the run of the one before is in progress.
    catch_up: what happens to slots that were missed.
    object: of the runs, as JSON. declared: whether a function in the code makes it instead.
    """

    cron: str
    timezone: str = "UTC"
    foreign_id: str
    status: str = ""
    overlap: Overlap = "skip"
    catch_up: Literal["none", "latest"] | Annotated[int, msgspec.Meta(ge=1, le=MAX_CATCH_UP)] = (
        "latest"
    )
    object: msgspec.Raw = NOTHING
    declared: bool = False

    def parse(self) -> Cron:
        """Raises InvalidCron."""
        return Cron.parse(self.cron, self.timezone)


class Former(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How the runs of the slots up to a change are called: as before, so that none is started
    twice under two names."""

    foreign_id: str
    overlap: Overlap
    until: Instant


class Plan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A schedule and how far it has come.

    position: up to where its slots are done with; unset, up to when it was created.
    owed: up to where slots were due when the step last failed; they are fired however late.
    fired: the last slot that a run was started for.
    former: how the runs of earlier slots are called, if that has changed.
    """

    spec: Spec
    position: Instant | None = None
    owed: Instant | None = None
    fired: Instant | None = None
    former: Former | None = None

    def naming(self, slot: datetime) -> tuple[str, Overlap]:
        """The foreign id and the overlap that count for a slot."""
        if self.former is not None and slot <= self.former.until:
            return self.former.foreign_id, self.former.overlap
        return self.spec.foreign_id, self.spec.overlap


class Due(NamedTuple):
    """The slots that are to be fired: those later than `after`, and no later than `until`."""

    after: datetime
    until: datetime


encode_plan = msgspec.json.Encoder().encode
_decode_plan = msgspec.json.Decoder(Plan).decode


def plan_of(record: Record) -> tuple[Plan, datetime]:
    """The plan of a schedule, and its position. Raises InvalidQuery."""
    try:
        plan = _decode_plan(record.object)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidQuery(field="schedule", why=str(error)) from None
    return plan, plan.position or record.created_at


def packed(plan: Plan) -> msgspec.Raw:
    return msgspec.Raw(encode_plan(plan))


def check_name(name: str) -> None:
    """Raises InvalidQuery unless a schedule can be called that."""
    if not re.fullmatch(NAME, name):
        raise InvalidQuery(field="name", why=f"a schedule's name has {NAME_RULE}")


def check_spec(workflow: Workflow[Any, Any], spec: Spec) -> None:
    """Raises InvalidCron, InvalidQuery, InvalidForeignId, UnknownStatus, TerminalStart and
    InvalidObject."""
    spec.parse()
    if why := recurring.conflict(spec.overlap, spec.catch_up):
        raise InvalidQuery(field="catch_up", why=why)
    check_foreign_id(spec.foreign_id)
    check_foreign_id(apart(spec.foreign_id, LAST))
    workflow.check_start(spec.status)
    if not spec.declared:
        workflow.load(bytes(spec.object))


# ---- what is due


def due_of(plan: Plan, position: datetime, cron: Cron, now: datetime) -> Due:
    """Which slots are to be fired now; those between `position` and the first are left out."""
    if plan.owed is not None:
        return Due(position, plan.owed)
    missed_until = now - ON_TIME
    first = cron.next_after(position)
    if first is None or first > missed_until:
        return Due(position, now)
    return Due(_caught_up_from(plan.spec.catch_up, position, missed_until, cron, now), now)


def _caught_up_from(
    catch_up: CatchUp, position: datetime, missed_until: datetime, cron: Cron, now: datetime
) -> datetime:
    if catch_up == "none" or (catch_up == "latest" and cron.latest(missed_until, now)):
        return missed_until
    after = missed_until
    for _ in range(1 if catch_up == "latest" else catch_up):
        slot = cron.latest(position, after)
        if slot is None:
            return position
        after = slot - INSTANT
    return after


def changed(plan: Plan, position: datetime, spec: Spec, now: datetime) -> Plan:
    """The plan once it says something else.

    If something was due by then, what is due from that time on counts as missed. If nothing was,
    the new slots count from now on, so that none is made up for that was none at its time.
    """
    until = max(position, now)
    try:
        due = plan.spec.parse().next_after(position)
    except InvalidCron:  # nobody can say what was due
        due = None
    kept = due - INSTANT if due is not None and due <= now else until
    same_slots = (spec.cron, spec.timezone) == (plan.spec.cron, plan.spec.timezone)
    owed = plan.owed if same_slots else None
    former = plan.former
    was = plan.spec.foreign_id, plan.spec.overlap
    if was != (spec.foreign_id, spec.overlap):
        former = Former(foreign_id=was[0], overlap=was[1], until=until)
    return Plan(spec=spec, position=kept, owed=owed, fired=plan.fired, former=former)


def slot_name(slot: datetime) -> str:
    return f"{slot.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def apart(foreign_id: str, slot: datetime) -> str:
    """The foreign id of a slot's run beside other runs of the schedule."""
    return f"{foreign_id}@{slot_name(slot)}"


class SlotRun(NamedTuple):
    """A run that a schedule starts.

    slot: what its object is made for. foreign_id: under which it is asked for. instead: as in
    `Event`. reason: why there is a run.
    """

    slot: datetime
    run_id: str
    foreign_id: str
    instead: str
    reason: str


def run_of_slot(workflow: str, name: str, plan: Plan, slot: datetime) -> SlotRun:
    """The run of a slot, as it is started at its time. Its id is the same whoever starts it."""
    foreign_id, overlap = plan.naming(slot)
    run_id = derived_id(SCHEDULE, workflow, name, foreign_id, slot_name(slot))
    called = apart(foreign_id, slot) if overlap == "start" else foreign_id
    return SlotRun(slot, run_id, called, "", f"schedule {name}, slot {slot_name(slot)}")


def run_of_past_slot(workflow: str, name: str, plan: Plan, slot: datetime) -> SlotRun:
    """The run of a slot, beside all others, unless it has been started at its time."""
    foreign_id, _ = plan.naming(slot)
    run = run_of_slot(workflow, name, plan, slot)
    return run._replace(foreign_id=foreign_id, instead=apart(foreign_id, slot))


def run_of_request(
    workflow: str, name: str, plan: Plan, now: datetime, key: str, reason: str
) -> SlotRun:
    """The run that somebody asks for, beside all others and of no slot: one for each key."""
    foreign_id = plan.spec.foreign_id
    run_id = derived_id(SCHEDULE, workflow, name, foreign_id, "run", key)
    # It takes no more room than a slot does.
    called = f"{foreign_id}@run-{run_id.replace('-', '')[:16]}"
    told = f"schedule {name}, run now" + (f": {reason}" if reason else "")
    return SlotRun(now.replace(microsecond=0), run_id, called, "", told)


# ---- those that the code declares


def spec_of(schedule: Schedule[Any, Any]) -> Spec:
    return Spec(
        cron=schedule.cron,
        timezone=schedule.timezone,
        foreign_id=schedule.foreign_id,
        status="" if schedule.at is None else schedule.at.name,
        overlap=schedule.overlap,
        catch_up=schedule.catch_up,
        declared=True,
    )


def made_sure_of(
    workflow: Workflow[Any, Any],
    get: Callable[[str], Record | None],
    misplaced: Callable[[str], bool],
    now: datetime,
) -> Iterator[Event]:
    """The requests that make the schedules of a shard what the code declares.

    get: gives the row of a key. misplaced: whether a schedule of that name is another shard's.
    """
    for schedule in workflow.schedules.values():
        if not misplaced(schedule.name):
            record = get(row_key(SCHEDULE, schedule.name))
            if record is None or record.state not in LIVE:
                former = "" if record is None else record.run_id
                run_id = derived_id(SCHEDULE, workflow.name, schedule.name, former)
                yield started(workflow.name, schedule.name, run_id, spec_of(schedule), now)
            else:
                yield from _declared(workflow.name, record, spec_of(schedule), now)


def as_declared(
    workflow: Workflow[Any, Any], name: str, plan: Plan, position: datetime, now: datetime
) -> Plan:
    """The plan as the code has it, if it declares it: before anything is fired by a former one."""
    schedule = workflow.schedules.get(name)
    if schedule is None or spec_of(schedule) == plan.spec:
        return plan
    return changed(plan, position, spec_of(schedule), now)


def _declared(workflow: str, record: Record, spec: Spec, now: datetime) -> Iterator[Event]:
    try:
        plan, position = plan_of(record)
        missing = record.error is not None and record.error.type == ScheduleNotDeclared.__name__
        if plan.spec == spec and not missing:
            return
        plan = changed(plan, position, spec, now)
    except InvalidQuery:
        plan = Plan(spec=spec, position=now)
    yield change(workflow, record, plan, now, derived_id(CHANGE, record.run_id, record.version))


def undeclared(
    workflow: Workflow[Any, Any], scan: Callable[[str], Iterator[tuple[str, Record]]]
) -> list[str]:
    """The schedules that the code declared once, and no longer does."""
    return [
        record.foreign_id
        for record in schedules_in(scan)
        if is_undeclared(workflow, record) and record.state in LIVE
    ]


def is_undeclared(workflow: Workflow[Any, Any], record: Record) -> bool:
    try:
        plan, _ = plan_of(record)
    except InvalidQuery:
        return False
    return plan.spec.declared and record.foreign_id not in workflow.schedules


def schedules_in(scan: Callable[[str], Iterator[tuple[str, Record]]]) -> Iterator[Record]:
    """The schedules in the rows of a shard."""
    prefix = row_key(SCHEDULE, "")
    for key, record in scan(prefix):
        if not key.startswith(prefix):
            return
        if key == row_key(SCHEDULE, record.foreign_id):
            yield record


# ---- what is requested of them


def started(workflow: str, name: str, run_id: str, spec: Spec, now: datetime) -> Event:
    """The request for a schedule. run_id: of the inner run that it is to be."""
    return request(
        workflow,
        TRIGGER,
        name,
        now,
        event_id=derived_id(TRIGGER, run_id),
        inner=SCHEDULE,
        runid=run_id,
        data=encode_plan(Plan(spec=spec)),
    )


def change(workflow: str, record: Record, plan: Plan, now: datetime, event_id: str) -> Event:
    """The request that a schedule is to go by another plan."""
    return request(
        workflow,
        CHANGE,
        record.foreign_id,
        now,
        event_id=event_id,
        inner=SCHEDULE,
        runid=record.run_id,
        data=encode_plan(plan),
    )
