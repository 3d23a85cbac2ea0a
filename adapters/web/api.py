"""The operations of the HTTP API, each declared once: for the router, and for its document."""

from dataclasses import dataclass
from typing import get_args

from streamwf import errors
from streamwf.adapters.web.calling_back import CallbackViews
from streamwf.adapters.web.connectors import ConnectorViews
from streamwf.adapters.web.declared import Declared, EventStream
from streamwf.adapters.web.events import EventParameters, EventViews
from streamwf.adapters.web.handlers import Health, ProcessViews, RunViews, WorkflowViews
from streamwf.adapters.web.letters import LetterViews
from streamwf.adapters.web.listing import ListViews
from streamwf.adapters.web.overview import OverviewViews
from streamwf.adapters.web.reading import AwaitParameters, TriggerParameters
from streamwf.adapters.web.schedules import ScheduleViews
from streamwf.callback_views import CallbackRequest, CallbackView
from streamwf.connector_views import ConnectorAction, Connectors, ConnectorView
from streamwf.letter_views import LetterAction, LetterQuery, Letters, LetterView, Settled
from streamwf.overview import Overview, Window
from streamwf.schedule_views import (
    BackfillRequest,
    BackfillView,
    ScheduleAction,
    ScheduleRequest,
    Schedules,
    ScheduleView,
)
from streamwf.views import (
    Action,
    Bulk,
    BulkSteering,
    Count,
    Filter,
    Fork,
    History,
    Page,
    Query,
    Requested,
    Roles,
    RunView,
    Steering,
    Trigger,
    Workflows,
    WorkflowView,
)

_ACTIONS = "|".join(get_args(Action))
_SCHEDULE_ACTIONS = "|".join(get_args(ScheduleAction))
_CONNECTOR_ACTIONS = "|".join(get_args(ConnectorAction))
_LETTER_ACTIONS = "|".join(get_args(LetterAction))

_WORKFLOWS = "/api/v1/workflows"
_WORKFLOW = f"{_WORKFLOWS}/{{name}}"
_LATEST = f"{_WORKFLOW}/latest/{{foreign_id}}"
_SCHEDULES = f"{_WORKFLOW}/schedules"
_SCHEDULE = f"{_SCHEDULES}/{{schedule}}"
_CONNECTORS = f"{_WORKFLOW}/connectors"
_LETTERS = "/api/v1/dead-letters"
_RUNS = "/api/v1/runs"
_RUN = f"{_RUNS}/{{run_id}}"

#: What is beside the runs, and is asked for in another way.
_BESIDE = "(?!bulk$)[^/]+"

#: Of a request that goes to the worker that owns what it is about.
_ELSEWHERE = (errors.NotReady, errors.WorkerUnreachable)
_CHANGES = (
    *_ELSEWHERE,
    errors.DeadlineExceeded,
    errors.RecordTooLarge,
    errors.BrokerUnreachable,
    errors.KeyReused,
)
_OF_WORKFLOW = (errors.WorkflowNotFound,)
_OF_LATEST = (*_OF_WORKFLOW, errors.ForeignIdNotFound, errors.InvalidForeignId)
_STEERS = (*_CHANGES, errors.TransitionRefused, errors.VersionDiffers, errors.KeyDestroyed)
_STARTS = (
    errors.InvalidForeignId,
    errors.InvalidObject,
    errors.UnknownStatus,
    errors.TerminalStart,
)
_AWAITS = (errors.AwaitFailed, errors.UnknownStatus, errors.DeadlineExceeded)
_LISTS = (*_ELSEWHERE, *_OF_WORKFLOW, errors.InvalidForeignId)


@dataclass(frozen=True)
class Views:
    """What serves the operations."""

    process: ProcessViews
    workflows: WorkflowViews
    overview: OverviewViews
    events: EventViews
    runs: RunViews
    lists: ListViews
    callbacks: CallbackViews
    schedules: ScheduleViews
    connectors: ConnectorViews
    letters: LetterViews

    def operations(self) -> list[Declared]:
        return [
            *of_process(self.process),
            *_of_workflows(self.workflows),
            *_of_all(self.overview, self.events),
            *_of_lists(self.lists),
            *_of_runs(self.runs),
            *_of_latest(self.runs, self.callbacks),
            *_of_schedules(self.schedules),
            *_of_connectors(self.connectors),
            *_of_letters(self.letters),
        ]


