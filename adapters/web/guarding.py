"""Who gets in: it is seen to before a request reaches its view."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from streamwf.access import (
    ANYBODY,
    EVERY,
    Asked,
    Authenticator,
    Identity,
    asked_by,
    check_role,
    is_seen,
)
from streamwf.adapters.web.answers import Handler
from streamwf.adapters.web.needs import need_of
from streamwf.adapters.web.tls import NO_TLS, Tls
from streamwf.errors import CrossSite, HostRefused, NotAuthenticated

_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


@dataclass(frozen=True, slots=True)
class Access:
    """Who gets in. authenticator: says who asks; None if anybody may do everything.

    hosts: the names and addresses that may be asked for, beside those of this machine itself;
        None if that is not looked at.
    tls: of those who connect, and of other workers that are asked.
    """

    authenticator: Authenticator | None = None
    hosts: frozenset[str] | None = frozenset()
    tls: Tls = NO_TLS

    async def identify(self, request: web.Request) -> Identity:
        """Raises NotAuthenticated."""
        if self.authenticator is None:
            return ANYBODY
        asked = Asked(request.method, request.path, request.headers)
        identity = await self.authenticator.identify(asked)
        if identity is None:
            raise NotAuthenticated()
        return identity


#: Where nothing is said about it: whoever reaches this machine's own address.
LOCAL_ONLY = Access()


def guarding(access: Access) -> Middleware:
    """Settles who asks, for all that a request leads to here."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        need = need_of(request)
        # Probes ask by any address, and are told nothing that others may not know.
        if need.role is None:
            return await handler(request)
        _check_host(request, access.hosts)
        _check_origin(request)
        identity = await access.identify(request)
        with asked_by(identity, need.role):
            if need.of_every:
                check_role(EVERY)
            # Before what else is wrong with it is told; of other workflows nothing is.
            workflow = request.match_info.get("name")
            if workflow is not None and is_seen(workflow):
                check_role(workflow)
            return await handler(request)

    return guarded


def _check_host(request: web.Request, hosts: frozenset[str] | None) -> None:
    """Raises HostRefused: a name of somebody else's, which leads here, makes a browser take their
    pages for ours."""
    if hosts is None:
        return
    host = host_of(f"//{request.headers.get(hdrs.HOST, '')}")
    if not is_loopback(host) and host not in hosts:
        raise HostRefused(host=host[:80])


def _check_origin(request: web.Request) -> None:
    """Raises CrossSite if a page of another site has a browser change something here.

    What is no browser says neither where it comes from.
    """
    if request.method in _READING:
        return
    origin = request.headers.get(hdrs.ORIGIN)
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        host = request.headers.get(hdrs.HOST, "")
        ours = origin is None or urlsplit(origin).netloc.lower() == host.lower()
    if not ours:
        raise CrossSite(origin=(origin or "its browser does not say which")[:80])


def host_of(url: str) -> str:
    """The host of a URL, in lower case and without its port; empty if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
