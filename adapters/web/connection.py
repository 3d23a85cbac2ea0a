"""A connection to a client, who may be slow, or send what is no HTTP."""

import asyncio
from typing import Any, cast

import msgspec
from aiohttp import web

from streamwf.adapters.problems import CONTENT_TYPE, problem

#: Seconds that the first request has to begin with all its headers, and that what is answered may
#: lie unread.
HEAD_TIME = 30.0
READ_TIME = 30.0

#: Seconds that a connection stays open without a request. Whoever sends the next one byte by byte
#: has no longer.
IDLE_TIME = 75.0


class Connection(web.RequestHandler):
    """Cuts off who holds it open without asking, or asks without reading what is answered."""

    __slots__ = ("_cut_off", "_unread")

    def __init__(self, server: web.Server, **options: Any) -> None:
        super().__init__(server, keepalive_timeout=IDLE_TIME, **options)
        self._cut_off: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Whatever the client's side has no room for is waited for, be it ever so little.
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=0)
        self._cut_off = self._loop.call_later(HEAD_TIME, self._abort)

    def asked(self) -> None:
        """A request has begun."""
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._loop.call_later(READ_TIME, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.asked()
        self._read()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What can't be read is the client's fault: there is a problem to tell, and none to log."""
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        told = problem(status, "Bad Request", "What was sent is no request that can be read.")
        response = web.Response(
            body=msgspec.json.encode(told), status=status, content_type=CONTENT_TYPE
        )
        response.force_close()
        return response

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
