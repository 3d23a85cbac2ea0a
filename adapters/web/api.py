"""The operations of the HTTP API, each declared once: for the router, for its document, and for
who may ask for it."""

from dataclasses import dataclass

from streamwf import errors
from streamwf.access import Role
from streamwf.adapters.web.api_beside import of_connectors, of_letters, of_schedules
from streamwf.adapters.web.api_runs import of_latest, of_runs
from streamwf.adapters.web.calling_back import CallbackViews
from streamwf.adapters.web.connectors import ConnectorViews
from streamwf.adapters.web.declared import Declared, EventStream
from streamwf.adapters.web.events import EventParameters, EventViews
from streamwf.adapters.web.handlers import Health, ProcessViews, RunViews, WorkflowViews
from streamwf.adapters.web.letters import LetterViews
from streamwf.adapters.web.listing import ListViews
from streamwf.adapters.web.needs import HEALTH
from streamwf.adapters.web.overview import OverviewViews
from streamwf.adapters.web.refusals import ELSEWHERE, OF_WORKFLOW, RUNS, WORKFLOW, WORKFLOWS
from streamwf.adapters.web.schedules import ScheduleViews
from streamwf.overview import Overview, Window
from streamwf.views import (
    Bulk,
    BulkSteering,
    Count,
    Filter,
    Page,
    Query,
    Roles,
    Workflows,
    WorkflowView,
)

_LISTS = (*ELSEWHERE, *OF_WORKFLOW, errors.InvalidForeignId)


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
            *of_runs(self.runs),
            *of_latest(self.runs, self.callbacks),
            *of_schedules(self.schedules),
            *of_connectors(self.connectors),
            *of_letters(self.letters),
        ]


def of_process(views: ProcessViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path=HEALTH,
            role=None,
            handle=views.healthz,
            says="Whether the process is alive",
            answers={200: Health},
        ),
        Declared(
            method="GET",
            path="/readyz",
            role=None,
            handle=views.readyz,
            says="Whether the worker can say all that it owns",
            answers={200: Health},
            problems=(errors.NotReady,),
        ),
        Declared(
            method="GET",
            path="/metrics",
            role=Role.VIEWER,
            of_every=True,
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
            role=Role.VIEWER,
            handle=views.roles,
            says="What each worker does, and whether it is at it",
            answers={200: Roles},
        ),
        Declared(
            method="GET",
            path=WORKFLOWS,
            role=Role.VIEWER,
            handle=views.all,
            says="Every workflow, with how many runs are where",
            answers={200: Workflows},
        ),
        Declared(
            method="GET",
            path=WORKFLOW,
            role=Role.VIEWER,
            handle=views.one,
            says="One workflow",
            answers={200: WorkflowView},
            problems=OF_WORKFLOW,
        ),
    ]


def _of_all(overview: OverviewViews, events: EventViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path="/api/v1/overview",
            role=Role.VIEWER,
            handle=overview.overview,
            says="All workflows and workers, with what has happened lately",
            answers={200: Overview},
            parameters=Window,
        ),
        Declared(
            method="GET",
            path="/api/v1/events",
            role=Role.VIEWER,
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
            path=RUNS,
            role=Role.VIEWER,
            handle=views.find,
            says="A page of the runs that fit",
            answers={200: Page},
            problems=_LISTS,
            parameters=Query,
        ),
        Declared(
            method="GET",
            path=f"{RUNS}/count",
            role=Role.VIEWER,
            handle=views.count,
            says="How many runs fit",
            answers={200: Count},
            problems=_LISTS,
            parameters=Filter,
        ),
        Declared(
            method="POST",
            path=f"{RUNS}/bulk",
            # Of each run it takes the role of what is done to it.
            role=Role.VIEWER,
            handle=views.bulk,
            says="Steer the runs that fit, a part at a time",
            answers={200: Bulk},
            problems=_LISTS,
            body=BulkSteering,
        ),
    ]
