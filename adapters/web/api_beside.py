"""The operations of the HTTP API beside runs: on schedules, connectors and dead letters."""

from streamwf import errors
from streamwf.access import Role
from streamwf.adapters.web.connectors import ConnectorViews
from streamwf.adapters.web.declared import Declared
from streamwf.adapters.web.letters import LetterViews
from streamwf.adapters.web.needs import CONNECTOR_ACTIONS, LETTER_ACTIONS, SCHEDULE_ACTIONS
from streamwf.adapters.web.refusals import CHANGES, ELSEWHERE, OF_WORKFLOW, STARTS, WORKFLOW
from streamwf.adapters.web.schedules import ScheduleViews
from streamwf.connector_views import Connectors, ConnectorView
from streamwf.letter_views import LetterQuery, Letters, LetterView, Settled
from streamwf.schedule_views import (
    BackfillRequest,
    BackfillView,
    ScheduleRequest,
    Schedules,
    ScheduleView,
)
from streamwf.views import Requested, Steering

_SCHEDULES = f"{WORKFLOW}/schedules"
_SCHEDULE = f"{_SCHEDULES}/{{schedule}}"
_CONNECTORS = f"{WORKFLOW}/connectors"
_LETTERS = "/api/v1/dead-letters"

_SCHEDULE_ACTIONS = "|".join(SCHEDULE_ACTIONS)
_CONNECTOR_ACTIONS = "|".join(CONNECTOR_ACTIONS)
_LETTER_ACTIONS = "|".join(LETTER_ACTIONS)


def of_schedules(views: ScheduleViews) -> list[Declared]:
    found = (*OF_WORKFLOW, errors.ScheduleNotFound)
    fails = (*STARTS, errors.ScheduleNotDeclared, errors.SlotFailed)
    return [
        Declared(
            method="GET",
            path=_SCHEDULES,
            role=Role.VIEWER,
            handle=views.all,
            says="The schedules of a workflow, and when they are due",
            answers={200: Schedules},
            problems=OF_WORKFLOW,
        ),
        Declared(
            method="GET",
            path=_SCHEDULE,
            role=Role.VIEWER,
            handle=views.get,
            says="One schedule",
            answers={200: ScheduleView},
            problems=(*found, *ELSEWHERE),
        ),
        Declared(
            method="PUT",
            path=_SCHEDULE,
            role=Role.ADMIN,
            handle=views.put,
            says="Make or change a schedule",
            answers={200: ScheduleView},
            problems=(*found, *CHANGES, *STARTS, errors.ScheduleDeclared, errors.InvalidCron),
            body=ScheduleRequest,
        ),
        Declared(
            method="POST",
            path=f"{_SCHEDULE}/{{action:{_SCHEDULE_ACTIONS}}}",
            role=SCHEDULE_ACTIONS,
            handle=views.steer,
            says="Steer a schedule",
            answers={200: ScheduleView},
            problems=(*found, *CHANGES, errors.ScheduleDeclared, errors.ScheduleRefused),
            body=Steering,
            optional=True,
        ),
        Declared(
            method="POST",
            path=f"{_SCHEDULE}/run",
            role=Role.OPERATOR,
            handle=views.run,
            says="Start a run of a schedule at once, whatever its slots",
            answers={200: Requested},
            problems=(*found, *CHANGES, *fails, errors.SlotLeftOut),
            body=Steering,
            optional=True,
        ),
        Declared(
            method="POST",
            path=f"{_SCHEDULE}/backfill",
            role=Role.OPERATOR,
            handle=views.backfill,
            says="Start the runs of slots of the past that have none",
            answers={200: BackfillView},
            problems=(*found, *CHANGES, *fails),
            body=BackfillRequest,
        ),
    ]


def of_connectors(views: ConnectorViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path=_CONNECTORS,
            role=Role.VIEWER,
            handle=views.all,
            says="The connectors of a workflow, and how far they have read",
            answers={200: Connectors},
            problems=OF_WORKFLOW,
        ),
        Declared(
            method="POST",
            path=f"{_CONNECTORS}/{{connector}}/{{action:{_CONNECTOR_ACTIONS}}}",
            role=CONNECTOR_ACTIONS,
            handle=views.steer,
            says="Steer a connector",
            answers={200: ConnectorView},
            problems=(*OF_WORKFLOW, *CHANGES, errors.ConnectorNotFound),
            body=Steering,
            optional=True,
        ),
    ]


def of_letters(views: LetterViews) -> list[Declared]:
    return [
        Declared(
            method="GET",
            path=_LETTERS,
            role=Role.VIEWER,
            handle=views.find,
            says="A page of what could not be used, and nobody has settled",
            answers={200: Letters},
            problems=(*OF_WORKFLOW, errors.BrokerUnreachable),
            parameters=LetterQuery,
        ),
        Declared(
            method="GET",
            path=f"{_LETTERS}/{{letter}}",
            role=Role.VIEWER,
            handle=views.get,
            says="One dead letter, whole",
            answers={200: LetterView},
            problems=(errors.LetterNotFound, errors.BrokerUnreachable),
        ),
        Declared(
            method="POST",
            path=f"{_LETTERS}/{{letter}}/{{action:{_LETTER_ACTIONS}}}",
            role=LETTER_ACTIONS,
            handle=views.settle,
            says="Send a dead letter again, or drop it",
            answers={200: Settled},
            problems=(errors.LetterNotFound, errors.LetterNotSent, errors.BrokerUnreachable),
            body=Steering,
            optional=True,
        ),
    ]
