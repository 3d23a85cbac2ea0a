"""Asking other workers, so that a request is answered whichever worker it reaches.

A request that was forwarded says so, and is answered from what its worker owns: it is never
forwarded again. Requests go only to where `Peers` says.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from streamwf.errors import NotReady, WorkerUnreachable

#: Says that a request was forwarded. It gives no rights: who asks is judged here again.
LOCAL = "X-Streamwf-Local"

#: Seconds that another worker has to accept a connection, and to answer beyond what it may wait.
CONNECT = 2.0
DEADLINE = 5.0

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_ASKED = _HOP_BY_HOP | {
    "accept-encoding",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    # What a browser says of the page has been judged, and is not of the worker that asks.
    "origin",
    "sec-fetch-site",
}
_RELAYED: tuple[str, ...] = (
    hdrs.CONTENT_TYPE,
    hdrs.ETAG,
    hdrs.LOCATION,
    hdrs.RETRY_AFTER,
    hdrs.WWW_AUTHENTICATE,
)

#: Answers of a worker that can't say whether it has what was asked for, or to whom.
_DOES_NOT_KNOW = frozenset({401, 421, 500, 502, 503})


class Peers(Protocol):
    """Where the other workers are, as URLs like `http://host:port`."""

    def owner(self, workflow: str, foreign_id: str) -> str | None:
        """The worker that owns a foreign id; None when it is this one. Raises NotReady when that
        is not known."""

    def others(self) -> Sequence[str]:
        """Every worker but this one."""


class NoPeers:
    """This process owns everything. Implements `Peers`."""

    def owner(self, workflow: str, foreign_id: str) -> str | None:
        return None

    def others(self) -> Sequence[str]:
        return ()


@dataclass(frozen=True, slots=True)
class Question:
    """What another worker is asked.

    path: as it goes over the line, with its parameters.
    waits: seconds that the other worker may wait on purpose.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    waits: float = 0.0

    @classmethod
    def of(
        cls,
        request: web.Request,
        body: bytes = b"",
        waits: float = 0.0,
        *,
        method: str | None = None,
        url: URL | None = None,
    ) -> "Question":
        """The request itself, but for the body; or what is to be asked to answer it."""
        path = (url or request.rel_url).raw_path_qs
        return cls(method or request.method, path, _asked(request.headers, body), body, waits)


@dataclass(frozen=True, slots=True)
class Answer:
    """What another worker answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def relayed(self) -> web.Response:
        return web.Response(status=self.status, headers=self.headers, body=self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker that was asked, and its answer; None if it could not say."""

    worker: str
    answer: Answer | None


def forwarded(request: web.Request) -> bool:
    return LOCAL in request.headers


class Forwarder:
    """Sends requests on to other workers.

    deadline: seconds that they have to answer. tls: what their certificates are checked with.
    """

    def __init__(self, peers: Peers, deadline: float, tls: ssl.SSLContext | bool = True) -> None:
        self.peers = peers
        self._deadline = deadline
        self._tls = tls
        self._session: aiohttp.ClientSession

    async def running(self, _: web.Application) -> AsyncIterator[None]:
        """Holds the connections while the application runs."""
        # Long polls hold a connection each, so their number is that of the requests here.
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls)
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        ) as self._session:
            yield

    async def send(self, question: Question, worker: str) -> Answer:
        """Ask one worker.

        Raises NotReady if it can't have reached the worker, and WorkerUnreachable if it may have.
        """
        seconds = self._deadline + question.waits
        url = URL(worker.rstrip("/") + question.path, encoded=True)
        try:
            async with self._session.request(
                question.method,
                url,
                data=BytesIO(question.body) if question.body else None,
                headers=question.headers,
                timeout=aiohttp.ClientTimeout(total=seconds, connect=CONNECT),
                allow_redirects=False,
            ) as response:
                headers = {
                    name: response.headers[name] for name in _RELAYED if name in response.headers
                }
                return Answer(response.status, headers, await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise NotReady(what=f"what {worker} owns") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            cause = str(error) or f"no answer within {seconds:g} s"
            raise WorkerUnreachable(url=worker, cause=cause) from None

    @asynccontextmanager
    async def stream(
        self, question: Question, worker: str, silence: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """What one worker answers without an end. silence: seconds after which it counts as lost.

        Raises aiohttp.ClientError and TimeoutError, also while it is read.
        """
        async with self._session.request(
            question.method,
            URL(worker.rstrip("/") + question.path, encoded=True),
            headers=question.headers,
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT, sock_read=silence),
            allow_redirects=False,
        ) as response:
            yield response

    async def first(self, question: Question) -> tuple[Answer | None, list[str]]:
        """The answer of the worker that has what is asked for, and the workers that can't say
        whether they have it."""
        silent: list[str] = []
        tasks = self._ask_others(question)
        try:
            for task in asyncio.as_completed(tasks):
                reply = await task
                if reply.answer is None:
                    silent.append(reply.worker)
                elif reply.answer.status != 404:
                    return reply.answer, []
        finally:
            for pending in tasks:
                pending.cancel()
        return None, sorted(silent)

    async def all(self, question: Question) -> list[Reply]:
        """What each of the others answers."""
        return await asyncio.gather(*self._ask_others(question))

    def _ask_others(self, question: Question) -> list[asyncio.Task[Reply]]:
        return [asyncio.create_task(self._ask(question, worker)) for worker in self.peers.others()]

    async def _ask(self, question: Question, worker: str) -> Reply:
        try:
            answer = await self.send(question, worker)
        except (NotReady, WorkerUnreachable):
            return Reply(worker, None)
        return Reply(worker, None if answer.status in _DOES_NOT_KNOW else answer)


def _asked(headers: Mapping[str, str], body: bytes) -> CIMultiDict[str]:
    """The headers that go along: all but those that are about the connection."""
    named = headers.get(hdrs.CONNECTION, "").lower().split(",")
    left_out = _NOT_ASKED | {name.strip() for name in named}
    asked = CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in left_out
    )
    asked[LOCAL] = "1"
    if body:
        asked[hdrs.CONTENT_TYPE] = "application/json"
    return asked
