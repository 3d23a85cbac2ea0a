"""Server-sent events: what any worker tells of all, and how streams end and go on."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streamwf import watching
from streamwf.adapters import sse
from streamwf.adapters.web import Server, serve
from streamwf.errors import TooManyWatchers
from streamwf.moves import Places, place_of, read_place
from streamwf.ports import ShardId
from streamwf.views import Trigger
from tests.support import eventually
from tests.web.crew import Crew, Member
from tests.web.harness import Order, Status, Worker, orders, running

SOON = 60.0
EVENTS = "/api/v1/events"


class Stream:
    """What one who watches has been told."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.messages = sse.messages(response.content)
        self.place: str | None = None
        self._begun: list[sse.Message] = []

    async def begin(self) -> None:
        """Until something has come, be it only the place."""
        async with asyncio.timeout(SOON):
            message = await anext(self.messages)
        self._begun = [message]
        self.place = message.id

    async def message(self) -> tuple[str, Any]:
        """The next one with data. Raises StopAsyncIteration at the end."""
        async with asyncio.timeout(SOON):
            while True:
                message = self._begun.pop() if self._begun else await anext(self.messages)
                self.place = message.id or self.place
                if message.data:
                    return message.event, json.loads(message.data)

    async def runs(self, count: int) -> list[tuple[str, int]]:
        """The foreign ids and versions of the next moves."""
        found = []
        while len(found) < count:
            event, data = await self.message()
            if event == "run":
                found.append((data["foreign_id"], data["version"]))
        return found

    async def until(self, wanted: str) -> Any:
        while True:
            event, data = await self.message()
            if event == wanted:
                return data


@asynccontextmanager
async def stream(worker: Worker | Member, asked: str = "", **headers: str) -> AsyncIterator[Stream]:
    """A stream that has begun: all that happens from now on is told."""
    async with worker.session.get(f"{worker.url}{EVENTS}{asked}", headers=headers) as response:
        assert response.status == 200, await response.text()
        begun = Stream(response)
        await begun.begin()
        yield begun


async def test_a_move_as_it_goes_over_the_line(worker: Worker) -> None:
    async with stream(worker) as watching:
        run_id = await worker.trigger("o-1", 7, start_at="2099-01-01T00:00:00Z")
        event, move = await watching.message()
    assert watching.response.content_type == "text/event-stream"
    assert watching.response.headers["Cache-Control"] == "no-store"
    assert event == "run"
    at = move.pop("at")
    assert at.endswith("Z")
    assert move == {
        "workflow": "orders",
        "foreign_id": "o-1",
        "run_id": run_id,
        "version": 1,
        "status": "CREATED",
        "state": "INITIATED",
        "previous": "",
        "type": "trigger",
    }


async def test_nothing_that_runs_carry_is_told(worker: Worker) -> None:
    async with stream(worker) as watching:
        await worker.post(
            "/api/v1/workflows/refunds/runs",
            {"foreign_id": "r-1", "object": {"customer": "a-secret"}},
        )
        told = [json.dumps(await watching.message()) for _ in range(2)]
    assert "a-secret" not in "".join(told)


async def test_a_stream_goes_on_where_another_has_ended(worker: Worker) -> None:
    async with stream(worker) as watching:
        await worker.trigger("o-1")
        assert await watching.runs(2) == [("o-1", 1), ("o-1", 2)]
        place = watching.place
    assert place is not None
    await worker.trigger("o-2")
    for asked, headers in (("", {"Last-Event-ID": place}), (f"?last_event_id={place}", {})):
        async with stream(worker, asked, **headers) as again:
            assert await again.runs(2) == [("o-2", 1), ("o-2", 2)]


async def test_a_browser_that_comes_again_says_so_in_the_header(worker: Worker) -> None:
    beginning = place_of({ShardId("orders", 0): 0})
    await worker.reached(await worker.trigger("o-1"), "PICKED")
    async with stream(worker) as watching:
        now = watching.place
        assert now is not None
    run_id = await worker.trigger("o-2", start_at="2099-01-01T00:00:00Z")
    client = worker.client()
    asked = f"?last_event_id={beginning}&foreign_id_prefix=o-"
    async with stream(worker, asked, **{"Last-Event-ID": now}) as watching:
        await client.cancel(run_id)
        assert await watching.runs(2) == [("o-2", 1), ("o-2", 2)]
    await client.close()


