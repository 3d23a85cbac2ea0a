"""What is told about workflows and runs: over HTTP, by the client, on the command line."""

from datetime import datetime
from typing import Any

from msgspec import UNSET
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from .events import Event
from .record import Failure, Record, State

MAX_PAGE = 1_000


class View(BaseModel):
    """What is told. Who reads it passes over what a newer version tells beyond this."""


class Request(BaseModel):
    """What is asked. Nothing in it may go unheeded."""

    model_config = ConfigDict(extra="forbid")


class ErrorView(View):
    """The error that a step ended with."""

    type: str
    message: str
    traceback: str = ""


class TimerView(View):
    """A timeout that waits for its time."""

    name: str
    due_at: datetime


class RunView(View):
    """A run as it is. due_at: when its step runs next. resume_at: when a pause ends by itself."""

    workflow: str
    foreign_id: str
    run_id: str
    status: str
    state: State
    version: int
    object: Any = None
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None = None
    attempt: int = 0
    error: ErrorView | None = None
    reason: str = ""
    timers: list[TimerView] = []
    resume_at: datetime | None = None


class EventView(View):
    """An event of a run, as it is in the log. object: the user's object, if it changed."""

    offset: int
    id: str
    type: str
    time: datetime
    version: int
    status: str = ""
    state: State | None = None
    timer: str = ""
    due_at: datetime | None = None
    attempt: int = 0
    reason: str = ""
    error: ErrorView | None = None
    object: Any = None


class History(View):
    """The events that have changed a run, in order. truncated: whether earlier ones are left
    out."""

    run_id: str
    truncated: bool
    events: list[EventView]


class Page(View):
    """Runs, by workflow and foreign id, the newest of each foreign id first.

    cursor: where the next page begins; None on the last one.
    missing: the workers that did not answer, so that their runs are not here.
    """

    runs: list[RunView]
    cursor: str | None = None
    missing: list[str] = []


class WorkflowView(View):
    """A workflow. counts: how many runs there are, by status and state."""

    name: str
    start: str
    statuses: list[str]
    terminal: list[str]
    counts: dict[str, dict[str, int]]
    mermaid: str
    missing: list[str] = []


class Workflows(View):
    """Every workflow, in the order of their names."""

    workflows: list[WorkflowView]
    missing: list[str] = []


class Trigger(Request):
    """A request to start a run.

    status: where to start, if not at the workflow's start. start_at: when, if not now.
    key: makes a repeat harmless: the same key leads to the same run.
    """

    foreign_id: str
    object: Any = None
    status: str | None = None
    start_at: datetime | None = None
    key: str | None = None


class Steering(Request):
    """Why a run is paused, resumed or cancelled. key: makes a repeat harmless."""

    reason: str = ""
    key: str | None = None


class Query(Request):
    """A filter on runs. Several values of one field are alternatives."""

    workflow: str | None = None
    status: list[str] = []
    state: list[State] = []
    foreign_id: str | None = None
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    cursor: str | None = None


def run_view(workflow: str, start: str, record: Record) -> RunView:
    """start: the name of the workflow's start, where a run is that was triggered without one."""
    return RunView(
        workflow=workflow,
        foreign_id=record.foreign_id,
        run_id=record.run_id,
        status=record.status or start,
        state=record.state,
        version=record.version,
        object=_json(bytes(record.object)),
        created_at=record.created_at,
        updated_at=record.updated_at,
        due_at=record.due_at,
        attempt=record.attempt,
        error=_error_view(record.error),
        reason=record.reason,
        timers=[TimerView(name=timer.name, due_at=timer.due_at) for timer in record.timers],
        resume_at=record.resume_at,
    )


def event_view(offset: int, version: int, event: Event) -> EventView:
    """version: the run's version after the event."""
    return EventView(
        offset=offset,
        id=event.id,
        type=event.type,
        time=event.time,
        version=version,
        status=event.status,
        state=event.state,
        timer=event.timer,
        due_at=event.dueat or event.startat,
        attempt=event.attempt,
        reason=event.reason,
        error=_error_view(event.failure),
        object=None if event.data is UNSET else _json(bytes(event.data)),
    )


def _error_view(error: Failure | None) -> ErrorView | None:
    if error is None:
        return None
    return ErrorView(type=error.type, message=error.message, traceback=error.traceback)


def _json(data: bytes) -> Any:
    """What the JSON says; the text itself if it says more than can be read."""
    try:
        return from_json(data)
    except ValueError:
        return data.decode("utf-8", "replace")
