"""Triggering and steering, by the client and by whoever can write into the log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamwf import Run, State
from streamwf.errors import (
    DeadlineExceeded,
    InvalidForeignId,
    InvalidObject,
    InvalidQuery,
    NotReady,
    RecordTooLarge,
    RunInProgress,
    RunNotFound,
    TerminalStart,
    TransitionRefused,
    UnknownStatus,
    WorkflowNotFound,
)
from streamwf.operations import Operations
from streamwf.views import Trigger
from tests.embedded.app import (
    CREATED,
    DONE,
    PICKED,
    App,
    Gate,
    Order,
    Orders,
    Status,
    orders,
    running,
)
from tests.support import NOW, eventually

HOUR = timedelta(hours=1)
OrderRun = Run[Order, Status]


def held_at_the_start() -> tuple[Orders, Gate, list[str]]:
    """CREATED waits at a gate; then PICKED, then DONE. And the runs whose step was called."""
    workflow, gate, calls = orders(), Gate(), list[str]()

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        calls.append(run.run_id)
        await gate.wait()
        run.object.n += 1
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    return workflow, gate, calls


def operations(app: App, patience: float = 5.0) -> Operations:
    return Operations(app.host, patience)


# ---- triggers


async def test_trigger_returns_once_the_log_has_it() -> None:
    workflow, gate, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.client.trigger(workflow, "o-1", Order())
        assert app.types(run_id) == ["trigger"]
        gate.open()
        run = await app.client.await_(workflow, run_id)
        assert run.state is State.COMPLETED


async def test_trigger_that_waits_returns_once_it_is_accepted() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.client.trigger(workflow, "o-1", Order(), wait=True)
        assert (await app.get(run_id)).state is State.INITIATED


async def test_a_second_run_is_refused_with_the_id_of_the_one_in_progress() -> None:
    workflow, gate, _ = held_at_the_start()
    async with running(workflow) as app:
        first = await app.start()
        with pytest.raises(RunInProgress) as refused:
            await app.start()
        assert refused.value.run_id == first
        quiet = await app.client.trigger(workflow, "o-1", Order())
        gate.open()
        await app.until(first, state=State.COMPLETED)
        await app.idle()
        with pytest.raises(RunNotFound):
            await app.get(quiet)


async def test_of_many_triggers_at_the_same_instant_one_wins() -> None:
    workflow, _, calls = held_at_the_start()
    async with running(workflow) as app:
        answers = await asyncio.gather(*(app.start() for _ in range(50)), return_exceptions=True)
        [winner] = [answer for answer in answers if isinstance(answer, str)]
        refused = [answer for answer in answers if isinstance(answer, RunInProgress)]
        assert len(refused) == 49
        assert {error.run_id for error in refused} == {winner}
        await eventually(lambda: calls == [winner])


async def test_a_key_makes_a_repeat_harmless() -> None:
    workflow, gate, calls = held_at_the_start()
    async with running(workflow) as app:
        first = await app.start(key="k")
        assert await app.start(key="k") == first
        gate.open()
        await app.until(first, state=State.COMPLETED)
        assert await app.start(key="k") == first, "though it has ended"
        second = await app.start(key="another")
        await app.until(second, state=State.COMPLETED)
        assert await app.start(key="k") == first, "though another has run since"
        assert calls == [first, second]


async def test_the_same_foreign_id_runs_again_once_the_former_run_has_ended() -> None:
    workflow, gate, _ = held_at_the_start()
    gate.open()
    async with running(workflow) as app:
        ids = []
        for n in range(3):
            ids.append(await app.start(order=Order(n=n)))
            await app.until(ids[-1], state=State.COMPLETED)
        assert len(set(ids)) == 3
        assert [(await app.get(run_id)).object.n for run_id in ids] == [1, 2, 3]
        latest = await app.client.latest(workflow, "o-1")
        assert latest is not None
        assert latest.run_id == ids[-1]


async def test_what_a_cancelled_run_still_does_holds_up_nothing_of_the_next() -> None:
    workflow, calls = orders(), list[str]()
    gate = Gate()

    @workflow.step(CREATED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        calls.append(run.run_id)
        if len(calls) == 1:
            await gate.wait()
        run.object.n = len(calls)
        return DONE

    async with running(workflow) as app:
        old = await app.start()
        await eventually(lambda: gate.waiting)
        await app.client.cancel(old)
        new = await app.start()
        await app.until(new, state=State.COMPLETED)
        gate.open()
        await app.idle()
        assert ((await app.get(old)).state, (await app.get(old)).object.n) == (State.CANCELLED, 0)
        assert calls == [old, new]


async def test_a_cancelled_run_that_waited_for_a_runner_never_runs() -> None:
    workflow, gate, calls = orders(), Gate(), list[str]()

    @workflow.step(CREATED, to=DONE, parallel=1)
    async def finish(run: OrderRun) -> Status:
        calls.append(run.run_id)
        await gate.wait()
        return DONE

    async with running(workflow) as app:
        first = await app.start("first")
        await eventually(lambda: gate.waiting)
        old = await app.start("second")
        await app.client.cancel(old)
        new = await app.start("second")
        gate.open()
        await app.until(new, state=State.COMPLETED)
        assert calls == [first, new]


async def test_trigger_at_a_status() -> None:
    workflow, _, calls = held_at_the_start()
    async with running(workflow) as app:
        run = await app.until(await app.start(at=PICKED), state=State.COMPLETED)
        assert (run.version, calls) == (2, [])


async def test_trigger_at_the_end_or_at_no_status() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        for wait in (False, True):
            with pytest.raises(TerminalStart):
                await app.client.trigger(workflow, "o-1", Order(), at=DONE, wait=wait)
        with pytest.raises(UnknownStatus):
            await operations(app).trigger("orders", Trigger(foreign_id="o-1", status="NOPE"))
        assert not app.log.records


@pytest.mark.parametrize("foreign_id", ["", "a\0b", "x" * 501])
async def test_trigger_of_a_foreign_id_that_can_be_no_key(foreign_id: str) -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        with pytest.raises(InvalidForeignId):
            await app.client.trigger(workflow, foreign_id, Order())
        assert not app.log.records


async def test_trigger_with_an_object_that_does_not_fit() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        wrong: Any = {"n": "x"}
        with pytest.raises(InvalidObject) as refused:
            await app.client.trigger(workflow, "o-1", wrong)
        assert refused.value.errors[0]["field"] == "n"
        assert not app.log.records


async def test_trigger_with_an_object_that_is_too_large() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow, max_record_bytes=5_000) as app:
        with pytest.raises(RecordTooLarge, match="the limit is 5000"):
            await app.client.trigger(workflow, "o-1", Order(notes=["x" * 5_000]))
        assert not app.log.records


async def test_a_workflow_that_is_not_here() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        with pytest.raises(WorkflowNotFound, match="No workflow 'others' here; there are: orders"):
            await operations(app).trigger("others", Trigger(foreign_id="o-1"))
        with pytest.raises(WorkflowNotFound):
            await app.client.describe("others")


# ---- a start in the future


async def test_start_at_a_time() -> None:
    workflow, gate, calls = held_at_the_start()
    gate.open()
    async with running(workflow) as app:
        run_id = await app.start(start_at=NOW + HOUR)
        run = await app.get(run_id)
        assert (run.state, run.due_at) == (State.INITIATED, NOW + HOUR)
        app.step(minutes=59, seconds=59.999999)
        await app.idle()
        assert not calls
        app.step(microseconds=1)
        await app.until(run_id, state=State.COMPLETED)


async def test_start_at_a_time_that_has_passed_is_now() -> None:
    workflow, gate, _ = held_at_the_start()
    gate.open()
    async with running(workflow) as app:
        run_id = await app.start(start_at=datetime(1, 1, 1, tzinfo=UTC))
        await app.until(run_id, state=State.COMPLETED)


async def test_start_at_a_time_of_no_time_zone() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        with pytest.raises(InvalidQuery, match="start_at can't be read: it has no time zone"):
            await app.start(start_at=datetime(2030, 1, 1))
        assert not app.log.records


async def test_a_start_in_the_future_can_be_paused_and_resumed_and_cancelled() -> None:
    workflow, _, calls = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start(start_at=NOW + HOUR)
        await app.client.pause(run_id)
        app.step(minutes=30)
        await app.client.resume(run_id)
        assert (await app.get(run_id)).due_at == NOW + HOUR
        await app.client.cancel(run_id)
        app.step(hours=2)
        await app.idle()
        assert not calls


# ---- steering


async def test_pause_of_a_step_in_flight_drops_its_result_and_resume_runs_it_again() -> None:
    workflow, gate, calls = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        await eventually(lambda: gate.waiting)
        paused = await app.client.pause(run_id, "wait a moment")
        assert (paused.state, paused.reason) == (State.PAUSED, "wait a moment")
        gate.open()
        await app.idle()
        run = await app.get(run_id)
        assert (run.state, run.status, run.object.n) == (State.PAUSED, CREATED, 0)
        resumed = await app.client.resume(run_id)
        assert resumed.state is State.RUNNING
        run = await app.until(run_id, state=State.COMPLETED)
        assert (run.object.n, len(calls)) == (1, 2)


async def test_resume_while_the_step_of_before_is_still_running() -> None:
    workflow, gate, calls = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        await eventually(lambda: gate.waiting)
        await app.client.pause(run_id)
        await app.client.resume(run_id)
        await app.host.append("orders", app.events(run_id)[0])
        assert gate.waiting == 1, "one run's step never runs twice side by side"
        gate.open()
        run = await app.until(run_id, state=State.COMPLETED)
        assert (run.object.n, gate.most, len(calls)) == (1, 1, 2)


@pytest.mark.parametrize("ended", [State.COMPLETED, State.CANCELLED])
@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
async def test_what_has_ended_can_not_be_steered(action: str, ended: State) -> None:
    workflow, gate, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        if ended is State.COMPLETED:
            gate.open()
            await app.until(run_id, state=State.COMPLETED)
        else:
            await app.client.cancel(run_id)
        with pytest.raises(TransitionRefused) as refused:
            await getattr(app.client, action)(run_id)
        assert str(refused.value) == f"Can't {action} run {run_id}: it is {ended}."


async def test_only_what_is_paused_is_resumed_and_only_what_runs_is_paused() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        with pytest.raises(TransitionRefused, match="it is INITIATED"):
            await app.client.resume(run_id)
        await app.client.pause(run_id)
        with pytest.raises(TransitionRefused, match="it is PAUSED"):
            await app.client.pause(run_id)
        assert (await app.client.cancel(run_id)).state is State.CANCELLED


async def test_steering_a_former_run_touches_nothing_of_the_next() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        old = await app.start()
        await app.client.cancel(old)
        new = await app.start()
        with pytest.raises(TransitionRefused, match="it is CANCELLED"):
            await app.client.cancel(old)
        assert (await app.get(new)).state is State.INITIATED


async def test_a_run_that_nobody_knows() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        for call in (app.client.pause, app.client.resume, app.client.cancel, app.client.history):
            with pytest.raises(RunNotFound, match="No run 'nope' is known here"):
                await call("nope")
        with pytest.raises(RunNotFound):
            await app.get("nope")
        assert await app.client.latest(workflow, "nobody") is None


async def test_a_keyed_request_counts_once_though_it_is_asked_at_the_same_time() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        asked = operations(app, patience=2.0)
        answers = await asyncio.gather(*(asked.steer("pause", run_id, key="k") for _ in range(5)))
        assert {answer.state for answer in answers} == {State.PAUSED}
        await app.client.resume(run_id)
        again = await asked.steer("pause", run_id, key="k")
        assert again.state is State.RUNNING, "it was asked, and answered, before the resumption"


async def test_a_reason_that_no_record_has_room_for() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow, max_record_bytes=5_000) as app:
        run_id = await app.start()
        with pytest.raises(RecordTooLarge, match="The reason has"):
            await app.client.pause(run_id, "x" * 5_000)


async def test_nobody_answers() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        [shard] = app.host.shards("orders")
        shard.fold = lambda records: None
        with pytest.raises(DeadlineExceeded) as late:
            await operations(app, patience=0.05).steer("pause", run_id)
        assert late.value.logged
        del shard.fold


async def test_a_stop_answers_those_who_wait() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        waiting = asyncio.create_task(app.client.await_(workflow, run_id))
        [shard] = app.host.shards("orders")
        await eventually(lambda: shard.waiting._watchers)
        await app.host.stop(grace=0)
        with pytest.raises(NotReady):
            await waiting


# ---- what others write into the log


async def test_the_shortest_trigger_that_kcat_can_write() -> None:
    workflow, gate, _ = held_at_the_start()
    gate.open()
    async with running(workflow) as app:
        app.append({"type": "trigger", "subject": "o-1", "data": {"n": 4}})
        run = await eventually(lambda: app.client.latest(workflow, "o-1"))
        assert run is not None
        done = await app.client.await_(workflow, run.run_id)
        assert (done.status, done.object.n) == (DONE, 5)
        history = await app.client.history(run.run_id)
        assert [event.type for event in history.events] == ["trigger", "moved", "moved"]


async def test_steering_that_kcat_can_write() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        for kind, state in [
            ("pause", State.PAUSED),
            ("resume", State.RUNNING),
            ("cancel", State.CANCELLED),
        ]:
            app.append({"type": kind, "subject": "o-1", "reason": f"{kind} by hand"})
            run = await app.until(run_id, state=state)
            assert run.reason == f"{kind} by hand"


POISON: list[tuple[bytes | dict[str, Any] | None, str]] = [
    (None, "the record is empty"),
    (b"", "the record is empty"),
    (b"hello", "it is not JSON"),
    (b"\xff\xfe\x00", "it is not JSON"),
    (b'{"type":"trigger","subject":"o-\xff"}', "it is not JSON"),
    (b'{"type":"trigger","subject":"o","data":"\xff"}', "it is not UTF-8"),
    (b"[]", "it is not an event"),
    ({"type": "trigger"}, "missing required field `subject`"),
    ({"type": "explode", "subject": "o"}, "there is no event type 'explode'"),
    ({"type": "moved", "subject": "o"}, "it is not an event"),
    ({"type": "trigger", "subject": ""}, "A foreign id has 1 to 500 characters"),
    ({"type": "trigger", "subject": "a\x00b"}, "A foreign id has 1 to 500 characters"),
    ({"type": "trigger", "subject": "o", "source": "/elsewhere"}, "its source '/elsewhere'"),
    ({"type": "trigger", "subject": "o", "time": "yesterday"}, "it is not an event"),
    (b'{"type":"trigger","subject":"o","data":"' + b"x" * 1_000_000 + b'"}', "has 1000"),
]


async def test_poison_goes_to_the_dead_letters_with_its_reason_and_the_rest_goes_on() -> None:
    workflow, gate, _ = held_at_the_start()
    gate.open()
    async with running(workflow) as app:
        offsets = []
        for n, (value, _) in enumerate(POISON):
            offsets.append(app.append(value, key=b"k"))
            app.append({"type": "trigger", "subject": f"good-{n}", "data": {}})
        await eventually(lambda: len(app.log.dead_letters) == len(POISON))
        for (aside, reason), offset, (value, expected) in zip(
            app.log.dead_letters, offsets, POISON, strict=True
        ):
            assert (aside.position, aside.key) == (str(offset), b"k")
            assert expected in reason
            if isinstance(value, bytes):
                assert aside.value == value
        for n in range(len(POISON)):
            run = await eventually(lambda n=n: app.client.latest(workflow, f"good-{n}"))
            await app.client.await_(workflow, run.run_id)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"data": {"n": "x"}}, "n: Input should be a valid integer"),
        ({"data": None}, "object: Input should be"),
        ({}, "object: Input should be"),
        ({"status": "NOPE", "data": {}}, "has no status 'NOPE'"),
        ({"status": "DONE", "data": {}}, "can't start at 'DONE'"),
    ],
)
async def test_a_trigger_that_does_not_fit_the_definition(wrong: dict[str, Any], says: str) -> None:
    workflow, gate, calls = held_at_the_start()
    async with running(workflow) as app:
        app.append({"type": "trigger", "subject": "o-1", "runid": "run-1", **wrong})
        await eventually(lambda: app.log.dead_letters)
        [(aside, reason)] = app.log.dead_letters
        assert (aside.key, aside.position) == (b"o-1", "0")
        assert says in reason
        view = await operations(app).get("run-1")
        assert (view.state, view.object) == (State.CANCELLED, wrong.get("data"))
        assert says in view.reason
        assert not calls
        # The foreign id is free again, and the letter can be sent as it is once it was mended.
        gate.open()
        again = aside.value.replace(b'"NOPE"', b'""').replace(b'"DONE"', b'""')
        again = again.replace(b'"x"', b"7").replace(b":null", b":{}")
        app.append(again)
        run = await eventually(lambda: finished(app))
        assert run.run_id != "run-1"
        app.append(again)
        await app.idle()
        assert len(calls) == 1, "twice is once"


async def finished(app: App) -> Any:
    run = await app.client.find()
    return next((view for view in run.runs if view.state is State.COMPLETED), None)


async def test_a_result_that_somebody_made_up_changes_nothing_it_does_not_fit() -> None:
    workflow, _, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        made_up = {
            "specversion": "1.0",
            "id": "x",
            "source": "/workflows/orders",
            "type": "moved",
            "subject": "o-1",
            "time": "2030-01-01T00:00:00Z",
            "runid": run_id,
            "status": "DONE",
        }
        for version in (0, 2, 9):
            app.append({**made_up, "version": version})
        app.append({**made_up, "version": 1, "runid": "another"})
        app.append({**made_up, "version": 1, "timers": "nag=never"})
        await eventually(lambda: app.log.dead_letters)
        assert (await app.get(run_id)).version == 1


async def test_offsets_of_a_run_lead_to_its_history_whatever_lies_between() -> None:
    workflow, gate, _ = held_at_the_start()
    async with running(workflow) as app:
        run_id = await app.start()
        app.append(b"poison")
        await app.start("o-2")
        gate.open()
        await app.until(run_id, state=State.COMPLETED)
        history = await app.client.history(run_id)
        assert [event.type for event in history.events] == ["trigger", "moved", "moved"]
        assert [event.version for event in history.events] == [1, 2, 3]
