"""The operations of the HTTP API on single runs."""

from streamwf import errors
from streamwf.access import Role
from streamwf.adapters.web.calling_back import CallbackViews
from streamwf.adapters.web.declared import Declared
from streamwf.adapters.web.handlers import RunViews
from streamwf.adapters.web.needs import ACTIONS
from streamwf.adapters.web.reading import AwaitParameters, TriggerParameters
from streamwf.adapters.web.refusals import CHANGES, ELSEWHERE, OF_WORKFLOW, RUNS, STARTS, WORKFLOW
from streamwf.callback_views import CallbackRequest, CallbackView
from streamwf.histories import ExportedHistory
from streamwf.views import Fork, History, Requested, RunView, Steering, Trigger

_RUN = f"{RUNS}/{{run_id}}"
_LATEST = f"{WORKFLOW}/latest/{{foreign_id}}"

_ACTIONS = "|".join(ACTIONS)

#: What is beside the runs, and is asked for in another way.
_BESIDE = "(?!bulk$)[^/]+"

_OF_LATEST = (*OF_WORKFLOW, errors.ForeignIdNotFound, errors.InvalidForeignId)
_STEERS = (*CHANGES, errors.TransitionRefused, errors.VersionDiffers, errors.KeyDestroyed)
_RECALLS = (errors.HistoryIncomplete, errors.TransitionRefused, errors.BrokerUnreachable)
_AWAITS = (errors.AwaitFailed, errors.UnknownStatus, errors.DeadlineExceeded)


def of_runs(views: RunViews) -> list[Declared]:
    found = (errors.RunNotFound, *ELSEWHERE)
    return [
        Declared(
            method="GET",
            path=f"{RUNS}/{{run_id:{_BESIDE}}}",
            role=Role.VIEWER,
            handle=views.get,
            says="One run",
            answers={200: RunView},
            problems=found,
        ),
        Declared(
            method="GET",
            path=f"{_RUN}/history",
            role=Role.VIEWER,
            handle=views.history,
            says="The events that have changed a run",
            answers={200: History},
            problems=found,
        ),
        Declared(
            method="GET",
            path=f"{_RUN}/versions/{{version}}",
            role=Role.VIEWER,
            handle=views.get_version,
            says="A run as it was at a version",
            answers={200: RunView},
            problems=(*found, *_RECALLS, errors.VersionUnknown),
        ),
        Declared(
            method="GET",
            path=f"{_RUN}/export",
            # It has what outsiders have brought, and what runs have given one another.
            role=Role.ADMIN,
            handle=views.export,
            says="All that the log has of a run, as test data",
            answers={200: ExportedHistory},
            problems=(*found, *_RECALLS),
        ),
        Declared(
            method="GET",
            path=f"{_RUN}/await",
            role=Role.VIEWER,
            handle=views.await_,
            says="Wait until a run is at a status, or has ended",
            answers={200: RunView},
            problems=(*found, *_AWAITS),
            parameters=AwaitParameters,
        ),
        Declared(
            method="POST",
            path=f"{_RUN}/fork",
            role=Role.ADMIN,
            handle=views.fork,
            says="Start a new run from what a run was at a version",
            answers={200: Requested},
            problems=(*found, *_STEERS, *STARTS, errors.VersionNotFound, errors.RunInProgress),
            body=Fork,
            conditional=True,
        ),
        Declared(
            method="POST",
            path=f"{_RUN}/{{action:{_ACTIONS}}}",
            role=ACTIONS,
            handle=views.steer,
            says="Steer a run",
            answers={200: RunView},
            problems=(*found, *_STEERS),
            body=Steering,
            optional=True,
            conditional=True,
        ),
    ]


def of_latest(runs: RunViews, callbacks: CallbackViews) -> list[Declared]:
    return [
        Declared(
            method="POST",
            path=f"{WORKFLOW}/runs",
            role=Role.OPERATOR,
            handle=runs.trigger,
            says="Start a run",
            answers={201: RunView, 202: Requested},
            problems=(*OF_WORKFLOW, *CHANGES, *STARTS, errors.RunInProgress),
            parameters=TriggerParameters,
            body=Trigger,
        ),
        Declared(
            method="POST",
            path=f"{WORKFLOW}/callbacks",
            role=Role.OPERATOR,
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
            role=Role.VIEWER,
            handle=runs.latest,
            says="The latest run of a foreign id",
            answers={200: RunView},
            problems=(*_OF_LATEST, *ELSEWHERE),
        ),
        Declared(
            method="GET",
            path=f"{_LATEST}/{{asked:await}}",
            role=Role.VIEWER,
            handle=runs.await_latest,
            says="Wait until the latest run of a foreign id is at a status, or has ended",
            answers={200: RunView},
            problems=(*_OF_LATEST, *ELSEWHERE, *_AWAITS),
            parameters=AwaitParameters,
        ),
        Declared(
            method="POST",
            path=f"{_LATEST}/{{asked:{_ACTIONS}}}",
            role=ACTIONS,
            handle=runs.steer_latest,
            says="Steer the latest run of a foreign id",
            answers={200: RunView},
            problems=(*_OF_LATEST, *_STEERS),
            body=Steering,
            optional=True,
            conditional=True,
        ),
    ]
