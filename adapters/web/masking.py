"""Who sees masked fields over HTTP: nobody, unless it is said who."""

from collections.abc import Callable
from typing import TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware

from streamwf.adapters.web.answers import Handler
from streamwf.adapters.web.forwarding import MASKED
from streamwf.masked_views import masking_views

#: Whether a request is of somebody who may see masked fields.
MaySee: TypeAlias = Callable[[web.Request], bool]


def nobody(request: web.Request) -> bool:
    return False


def masking(may_see: MaySee) -> Middleware:
    """Settles it for all that a request leads to, here and at other workers."""

    @web.middleware
    async def settled(request: web.Request, handler: Handler) -> web.StreamResponse:
        if MASKED not in request.headers and may_see(request):
            return await handler(request)
        with masking_views():
            return await handler(request)

    return settled