HOSTILE = [
    ("?nonsense=1", 422),
    ("?workflow=none", 404),
    ("?state=DREAMING", 422),
    ("?foreign_id=%01", 422),
    ("?foreign_id=", 422),
    ("?workflow=orders&workflow=orders", 422),
    ("?foreign_id_prefix=" + "x" * 501, 422),
    ("?run_id=" + "x" * 501, 422),
    ("?" + "&".join(["status=A"] * 21), 422),
    ("?last_event_id=!!!", 422),
    ("?last_event_id=gaVnYXRlcw", 422),
    ("?last_event_id=" + "A" * 6_000, 422),
]


@pytest.mark.parametrize(("asked", "status"), HOSTILE)
async def test_what_can_not_be_asked_is_refused(worker: Worker, asked: str, status: int) -> None:
    reply = await worker.get(EVENTS + asked)
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert not worker.host.broadcast.heard


async def test_a_header_that_is_no_place(worker: Worker) -> None:
    known = place_of({ShardId("orders", 0): 1}) or ""
    bad = [f"{known}~{but}" for but in ("1.5", "0.-1", "0", "0.1.2", "x.y", f"0.{2**64}")]
    for value in ("x", "A" * 100, "%00", "=" * 50, "~0.1", *bad):
        reply = await worker.get(EVENTS, headers={"Last-Event-ID": value})
        assert reply.status == 422, value
    huge = place_of({ShardId("orders", 0): 2**62})
    async with stream(worker, **{"Last-Event-ID": huge or ""}):
        pass
    assert (await worker.get("/healthz")).status == 200
    assert (await worker.ask("HEAD", EVENTS)).status == 405


async def test_a_worker_tells_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMWF_WATCHERS", "2")
    async with running() as worker:
        async with stream(worker), stream(worker):
            reply = await worker.get(EVENTS)
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
            assert reply.json["type"].endswith(TooManyWatchers.__name__)
        await eventually(lambda: not worker.host.broadcast.heard)
        async with stream(worker):
            pass


async def test_of_a_hundred_the_slow_one_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ROOM", 2_000)
    async with running() as worker, asyncio.TaskGroup() as group:
        worker.gate.set()
        send_little(worker.server)
        reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        head = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer.write(f"GET {EVENTS} {head}".encode())
        quick = [asyncio.Event() for _ in range(99)]

        async def read(begun: asyncio.Event) -> list[tuple[str, int]]:
            async with stream(worker, "?foreign_id_prefix=quick-") as watching:
                begun.set()
                return await watching.runs(30)

        others = [group.create_task(read(begun)) for begun in quick]
        for begun in quick:
            await begun.wait()
        await eventually(lambda: len(worker.host.broadcast._inboxes) == 100)
        names = [f"quick-{n}" if n % 150 == 0 else f"o-{n}" for n in range(1_500)]
        for name in names:
            await worker.operations.append_trigger(
                "orders", Trigger(foreign_id=name, object={"price": 1})
            )
        for other in others:
            moves = await other
            assert sorted(moves) == sorted(
                (f"quick-{n}", v) for n in range(0, 1_500, 150) for v in (1, 2, 3)
            )

        # It was told so, and where it was: from there nothing is lost.
        await eventually(lambda: not worker.host.broadcast.heard)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(SOON):
            slow = [message async for message in sse.messages(reader)]
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        assert [message.event for message in slow if message.data][-1] == "dropped"
        moves = [json.loads(message.data) for message in slow if message.event == "run"]
        heard = [(move["foreign_id"], move["version"]) for move in moves]
        place = [message.id for message in slow if message.id][-1]
        every = {(name, version) for name in names for version in (1, 2, 3)}
        assert len(heard) < len(every)
        async with stream(worker, **{"Last-Event-ID": place or ""}) as again:
            rest = await again.runs(len(every) - len(heard))
        assert {*heard, *rest} == every


def send_little(server: Server) -> None:
    """What the system keeps for those who do not read is little."""
    for listening in server._listener.sockets:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)


