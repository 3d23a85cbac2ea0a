"""Which role each route takes: what it is declared with, found again by the request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from aiohttp import hdrs, web

from streamwf.access import Role
from streamwf.connector_views import ConnectorAction
from streamwf.letter_views import LetterAction
from streamwf.schedule_views import ScheduleAction
from streamwf.views import Action

#: The first of all routes.
HEALTH = "/healthz"

#: The roles that something takes which is done to a run, a schedule, a connector, a dead letter.
ACTIONS: Mapping[Action, Role] = dict.fromkeys(get_args(Action), Role.OPERATOR) | {
    "delete-data": Role.ADMIN
}
SCHEDULE_ACTIONS: Mapping[ScheduleAction, Role] = dict.fromkeys(
    get_args(ScheduleAction), Role.OPERATOR
) | {"delete": Role.ADMIN}
CONNECTOR_ACTIONS: Mapping[ConnectorAction, Role] = dict.fromkeys(
    get_args(ConnectorAction), Role.OPERATOR
)
LETTER_ACTIONS: Mapping[LetterAction, Role] = {"retry": Role.OPERATOR, "drop": Role.ADMIN}


@dataclass(frozen=True, slots=True)
class Need:
    """What a route takes of who asks.

    role: one of the workflow that is asked for; where none is named, what is told is of those of
        which one has the role of a viewer. None if anybody may ask.
    of_every: whether it tells of every workflow at once, and takes the role for every workflow.
    """

    role: Role | None
    of_every: bool = False


#: By method and path, with the actions that it may end with spelled out.
Needs = dict[tuple[str, str], Need]

#: Where an application keeps what its routes take.
NEEDS = web.AppKey[Needs]("needs")

#: Of what nobody has thought of: it is for those who may do everything.
_UNKNOWN = Need(Role.ADMIN, of_every=True)

#: Of what is nowhere. Only who is known is told so.
_NOWHERE = Need(Role.VIEWER)


def public(paths: Iterable[str]) -> Needs:
    """What is read at these paths is for anybody."""
    return {(hdrs.METH_GET, path): Need(None) for path in paths}


def need_of(request: web.Request) -> Need:
    path = _path_of(request)
    if not path:
        return _NOWHERE
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
    return request.app[NEEDS].get((method, path), _UNKNOWN)


def _path_of(request: web.Request) -> str:
    """The route of a request, as it is declared; empty if there is none."""
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
