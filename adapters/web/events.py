"""Moves of runs as server-sent events, for as long as somebody reads them."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from aiohttp import hdrs, web

from streamwf.adapters.sse import CONTENT_TYPE, LAST_EVENT_ID, written
from streamwf.adapters.web.declared import asked as asked_for
from streamwf.adapters.web.elsewhere_events import ElsewhereEvents
from streamwf.adapters.web.forwarding import Forwarder, forwarded
from streamwf.broadcast import Inbox, nothing
from streamwf.errors import NotReady, ReadsTooSlowly, TooManyWatchers
from streamwf.moves import Dropped, Told, Watched, read_place
from streamwf.operations import Operations
from streamwf.watching import Watch

#: Seconds that one who reads nothing gets, before the connection is cut.
PATIENCE = 30.0

#: Events that are written at a time.
PILE = 500

_HEADERS = {
    hdrs.CONTENT_TYPE: f"{CONTENT_TYPE}; charset=utf-8",
    # Proxies are not to hold it back.
    "X-Accel-Buffering": "no",
}


class EventParameters(Watched):
    """last_event_id: of the last event that came, to go on after it; as the header of that name."""

    last_event_id: str | None = None


class EventViews:
    """Tells moves to those who watch, up to a number of them. patience: seconds."""

    def __init__(
        self, operations: Operations, forwarder: Forwarder, patience: float = PATIENCE
    ) -> None:
        self._host = operations.host
        self._forwarder = forwarder
        self._patience = patience
        self._limit = operations.host.settings.watchers
        self._watching: set[asyncio.Timeout] = set()
        self._stopping = False

    async def events(self, request: web.Request) -> web.StreamResponse:
        asked = asked_for(request, EventParameters)
        place = request.headers.get(LAST_EVENT_ID) or asked.last_event_id
        positions = read_place(place) if place else {}
        among = forwarded(request)
        watch = Watch(self._host, asked, positions, among=among)
        if self._stopping:
            raise NotReady(what="what happens")
        if len(self._watching) >= self._limit:
            raise TooManyWatchers(limit=self._limit)
        response = web.StreamResponse(headers=_HEADERS)
        elsewhere = ElsewhereEvents(self._forwarder, watch, request)
        until_stopped = asyncio.timeout(None)
        last: list[Told] = []
        try:
            async with until_stopped, elsewhere.followed(not among):
                self._watching.add(until_stopped)
                await response.prepare(request)
                await self._tell(request, response, watch)
        except ReadsTooSlowly as error:
            last = [Told(Dropped(str(error)), None)]
        except (ConnectionError, TimeoutError):
            # Nobody is there any more, or this worker stops.
            pass
        finally:
            self._watching.discard(until_stopped)
        await self._end(request, response, last)
        return response

    async def _tell(self, request: web.Request, response: web.StreamResponse, watch: Watch) -> None:
        """Raises ConnectionError once nobody reads any more, and ReadsTooSlowly."""
        async with aclosing(watch.tidings()) as tidings:
            async for told in tidings:
                if request.transport is None or request.transport.is_closing():
                    return
                for first in range(0, len(told), PILE):
                    await self._write(response, told[first : first + PILE], watch.inbox)

    async def _write(
        self, response: web.StreamResponse, told: Sequence[Told], inbox: Inbox
    ) -> None:
        """Raises ReadsTooSlowly as soon as that is known."""
        try:
            async with asyncio.timeout(self._patience) as patience:
                inbox.at_overrun = lambda: patience.reschedule(0)
                await response.write(b"".join(map(written, told)))
        except TimeoutError:
            raise ReadsTooSlowly(room=inbox.room) from None
        finally:
            inbox.at_overrun = nothing

    async def _end(
        self, request: web.Request, response: web.StreamResponse, last: Sequence[Told]
    ) -> None:
        """Say the last, and give who reads slowly some more time to read it."""
        try:
            async with asyncio.timeout(self._patience):
                if last:
                    await response.write(b"".join(map(written, last)))
                await response.write_eof()
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()

    async def stop_telling(self, _: web.Application) -> None:
        """End the streams, so that a stop need not wait for them."""
        self._stopping = True
        for watching in self._watching:
            watching.reschedule(0)
