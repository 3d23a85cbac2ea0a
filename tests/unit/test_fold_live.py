"""A shard that is live: what is still to be done for runs that have ended, whatever comes after."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Repeat, Run, Workflow
from streamwf.events import CANCEL, DELETE, TRIGGER, Event
from streamwf.record import MAILBOX, NOTHING, Record, State, row_key
from tests.support import WORKFLOW, LogEntry, eventually
from tests.unit.living import Living, living
from tests.unit.sample import Order, Status

DAY = timedelta(days=1)


class Flow:
    """A workflow of one step, whose hooks tell that they have run."""

    def __init__(self, **options: Any) -> None:
        self.hooks: list[tuple[str, str]] = []
        self.failing = False
        self.workflow = workflow = Workflow("orders", Order, Status, **options)

        @workflow.step(Status.CREATED, to=Status.DONE)
        async def finish(run: Run[Order, Status]) -> Status:
            return Status.DONE

        @workflow.on_complete
        async def completed(run: Run[Order, Status]) -> None:
            self._tell("complete", run)

        @workflow.on_data_deleted
        async def deleted(run: Run[Order, Status]) -> None:
            self._tell("data_deleted", run)

    def _tell(self, hook: str, run: Run[Order, Status]) -> None:
        if self.failing:
            raise RuntimeError("not now")
        self.hooks.append((hook, run.run_id))


async def test_a_hook_that_waits_for_a_runner_runs_though_the_next_run_has_come() -> None:
    flow = Flow()
    async with living(flow.workflow) as life:
        life.ask(TRIGGER, "t-1", "run-1")
        await life.pump()
        assert flow.hooks == [("complete", "run-1")]
        flow.hooks.clear()
        life.ask(TRIGGER, "t-2", "run-2")
        life.may_start = False
        life.append(completes("run-2", life))
        await life.pump()
        life.ask(TRIGGER, "t-3", "run-3")
        await life.pump()
        life.may_start = True
        await life.pump()
        assert ("complete", "run-2") in flow.hooks
        run = life.run("run-2")
        assert run is not None
        assert run.hooks == ()


def completes(run_id: str, life: Living) -> Event:
    """The result that another worker has appended."""
    return Event(
        specversion="1.0",
        id=f"{run_id}-1",
        source=f"/workflows/{WORKFLOW}",
        type="moved",
        subject="o-1",
        time=life.clock.now(),
        runid=run_id,
        version=1,
        status="DONE",
        state=State.COMPLETED,
    )


@pytest.mark.parametrize("checkpoints", [True, False])
async def test_a_hook_that_failed_is_tried_again_though_the_next_run_has_come(
    checkpoints: bool,
) -> None:
    flow = Flow()
    async with living(flow.workflow) as life:
        flow.failing = True
        life.ask(TRIGGER, "t-1", "run-1")
        await life.pump()
        life.ask(TRIGGER, "t-2", "run-2")
        await life.pump()
        if checkpoints:
            life.checkpoint()
        await life.crash()
        flow.failing = False
        life.clock.step(timedelta(minutes=10))
        await life.pump()
        assert sorted(flow.hooks) == [("complete", "run-1"), ("complete", "run-2")]


async def test_each_hook_has_a_key_of_its_own_and_each_try_of_it_the_same() -> None:
    workflow: Workflow[Order, Status] = Workflow("orders", Order, Status, start=Status.CREATED)
    keys: list[str] = []

    @workflow.callback(Status.CREATED, to=Status.DONE)
    async def signed(run: Run[Order, Status], payload: bytes) -> Status:
        return Status.DONE

    @workflow.on_pause
    async def paused(run: Run[Order, Status]) -> None:
        keys.append(run.idempotency_key)
        if len(keys) == 1:
            raise RuntimeError("not now")

    async with living(workflow) as life:
        life.ask(TRIGGER, "t-1", "run-1")
        for n in range(2):
            life.ask("pause", f"p-{n}")
            await life.pump()
            life.clock.step(timedelta(minutes=1))
            life.ask("resume", f"r-{n}")
            await life.pump()
        assert len(keys) == 3
        assert keys[0] == keys[1] != keys[2]


async def test_a_hook_that_runs_for_long_runs_once_whatever_becomes_of_the_run() -> None:
    workflow: Workflow[Order, Status] = Workflow("orders", Order, Status, start=Status.CREATED)
    gate, keys = asyncio.Event(), list[str]()

    @workflow.callback(Status.CREATED, to=Status.DONE)
    async def signed(run: Run[Order, Status], payload: bytes) -> Status:
        return Status.DONE

    @workflow.on_pause
    async def paused(run: Run[Order, Status]) -> None:
        keys.append(run.idempotency_key)
        await gate.wait()

    async with living(workflow) as life:
        life.ask(TRIGGER, "t-1", "run-1")
        for n in range(3):
            life.ask("pause", f"p-{n}")
            await life.pump()
            life.ask("resume", f"r-{n}")
            await life.pump()
        run = life.run("run-1")
        assert run is not None
        assert (len(keys), len(run.hooks)) == (1, 3)
        gate.set()
        await life.pump()
        run = life.run("run-1")
        assert run is not None
        assert (len(set(keys)), len(keys), run.hooks) == (3, 3, ())


async def test_a_hook_that_fails_leaves_the_next_one_its_turn() -> None:
    workflow: Workflow[Order, Status] = Workflow("orders", Order, Status, start=Status.CREATED)
    keys = list[str]()

    @workflow.callback(Status.CREATED, to=Status.DONE)
    async def signed(run: Run[Order, Status], payload: bytes) -> Status:
        return Status.DONE

    @workflow.on_pause
    async def paused(run: Run[Order, Status]) -> None:
        keys.append(run.idempotency_key)
        if run.idempotency_key == keys[0]:
            raise RuntimeError("never")

    async with living(workflow) as life:
        life.ask(TRIGGER, "t-1", "run-1")
        for n in range(3):
            life.ask("pause", f"p-{n}")
            life.ask("resume", f"r-{n}")
        await life.pump()
        run = life.run("run-1")
        assert run is not None
        assert len(keys) == len(set(keys)) == 3
        assert [hook.attempt for hook in run.hooks] == [1]


async def test_each_round_of_a_timeout_has_a_key_of_its_own_and_each_try_of_it_the_same() -> None:
    workflow: Workflow[Order, Status] = Workflow("orders", Order, Status, start=Status.CREATED)
    keys: list[str] = []

    @workflow.timeout(Status.CREATED, after=DAY, to=Status.DONE)
    async def nag(run: Run[Order, Status]) -> Repeat:
        keys.append(run.idempotency_key)
        if len(keys) in (1, 3):
            raise RuntimeError("not now")
        return Repeat(after=DAY)

    async with living(workflow) as life:
        life.ask(TRIGGER, "t-1", "run-1")
        await life.pump()
        for _ in range(4):
            life.clock.step(DAY)
            await life.pump()
        assert len(keys) == 4
        assert keys[0] == keys[1] != keys[2] == keys[3]


async def test_runs_are_forgotten_one_by_one_and_never_before_their_hooks_have_run() -> None:
    flow = Flow(retention=timedelta(0))
    async with living(flow.workflow) as life:
        flow.failing = True
        life.ask(TRIGGER, "t-1", "run-1")
        await life.pump()
        flow.failing = False
        life.ask(TRIGGER, "t-2", "run-2")
        await life.pump()
        assert flow.hooks == [("complete", "run-2")]
        assert life.run("run-2") is None, "it is the latest, and nothing is to be done for it"
        assert life.run("run-1") is not None
        life.checkpoint()
        await life.crash()
        assert life.run("run-1") is not None
        life.clock.step(timedelta(minutes=10))
        await life.pump()
        assert flow.hooks == [("complete", "run-2"), ("complete", "run-1")]
        assert life.run("run-1") is None
        life.checkpoint()
        assert list(life.shard.scan("")) == []


@pytest.mark.parametrize("retention", [None, timedelta(0), DAY])
async def test_the_data_of_an_earlier_run_are_deleted(retention: timedelta | None) -> None:
    flow = Flow(retention=retention)
    async with living(flow.workflow) as life:
        life.ask(TRIGGER, "t-1", "run-1")
        life.append(completes("run-1", life))
        life.ask(TRIGGER, "t-2", "run-2")
        life.ask(DELETE, "d-1", "run-1")
        await life.pump()
        assert ("data_deleted", "run-1") in flow.hooks
        run, later = life.run("run-1"), life.run("run-2")
        if retention == timedelta(0):
            assert (run, later) == (None, None)
            return
        assert run is not None
        assert later is not None
        assert (run.state, run.object, run.hooks) == (State.DATA_DELETED, NOTHING, ())
        assert later.state is State.COMPLETED
        assert bytes(later.object) == b'{"n":1}'
        if retention is not None:
            life.clock.step(DAY + timedelta(seconds=3))
            await life.pump()
            assert list(life.shard.scan("")) == []


async def test_a_hook_that_fails_holds_up_neither_the_deletion_nor_the_end_of_a_run() -> None:
    flow = Flow(retention=timedelta(0))
    async with living(flow.workflow) as life:
        flow.failing = True
        life.ask(TRIGGER, "t-1", "run-1")
        life.ask(DELETE, "d-1", "run-1")
        await life.pump()
        life.ask(DELETE, "d-2", "run-1")
        await life.pump()
        run = life.run("run-1")
        assert run is not None
        assert (run.state, run.object) == (State.DATA_DELETED, NOTHING)
        assert {(hook.on, hook.attempt) for hook in run.hooks} == {
            ("complete", 1),
            ("data_deleted", 1),
        }
        life.clock.step(timedelta(minutes=10))
        await life.pump()
        run = life.run("run-1")
        assert run is not None
        assert [(hook.on, hook.attempt) for hook in run.hooks] == [("data_deleted", 2)]
        flow.failing = False
        life.clock.step(timedelta(minutes=10))
        await life.pump()
        assert flow.hooks == [("data_deleted", "run-1")]
        assert life.run("run-1") is None


async def test_a_run_whose_data_are_to_be_deleted_is_forgotten_after_that() -> None:
    flow = Flow(retention=DAY)
    async with living(flow.workflow) as life:
        life.ask(TRIGGER, "t-1", "run-1")
        await life.pump()
        life.clock.step(DAY)
        life.ask(DELETE, "d-1", "run-1")
        life.shard.fold(life.log[life.shard.position :])
        await life.pump()
        assert flow.hooks == [("complete", "run-1"), ("data_deleted", "run-1")]
        run = life.run("run-1")
        assert run is not None
        assert run.forget_at == life.clock.now() + DAY


async def test_a_run_that_was_forgotten_may_be_asked_for_again() -> None:
    flow = Flow(retention=timedelta(0))
    async with living(flow.workflow) as life:
        for n in range(3):
            life.ask(TRIGGER, f"t-{n}", "run-1")
            await life.pump()
        assert flow.hooks == [("complete", "run-1")] * 3


# ---- mailboxes


class Waits:
    """A workflow that waits for a callback, and says how many have come."""

    def __init__(self) -> None:
        self.came: list[tuple[str, str]] = []
        self.workflow = workflow = Workflow("orders", Order, Status, start=Status.CREATED)

        @workflow.callback(Status.CREATED, to=Status.DONE, name="signed", payload=str)
        async def signed(run: Run[Order, Status], by: str) -> Status:
            self.came.append((run.run_id, by))
            return Status.DONE


def mailbox(life: Living) -> Record | None:
    return life.shard.rows.get(row_key(MAILBOX, "o-1"))


async def test_what_came_before_its_run_goes_to_one_run_alone() -> None:
    flow = Waits()
    async with living(flow.workflow) as life:
        until = life.clock.now() + DAY
        life.ask("callback", "c-1", call="signed", until=until, data=b'"ann"')
        await life.pump()
        assert mailbox(life) is not None
        life.ask(TRIGGER, "t-1", "run-1")
        life.ask(CANCEL, "x-1", "run-1")
        life.ask(TRIGGER, "t-2", "run-2")
        await life.pump()
        assert mailbox(life) is None
        run = life.run("run-2")
        assert run is not None
        assert run.calls == ()
        assert flow.came == [], "the run that it was for is gone"


async def test_what_came_after_a_run_has_ended_waits_for_the_next() -> None:
    flow = Waits()
    async with living(flow.workflow) as life:
        until = life.clock.now() + DAY
        life.ask(TRIGGER, "t-1", "run-1")
        life.ask(CANCEL, "x-1", "run-1")
        life.ask("callback", "c-1", call="signed", until=until, data=b'"ann"')
        life.ask("callback", "c-2", "run-1", call="signed", until=until, data=b'"bob"')
        await life.pump()
        life.checkpoint()
        await life.crash()
        kept = mailbox(life)
        assert kept is not None
        assert [call.id for call in kept.calls] == ["c-1"]
        life.ask(TRIGGER, "t-2", "run-2")
        await life.pump()
        assert flow.came == [("run-2", "ann")]
        assert mailbox(life) is None


async def test_what_was_handed_on_before_a_crash_is_not_handed_on_to_another_run() -> None:
    flow = Waits()
    async with living(flow.workflow) as life:
        until = life.clock.now() + DAY
        life.ask("callback", "c-1", call="signed", until=until, data=b'"ann"')
        await life.pump()
        life.checkpoint()
        life.ask(TRIGGER, "t-1", "run-1")
        await life.pump()
        assert flow.came == [("run-1", "ann")]
        life.ask(TRIGGER, "t-2", "run-2")
        await life.pump()
        await life.crash()
        await life.pump()
        assert flow.came == [("run-1", "ann")]
        run = life.run("run-2")
        assert run is not None
        assert run.state in (State.INITIATED, State.RUNNING)


async def test_what_nobody_came_for_is_buried_when_it_has_waited_for_too_long() -> None:
    flow = Waits()
    async with living(flow.workflow) as life:
        now = life.clock.now()
        for n in (1, 2):
            life.ask("callback", f"c-{n}", call="signed", until=now + n * DAY, data=b'"ann"')
        await life.pump()
        life.clock.step(DAY)
        await life.pump()
        assert [aside.reason for aside in life.buried] == ["no run that waits for it came in time"]
        kept = mailbox(life)
        assert kept is not None
        assert [call.id for call in kept.calls] == ["c-2"]
        life.checkpoint()
        await life.crash()
        life.clock.step(DAY)
        await life.pump()
        assert len(life.buried) == 2
        assert mailbox(life) is None


# ---- rejections


async def test_a_run_that_is_rejected_is_buried_though_the_shard_was_lost_before_it_could() -> None:
    flow = Flow()
    async with living(flow.workflow) as life:
        life.ask(TRIGGER, "t-1", "run-1", parent="")
        event = life.log.pop()
        bad = event.value.replace(b'{"n":1}', b'{"n":"x"}') if event.value else None
        life.log.append(LogEntry(0, event.key, bad))
        await eventually(lambda: rejected(life))
        await life.crash()
        life.take()
        assert [aside.offset for aside in life.buried] == [0]


async def rejected(life: Living) -> bool:
    """The result is in the log, and no shard has folded it."""
    life.shard.fold(life.log[life.shard.position :])
    await asyncio.sleep(0)
    for append in life.shard.take_appends():
        life.log.append(LogEntry(len(life.log), append.key, append.value))
        return True
    return False
