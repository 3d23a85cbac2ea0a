"""Serving the web application."""

import asyncio
import ipaddress
import os
import socket

from aiohttp import web

from streamwf.adapters.web.connection import Connection
from streamwf.adapters.web.tls import NO_TLS, Tls
from streamwf.errors import CannotListen

#: Seconds that requests in progress get at a stop.
GRACE = 5.0


class Server:
    """A web server that runs. url: where this machine reaches it."""

    def __init__(
        self, runner: web.AppRunner, listener: asyncio.Server, host: str, secure: bool
    ) -> None:
        self._runner = runner
        self._listener = listener
        self.port: int = listener.sockets[0].getsockname()[1]
        self.url = url_of(host, self.port, secure)

    async def stop(self) -> None:
        """Take no more requests, and let those in progress end."""
        self._listener.close()
        await self._runner.cleanup()


async def serve(application: web.Application, host: str, port: int, tls: Tls = NO_TLS) -> Server:
    """Serve until stopped. port: 0 for a free one.

    Raises CannotListen.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    server, loop = runner.server, asyncio.get_running_loop()
    assert server is not None, "it was set up"
    try:
        listener = await loop.create_server(
            lambda: Connection(server, loop=loop), host, port, ssl=tls.server
        )
    except (OSError, OverflowError) as error:
        await runner.cleanup()
        raise CannotListen(host=host, port=port, cause=_cause(error)) from error
    return Server(runner, listener, host, tls.server is not None)


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
