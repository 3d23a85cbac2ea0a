"""Workers that serve the web application over embedded hosts, and stand-ins for broken ones."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import BaseModel

from streamwf import Client, Run, Skip, Workflow
from streamwf.adapters.web import Access, NoPeers, Peers, Server, application, serve
from streamwf.adapters.web.guarding import LOCAL_ONLY
from streamwf.embedded import EmbeddedHost
from streamwf.errors import NotReady
from streamwf.operations import Operations
from streamwf.pacing import Breaker
from streamwf.shard import Shard

LIMIT = 10_000


class Order(BaseModel):
    price: int
    note: str = ""


class Status(Enum):
    CREATED = 1
    PICKED = 2
    SHIPPED = 3
    LOST = 4


def orders(gate: asyncio.Event) -> Workflow[Order, Status]:
    """Its runs go on to PICKED, and from there to SHIPPED once the gate is open."""
    workflow = Workflow("orders", Order, Status)

    @workflow.step(Status.CREATED, to=Status.PICKED)
    async def pick(run: Run[Order, Status]) -> Status:
        return Status.PICKED

    @workflow.step(Status.PICKED, to=[Status.SHIPPED, Status.LOST])
    async def ship(run: Run[Order, Status]) -> Status:
        await gate.wait()
        return Status.SHIPPED

    return workflow


def refunds() -> Workflow[dict[str, Any], Status]:
    """Its runs stay where they begin."""
    search = ("customer", "address.city")
    workflow: Workflow[dict[str, Any], Status] = Workflow("refunds", dict, Status, search=search)

    @workflow.step(
        Status.CREATED, to=Status.SHIPPED, breaker=Breaker(), lag_alert=timedelta(hours=1)
    )
    async def wait(run: Run[dict[str, Any], Status]) -> Skip:
        return Skip()

    return workflow


@dataclass
class Reply:
    """An answer as a client sees it."""

    status: int
    headers: Any
    body: bytes
    json: Any


@dataclass
class Worker:
    """A host in this process that serves the web. reason: why it is not ready."""

    host: EmbeddedHost
    operations: Operations
    gate: asyncio.Event
    server: Server
    session: aiohttp.ClientSession
    why: list[str]
    app: web.Application

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def workflow(self) -> Workflow[Order, Status]:
        return self.host.workflows["orders"]

    @property
    def shard(self) -> Shard:
        return next(iter(self.host.shards("orders")))

    def client(self) -> Client:
        return Client.over_http(self.url)

    async def ask(self, method: str, path: str, **options: Any) -> Reply:
        async with self.session.request(
            method, self.url + path, allow_redirects=False, **options
        ) as response:
            # A stream of events has no end.
            streams = response.content_type == "text/event-stream"
            body = b"" if streams else await response.read()
            is_json = response.content_type in ("application/json", "application/problem+json")
            content = await response.json(content_type=None) if is_json and body else None
            return Reply(response.status, response.headers, body, content)

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, content: Any = None, **options: Any) -> Reply:
        if content is not None:
            options["json"] = content
        return await self.ask("POST", path, **options)

    async def trigger(self, foreign_id: str, price: int = 1, **more: Any) -> str:
        """The id of a run that is accepted."""
        reply = await self.post(
            "/api/v1/workflows/orders/runs",
            {"foreign_id": foreign_id, "object": {"price": price}, **more},
        )
        assert reply.status == 201, reply.body
        run_id: str = reply.json["run_id"]
        return run_id

    async def reached(self, run_id: str, status: str) -> Reply:
        return await self.get(f"/api/v1/runs/{run_id}/await?status={status}&timeout=30")


@asynccontextmanager
async def running(
    peers: Peers | None = None,
    *,
    patience: float = 5.0,
    deadline: float = 5.0,
    declare: Callable[[Workflow[Order, Status]], None] = lambda workflow: None,
    access: Access = LOCAL_ONLY,
) -> AsyncIterator[Worker]:
    """declare: what else the workflow `orders` has."""
    async with AsyncExitStack() as stack:
        gate, why = asyncio.Event(), list[str]()
        workflow = orders(gate)
        declare(workflow)
        host = EmbeddedHost(workflow, refunds(), max_record_bytes=LIMIT)
        operations = Operations(host, patience=patience)
        await host.start()
        stack.push_async_callback(host.stop, 0)
        app = application(
            operations,
            peers or NoPeers(),
            lambda: why[0] if why else None,
            deadline=deadline,
            access=access,
        )
        server = await serve(app, "127.0.0.1", 0, access.tls)
        stack.push_async_callback(server.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Worker(host, operations, gate, server, session, why, app)


@dataclass
class SplitPeers:
    """Foreign ids belong to the worker whose letter they begin with, `unknown` ones to nobody.

    letter: of the worker that asks.
    """

    letter: str
    urls: dict[str, str] = field(default_factory=dict)

    def owner(self, workflow: str, foreign_id: str) -> str | None:
        letter = foreign_id[0]
        if letter not in self.urls:
            raise NotReady(what=f"the shard of {foreign_id!r}")
        return None if letter == self.letter else self.urls[letter]

    def others(self) -> list[str]:
        return [url for letter, url in self.urls.items() if letter != self.letter]


@dataclass
class Pair:
    """Two workers: `a` owns the foreign ids that begin with a, `b` those with b."""

    a: Worker
    b: Worker
    urls: dict[str, str]


@asynccontextmanager
async def two_workers(
    deadline: float = 5.0,
    declare: Callable[[Workflow[Order, Status]], None] = lambda workflow: None,
    access: Access = LOCAL_ONLY,
) -> AsyncIterator[Pair]:
    urls: dict[str, str] = {}
    async with (
        running(SplitPeers("a", urls), deadline=deadline, declare=declare, access=access) as a,
        running(SplitPeers("b", urls), deadline=deadline, declare=declare, access=access) as b,
    ):
        urls |= {"a": a.url, "b": b.url}
        yield Pair(a, b, urls)


@asynccontextmanager
async def answering(
    answer: Callable[[web.Request], web.Response],
) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A server that answers everything in one way: its URL, and what it was asked."""
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        asked.append(request)
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    server = await serve(app, "127.0.0.1", 0)
    try:
        yield server.url, asked
    finally:
        await server.stop()


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The URL of a server that accepts connections and never answers."""
    connections = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in connections:
            writer.close()


async def nowhere() -> str:
    """A URL where nothing listens."""
    async with silent() as url:
        pass
    return url