def of_process(views: ProcessViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path="/healthz",
            handle=views.healthz,
            says="Whether the process is alive",
            answers={200: Health},
        ),
        Declared(
            method="GET",
            path="/readyz",
            handle=views.readyz,
            says="Whether the worker can say all that it owns",
            answers={200: Health},
            problems=(errors.NotReady,),
        ),
        Declared(
            method="GET",
            path="/metrics",
            handle=views.metrics,
            says="What Prometheus reads",
            answers={200: str},
        ),
    ]


def _of_workflows(views: WorkflowViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path="/api/v1/roles",
            handle=views.roles,
            says="What each worker does, and whether it is at it",
            answers={200: Roles},
        ),
        Declared(
            method="GET",
            path=_WORKFLOWS,
            handle=views.all,
            says="Every workflow, with how many runs are where",
            answers={200: Workflows},
        ),
        Declared(
            method="GET",
            path=_WORKFLOW,
            handle=views.one,
            says="One workflow",
            answers={200: WorkflowView},
            problems=_OF_WORKFLOW,
        ),
    ]


def _of_all(overview: OverviewViews, events: EventViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path="/api/v1/overview",
            handle=overview.overview,
            says="All workflows and workers, with what has happened lately",
            answers={200: Overview},
            parameters=Window,
        ),
        Declared(
            method="GET",
            path="/api/v1/events",
            handle=events.events,
            says="Moves of runs as server-sent events, as they happen",
            answers={200: EventStream},
            problems=(*_LISTS, errors.TooManyWatchers),
            parameters=EventParameters,
        ),
    ]


def _of_lists(views: ListViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path=_RUNS,
            handle=views.find,
            says="A page of the runs that fit",
            answers={200: Page},
            problems=_LISTS,
            parameters=Query,
        ),
        Declared(
            method="GET",
            path=f"{_RUNS}/count",
            handle=views.count,
            says="How many runs fit",
            answers={200: Count},
            problems=_LISTS,
            parameters=Filter,
        ),
        Declared(
            method="POST",
            path=f"{_RUNS}/bulk",
            handle=views.bulk,
            says="Steer the runs that fit, a part at a time",
            answers={200: Bulk},
            problems=_LISTS,
            body=BulkSteering,
        ),
    ]


def _of_runs(views: RunViews) -> list[Declared]:
    found = (errors.RunNotFound, *_ELSEWHERE)
    return [
        Declared(
            method="GET",
            path=f"{_RUNS}/{{run_id:{_BESIDE}}}",
            handle=views.get,
            says="One run",
            answers={200: RunView},
            problems=found,
        ),
        Declared(
            method="GET",
            path=f"{_RUN}/history",
            handle=views.history,
            says="The events that have changed a run",
            answers={200: History},
            problems=found,
        ),
        Declared(
            method="GET",
            path=f"{_RUN}/await",
            handle=views.await_,
            says="Wait until a run is at a status, or has ended",
            answers={200: RunView},
            problems=(*found, *_AWAITS),
            parameters=AwaitParameters,
        ),
        Declared(
            method="POST",
            path=f"{_RUN}/fork",
            handle=views.fork,
            says="Start a new run from what a run was at a version",
            answers={200: Requested},
            problems=(*found, *_STEERS, *_STARTS, errors.VersionNotFound, errors.RunInProgress),
            body=Fork,
            conditional=True,
        ),
        Declared(
            method="POST",
            path=f"{_RUN}/{{action:{_ACTIONS}}}",
            handle=views.steer,
            says="Steer a run",
            answers={200: RunView},
            problems=(*found, *_STEERS),
            body=Steering,
            optional=True,
            conditional=True,
        ),
    ]


