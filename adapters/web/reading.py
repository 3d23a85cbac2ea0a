"""What a request says, checked: its body and its query."""

import math
from collections.abc import Collection
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from streamwf.adapters.sse import LAST_EVENT_ID_PARAMETER
from streamwf.callback_views import CallbackRequest
from streamwf.errors import InvalidQuery, RecordTooLarge
from streamwf.events import check_foreign_id
from streamwf.letter_views import LetterQuery
from streamwf.moves import Watched
from streamwf.overview import Window
from streamwf.views import (
    SEARCH,
    BulkSteering,
    Filter,
    Fork,
    Query,
    Request,
    Steering,
    Trigger,
    unread,
)

RequestT = TypeVar("RequestT", bound=Request)

#: What a request may have beyond the record that it leads to.
SLACK = 64 * 1024

_MANY = frozenset({"status", "state"})


async def read_trigger(request: web.Request, limit: int) -> Trigger:
    """Raises RecordTooLarge, InvalidQuery and InvalidForeignId."""
    trigger = _parse(Trigger, await _body(request, limit))
    check_foreign_id(trigger.foreign_id)
    return trigger


async def read_steering(request: web.Request, limit: int) -> Steering:
    """Raises RecordTooLarge and InvalidQuery. The body may be left out."""
    if not request.can_read_body:
        return Steering()
    return _parse(Steering, await _body(request, limit))


async def read_body(request: web.Request, kind: type[RequestT], limit: int) -> RequestT:
    """Raises RecordTooLarge and InvalidQuery."""
    return _parse(kind, await _body(request, limit))


AskedT = TypeVar("AskedT", CallbackRequest, Fork)


async def read_asked(request: web.Request, kind: type[AskedT], limit: int) -> AskedT:
    """Raises RecordTooLarge, InvalidQuery and InvalidForeignId."""
    asked = _parse(kind, await _body(request, limit))
    if asked.foreign_id is not None:
        check_foreign_id(asked.foreign_id)
    return asked


async def _body(request: web.Request, limit: int) -> bytes:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="The body has to be application/json.")
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        size = request.content_length or f"more than {limit + SLACK}"
        raise RecordTooLarge(what="request", size=size, limit=limit) from None
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest(text=f"The body can't be read: {error}") from None


def _parse(kind: type[RequestT], body: bytes) -> RequestT:
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise web.HTTPBadRequest(text=f"The body can't be read: {first['msg']}.") from None
        raise unread(error) from None


def read_query(request: web.Request) -> Query:
    """Raises InvalidQuery."""
    return Query.of(**_given(request))


def read_letter_query(request: web.Request) -> LetterQuery:
    """Raises InvalidQuery."""
    return LetterQuery.of(**_single(request))


def read_filter(request: web.Request) -> Filter:
    """Raises InvalidQuery."""
    return Filter.of(**_given(request))


def read_watched(request: web.Request) -> Watched:
    """Raises InvalidQuery."""
    given = {
        **_single(request, but=_MANY),
        **{name: request.query.getall(name) for name in _MANY if name in request.query},
    }
    given.pop(LAST_EVENT_ID_PARAMETER, None)
    return Watched.of(**given)


def read_window(request: web.Request) -> Window:
    """Raises InvalidQuery."""
    return Window.of(**_single(request))


def _given(request: web.Request) -> dict[str, Any]:
    """The parameters of a list; those of several values, and of fields that are searched."""
    fields = {name for name in request.query if name.startswith(SEARCH)}
    given: dict[str, Any] = {
        **_single(request, but=_MANY | fields),
        **{name: request.query.getall(name) for name in _MANY if name in request.query},
    }
    if fields:
        wanted = {name.removeprefix(SEARCH): request.query.getall(name) for name in fields}
        given.setdefault("search", wanted)
    return given


async def read_bulk(request: web.Request, limit: int) -> BulkSteering:
    """Raises RecordTooLarge and InvalidQuery."""
    return _parse(BulkSteering, await _body(request, limit))


def read_wait(request: web.Request) -> bool:
    """Whether a trigger is to be answered only once it is accepted. Raises InvalidQuery."""
    wait = _single(request, known={"wait"}).get("wait", "true")
    if wait not in ("true", "false"):
        raise InvalidQuery("wait", "it is true or false")
    return wait == "true"


def read_await(request: web.Request, longest: float) -> tuple[str | None, float]:
    """The status to wait for, None for the end, and how many seconds. Raises InvalidQuery."""
    given = _single(request, known={"status", "timeout"})
    try:
        timeout = float(given.get("timeout", longest))
    except ValueError:
        timeout = math.nan
    if not 0 <= timeout < math.inf:
        raise InvalidQuery("timeout", "it is a number of seconds")
    return given.get("status") or None, min(timeout, longest)


def _single(
    request: web.Request, but: Collection[str] = (), known: Collection[str] | None = None
) -> dict[str, str]:
    """The parameters that may be given once, `known` ones only. Raises InvalidQuery."""
    single: dict[str, str] = {}
    for name, value in request.query.items():
        if known is not None and name not in known:
            raise InvalidQuery(
                name, f"there is no such parameter; there are: {', '.join(sorted(known))}"
            )
        if name in single:
            raise InvalidQuery(name, "it is given more than once")
        if name not in but:
            single[name] = value
    return single
