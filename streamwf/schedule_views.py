"""What is told and asked about schedules: over HTTP, by the client, on the command line."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from .record import State
from .recurring import MAX_CATCH_UP, Overlap
from .views import ErrorView, Request, Share, View

#: Slots that one request backfills at most, and upcoming ones that are told of a schedule.
MAX_BACKFILL = 1_000
UPCOMING = 5

#: What can be done to a schedule from outside.
ScheduleAction = Literal["pause", "resume", "delete"]

CatchUpValue = Literal["none", "latest"] | Annotated[int, Field(ge=1, le=MAX_CATCH_UP)]


class ScheduleView(View):
    """A schedule as it is.

    run_id: of its inner run, which has a history like any run.
    declared: whether the code of the workflow declares it, and makes its objects.
    last_slot: the last slot that a run was started for. next_slots: those that come next; none if
        it will never be due again. Nothing is started at them while it is paused.
    attempt, error: how often in a row it has failed, and how. due_at: when it is tried again then.
    """

    workflow: str
    name: str
    run_id: str
    state: State
    cron: str
    timezone: str
    foreign_id: str
    status: str
    overlap: Overlap
    catch_up: CatchUpValue
    object: Any = None
    declared: bool = False
    created_at: datetime
    updated_at: datetime
    last_slot: datetime | None = None
    next_slots: list[datetime] = []
    due_at: datetime | None = None
    attempt: int = 0
    error: ErrorView | None = None
    reason: str = ""


class Schedules(Share):
    """The schedules of a workflow, in the order of their names."""

    schedules: list[ScheduleView]


class ScheduleRequest(Request):
    """A request for a schedule.

    foreign_id: of the runs; the schedule's name, unless given. status: where they start, if not at
    the workflow's start. The rest is as for a schedule that code declares.
    """

    cron: str
    timezone: str = "UTC"
    foreign_id: str | None = None
    object: Any = None
    status: str | None = None
    overlap: Overlap = "skip"
    catch_up: CatchUpValue = "latest"


class BackfillRequest(Request):
    """Which slots of the past are to have runs: from `start` on, before `end`, so many at most."""

    start: AwareDatetime
    end: AwareDatetime
    limit: int = Field(default=100, ge=1, le=MAX_BACKFILL)


class BackfillView(View):
    """A part of a backfill.

    slots: those that were looked at; a run that there is already is not started again.
    left_out: how many of them the schedule's function left out.
    cursor: where the next part begins; None after the last one.
    """

    slots: list[datetime]
    left_out: int = 0
    cursor: datetime | None = None
