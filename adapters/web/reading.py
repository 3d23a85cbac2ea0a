"""What a request says, checked: its parameters, its body, and the headers that add to it."""

import asyncio
from collections.abc import Collection
from typing import Any, Literal, TypeVar

from aiohttp import hdrs, web
from pydantic import Field, ValidationError

from streamwf.errors import InvalidQuery, RecordTooLarge
from streamwf.views import SEARCH, Filter, Request, unread

RequestT = TypeVar("RequestT", bound=Request)

#: What a request may have beyond the record that it leads to.
SLACK = 64 * 1024

#: Seconds that a body may take to arrive.
BODY_TIME = 30.0

#: The header that says the key of a request, as well as `key` in its body does.
IDEMPOTENCY_KEY = "Idempotency-Key"
MAX_KEY = 500


class Nothing(Request):
    """No parameters."""


class TriggerParameters(Request):
    """wait: whether a trigger is to be answered only once it is accepted."""

    wait: Literal["true", "false"] = "true"


class AwaitParameters(Request):
    """status: to wait for; the end, unless given. timeout: how many seconds, 30 at most."""

    status: str | None = None
    timeout: float | None = Field(default=None, ge=0, allow_inf_nan=False)


def read_parameters(request: web.Request, kind: type[RequestT]) -> RequestT:
    """The parameters of the URL, the known ones only. Raises InvalidQuery."""
    many = {name for name, field in kind.model_fields.items() if field.default == []}
    # Of a filter any name may be one that is searched by, or is refused with those that there are.
    known = None if issubclass(kind, Filter) else kind.model_fields
    fields = set() if known else {name for name in request.query if name.startswith(SEARCH)}
    given: dict[str, Any] = {
        **_single(request, but=many | fields, known=known),
        **{name: request.query.getall(name) for name in many if name in request.query},
    }
    if fields:
        wanted = {name.removeprefix(SEARCH): request.query.getall(name) for name in fields}
        given.setdefault("search", wanted)
    return kind.of(**given)


def _single(
    request: web.Request, but: Collection[str] = (), known: Collection[str] | None = None
) -> dict[str, str]:
    """The parameters that may be given once, `known` ones only. Raises InvalidQuery."""
    single: dict[str, str] = {}
    for name, value in request.query.items():
        if known is not None and name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise InvalidQuery(name, f"there is no such parameter; there are: {there}")
        if name in single:
            raise InvalidQuery(name, "it is given more than once")
        if name not in but:
            single[name] = value
    return single


async def read_body(
    request: web.Request, kind: type[RequestT], limit: int, *, optional: bool = False
) -> RequestT:
    """The body, with the key that a header says. limit: bytes of the record that it leads to.

    Raises RecordTooLarge and InvalidQuery.
    """
    if optional and not request.can_read_body:
        asked = kind()
    else:
        asked = _parsed(kind, await _body(request, limit))
    return _keyed(request, asked)


async def _body(request: web.Request, limit: int) -> bytes:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="The body has to be application/json.")
    size = request.content_length or 0
    if size > limit + SLACK:
        raise RecordTooLarge(what="request", size=size, limit=limit)
    try:
        async with asyncio.timeout(BODY_TIME):
            return await request.read()
    except TimeoutError:
        why = f"The body did not arrive within {BODY_TIME:g} s."
        raise web.HTTPRequestTimeout(text=why) from None
    except web.HTTPRequestEntityTooLarge:
        said = size or f"more than {limit + SLACK}"
        raise RecordTooLarge(what="request", size=said, limit=limit) from None
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest(text=f"The body can't be read: {error}") from None


def _parsed(kind: type[RequestT], body: bytes) -> RequestT:
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise web.HTTPBadRequest(text=f"The body can't be read: {first['msg']}.") from None
        raise unread(error) from None


def _keyed(request: web.Request, asked: RequestT) -> RequestT:
    """Raises InvalidQuery if the header and the body say different keys."""
    given = request.headers.getall(IDEMPOTENCY_KEY, [])
    if not given or "key" not in type(asked).model_fields:
        return asked
    # It is a string of structured fields (RFC 9651); most send it bare.
    key = given[0].strip().removeprefix('"').removesuffix('"')
    if len(given) > 1 or not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidQuery(IDEMPOTENCY_KEY, f"it is one key of 1 to {MAX_KEY} characters")
    if getattr(asked, "key", None) not in (None, key):
        raise InvalidQuery(IDEMPOTENCY_KEY, "the body says another key")
    return asked.model_copy(update={"key": key})


def refuse_condition(request: web.Request) -> None:
    """Raises InvalidQuery if a request is for a version where there is none."""
    if hdrs.IF_MATCH in request.headers:
        raise InvalidQuery(hdrs.IF_MATCH, "there is no version of a run to compare with here")
