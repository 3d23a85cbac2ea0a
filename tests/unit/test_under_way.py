"""How much a live shard has under way: what has begun is moved on before more is begun."""

from enum import Enum
from typing import Any

import pytest

from streamwf import Run, Workflow
from streamwf import shard as shards
from streamwf.events import PAUSE, TRIGGER, request
from streamwf.record import State
from streamwf.shard import MAX_UNFOLDED, STILL
from tests.support import WORKFLOW, settle
from tests.unit.living import Living, living

Status = Enum("Status", "CREATED PICKED DONE")
RUNS = 2 * MAX_UNFOLDED + 200


@pytest.fixture
def ran() -> list[Status]:
    """The statuses whose steps have run, in their order."""
    return []


@pytest.fixture
def workflow(ran: list[Status]) -> Workflow[Any, Any]:
    workflow = Workflow(WORKFLOW, dict[str, int], Status)

    @workflow.step(Status.CREATED, to=Status.PICKED)
    async def pick(run: Run[dict[str, int], Status]) -> Status:
        ran.append(run.status)
        return Status.PICKED

    @workflow.step(Status.PICKED, to=Status.DONE)
    async def finish(run: Run[dict[str, int], Status]) -> Status:
        ran.append(run.status)
        return Status.DONE

    return workflow


async def begun(live: Living) -> None:
    """Many runs are triggered at once, and as many steps have run as may."""
    for number in range(RUNS):
        event = request(
            WORKFLOW,
            TRIGGER,
            f"o-{number}",
            live.clock.now(),
            event_id=f"t-{number}",
            runid=f"run-{number}",
            status="CREATED",
            data=b"{}",
        )
        live.append(event)
    live.shard.fold(live.log)
    await settle(50)


async def test_results_are_awaited_before_more_is_begun(
    workflow: Workflow[Any, Any], ran: list[Status]
) -> None:
    async with living(workflow) as live:
        await begun(live)
        assert len(ran) == MAX_UNFOLDED
        live.take()
        await settle(50)
        assert len(ran) == MAX_UNFOLDED, "appended is not folded"
        for rounds in (2, 3):
            live.shard.fold(live.log[live.shard.position :])
            await settle(50)
            assert len(ran) == rounds * MAX_UNFOLDED
            live.take()


async def test_what_has_begun_is_moved_on_first(
    workflow: Workflow[Any, Any], ran: list[Status]
) -> None:
    async with living(workflow) as live:
        await begun(live)
        live.take()
        live.shard.fold(live.log[live.shard.position :])
        await settle(50)
        begins = ran[MAX_UNFOLDED : 2 * MAX_UNFOLDED].count(Status.CREATED)
        assert begins <= MAX_UNFOLDED // 2
        await live.pump()
        assert len(ran) == 2 * RUNS


async def test_what_the_log_has_lost_is_not_awaited(
    workflow: Workflow[Any, Any], ran: list[Status]
) -> None:
    async with living(workflow) as live:
        await begun(live)
        assert len(live.shard.take_appends()) == MAX_UNFOLDED
        for _ in range(STILL + 1):
            live.shard.tick(live.clock.now())
        await settle(50)
        assert len(ran) == 2 * MAX_UNFOLDED


async def test_what_has_no_room_waits_in_the_table(
    workflow: Workflow[Any, Any], ran: list[Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MAX_QUEUED", 100)
    async with living(workflow) as live:
        live.may_start = False
        await begun(live)
        assert (live.shard.position, live.shard.dispatcher.queued) == (RUNS, 100)
        for _ in range(10):
            live.checkpoint()
            live.shard.scan_agenda(live.clock.now())
            live.shard.tick(live.clock.now())
            assert live.shard.dispatcher.queued == 100
        # What can't begin can be steered.
        live.append(
            request(WORKFLOW, PAUSE, f"o-{RUNS - 1}", live.clock.now(), event_id="p", reason="wait")
        )
        live.shard.fold(live.log[live.shard.position :])
        paused = live.run(f"run-{RUNS - 1}")
        assert paused is not None
        assert paused.state is State.PAUSED
        live.may_start = True
        await live.pump()
        assert len(ran) == 2 * (RUNS - 1)
