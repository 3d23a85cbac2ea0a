"""Which role each route takes: one table, and no route without a row in it."""

import re
from collections.abc import Iterator
from typing import get_args

from aiohttp import hdrs, web

from streamwf.access import Role
from streamwf.adapters.web.page import SETTINGS, page_paths
from streamwf.connector_views import ConnectorAction
from streamwf.letter_views import LetterAction
from streamwf.schedule_views import ScheduleAction
from streamwf.views import Action

#: The first of all routes.
HEALTH = "/healthz"

_WORKFLOW = "/api/v1/workflows/{name}"
_LATEST = f"{_WORKFLOW}/latest/{{foreign_id}}"
_SCHEDULE = f"{_WORKFLOW}/schedules/{{schedule}}"
_CONNECTOR = f"{_WORKFLOW}/connectors/{{connector}}"
_RUN = "/api/v1/runs/{run_id}"
_LETTER = "/api/v1/dead-letters/{letter}"

#: The role that something takes which is done to a run, a schedule or a connector.
_ACTIONS: dict[Action, Role] = dict.fromkeys(get_args(Action), Role.OPERATOR) | {
    "delete-data": Role.ADMIN
}
_SCHEDULE_ACTIONS: dict[ScheduleAction, Role] = dict.fromkeys(
    get_args(ScheduleAction), Role.OPERATOR
) | {"delete": Role.ADMIN}
_CONNECTOR_ACTIONS: dict[ConnectorAction, Role] = dict.fromkeys(
    get_args(ConnectorAction), Role.OPERATOR
)

_LETTER_ACTIONS: dict[LetterAction, Role] = {"retry": Role.OPERATOR, "drop": Role.ADMIN}

#: What anybody may ask.
PUBLIC = frozenset({HEALTH, "/readyz", "/openapi.json", SETTINGS}) | page_paths()

#: What tells of every workflow at once, so that it takes the role for every workflow.
OF_EVERY = frozenset({"/metrics"})

#: By method and path. The role has to be one of the workflow that is asked for; where none is
#: named, what is told is of those of which one has the role of a viewer.
NEEDS: dict[tuple[str, str], Role] = {
    ("GET", "/metrics"): Role.VIEWER,
    ("GET", "/api/v1/roles"): Role.VIEWER,
    ("GET", "/api/v1/workflows"): Role.VIEWER,
    ("GET", _WORKFLOW): Role.VIEWER,
    ("POST", f"{_WORKFLOW}/runs"): Role.OPERATOR,
    ("POST", f"{_WORKFLOW}/callbacks"): Role.OPERATOR,
    ("GET", _LATEST): Role.VIEWER,
    ("GET", f"{_LATEST}/await"): Role.VIEWER,
    **{("POST", f"{_LATEST}/{action}"): role for action, role in _ACTIONS.items()},
    ("GET", f"{_WORKFLOW}/schedules"): Role.VIEWER,
    ("GET", _SCHEDULE): Role.VIEWER,
    ("PUT", _SCHEDULE): Role.ADMIN,
    **{("POST", f"{_SCHEDULE}/{action}"): role for action, role in _SCHEDULE_ACTIONS.items()},
    ("POST", f"{_SCHEDULE}/backfill"): Role.OPERATOR,
    ("GET", f"{_WORKFLOW}/connectors"): Role.VIEWER,
    **{("POST", f"{_CONNECTOR}/{action}"): role for action, role in _CONNECTOR_ACTIONS.items()},
    ("GET", "/api/v1/overview"): Role.VIEWER,
    ("GET", "/api/v1/events"): Role.VIEWER,
    ("GET", "/api/v1/dead-letters"): Role.VIEWER,
    ("GET", _LETTER): Role.VIEWER,
    **{("POST", f"{_LETTER}/{action}"): role for action, role in _LETTER_ACTIONS.items()},
    ("GET", "/api/v1/runs"): Role.VIEWER,
    ("GET", "/api/v1/runs/count"): Role.VIEWER,
    # Of each run it takes the role of what is done to it.
    ("POST", "/api/v1/runs/bulk"): Role.VIEWER,
    ("GET", _RUN): Role.VIEWER,
    ("GET", f"{_RUN}/history"): Role.VIEWER,
    ("GET", f"{_RUN}/await"): Role.VIEWER,
    ("POST", f"{_RUN}/fork"): Role.ADMIN,
    **{("POST", f"{_RUN}/{action}"): role for action, role in _ACTIONS.items()},
}


def role_of_action(action: Action) -> Role:
    return _ACTIONS[action]


def path_of(request: web.Request) -> str:
    """The route of a request, as it is in the table; empty if there is none."""
    resource = request.match_info.route.resource
    path = "" if resource is None else resource.canonical.removeprefix(_prefix_of(request.app))
    # These are a part of the path that several routes share.
    for part in ("action", "asked"):
        path = path.replace(f"{{{part}}}", request.match_info.get(part, ""))
    return path


def _prefix_of(app: web.Application) -> str:
    """Where an application is mounted in another one."""
    first = next(iter(app.router.resources()), None)
    return "" if first is None else first.canonical.removesuffix(HEALTH)


def role_needed(request: web.Request) -> tuple[Role, bool]:
    """The role that a request takes, and whether that has to be one for every workflow."""
    path = path_of(request)
    if not path:
        return Role.VIEWER, False
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
    role = NEEDS.get((method, path))
    # What nobody has thought of is for those who may do everything.
    return (Role.ADMIN, True) if role is None else (role, path in OF_EVERY)


def routes_of(app: web.Application) -> Iterator[tuple[str, str]]:
    """Every method and path that an application answers, by the names of the table."""
    for route in app.router.routes():
        if route.resource is None or route.method == hdrs.METH_HEAD:
            continue
        info = route.resource.get_info()
        path = route.resource.canonical
        pattern = info["pattern"].pattern if "pattern" in info else ""
        yield from ((route.method, each) for each in _spelled_out(path, pattern))


def _spelled_out(path: str, pattern: str) -> Iterator[str]:
    """A path for each of the actions that it may end with. pattern: that of the whole path."""
    for part in ("action", "asked"):
        found = re.search(rf"\(\?P<{part}>([^)]*)\)", pattern)
        if found:
            yield from (path.replace(f"{{{part}}}", each) for each in found[1].split("|"))
            return
    yield path