async def test_a_client_hears_over_http_with_the_workflows_types(crew: Crew) -> None:
    a, b = crew.members
    workflow = orders(asyncio.Event())
    async with a.client() as client, b.client() as other:
        moves = client.watch(workflow, status=Status.PICKED)
        begun = asyncio.ensure_future(first(moves, 8))
        await both_hear(crew)
        ids = [await other.trigger(workflow, f"o-{n}", Order(price=3)) for n in range(8)]
        found = await begun
        assert {move.run_id for move in found} == set(ids)
        assert {(m.status, m.previous) for m in found} == {(Status.PICKED, Status.CREATED)}


async def first(moves: AsyncGenerator[Any, None], count: int) -> list[Any]:
    found = []
    async with asyncio.timeout(SOON), aclosing(moves):
        async for move in moves:
            found.append(move)
            if len(found) == count:
                break
    return found


@pytest.fixture
async def crew(tmp_path: Path) -> AsyncIterator[Crew]:
    """Two workers that share the shards, whose runs wait at PICKED."""
    async with Crew(tmp_path, lambda: orders(asyncio.Event())) as crew:
        await crew.join()
        await crew.settled(*crew.members)
        await crew.join()
        await crew.settled(*crew.members)
        yield crew


async def both_hear(crew: Crew) -> None:
    """Until each worker of the crew listens to all shards that it has."""

    def heard() -> bool:
        return all(
            any(len(box.following) == len(member.shards) for box in member.host.broadcast._inboxes)
            for member in crew.members
        )

    await eventually(heard)


async def test_any_worker_tells_of_all(crew: Crew) -> None:
    names = [f"o-{number}" for number in range(12)]
    a, b = crew.members
    async with stream(a) as at_a, stream(b) as at_b, a.client() as client:
        await both_hear(crew)
        for name in names:
            await client.trigger(crew.workflow, name, Order(price=1))
        for watching in (at_a, at_b):
            moves = await watching.runs(24)
            assert sorted(moves) == sorted((name, v) for name in names for v in (1, 2))


async def test_others_are_asked_with_the_same_filters(crew: Crew) -> None:
    a, b = crew.members
    async with stream(a, "?workflow=orders&status=PICKED&foreign_id_prefix=b-") as watching:
        await both_hear(crew)
        async with b.client() as client:
            for number in range(20):
                name = f"{'ab'[number % 2]}-{number}"
                await client.trigger(crew.workflow, name, Order(price=1))
        assert sorted(await watching.runs(10)) == sorted((f"b-{n}", 2) for n in range(1, 20, 2))


async def test_when_a_worker_leaves_and_others_come_nothing_is_lost(crew: Crew) -> None:
    a, b = crew.members
    heard: list[tuple[str, int]] = []
    async with a.client() as client, stream(a) as watching:

        async def listen() -> None:
            while True:
                heard.extend(await watching.runs(1))

        listening = asyncio.ensure_future(listen())
        await both_hear(crew)
        begun = 0

        async def trigger(count: int) -> None:
            nonlocal begun
            for number in range(begun, begun + count):
                await client.trigger(crew.workflow, f"o-{number}", Order(price=1), wait=False)
            begun += count

        await trigger(40)
        await b.stop()
        await trigger(40)
        await crew.settled(a)
        await trigger(40)
        c = await crew.join()
        await trigger(40)
        await crew.settled(a, c)
        await trigger(40)
        wanted = {(f"o-{n}", v) for n in range(begun) for v in (1, 2)}
        await eventually(lambda: set(heard) >= wanted, within=SOON)
        listening.cancel()
        assert len(heard) == len(set(heard))