def _of_latest(runs: RunViews, callbacks: CallbackViews) -> list[Declared]:
    return [
        Declared(
            method="POST",
            path=f"{_WORKFLOW}/runs",
            handle=runs.trigger,
            says="Start a run",
            answers={201: RunView, 202: Requested},
            problems=(*_OF_WORKFLOW, *_CHANGES, *_STARTS, errors.RunInProgress),
            parameters=TriggerParameters,
            body=Trigger,
        ),
        Declared(
            method="POST",
            path=f"{_WORKFLOW}/callbacks",
            handle=callbacks.callback,
            says="Answer a run that waits, and hear what came of it",
            answers={200: CallbackView},
            problems=(
                *_OF_LATEST,
                *_STEERS,
                errors.RunNotFound,
                errors.NothingCorrelated,
                errors.NotWaiting,
                errors.TooManyCallbacks,
                errors.UnknownCallback,
                errors.InvalidPayload,
                errors.CallbackFailed,
            ),
            body=CallbackRequest,
            conditional=True,
        ),
        Declared(
            method="GET",
            path=_LATEST,
            handle=runs.latest,
            says="The latest run of a foreign id",
            answers={200: RunView},
            problems=(*_OF_LATEST, *_ELSEWHERE),
        ),
        Declared(
            method="GET",
            path=f"{_LATEST}/{{asked:await}}",
            handle=runs.await_latest,
            says="Wait until the latest run of a foreign id is at a status, or has ended",
            answers={200: RunView},
            problems=(*_OF_LATEST, *_ELSEWHERE, *_AWAITS),
            parameters=AwaitParameters,
        ),
        Declared(
            method="POST",
            path=f"{_LATEST}/{{asked:{_ACTIONS}}}",
            handle=runs.steer_latest,
            says="Steer the latest run of a foreign id",
            answers={200: RunView},
            problems=(*_OF_LATEST, *_STEERS),
            body=Steering,
            optional=True,
            conditional=True,
        ),
    ]


def _of_schedules(views: ScheduleViews) -> list[Declared]:
    found = (*_OF_WORKFLOW, errors.ScheduleNotFound)
    return [
        Declared(
            method="GET",
            path=_SCHEDULES,
            handle=views.all,
            says="The schedules of a workflow, and when they are due",
            answers={200: Schedules},
            problems=_OF_WORKFLOW,
        ),
        Declared(
            method="GET",
            path=_SCHEDULE,
            handle=views.get,
            says="One schedule",
            answers={200: ScheduleView},
            problems=(*found, *_ELSEWHERE),
        ),
        Declared(
            method="PUT",
            path=_SCHEDULE,
            handle=views.put,
            says="Make or change a schedule",
            answers={200: ScheduleView},
            problems=(*found, *_CHANGES, *_STARTS, errors.ScheduleDeclared, errors.InvalidCron),
            body=ScheduleRequest,
        ),
        Declared(
            method="POST",
            path=f"{_SCHEDULE}/{{action:{_SCHEDULE_ACTIONS}}}",
            handle=views.steer,
            says="Steer a schedule",
            answers={200: ScheduleView},
            problems=(*found, *_CHANGES, errors.ScheduleDeclared, errors.ScheduleRefused),
            body=Steering,
            optional=True,
        ),
        Declared(
            method="POST",
            path=f"{_SCHEDULE}/backfill",
            handle=views.backfill,
            says="Start the runs of slots of the past that have none",
            answers={200: BackfillView},
            problems=(
                *found,
                *_CHANGES,
                *_STARTS,
                errors.ScheduleNotDeclared,
                errors.SlotFailed,
            ),
            body=BackfillRequest,
        ),
    ]


def _of_connectors(views: ConnectorViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path=_CONNECTORS,
            handle=views.all,
            says="The connectors of a workflow, and how far they have read",
            answers={200: Connectors},
            problems=_OF_WORKFLOW,
        ),
        Declared(
            method="POST",
            path=f"{_CONNECTORS}/{{connector}}/{{action:{_CONNECTOR_ACTIONS}}}",
            handle=views.steer,
            says="Steer a connector",
            answers={200: ConnectorView},
            problems=(*_OF_WORKFLOW, *_CHANGES, errors.ConnectorNotFound),
            body=Steering,
            optional=True,
        ),
    ]


def _of_letters(views: LetterViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path=_LETTERS,
            handle=views.find,
            says="A page of what could not be used, and nobody has settled",
            answers={200: Letters},
            problems=(*_OF_WORKFLOW, errors.BrokerUnreachable),
            parameters=LetterQuery,
        ),
        Declared(
            method="GET",
            path=f"{_LETTERS}/{{letter}}",
            handle=views.get,
            says="One dead letter, whole",
            answers={200: LetterView},
            problems=(errors.LetterNotFound, errors.BrokerUnreachable),
        ),
        Declared(
            method="POST",
            path=f"{_LETTERS}/{{letter}}/{{action:{_LETTER_ACTIONS}}}",
            handle=views.settle,
            says="Send a dead letter again, or drop it",
            answers={200: Settled},
            problems=(errors.LetterNotFound, errors.LetterNotSent, errors.BrokerUnreachable),
            body=Steering,
            optional=True,
        ),
    ]
