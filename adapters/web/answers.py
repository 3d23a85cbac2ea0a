"""What every answer has in common: its headers, and problems instead of tracebacks."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import hdrs, web

from streamwf.adapters.problems import CONTENT_TYPE, problem, problem_of, status_of
from streamwf.adapters.tracing import received
from streamwf.adapters.web.connection import Connection
from streamwf.adapters.web.tags import tag_of, unchanged
from streamwf.errors import StreamwfError
from streamwf.ports import Logger
from streamwf.views import View

#: Where an application keeps what takes its lines.
LOGGER = web.AppKey[Logger]("logger")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Seconds after which a worker that was not ready may be asked again.
RETRY_AFTER = "1"

#: What a page that is served here may do: load what is served here, and nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    hdrs.CACHE_CONTROL: "no-store",
}

#: What is said beside some statuses.
_OF_STATUS = {
    401: {hdrs.WWW_AUTHENTICATE: 'Bearer realm="streamwf"'},
    503: {hdrs.RETRY_AFTER: RETRY_AFTER},
}


def json_response(
    content: View | Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    body = (
        content.model_dump_json().encode()
        if isinstance(content, View)
        else msgspec.json.encode(content)
    )
    told = tag_of(content, body) if isinstance(content, View) else {}
    return web.Response(
        body=body,
        status=status,
        headers={**told, **(headers or {})},
        content_type="application/json",
    )


def location(run_id: str) -> dict[str, str]:
    """The header that says where a run is to be found that was triggered here."""
    return {hdrs.LOCATION: f"/api/v1/runs/{run_id}"}


def not_ready(reason: str) -> web.Response:
    return _problem_response(problem(503, "Not ready", reason))


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with a problem. What is nobody's fault but ours is only logged."""
    if isinstance(request.protocol, Connection):
        request.protocol.asked()
    try:
        return await handler(request)
    except StreamwfError as error:
        status = status_of(error)
        if status is None:
            return _internal(request, error)
        return _problem_response(problem_of(error, status))
    except web.HTTPException as error:
        return _of_http(request, error)
    except Exception as error:
        return _internal(request, error)


@web.middleware
async def tagged(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What whoever asks has already is not sent again."""
    response = await handler(request)
    if unchanged(request, response):
        return web.Response(status=304, headers={hdrs.ETAG: response.headers[hdrs.ETAG]})
    return response


@web.middleware
async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a request leads to is in the trace that it comes of."""
    with received(request.headers):
        return await handler(request)


def _of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    detail = error.text or error.reason
    if isinstance(error, web.HTTPNotFound):
        detail = f"Nothing is at {request.path}. The views are below /api/v1/."
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.method} is not possible here; possible: {allowed}."
    response = _problem_response(problem(error.status, error.reason, detail))
    if hdrs.ALLOW in error.headers:
        response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return response


def _internal(request: web.Request, error: Exception) -> web.Response:
    told = {"method": request.method, "path": request.path}
    request.app[LOGGER].error("request_failed", **told, exc_info=error)
    detail = "Something went wrong here. The worker's log says what."
    return _problem_response(problem(500, "Internal Server Error", detail))


def _problem_response(members: Mapping[str, Any]) -> web.Response:
    status = int(members["status"])
    return web.Response(
        body=msgspec.json.encode(members, enc_hook=str),
        status=status,
        headers=_OF_STATUS.get(status),
        content_type=CONTENT_TYPE,
    )
