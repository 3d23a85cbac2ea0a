"""The page and the HTTP API within a web application of one's own."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from streamwf.adapters.web import NoPeers, Peers, application
from streamwf.adapters.web.page import Replaced
from streamwf.looking import Host
from streamwf.operations import Operations

__all__ = ["mount"]


def mount(
    app: web.Application,
    host: Host,
    *,
    prefix: str = "/streamwf",
    peers: Peers | None = None,
    ready: Callable[[], str | None] = lambda: None,
    files: Replaced | None = None,
    **options: Any,
) -> web.Application:
    """Serve the page of a host below `prefix`, and its API below `prefix/api/v1`.

    prefix: begins with a slash and ends without one.
    peers: where the other workers are, if there are any. ready, options: as of
        `streamwf.adapters.web.application`.
    files: what replaces parts of the page, like `{"run.js": path}`; or a directory that has a file
        for each of them, called like the part. docs/page.md says which parts there are.

    Returns the application that was mounted, to which routes and middlewares may be added.

    Raises PagePartUnknown and PageFileUnreadable.
    """

    async def to_the_page(request: web.Request) -> web.Response:
        # What the page asks for is relative to where it is, so it has to be in a folder.
        raise web.HTTPPermanentRedirect(f"{request.rel_url.path}/")

    mounted = application(Operations(host), peers or NoPeers(), ready, page=files, **options)
    app.router.add_get(prefix, to_the_page)
    app.add_subapp(prefix, mounted)
    return mounted
