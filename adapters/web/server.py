"""Serving the web application."""

import ipaddress
import os
import socket

from aiohttp import web

from streamwf.adapters.web.tls import NO_TLS, Tls
from streamwf.errors import CannotListen

#: Seconds that requests in progress get at a stop.
GRACE = 5.0


class Server:
    """A web server that runs. url: where this machine reaches it."""

    def __init__(self, runner: web.AppRunner, host: str, secure: bool) -> None:
        self._runner = runner
        self.port: int = runner.addresses[0][1]
        self.url = url_of(host, self.port, secure)

    async def stop(self) -> None:
        """Take no more requests, and let those in progress end."""
        await self._runner.cleanup()


async def serve(application: web.Application, host: str, port: int, tls: Tls = NO_TLS) -> Server:
    """Serve until stopped. port: 0 for a free one.

    Raises CannotListen.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls.server).start()
    except (OSError, OverflowError) as error:
        await runner.cleanup()
        raise CannotListen(host=host, port=port, cause=_cause(error)) from error
    return Server(runner, host, tls.server is not None)


def _cause(error: Exception) -> str:
    # The message of asyncio repeats the address; that of the system's code is enough.
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) or number is None:
        return str(error)
    return os.strerror(number)


def url_of(host: str, port: int, secure: bool = False) -> str:
    """Where this machine reaches what listens there. secure: by TLS."""
    return f"{'https' if secure else 'http'}://{_reachable(host)}:{port}"


def _reachable(host: str) -> str:
    """The host as it stands in a URL; one that means every address is reached at this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
