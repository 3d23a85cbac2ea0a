"""For exactly once, a shard hands out no result that is sure to be refused."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from enum import Enum
from typing import Any

import msgspec
import pytest

from streamwf import Run, Workflow
from streamwf.events import CALLBACK, MOVED, STARTED, TRIGGER, Event
from streamwf.shard import Append
from tests.support import WORKFLOW, settle
from tests.unit.living import Living, living

Status = Enum("Status", "CREATED SLOW LATE")
HOUR = timedelta(hours=1)


class Gate:
    """Where the step waits until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def workflow(gate: Gate) -> Workflow[Any, Any]:
    workflow = Workflow(WORKFLOW, dict[str, int], Status)

    @workflow.step(Status.CREATED, to=Status.SLOW)
    async def slow(run: Run[dict[str, int], Status]) -> Status:
        await gate.open.wait()
        return Status.SLOW

    @workflow.timeout(Status.CREATED, after=HOUR, to=Status.LATE)
    async def late(run: Run[dict[str, int], Status]) -> Status:
        return Status.LATE

    return workflow


@pytest.fixture
async def live(workflow: Workflow[Any, Any]) -> AsyncIterator[Living]:
    async with living(workflow, once=True) as live:
        live.ask(TRIGGER, "t-1", "run-1")
        live.shard.fold(live.log)
        await settle()
        assert [event.type for event in taken(live)] == [STARTED]
        live.shard.fold(live.log[1:])
        await settle()
        live.clock.step(HOUR)
        live.shard.scan_agenda(live.clock.now())
        live.shard.tick(live.clock.now())
        await settle()
        yield live


def taken(live: Living) -> list[Event]:
    """What the shard hands out, as it is appended to the log."""
    before = len(live.log)
    live.take()
    return [msgspec.json.decode(entry.value or b"", type=Event) for entry in live.log[before:]]


async def test_of_what_ends_while_another_result_is_on_its_way(live: Living, gate: Gate) -> None:
    [moved] = taken(live)
    assert (moved.type, moved.timer != "", moved.version) == (MOVED, True, 2)
    gate.open.set()
    await settle()
    assert taken(live) == [], "the first is still on its way"
    live.shard.fold(live.log[2:])
    await settle()
    assert taken(live) == [], "it has counted, so this one can't"
    run = live.run("run-1")
    assert run is not None
    assert run.status == "LATE"


async def test_of_what_ends_after_the_run_has_moved_on(live: Living, gate: Gate) -> None:
    assert len(taken(live)) == 1
    live.shard.fold(live.log[2:])
    gate.open.set()
    await settle()
    assert taken(live) == []


async def test_what_has_waited_goes_if_the_first_was_refused(live: Living, gate: Gate) -> None:
    gate.open.set()
    await settle()
    [first] = live.shard.take_appends()
    refused = msgspec.json.decode(first.value, type=Event)
    refused = msgspec.structs.replace(refused, timer="none")
    live.append(refused)
    live.shard.fold(live.log[2:])
    await settle()
    [moved] = taken(live)
    assert (moved.status, moved.timer) == ("SLOW", "")
    assert isinstance(first, Append)


async def test_each_callback_that_nobody_came_for_leaves_its_mailbox(
    workflow: Workflow[Any, Any],
) -> None:
    async with living(workflow, once=True) as live:
        for number in (1, 2):
            until = live.clock.now() + number * HOUR
            live.ask(CALLBACK, f"c-{number}", call="told", until=until)
        await live.pump()
        for left in (1, 0):
            live.clock.step(HOUR)
            await live.pump()
            assert len(live.shard.rows.mailboxes) == (left > 0)
