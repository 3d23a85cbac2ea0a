"""What is told about workflows and runs: over HTTP, by the client, on the command line."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from .errors import InvalidQuery
from .events import MAX_FOREIGN_ID, Event, object_of, trace_id_of
from .record import Failure, Record, State

MAX_PAGE = 1_000

#: Runs that one request steers at most.
MAX_BULK = 500

#: Values of one field of a filter, fields that are searched, and characters of a value.
MAX_VALUES = 20
MAX_VALUE = 500

#: What can be done to a run from outside.
Action = Literal["pause", "resume", "cancel", "retry", "delete-data"]

#: What runs are listed by; the greatest first with a `-`.
Order = Literal["foreign_id", "-foreign_id", "created", "-created", "updated", "-updated"]


class View(BaseModel):
    """What is told. Who reads it passes over what a newer version tells beyond this."""


class Request(BaseModel):
    """What is asked. Nothing in it may go unheeded."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Raises InvalidQuery, naming each field that can't be read."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise unread(error) from None


def unread(error: ValidationError) -> InvalidQuery:
    """The error that says what of a request can't be read."""
    wrong = [
        {"field": ".".join(map(str, item["loc"])) or "body", "message": item["msg"]}
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return InvalidQuery(
        field=", ".join(item["field"] for item in wrong),
        why="; ".join(item["message"] for item in wrong),
        errors=wrong,
    )


class ErrorView(View):
    """The error that a step ended with."""

    type: str
    message: str
    traceback: str = ""


class TimerView(View):
    """A timeout that waits for its time."""

    name: str
    due_at: datetime


class HeldView(View):
    """A step that its breaker holds for all runs.

    until: when one run is tried; past while it is being tried. failures: in a row, up to now.
    reason: the last of them.
    """

    until: datetime
    failures: int
    reason: str = ""


class CallView(View):
    """A callback that was accepted and waits. due_at: when it is next looked at.

    until: how long it waits to be wanted. attempt: how often in a row it has failed.
    """

    id: str
    name: str
    due_at: datetime
    until: datetime
    attempt: int = 0


class ChildView(View):
    """A run that this one has started. state: as it ended; None while it is in progress."""

    workflow: str
    foreign_id: str
    run_id: str
    state: State | None = None
    status: str = ""
    reason: str = ""


class RunView(View):
    """A run as it is.

    due_at: when its step runs next. resume_at: when a pause ends by itself.
    forget_at: when it leaves the tables. callbacks: those that wait. hooks: those that are to run.
    parent: the run that started it, as `workflow/run id/foreign id`. origin: the run that it was
        forked from, as `run id@version`.
    held_until: when another run is tried at its step, which is held for all; then it may go on.
    trace_id: the trace that it is in; empty if nobody traces it.
    """

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
    held_until: datetime | None = None
    forget_at: datetime | None = None
    callbacks: list[CallView] = []
    hooks: list[str] = []
    children: list[ChildView] = []
    parent: str = ""
    origin: str = ""
    trace_id: str = ""


class EventView(View):
    """An event of a run, as it is in the log. object: the user's object, if it changed.

    by: who has asked for it, if it is a request that says so.
    """

    offset: int
    id: str
    type: str
    time: datetime
    version: int
    status: str = ""
    state: State | None = None
    timer: str = ""
    call: str = ""
    hook: str = ""
    definition: str = ""
    due_at: datetime | None = None
    attempt: int = 0
    reason: str = ""
    by: str = ""
    error: ErrorView | None = None
    object: Any = None


class History(View):
    """The events that have changed a run, in order. truncated: whether earlier ones are left
    out."""

    run_id: str
    truncated: bool
    events: list[EventView]


class Share(View):
    """What several workers know together.

    missing: the workers that did not answer, so that what they own is not in it.
    """

    missing: list[str] = []

    def told_by(self, worker: str) -> Self:
        """As it is told by whoever has asked that worker."""
        return self


class Page(Share):
    """Runs in the order that was asked for; of one foreign id, the newest first.

    cursor: where the next page begins; None on the last one.
    """

    runs: list[RunView]
    cursor: str | None = None


class Count(Share):
    """How many runs fit a filter."""

    count: int


class Refusal(View):
    """A run that was not changed, and why."""

    run_id: str
    foreign_id: str
    workflow: str
    why: str


class Bulk(View):
    """What became of a part of the runs that fit a filter.

    matched: how many were looked at. changed: how many were changed.
    cursor: where the next part begins; None after the last one.
    """

    matched: int
    changed: int
    refused: list[Refusal] = []
    cursor: str | None = None


class Requested(View):
    """A run that was requested."""

    run_id: str


class StepView(View):
    """What a step has done in the workers that are there, since each of them was started.

    count: how often it has ended. seconds: how long that took in all.
    errors: its own, and those of the timeouts, callbacks and hooks at its status.
    """

    count: int = 0
    seconds: float = 0.0
    errors: int = 0


class WorkflowView(Share):
    """A workflow.

    moves: the statuses that may follow each status that something follows.
    search: the fields of the object that runs are searched by.
    counts: how many runs there are, by status and state.
    held: the steps that are held for all runs, by status.
    steps: what each has done, by status.
    """

    name: str
    start: str
    statuses: list[str]
    terminal: list[str]
    moves: dict[str, list[str]] = {}
    search: list[str] = []
    counts: dict[str, dict[str, int]]
    mermaid: str
    held: dict[str, HeldView] = {}
    steps: dict[str, StepView] = {}


RoleHealth = Literal["active", "idle", "stopped"]


class RoleView(View):
    """What a worker does at a status in a shard that it holds.

    health: active while it has something to do; stopped while the shard is being recovered.
    running, waiting: how many runs it works at, and how many wait for it.
    worker: where it is; empty for the one that was asked.
    """

    name: str
    workflow: str
    shard: int
    status: str
    process: str
    health: RoleHealth
    running: int = 0
    waiting: int = 0
    worker: str = ""


class Roles(Share):
    """The roles of all workers, in the order of their names."""

    roles: list[RoleView]

    def told_by(self, worker: str) -> Self:
        there = [role.model_copy(update={"worker": worker}) for role in self.roles]
        return self.model_copy(update={"roles": there})


class Workflows(Share):
    """Every workflow, in the order of their names."""

    workflows: list[WorkflowView]


#: What it has to be is judged where it is known what is wrong with it.
ForeignId = Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": MAX_FOREIGN_ID})]


class Trigger(Request):
    """A request to start a run.

    status: where to start, if not at the workflow's start. start_at: when, if not now.
    key: makes a repeat harmless: the same key leads to the same run.
    """

    foreign_id: ForeignId
    object: Any = None
    status: str | None = None
    start_at: datetime | None = None
    key: str | None = None


class Steering(Request):
    """Why a run is paused, resumed or cancelled. key: makes a repeat harmless."""

    reason: str = ""
    key: str | None = None


_Text = Annotated[str, Field(max_length=MAX_VALUE)]
_Texts = Annotated[list[_Text], Field(max_length=MAX_VALUES)]


def _as_written(value: object) -> object:
    """As ISO 8601 writes it. pydantic would take a number for seconds since 1970."""
    if isinstance(value, str) and not value.lstrip("+-")[4:5] == "-":
        raise ValueError("it is an instant like 2026-11-28T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_as_written)]


class Filter(Request):
    """Which runs. Several values of one field are alternatives; all fields have to fit.

    foreign_id: exactly this one. prefix: what the foreign id begins with.
    created_after, updated_after: at that instant or later; created_before, updated_before:
        earlier than that. They need a time zone.
    search: fields of the object that the workflow says it is searched by, like `customer` or
        `address.city`, and the values wanted there. A value is compared as text: numbers, true,
        false and null as JSON writes them; of a list, one element has to fit.
    """

    workflow: str | None = None
    status: _Texts = []
    state: Annotated[list[State], Field(max_length=MAX_VALUES)] = []
    foreign_id: ForeignId | None = None
    prefix: Annotated[str, Field(max_length=MAX_FOREIGN_ID)] | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    updated_after: Moment | None = None
    updated_before: Moment | None = None
    search: Annotated[dict[_Text, _Texts], Field(max_length=MAX_VALUES)] = {}

    def filter(self) -> "Filter":
        """The filter alone, without what a query adds to it."""
        return Filter.model_construct(**{name: getattr(self, name) for name in Filter.model_fields})

    def parameters(self) -> dict[str, str | list[str]]:
        """What it says as the parameters of a URL."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        fields = said.pop("search", {})
        plain = {
            name: value if isinstance(value, list) else str(value) for name, value in said.items()
        }
        return plain | {f"{SEARCH}{name}": values for name, values in fields.items()}


#: What the parameter of a URL begins with that searches a field of the object.
SEARCH = "search."


class Query(Filter):
    """A page of the runs that fit a filter, in an order."""

    order: Order = "foreign_id"
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    cursor: str | None = None


class Fork(Request):
    """A new run from what a run was at a version.

    foreign_id: the same, unless given. key: makes a repeat harmless.
    """

    version: int
    foreign_id: ForeignId | None = None
    reason: str = ""
    key: str | None = None


class BulkSteering(Steering):
    """What is to be done to the runs that fit a filter, and where to go on.

    key: the same for all parts; makes a repeat harmless.
    """

    action: Action
    query: Filter
    limit: int = Field(default=100, ge=1, le=MAX_BULK)
    cursor: str | None = None

    def page(self) -> Query:
        """The runs that it is about."""
        return Query.model_construct(
            **dict(self.query.filter()), limit=self.limit, cursor=self.cursor
        )


def run_view(
    workflow: str, start: str, record: Record, held_until: datetime | None = None
) -> RunView:
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
        held_until=held_until,
        forget_at=record.forget_at,
        callbacks=[
            CallView(
                id=call.id,
                name=call.name,
                due_at=call.due_at,
                until=call.until,
                attempt=call.attempt,
            )
            for call in record.calls
        ],
        hooks=[hook.on for hook in record.hooks],
        children=[
            ChildView(
                workflow=child.workflow,
                foreign_id=child.foreign_id,
                run_id=child.run_id,
                state=State(child.state) if child.state else None,
                status=child.status,
                reason=child.reason,
            )
            for child in record.children
        ],
        parent=record.parent,
        origin=record.origin,
        trace_id=trace_id_of(record.trace.parent) if record.trace else "",
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
        call=event.call,
        hook=event.hook,
        definition=event.definition,
        due_at=event.dueat or event.startat,
        attempt=event.attempt,
        reason=event.reason,
        by=event.by,
        error=_error_view(event.failure),
        object=None if (data := object_of(event)) is None else _json(bytes(data)),
    )


def without_data(event: EventView) -> EventView:
    """An event without what is deleted with the data of its run."""
    error = None if event.error is None else ErrorView(type=event.error.type, message="")
    return event.model_copy(update={"object": None, "reason": "", "error": error})


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
