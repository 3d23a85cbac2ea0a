"""The client's way to a worker over HTTP."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import msgspec
from aiohttp import hdrs
from pydantic import ValidationError
from yarl import URL

from streamwf.adapters import sse
from streamwf.adapters.endpoints import Endpoint
from streamwf.adapters.problems import CONTENT_TYPE, error_of
from streamwf.adapters.tracing import sent
from streamwf.callback_views import CallbackRequest, CallbackView
from streamwf.connector_views import ConnectorAction, Connectors, ConnectorView
from streamwf.errors import (
    DeadlineExceeded,
    NotReady,
    RequestRefused,
    StreamwfError,
    TooManyWatchers,
    WorkerFailed,
    WorkerUnreachable,
)
from streamwf.histories import ExportedHistory
from streamwf.letter_views import LetterAction, LetterQuery, Letters, LetterView, Settled
from streamwf.moves import Dropped, Told, Watched
from streamwf.overview import Overview, Window
from streamwf.schedule_views import (
    BackfillRequest,
    BackfillView,
    ScheduleAction,
    ScheduleRequest,
    Schedules,
    ScheduleView,
)
from streamwf.views import (
    Action,
    Bulk,
    BulkSteering,
    Count,
    Filter,
    Fork,
    History,
    Page,
    Query,
    Request,
    Requested,
    Roles,
    RunView,
    Steering,
    Trigger,
    View,
    Workflows,
    WorkflowView,
)

ViewT = TypeVar("ViewT", bound=View)

#: Seconds for which a worker that is not ready yet is asked again.
PATIENCE = 30.0

#: Seconds that a worker has to accept a connection, and to answer beyond what it is to wait for.
CONNECT = 5.0
DEADLINE = 30.0

#: Seconds of one long poll; less than workers and what may lie between hold one open.
POLL = 25.0

#: Seconds after which a stream of events that says nothing counts as lost.
SILENCE = 40.0

#: Connections that may break in a row before a worker counts as unreachable.
BREAKS = 3

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0


#: What says that a worker, or the one behind it, may be there in a moment.
_PASSING = frozenset({502, 503})

Parameters = Mapping[str, str | list[str]]


class HttpGateway:
    """Speaks to the worker at a URL, and through it to all. Implements `streamwf.client.Gateway`.

    at: the URL; or the endpoint, with what shows the worker who asks.
    patience: seconds for which a worker that is not ready yet is asked again; absence: those for
    which one is that is not there at all. A request that changes something has a key, so that it
    counts once however often it is sent.
    """

    def __init__(
        self, at: str | Endpoint, patience: float = PATIENCE, absence: float = 0.0
    ) -> None:
        self._line = _Line(Endpoint(at) if isinstance(at, str) else at)
        self._patience = patience
        self._absence = absence

    async def close(self) -> None:
        await self._line.close()

    async def workflows(self) -> Workflows:
        return await self._ask(Workflows, "GET", "workflows")

    async def overview(self, asked: Window) -> Overview:
        window = f"{asked.window.total_seconds():g}s"
        return await self._ask(Overview, "GET", "overview", {"window": window})

    async def describe(self, name: str) -> WorkflowView:
        return await self._ask(WorkflowView, "GET", f"workflows/{_quoted(name)}")

    async def trigger(self, name: str, trigger: Trigger, wait: bool) -> str:
        keyed = trigger.model_copy(update={"key": trigger.key or uuid4().hex})
        began = time.monotonic()
        path, waits = f"workflows/{_quoted(name)}/runs", {"wait": "true" if wait else "false"}
        reply = await self._reply("POST", path, waits, keyed)
        run_id = self._line.read(Requested, reply).run_id
        if wait and reply.status == 202:
            raise DeadlineExceeded(
                what=f"the trigger of {trigger.foreign_id}",
                seconds=round(time.monotonic() - began, 1),
                logged=True,
                run_id=run_id,
            )
        return run_id

    async def steer(
        self, action: Action, run_id: str, reason: str, if_version: int | None = None
    ) -> RunView:
        steering = Steering(reason=reason, key=uuid4().hex)
        path = f"runs/{_quoted(run_id)}/{action}"
        return self._line.read(
            RunView, await self._reply("POST", path, {}, steering, if_version=if_version)
        )

    async def callback(self, name: str, asked: CallbackRequest) -> CallbackView:
        keyed = asked.model_copy(update={"key": asked.key or uuid4().hex})
        return await self._ask(
            CallbackView, "POST", f"workflows/{_quoted(name)}/callbacks", {}, keyed
        )

    async def fork(self, run_id: str, asked: Fork) -> str:
        keyed = asked.model_copy(update={"key": asked.key or uuid4().hex})
        path = f"runs/{_quoted(run_id)}/fork"
        return (await self._ask(Requested, "POST", path, {}, keyed)).run_id

    async def latest(self, name: str, foreign_id: str) -> RunView:
        path = f"workflows/{_quoted(name)}/latest/{_quoted(foreign_id)}"
        return await self._ask(RunView, "GET", path)

    async def get(self, run_id: str) -> RunView:
        return await self._ask(RunView, "GET", f"runs/{_quoted(run_id)}")

    async def get_version(self, run_id: str, version: int) -> RunView:
        return await self._ask(RunView, "GET", f"runs/{_quoted(run_id)}/versions/{version}")

    async def roles(self) -> Roles:
        return await self._ask(Roles, "GET", "roles")

    async def find(self, query: Query) -> Page:
        return await self._ask(Page, "GET", "runs", query.parameters())

    async def count(self, asked: Filter) -> Count:
        return await self._ask(Count, "GET", "runs/count", asked.parameters())

    async def schedule(self, name: str, schedule: str, asked: ScheduleRequest) -> ScheduleView:
        return await self._ask(ScheduleView, "PUT", _schedule(name, schedule), {}, asked)

    async def schedules(self, name: str) -> Schedules:
        return await self._ask(Schedules, "GET", f"workflows/{_quoted(name)}/schedules")

    async def get_schedule(self, name: str, schedule: str) -> ScheduleView:
        return await self._ask(ScheduleView, "GET", _schedule(name, schedule))

    async def steer_schedule(
        self, name: str, schedule: str, action: ScheduleAction, reason: str
    ) -> ScheduleView:
        steering = Steering(reason=reason, key=uuid4().hex)
        path = f"{_schedule(name, schedule)}/{action}"
        return await self._ask(ScheduleView, "POST", path, {}, steering)

    async def run_schedule(
        self, name: str, schedule: str, reason: str, key: str | None
    ) -> Requested:
        steering = Steering(reason=reason, key=key or uuid4().hex)
        return await self._ask(Requested, "POST", f"{_schedule(name, schedule)}/run", {}, steering)

    async def connectors(self, name: str) -> Connectors:
        return await self._ask(Connectors, "GET", f"workflows/{_quoted(name)}/connectors")

    async def steer_connector(
        self, name: str, connector: str, action: ConnectorAction, reason: str
    ) -> ConnectorView:
        steering = Steering(reason=reason, key=uuid4().hex)
        path = f"workflows/{_quoted(name)}/connectors/{_quoted(connector)}/{action}"
        return await self._ask(ConnectorView, "POST", path, {}, steering)

    async def letters(self, query: LetterQuery) -> Letters:
        given = query.model_dump(exclude_none=True)
        parameters = {name: str(value) for name, value in given.items()}
        return await self._ask(Letters, "GET", "dead-letters", parameters)

    async def letter(self, id: str) -> LetterView:
        return await self._ask(LetterView, "GET", f"dead-letters/{_quoted(id)}")

    async def settle_letter(self, id: str, action: LetterAction, reason: str) -> Settled:
        path = f"dead-letters/{_quoted(id)}/{action}"
        return await self._ask(Settled, "POST", path, {}, Steering(reason=reason))

    async def backfill(self, name: str, schedule: str, asked: BackfillRequest) -> BackfillView:
        path = f"{_schedule(name, schedule)}/backfill"
        return await self._ask(BackfillView, "POST", path, {}, asked)

    async def bulk(self, asked: BulkSteering) -> Bulk:
        return await self._ask(Bulk, "POST", "runs/bulk", {}, asked)

    async def watch(self, asked: Watched, after: str | None) -> AsyncGenerator[Told, None]:
        """Goes on by itself from where all was told. Raises the last error once the worker could
        not be reached for `patience`."""
        reached = time.monotonic()
        pauses = _pauses()
        while True:
            try:
                async with self._line.stream("events", asked.parameters(), after) as tidings:
                    pauses = _pauses()
                    async for told in tidings:
                        reached = time.monotonic()
                        after = told.place or after
                        if isinstance(told.tidings, Dropped):
                            break
                        yield told
            except (WorkerUnreachable, WorkerFailed, NotReady, TooManyWatchers):
                if time.monotonic() > reached + self._patience:
                    raise
            await asyncio.sleep(next(pauses))

    async def history(self, run_id: str) -> History:
        return await self._ask(History, "GET", f"runs/{_quoted(run_id)}/history")

    async def export(self, run_id: str) -> ExportedHistory:
        return await self._ask(ExportedHistory, "GET", f"runs/{_quoted(run_id)}/export")

    async def await_(self, run_id: str, status: str | None, timeout: float) -> RunView:
        path = f"runs/{_quoted(run_id)}/await"
        wanted = {"status": status} if status else {}
        deadline = time.monotonic() + timeout
        while True:
            left = max(deadline - time.monotonic(), 0)
            poll = {"timeout": f"{min(left, POLL):.3f}"} | wanted
            try:
                return await self._ask(RunView, "GET", path, poll, patience=left)
            except (DeadlineExceeded, NotReady) as error:
                if isinstance(error, NotReady) or time.monotonic() >= deadline:
                    raise DeadlineExceeded(what=f"run {run_id}", seconds=timeout) from error

    async def _ask(
        self,
        kind: type[ViewT],
        method: str,
        path: str,
        parameters: Parameters | None = None,
        body: Request | None = None,
        patience: float | None = None,
    ) -> ViewT:
        return self._line.read(kind, await self._reply(method, path, parameters, body, patience))

    async def _reply(
        self,
        method: str,
        path: str,
        parameters: Parameters | None = None,
        body: Request | None = None,
        patience: float | None = None,
        if_version: int | None = None,
    ) -> "_Reply":
        """Ask until the worker is there and ready, or patience ends.

        Raises the error that it answers, and WorkerUnreachable.
        """
        began = time.monotonic()
        deadline = began + (self._patience if patience is None else patience)
        headers: dict[str, str] = {} if if_version is None else {hdrs.IF_MATCH: f'"{if_version}"'}
        for pause in _pauses():
            try:
                reply = await self._line.send(method, path, parameters or {}, body, headers)
            except WorkerUnreachable:
                if time.monotonic() + pause > began + self._absence:
                    raise
                await asyncio.sleep(pause)
                continue
            error = self._line.error(reply)
            if error is None:
                return reply
            wait = max(pause, reply.retry_after)
            if reply.status not in _PASSING or time.monotonic() + wait > deadline:
                raise error
            await asyncio.sleep(wait)
        raise AssertionError("pauses have no end")


@dataclass(frozen=True, slots=True)
class _Reply:
    """retry_after: seconds after which to ask again."""

    status: int
    content_type: str
    retry_after: float
    body: bytes


class _Line:
    """The connection to one worker."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.url = endpoint.base
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        body: Request | None,
        headers: Mapping[str, str],
    ) -> _Reply:
        """Raises WorkerUnreachable. A connection that breaks is tried again."""
        for broken, pause in enumerate(_pauses(), 1):
            try:
                return await self._send(method, path, parameters, body, headers)
            except (aiohttp.ClientConnectorError, ValueError, TimeoutError) as error:
                raise self._unreachable(str(error) or "no answer in time") from error
            except aiohttp.ClientError as error:
                if broken == BREAKS:
                    raise self._unreachable(str(error) or type(error).__name__) from error
            await asyncio.sleep(pause)
        raise AssertionError("pauses have no end")

    async def _send(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        body: Request | None,
        more: Mapping[str, str],
    ) -> _Reply:
        headers = self._endpoint.headers() | dict(more)
        if body is not None:
            headers[hdrs.CONTENT_TYPE] = "application/json"
        sent(headers)
        async with self._opened().request(
            method,
            self._url(path),
            params=parameters,
            # As a file: it is sent in parts, and others have their turn.
            data=None if body is None else BytesIO(body.model_dump_json().encode()),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=POLL + DEADLINE, sock_connect=CONNECT),
            allow_redirects=False,
        ) as response:
            return await _replied(response)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Long polls hold a connection each, and a client may have any number of them.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._endpoint.tls()),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _url(self, path: str) -> URL:
        return URL(f"{self.url}/api/v1/{path}", encoded=True)

    @asynccontextmanager
    async def stream(
        self, path: str, parameters: Parameters, after: str | None
    ) -> AsyncIterator[AsyncIterator[Told]]:
        """What is told, from a place on. Raises WorkerUnreachable, and the error that it answers,
        also while it is read."""
        headers = self._endpoint.headers() | {hdrs.ACCEPT: sse.CONTENT_TYPE}
        if after:
            headers[sse.LAST_EVENT_ID] = after
        sent(headers)
        try:
            async with self._opened().request(
                "GET",
                self._url(path),
                params=parameters,
                headers=headers,
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT, sock_read=SILENCE),
                allow_redirects=False,
            ) as response:
                if response.status != 200 or response.content_type != sse.CONTENT_TYPE:
                    reply = await _replied(response)
                    raise self.error(reply) or self._unreachable("what answers there is no stream")
                yield sse.told(response.content)
        except (aiohttp.ClientError, ValueError, TimeoutError, msgspec.MsgspecError) as error:
            raise self._unreachable(str(error) or "it has gone silent") from error

    def read(self, kind: type[ViewT], reply: _Reply) -> ViewT:
        try:
            return kind.model_validate_json(reply.body)
        except ValidationError as error:
            raise self._unreachable("what answers there is no worker of this version") from error

    def error(self, reply: _Reply) -> StreamwfError | None:
        """The error that an answer tells; None if it is none."""
        if reply.status < 300:
            return None
        try:
            members = msgspec.json.decode(reply.body, type=dict[str, Any])
        except msgspec.DecodeError:
            members = {}
        if reply.content_type != CONTENT_TYPE or "detail" not in members:
            return self._unreachable(f"what answers there says {reply.status}, and is no worker")
        detail = str(members["detail"])
        if reply.status >= 500:
            return error_of(members) or WorkerFailed(url=self.url, cause=detail)
        return error_of(members) or RequestRefused(why=detail.rstrip("."))

    def _unreachable(self, cause: str) -> WorkerUnreachable:
        return WorkerUnreachable(url=self.url, cause=cause)


async def _replied(response: aiohttp.ClientResponse) -> _Reply:
    wait = response.headers.get(hdrs.RETRY_AFTER, "")
    return _Reply(
        status=response.status,
        content_type=response.content_type,
        retry_after=min(int(wait), LONGEST_PAUSE) if wait.isdecimal() else 0,
        body=await response.read(),
    )


def _pauses() -> Iterator[float]:
    """Seconds to wait before trying again, ever longer, and never the same for all clients."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1)
        pause = min(2 * pause, LONGEST_PAUSE)


def _schedule(name: str, schedule: str) -> str:
    return f"workflows/{_quoted(name)}/schedules/{_quoted(schedule)}"


def _quoted(part: str) -> str:
    return quote(part, safe="")
