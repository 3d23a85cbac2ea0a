"""What the API has: each operation is declared once, for the router, for its document, and for who
may ask for it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from aiohttp import web

from streamwf.access import Role
from streamwf.adapters.web.answers import Handler
from streamwf.adapters.web.needs import Need, Needs
from streamwf.adapters.web.reading import Nothing, read_body, read_parameters, refuse_condition
from streamwf.errors import StreamwfError
from streamwf.views import Request, View

Method = Literal["GET", "POST", "PUT"]

#: Where a request keeps what it asks for.
_ASKED = web.RequestKey[dict[type[Request], Request]]("asked")


class EventStream(str):
    """Server-sent events, which go on for as long as somebody reads them."""


AskedT = TypeVar("AskedT", bound=Request)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """An operation of the API.

    path: as the router takes it; a part in braces may say what it has to be, after a colon.
    role: that it takes; where its path ends with one of several actions, that of each. None if
        anybody may ask. of_every: whether it has to be one for every workflow.
    says: what it does, in a line.
    answers: what is told with each status that is no problem; `str` is text.
    problems: those that it has beyond the ones that every operation may have.
    parameters, body: what is read before the handler is called, which gets it by `asked`.
    optional: whether the body may be left out. conditional: whether it may be for one version.
    """

    method: Method
    path: str
    role: Role | Mapping[Any, Role] | None
    handle: Handler
    says: str
    answers: Mapping[int, type[View] | type[str]]
    problems: tuple[type[StreamwfError], ...] = ()
    parameters: type[Request] = Nothing
    body: type[Request] | None = None
    optional: bool = False
    conditional: bool = False
    of_every: bool = False

    def route(self, limit: int) -> web.RouteDef:
        """limit: bytes of the record that a request leads to."""

        async def checked(request: web.Request) -> web.StreamResponse:
            if not self.conditional:
                refuse_condition(request)
            asked: dict[type[Request], Request] = {
                self.parameters: read_parameters(request, self.parameters)
            }
            if self.body is not None:
                read = await read_body(request, self.body, limit, optional=self.optional)
                asked[self.body] = read
            request[_ASKED] = asked
            return await self.handle(request)

        # Every view is answered to HEAD, too, if it has an end.
        heads = {"allow_head": self.answers.get(200) is not EventStream}
        options: dict[str, Any] = heads if self.method == "GET" else {}
        add = {"GET": web.get, "POST": web.post, "PUT": web.put}[self.method]
        return add(self.path, checked, **options)

    @property
    def needs(self) -> Needs:
        """What it takes of who asks, by method and path, for each action that it may end with."""
        if not isinstance(self.role, Mapping):
            return {(self.method, self.template): Need(self.role, self.of_every)}
        stem, _, _ = self.template.rpartition("/")
        return {(self.method, f"{stem}/{action}"): Need(role) for action, role in self.role.items()}

    @property
    def parts(self) -> Mapping[str, list[str]]:
        """The parts of the path that vary, and what each may be; anything if that is empty."""
        found = re.findall(r"{(\w+)(?::([^}]+))?}", self.path)
        return {
            name: says.split("|") if re.fullmatch(r"[\w|-]+", says) else [] for name, says in found
        }

    @property
    def template(self) -> str:
        """The path with its parts that vary in braces."""
        fixed = {name: says[0] for name, says in self.parts.items() if len(says) == 1}
        return re.sub(
            r"{(\w+)(?::[^}]+)?}", lambda part: fixed.get(part[1], f"{{{part[1]}}}"), self.path
        )


def asked(request: web.Request, kind: type[AskedT]) -> AskedT:
    """What a request asks for, as it is declared."""
    return cast("AskedT", request[_ASKED][kind])