async def test_a_worker_that_begins_too_late_is_asked_again_from_where_all_was_told(
    crew: Crew,
) -> None:
    a, b = crew.members
    shard = min(b.shards)
    asked: list[int] = []

    async def late(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        asked.append(read_place(request.headers["Last-Event-ID"])[ShardId("orders", shard)])
        begin = 7 if len(asked) == 1 else 0
        told = json.dumps({"shards": {"orders": {shard: begin}}})
        await response.write(f"event: shards\ndata: {told}\n\n".encode())
        move = {**MOVE, "foreign_id": f"after-{begin}"}
        place = place_of({ShardId("orders", shard): 9})
        await response.write(f"id: {place}\nevent: run\ndata: {json.dumps(move)}\n\n".encode())
        await ended.wait()
        return response

    ended, app = asyncio.Event(), web.Application()
    app.router.add_get(EVENTS, late)
    server = await serve(app, "127.0.0.1", 0)
    async with stream(a) as watching:
        await both_hear(crew)
        crew.hide(b, server.url)
        assert await watching.runs(1) == [("after-0", 1)]
        assert asked == [0, 0]
    ended.set()
    await server.stop()


MOVE = {
    "workflow": "orders",
    "run_id": "run-1",
    "version": 1,
    "status": "CREATED",
    "state": "INITIATED",
    "previous": "",
    "type": "trigger",
    "at": "2026-01-01T00:00:00Z",
}


async def test_what_a_worker_has_told_nobody_is_told_by_the_next(crew: Crew) -> None:
    a, b = crew.members
    c = await crew.join()
    await crew.settled(a, b, c)
    async with stream(c) as watching, b.client() as client:
        await both_hear(crew)
        crew.hide(b)
        assert await watching.until("missing") == {"shards": {"orders": sorted(b.shards)}}
        names = [f"o-{number}" for number in range(16)]
        for name in names:
            await client.trigger(crew.workflow, name, Order(price=1), wait=False)
        told = sum(crew.shard_of(name) in b.shards for name in names)
        assert told
        heard = await watching.runs(2 * (len(names) - told))
        await asyncio.gather(*(moved_on(b, name) for name in names))
        # Its shards go to the one that has waited for longest, with rows that know all that.
        await b.stop()
        await crew.settled(a, c)
        heard += await watching.runs(2 * told)
        assert sorted(heard) == sorted((name, v) for name in names for v in (1, 2))


async def moved_on(member: Member, name: str) -> None:
    """Until a run that this worker has, if it has it, is at PICKED."""

    def picked() -> bool:
        shard = member.host.shard_of("orders", name)
        run = shard.latest(name) if shard else None
        return shard is None or (run is not None and run.version == 2)

    await eventually(picked)


async def test_a_shard_that_nobody_has_is_told_to_be_missing(crew: Crew) -> None:
    a, b = crew.members
    theirs = sorted(b.shards)
    async with stream(a) as watching:
        await both_hear(crew)
        crew.hide(b)
        assert await watching.until("missing") == {"shards": {"orders": theirs}}
        async with b.client() as client:
            names = [f"o-{number}" for number in range(8)]
            for name in names:
                await client.trigger(crew.workflow, name, Order(price=1), wait=False)
        crew.show(b)
        moves = await watching.runs(16)
        assert sorted(moves) == sorted((name, v) for name in names for v in (1, 2))
        assert await watching.until("missing") == {"shards": {}}


async def test_a_stream_goes_on_after_a_worker_was_started_again(crew: Crew) -> None:
    a, b = crew.members
    async with a.client() as client:
        async with stream(b) as watching:
            await both_hear(crew)
            await client.trigger(crew.workflow, "o-0", Order(price=1))
            await watching.runs(2)
            place = watching.place
        await b.stop()
        for number in range(1, 9):
            await client.trigger(crew.workflow, f"o-{number}", Order(price=1), wait=False)
        c = await crew.join(b.server.port)
        async with stream(c, **{"Last-Event-ID": place or ""}) as again:
            moves = await again.runs(16)
            assert sorted(moves) == [(f"o-{n}", v) for n in range(1, 9) for v in (1, 2)]


async def test_a_stop_ends_the_streams() -> None:
    async with running() as worker, stream(worker) as watching:
        await worker.server.stop()
        with pytest.raises(StopAsyncIteration):
            await watching.message()


async def test_who_goes_away_leaves_nothing_behind(crew: Crew) -> None:
    async with stream(crew.members[0]):
        await both_hear(crew)
    await eventually(lambda: not any(member.host.broadcast.heard for member in crew.members))


def test_places() -> None:
    positions = {ShardId("orders", n): n * 1_000_003 for n in range(16)}
    place = place_of(positions)
    assert place is not None
    assert len(place) < 200
    assert read_place(place) == positions
    one = ShardId("orders", 3)
    assert read_place(Places(positions, one).at(7) or "") == {**positions, one: 7}
    assert place_of({ShardId("orders", n): 2**40 for n in range(5_000)}) is None
