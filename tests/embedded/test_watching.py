"""Watching runs: each move is told as it happens, and what was missed is told again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from enum import Enum
from typing import Any

import pytest

from streamwf import Client, Retry, Run, Skip, State, Workflow, embedded, retelling
from streamwf.broadcast import Broadcast
from streamwf.embedded import EmbeddedHost
from streamwf.errors import (
    InvalidForeignId,
    InvalidQuery,
    MovesLost,
    RunInProgress,
    TransitionRefused,
)
from streamwf.gateway import LocalGateway
from streamwf.moves import Gap, Missing, Watched, place_of, read_place
from streamwf.operations import Operations
from streamwf.ports import ShardId
from streamwf.watch_client import RunMove
from tests.support import eventually

SOON = 20.0


class Step(Enum):
    NEW = 1
    OPEN = 2
    SHUT = 3
    BROKEN = 4


Moves = list[RunMove[Step]]


def gates(name: str = "gates") -> Workflow[dict[str, Any], Step]:
    """Its runs go on to OPEN, wait there to be shut, and fail twice if they are to."""
    workflow: Workflow[dict[str, Any], Step] = Workflow(name, dict, Step)
    fast = Retry(initial=timedelta(milliseconds=1))

    @workflow.step(Step.NEW, to=[Step.OPEN, Step.BROKEN], retry=fast)
    async def begin(run: Run[dict[str, Any], Step]) -> Step:
        if run.object.get("fails", 0) >= run.attempt:
            raise ValueError("not yet")
        return Step.OPEN

    @workflow.step(Step.OPEN, to=Step.SHUT)
    async def wait(run: Run[dict[str, Any], Step]) -> Skip:
        return Skip()

    @workflow.callback(Step.OPEN, to=Step.SHUT)
    async def shut(run: Run[dict[str, Any], Step], payload: str) -> Step:
        return Step.SHUT

    @workflow.on_pause
    async def paused(run: Run[dict[str, Any], Step]) -> None:
        """It is an event of the run, too."""

    return workflow


async def first(moves: AsyncIterator[RunMove[Step]], count: int) -> Moves:
    found = []
    async with asyncio.timeout(SOON):
        async for move in moves:
            found.append(move)
            if len(found) == count:
                break
    return found


def told(move: RunMove[Step]) -> tuple[Any, ...]:
    return move.foreign_id, move.version, move.type, move.previous, move.status, move.state


async def watched(client: Client, workflow: Any) -> str:
    """The place from which all that happens from now on is told."""
    async with aclosing(client._gateway.watch(Watched(workflow=workflow.name), None)) as tidings:
        place = (await anext(tidings)).place
        assert place is not None
        return place


async def test_every_move_is_told_as_it_happens() -> None:
    workflow = gates()
    async with embedded(workflow) as app, aclosing(app.client.watch(workflow)) as moves:
        begun = asyncio.ensure_future(first(moves, 5))
        await eventually(lambda: app.host.broadcast.heard)
        run_id = await app.client.trigger(workflow, "g-1", {})
        await app.client.await_(workflow, run_id, Step.OPEN)
        await eventually(lambda: len(app.host.logs["gates"].records) == 3)
        await app.client.pause(run_id)
        found = await begun
    assert [told(move) for move in found[:4]] == [
        ("g-1", 1, "trigger", None, Step.NEW, State.INITIATED),
        ("g-1", 2, "moved", Step.NEW, Step.OPEN, State.RUNNING),
        ("g-1", 3, "skipped", Step.OPEN, Step.OPEN, State.RUNNING),
        ("g-1", 4, "pause", Step.OPEN, Step.OPEN, State.PAUSED),
    ]
    assert {move.run_id for move in found} == {run_id}
    assert found[1].at.tzinfo is not None


async def lively(client: Client, workflow: Workflow[dict[str, Any], Step]) -> None:
    """Runs that see a bit of everything, two of them of the same foreign id."""
    for number in range(6):
        run_id = await client.trigger(workflow, f"g-{number}", {"fails": number % 3})
        await client.await_(workflow, run_id, Step.OPEN)
        if number % 2:
            await client.pause(run_id)
            await client.resume(run_id)
        with pytest.raises(RunInProgress):
            await client.trigger(workflow, f"g-{number}", {}, wait=True)
        if number % 3 == 0:
            await client.cancel(run_id)
            with pytest.raises(TransitionRefused):
                await client.pause(run_id)
            await client.delete_data(run_id)
            again = await client.trigger(workflow, f"g-{number}", {})
            await client.await_(workflow, again, Step.OPEN)
        await client.callback(workflow, "shut", "now", foreign_id=f"g-{number}")


async def test_what_was_missed_is_told_again_as_it_was() -> None:
    workflow = gates()
    async with embedded(workflow, gates("others")) as app:
        begin = await watched(app.client, workflow)
        heard: Moves = []

        async def listen() -> None:
            async for move in app.client.watch(workflow):
                heard.append(move)

        listening = asyncio.ensure_future(listen())
        await eventually(lambda: app.host.broadcast.heard)
        await lively(app.client, workflow)
        await app.client.trigger(app.host.workflows["others"], "o-1", {})
        log = app.host.logs["gates"].records

        def all_heard() -> bool:
            [shard] = app.host.shards("gates")
            return shard.position == len(log) and len(heard) > 30 and not shard.dispatcher.running

        await eventually(all_heard)
        await asyncio.sleep(0)
        again = await first(app.client.watch(workflow, after=begin), len(heard))
        assert [(*told(m), m.at, m.run_id, read_place(m.place or "")) for m in again] == [
            (*told(m), m.at, m.run_id, read_place(m.place or "")) for m in heard
        ]
        # From any place on, what comes after it, once.
        for number in range(0, len(heard) - 1, 7):
            rest = await first(
                app.client.watch(workflow, after=heard[number].place), len(heard) - number - 1
            )
            assert list(map(told, rest)) == list(map(told, heard[number + 1 :]))
        listening.cancel()


async def test_a_host_that_goes_on_from_the_same_log_tells_what_came_in_between() -> None:
    workflow = gates()
    async with embedded(workflow) as app:
        begin = await watched(app.client, workflow)
        await lively(app.client, workflow)
        logs = app.host.logs
    host = EmbeddedHost(workflow, logs=logs)
    await host.start()
    try:
        client = Client(LocalGateway(Operations(host)))
        found = await first(client.watch(workflow, after=begin), 20)
        assert told(found[0]) == ("g-0", 1, "trigger", None, Step.NEW, State.INITIATED)
    finally:
        await host.stop(0)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"foreign_id": "a-1"}, {"a-1"}),
        ({"prefix": "a-"}, {"a-1", "a-2"}),
        ({"status": Step.OPEN}, {"a-1", "a-2", "b-1"}),
        ({"status": [Step.NEW, Step.SHUT]}, {"a-1", "a-2", "b-1"}),
        ({"state": State.PAUSED}, {"a-2"}),
        ({"state": [State.PAUSED, State.CANCELLED]}, {"a-2"}),
    ],
)
async def test_filters(asked: dict[str, Any], expected: set[str]) -> None:
    workflow = gates()
    async with embedded(workflow) as app:
        begin = await watched(app.client, workflow)
        for foreign_id in ("a-1", "a-2", "b-1"):
            run_id = await app.client.trigger(workflow, foreign_id, {})
            await app.client.await_(workflow, run_id, Step.OPEN)
            if foreign_id == "a-2":
                await app.client.pause(run_id)
        end = await app.client.trigger(workflow, "a-1-end", {}, wait=True)
        found: Moves = []
        async with asyncio.timeout(SOON):
            async for move in app.client.watch(workflow, after=begin, **asked):
                if move.run_id == end:
                    break
                found.append(move)
                if {each.foreign_id for each in found} == expected:
                    break
        assert {move.foreign_id for move in found} == expected
        wanted = asked.get("state", found[0].state)
        assert found[0].state in (wanted if isinstance(wanted, list) else [wanted])


async def test_by_run_id() -> None:
    workflow = gates()
    async with embedded(workflow) as app:
        begin = await watched(app.client, workflow)
        await app.client.trigger(workflow, "g-1", {}, wait=True)
        wanted = await app.client.trigger(workflow, "g-2", {}, wait=True)
        found = await first(app.client.watch(workflow, after=begin, run_id=wanted), 2)
        assert {move.run_id for move in found} == {wanted}


async def test_what_is_too_long_ago_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retelling, "FARTHEST", 5)
    workflow = gates()
    async with embedded(workflow) as app:
        begin = await watched(app.client, workflow)
        for number in range(4):
            run_id = await app.client.trigger(workflow, f"g-{number}", {})
            await app.client.await_(workflow, run_id, Step.OPEN)
        await eventually(lambda: len(app.host.logs["gates"].records) == 12)
        with pytest.raises(MovesLost, match="offsets 0 to 7 of shard 0 of 'gates'"):
            await first(app.client.watch(workflow, after=begin), 1)

        notices: list[Gap | Missing] = []
        moves = app.client.watch(workflow, after=begin, notice=notices.append)
        found = await first(moves, 5)
        assert [(gap.begin, gap.end) for gap in notices if isinstance(gap, Gap)] == [(0, 7)]
        assert [told(move)[:3] for move in found][-1] == ("g-3", 3, "skipped")


async def test_a_run_of_too_many_events_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamwf.fold.MAX_OFFSETS", 4)
    workflow = gates()
    async with embedded(workflow) as app:
        begin = await watched(app.client, workflow)
        busy = await app.client.trigger(workflow, "busy", {})
        await app.client.await_(workflow, busy, Step.OPEN)
        for _ in range(3):
            await app.client.pause(busy)
            await app.client.resume(busy)
        await app.client.trigger(workflow, "calm", {}, wait=True)
        notices: list[Gap | Missing] = []
        moves = app.client.watch(workflow, after=begin, notice=notices.append)
        found = await first(moves, 1)
        assert found[0].foreign_id == "calm"
        assert f"run {busy} has had too many events" in str(notices[0])


@pytest.mark.parametrize("place", ["!", "AAAA", "é", "gaVnYXRlc4EA_w", "x" * 8_000])
async def test_a_place_that_is_none(place: str) -> None:
    workflow = gates()
    async with embedded(workflow) as app:
        with pytest.raises(InvalidQuery, match="no event has such an id"):
            await first(app.client.watch(workflow, after=place), 1)


async def test_a_place_beyond_the_end_of_the_log_is_a_gap() -> None:
    workflow = gates()
    async with embedded(workflow) as app:
        place = place_of({ShardId("gates", 0): 10**15, ShardId("gates", 99): 1})
        notices: list[Gap | Missing] = []
        moves = app.client.watch(workflow, after=place, notice=notices.append)
        begun = asyncio.ensure_future(first(moves, 1))
        await eventually(lambda: bool(notices))
        await app.client.trigger(workflow, "g-1", {})
        assert (await begun)[0].foreign_id == "g-1"
        assert "the log ends before it" in str(notices[0])


async def test_what_can_not_be_asked() -> None:
    workflow = gates()
    async with embedded(workflow) as app:
        with pytest.raises(InvalidForeignId):
            await first(app.client.watch(workflow, foreign_id="\n"), 1)
        with pytest.raises(InvalidQuery):
            await first(app.client.watch(workflow, prefix="x" * 600), 1)


async def test_what_a_shard_folded_elsewhere_in_between_is_read_back() -> None:
    workflow = gates()
    async with embedded(workflow) as app:
        [shard] = app.host.shards("gates")
        async with aclosing(app.client.watch(workflow)) as moves:
            begun = asyncio.ensure_future(first(moves, 6))
            await eventually(lambda: app.host.broadcast.heard)
            # As if another worker had it for a moment, of which this watch hears nothing.
            here, shard._broadcast = shard._broadcast, Broadcast()
            await app.client.trigger(workflow, "g-1", {})
            await eventually(lambda: shard.position == 3)
            shard._broadcast = here
            await app.client.trigger(workflow, "g-2", {})
            found = await begun
        expected = [(name, version) for name in ("g-1", "g-2") for version in (1, 2, 3)]
        assert [told(move)[:2] for move in found] == expected


async def test_of_a_shard_that_comes_later_all_is_told_since_it_was_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workflow = gates()
    async with embedded(workflow) as app:
        with monkeypatch.context() as nothing_yet:
            nothing_yet.setattr(app.host, "shards", lambda name: [])
            begun = asyncio.ensure_future(first(app.client.watch(workflow), 3))
            await eventually(lambda: app.host.broadcast.heard)
            app.host.logs["gates"].append(b"g-1", TRIGGERED, 0)
            [shard] = app.host._shards.values()
            await eventually(lambda: shard.position == 3)
        assert [told(move)[:2] for move in await begun] == [("g-1", n) for n in (1, 2, 3)]


TRIGGERED = b'{"type": "trigger", "subject": "g-1", "data": {}}'
