"""Schedules: which slots are fired, each once, whatever happens to workers, clocks and code."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from streamwf import Pause, Run, State, Workflow
from streamwf.embedded import MemoryLog
from streamwf.errors import (
    InvalidCron,
    InvalidDefinition,
    InvalidForeignId,
    InvalidObject,
    InvalidQuery,
    ScheduleDeclared,
    ScheduleNotDeclared,
    ScheduleNotFound,
    ScheduleRefused,
    SlotFailed,
    TerminalStart,
)
from streamwf.schedule_views import ScheduleView
from streamwf.testing import Engine, SteppedClock, engine
from tests.embedded.app import DONE as ORDER_DONE
from tests.embedded.app import Order, orders, running
from tests.embedded.app import Status as OrderStatus

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

BERLIN = "Europe/Berlin"


class Status(Enum):
    CREATED = 1
    SENT = 2
    DONE = 3


class Report(BaseModel):
    day: str = ""
    stays: bool = False


Reports = Workflow[Report, Status]
Made = Callable[[datetime], Report | None]


def reports(made: Made | None = None, **schedule: Any) -> Reports:
    """A workflow whose runs end at once, or pause if they are told to stay."""
    workflow = Workflow("reports", Report, Status)

    @workflow.step(Status.CREATED, to=Status.SENT)
    async def write(run: Run[Report, Status]) -> Status | Pause:
        return Pause() if run.object.stays else Status.SENT

    @workflow.step(Status.SENT, to=Status.DONE)
    async def send(run: Run[Report, Status]) -> Status:
        return Status.DONE

    if schedule:
        options = {"foreign_id": "report", **schedule}
        cron = options.pop("cron")
        workflow.schedule("nightly", cron, **options)(made or dated)
    return workflow


def dated(slot: datetime) -> Report:
    return Report(day=f"{slot:%Y-%m-%d %H:%M %Z}")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def clock_at(text: str) -> SteppedClock:
    return SteppedClock(at(text))


async def started(app: Engine, workflow: Reports, **asked: Any) -> list[str]:
    """When runs were started, in UTC."""
    await app.settle()
    runs = [run async for run in app.client.list(workflow, order="created", **asked)]
    return [f"{run.created_at:%d %H:%M}" for run in runs]


async def days(app: Engine, workflow: Reports) -> list[str]:
    """What the runs carry, in the order in which they were started."""
    await app.settle()
    return [run.object.day async for run in app.client.list(workflow, order="created")]


async def nightly(app: Engine, workflow: Reports) -> ScheduleView:
    await app.settle()
    return await app.client.get_schedule(workflow, "nightly")


@asynccontextmanager
async def after_a_stop(former: Engine, workflow: Reports, down: timedelta) -> AsyncIterator[Engine]:
    """An engine that goes on after nobody worked for so long."""
    clock = SteppedClock(former.clock.now() + down)
    async with engine(workflow, clock=clock, former=former) as app:
        yield app


# ---- slots


async def test_a_run_is_started_at_each_slot() -> None:
    workflow = reports(cron="0 3 * * *", timezone=BERLIN)
    async with engine(workflow) as app:
        await app.advance(3 * DAY)
        assert await started(app, workflow) == ["01 02:00", "02 02:00", "03 02:00"]
        runs = [run async for run in app.client.list(workflow)]
        assert {run.foreign_id for run in runs} == {"report"}
        assert {run.state for run in runs} == {State.COMPLETED}
        # The function is given the slot as the clock on the wall of its zone shows it.
        assert (await days(app, workflow))[0] == "2030-01-01 03:00 CET"


async def test_a_schedule_is_told_with_its_last_and_next_slots() -> None:
    workflow = reports(cron="@every 6h", catch_up=3, overlap="start")
    async with engine(workflow) as app:
        await app.advance(7 * HOUR)
        view = await nightly(app, workflow)
        assert [view] == await app.client.schedules(workflow)
    assert (view.workflow, view.name, view.state) == ("reports", "nightly", State.RUNNING)
    assert (view.cron, view.timezone, view.foreign_id) == ("@every 6h", "UTC", "report")
    assert (view.status, view.overlap, view.catch_up) == ("CREATED", "start", 3)
    assert (view.declared, view.object, view.error, view.reason) == (True, None, None, "")
    assert view.last_slot == at("2030-01-01T06:00")
    assert view.next_slots[:2] == [at("2030-01-01T12:00"), at("2030-01-01T18:00")]
    assert len(view.next_slots) == 5


async def test_its_history_tells_each_slot_and_a_runs_tells_the_schedule() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as app:
        await app.advance(2 * HOUR)
        view = await nightly(app, workflow)
        history = await app.client.history(view.run_id)
        [_, run] = [run async for run in app.client.list(workflow, order="created")]
        [trigger, *_] = (await app.client.history(run.run_id)).events
    assert [event.type for event in history.events] == ["trigger", "repeated"] + 2 * ["repeated"]
    assert [event.object.get("position") for event in history.events] == [
        None,
        *("2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z", "2030-01-01T02:00:00Z"),
    ]
    assert trigger.reason == "schedule nightly, slot 2030-01-01T02:00:00Z"


async def test_a_plain_function_runs_in_a_thread_and_an_async_one_on_the_loop() -> None:
    workflow = reports()

    @workflow.schedule("plain", "@hourly")
    def plain(slot: datetime) -> Report:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return Report(day="plain")

    @workflow.schedule("async", "@hourly", at=Status.SENT)
    async def on_the_loop(slot: datetime) -> Report:
        await asyncio.sleep(0)
        return Report(day="async")

    async with engine(workflow) as app:
        await app.advance(HOUR)
        runs = {run.foreign_id: run.object.day async for run in app.client.list(workflow)}
        assert runs == {"plain": "plain", "async": "async"}
        sent = await app.client.latest(workflow, "async")
        assert sent is not None
        [first, *_] = (await app.client.history(sent.run_id)).events
        assert first.status == "SENT"


async def test_a_slot_for_which_the_function_returns_none_is_left_out() -> None:
    workflow = reports(lambda slot: dated(slot) if slot.weekday() < 5 else None, cron="0 3 * * *")
    async with engine(workflow) as app:  # 1 January 2030 is a Tuesday
        await app.advance(7 * DAY)
        days_started = [day[:2] for day in await started(app, workflow)]
        assert days_started == ["01", "02", "03", "04", "07"]
        await app.advance(5 * DAY)
        assert (await nightly(app, workflow)).last_slot == at("2030-01-11T03:00")


async def test_a_daily_slot_that_is_skipped_when_clocks_go_forward_is_fired_after_the_gap() -> None:
    workflow = reports(cron="30 2 * * *", timezone=BERLIN)
    async with engine(workflow, clock=clock_at("2030-03-29T12:00")) as app:
        await app.advance(4 * DAY)
        assert await started(app, workflow) == ["30 01:30", "31 01:00", "01 00:30", "02 00:30"]


async def test_a_daily_slot_that_is_repeated_when_clocks_go_back_is_fired_once() -> None:
    workflow = reports(cron="30 2 * * *", timezone=BERLIN)
    async with engine(workflow, clock=clock_at("2030-10-25T12:00")) as app:
        await app.advance(4 * DAY)
        assert await started(app, workflow) == ["26 00:30", "27 00:30", "28 01:30", "29 01:30"]


@pytest.mark.parametrize("day", ["2030-03-30T20:00", "2030-10-26T20:00"])
async def test_every_real_hour_has_its_slot_when_clocks_change(day: str) -> None:
    workflow = reports(cron="0 * * * *", timezone=BERLIN)
    async with engine(workflow, clock=clock_at(day)) as app:
        await app.advance(12 * HOUR)
        runs = [run.created_at async for run in app.client.list(workflow, order="created")]
        assert runs == [at(day) + n * HOUR for n in range(1, 13)]


async def test_a_cron_that_never_fires_is_seen_as_such_and_does_nothing() -> None:
    workflow = reports(cron="0 0 30 2 *")
    async with engine(workflow) as app:
        await app.settle()
        length = len(app.host.logs["reports"].records)
        await app.advance(1_000 * DAY)
        view = await nightly(app, workflow)
        assert (view.state, view.next_slots, view.due_at) == (State.RUNNING, [], None)
        assert len(app.host.logs["reports"].records) == length
        assert await started(app, workflow) == []


async def test_no_slot_is_fired_twice_when_the_clock_is_set_back() -> None:
    workflow = orders()
    slots: list[datetime] = []

    @workflow.step(OrderStatus.CREATED, to=ORDER_DONE)
    async def end(run: Run[Order, OrderStatus]) -> OrderStatus:
        return ORDER_DONE

    @workflow.schedule("hourly", "@hourly", foreign_id="o", overlap="start")
    async def made(slot: datetime) -> Order:
        slots.append(slot)
        return Order()

    async with running(workflow) as app:
        await app.idle()
        for hours in (1, 1, -1, 0.5, 0.5, 0.5, 0.5):
            app.step(hours=hours)
            await app.idle()
        runs = [run.foreign_id async for run in app.client.list(workflow)]
    # It began at 03:04 and went to 05:04, back to 04:04, and on to 06:04.
    assert runs == [f"o@2030-01-02T{hour:02}:00:00Z" for hour in (4, 5, 6)]
    assert len(slots) == 3


# ---- overlap


async def test_a_slot_is_left_out_while_the_run_before_is_in_progress() -> None:
    workflow = reports(lambda slot: Report(stays=slot.hour == 1), cron="@hourly")
    async with engine(workflow) as app:
        await app.advance(3 * HOUR)
        assert await started(app, workflow) == ["01 01:00"]
        [run] = [run async for run in app.client.list(workflow)]
        await app.client.cancel(run.run_id)
        await app.advance(2 * HOUR)
        assert await started(app, workflow) == ["01 01:00", "01 04:00", "01 05:00"]


async def test_with_overlap_start_each_slot_has_a_run_beside_the_others() -> None:
    workflow = reports(lambda slot: Report(stays=True), cron="@hourly", overlap="start")
    async with engine(workflow) as app:
        await app.advance(2 * HOUR)
        runs = {run.foreign_id: run.state async for run in app.client.list(workflow)}
    assert runs == {
        "report@2030-01-01T01:00:00Z": State.PAUSED,
        "report@2030-01-01T02:00:00Z": State.PAUSED,
    }


# ---- slots that were missed


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [("none", []), ("latest", ["05:00"]), (1, ["05:00"]), (3, ["03:00", "04:00", "05:00"])],
)
async def test_slots_that_were_missed_while_nobody_worked(
    catch_up: Any, expected: list[str]
) -> None:
    workflow = reports(cron="@hourly", catch_up=catch_up, overlap="start")
    async with engine(workflow) as former:
        await former.settle()
    async with after_a_stop(former, workflow, 5 * HOUR + 30 * MINUTE) as app:
        runs = [run.foreign_id[-9:-4] async for run in app.client.list(workflow)]
        await app.settle()
        runs = [run.foreign_id[-9:-4] async for run in app.client.list(workflow)]
        assert runs == expected
        await app.advance(HOUR)
        runs = [run.foreign_id[-9:-4] async for run in app.client.list(workflow)]
        assert runs == [*expected, "06:00"]


@pytest.mark.parametrize(
    ("catch_up", "expected"), [("none", [5]), ("latest", [5]), (2, [3, 4, 5]), (9, [1, 2, 3, 4, 5])]
)
async def test_a_slot_of_the_last_minute_is_on_time(catch_up: Any, expected: list[int]) -> None:
    workflow = reports(cron="@hourly", catch_up=catch_up, overlap="start")
    async with engine(workflow) as former:
        await former.settle()
    async with after_a_stop(former, workflow, 5 * HOUR + timedelta(seconds=59)) as app:
        await app.settle()
        hours = [int(run.foreign_id[-9:-7]) async for run in app.client.list(workflow)]
        assert hours == expected


async def test_slots_that_are_a_little_late_are_all_fired() -> None:
    workflow = reports(cron="@every 10s", catch_up="none", overlap="start")
    async with engine(workflow) as former:
        await former.settle()
    async with after_a_stop(former, workflow, timedelta(seconds=55)) as app:
        await app.settle()
        assert await app.client.count() == 5


async def test_what_was_left_out_is_told() -> None:
    workflow = reports(cron="@hourly", catch_up="none")
    async with engine(workflow) as former:
        await former.settle()
    async with after_a_stop(former, workflow, 5 * HOUR + 30 * MINUTE) as app:
        view = await nightly(app, workflow)
        assert view.reason == "missed slots up to 2030-01-01T05:29:00Z are left out"
        assert view.last_slot is None
        await app.advance(HOUR)
        assert (await nightly(app, workflow)).reason == ""


async def test_many_missed_slots_are_made_up_for_in_order() -> None:
    workflow = reports(cron="@hourly", catch_up=250, overlap="start")
    async with engine(workflow) as former:
        await former.settle()
    async with after_a_stop(former, workflow, 20 * DAY + 30 * MINUTE) as app:
        await app.settle()
        runs = [run.foreign_id[7:-7] async for run in app.client.list(workflow)]
        last = at("2030-01-21T00:00")
        assert runs == [f"{last - n * HOUR:%Y-%m-%dT%H}" for n in reversed(range(250))]


# ---- pausing, resuming, deleting


async def test_nothing_is_started_while_a_schedule_is_paused_and_then_it_catches_up() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as app:
        await app.advance(HOUR)
        paused = await app.client.pause_schedule(workflow, "nightly", "no paper")
        assert (paused.state, paused.reason) == (State.PAUSED, "no paper")
        await app.advance(5 * HOUR + 30 * MINUTE)
        assert await started(app, workflow) == ["01 01:00"]
        with pytest.raises(ScheduleRefused, match="Can't pause schedule 'nightly': it is PAUSED"):
            await app.client.pause_schedule(workflow, "nightly")
        resumed = await app.client.resume_schedule(workflow, "nightly")
        assert resumed.state is State.RUNNING
        await app.advance(HOUR)
        assert await days(app, workflow) == [
            *("2030-01-01 01:00 UTC", "2030-01-01 06:00 UTC", "2030-01-01 07:00 UTC")
        ]


async def test_a_pause_by_people_outlives_a_restart() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as former:
        await former.settle()
        await former.client.pause_schedule(workflow, "nightly", "holidays")
    async with after_a_stop(former, workflow, DAY) as app:
        await app.advance(DAY)
        view = await nightly(app, workflow)
        assert (view.state, view.reason) == (State.PAUSED, "holidays")
        assert await started(app, workflow) == []


async def test_it_can_be_paused_by_the_id_of_its_inner_run() -> None:
    workflow = reports(cron="@hourly")
    hooked: list[str] = []

    @workflow.on_pause
    async def on_pause(run: Run[Report, Status]) -> None:
        hooked.append(run.run_id)

    async with engine(workflow) as app:
        run_id = (await nightly(app, workflow)).run_id
        await app.client.pause(run_id)
        await app.advance(HOUR)
        assert (await nightly(app, workflow)).state is State.PAUSED
        assert await started(app, workflow) == []
    # Hooks are for the workflow's own runs.
    assert hooked == []


async def test_a_deleted_schedule_is_gone_and_its_runs_stay() -> None:
    workflow = reports()
    async with engine(workflow) as app:
        await app.client.schedule(workflow, "hourly", "@hourly", object=Report())
        await app.advance(HOUR)
        deleted = await app.client.delete_schedule(workflow, "hourly", "enough")
        assert (deleted.state, deleted.reason) == (State.CANCELLED, "enough")
        await app.advance(HOUR)
        assert await started(app, workflow) == ["01 01:00"]
        assert await app.client.schedules(workflow) == []
        for ask in (
            app.client.get_schedule,
            app.client.pause_schedule,
            app.client.delete_schedule,
        ):
            with pytest.raises(ScheduleNotFound, match="'reports' has no schedule 'hourly'"):
                await ask(workflow, "hourly")
        # Another of that name begins when it is made.
        await app.client.schedule(workflow, "hourly", "@hourly", object=Report())
        await app.advance(HOUR)
        assert await started(app, workflow) == ["01 01:00", "01 03:00"]


async def test_a_declared_schedule_can_be_changed_and_deleted_in_code_only() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as app:
        await app.settle()
        with pytest.raises(ScheduleDeclared, match="Remove it there"):
            await app.client.delete_schedule(workflow, "nightly")
        with pytest.raises(ScheduleDeclared, match="Change it there"):
            await app.client.schedule(workflow, "nightly", "@daily", object=Report())


async def test_a_declared_schedule_that_was_cancelled_all_the_same_comes_back() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as former:
        await former.client.cancel((await nightly(former, workflow)).run_id)
        assert await former.client.schedules(workflow) == []
    async with after_a_stop(former, workflow, 30 * MINUTE) as app:
        await app.advance(HOUR)
        assert await started(app, workflow) == ["01 01:00"]


# ---- once, whoever dies


def cut(former: Engine, events: int) -> None:
    """What a worker that died then has left: the last events never got into the log."""
    records = former.host.logs["reports"].records
    del records[len(records) - events :]


def types(app: Engine) -> list[str]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    return [decode(record.value)["type"] for record in app.host.logs["reports"].records]


@pytest.mark.parametrize(
    ("overlap", "catch_up"),
    [("skip", "none"), ("skip", "latest"), ("start", "none"), ("start", "latest"), ("start", 5)],
)
async def test_a_slot_is_fired_once_if_the_worker_dies_before_its_position_is_durable(
    overlap: Any, catch_up: Any
) -> None:
    workflow = reports(cron="@hourly", overlap=overlap, catch_up=catch_up)
    async with engine(workflow) as former:
        await former.settle()
        before = len(former.host.logs["reports"].records)
        await former.advance(HOUR)
        new = types(former)[before:]
        assert new[:2] == ["trigger", "repeated"]
    for left in range(len(new)):
        async with engine(workflow, former=former) as second:
            pass  # a log of its own
        cut(second, len(second.host.logs["reports"].records) - before - left)
        async with after_a_stop(second, workflow, timedelta(seconds=30)) as app:
            await app.advance(30 * MINUTE)
            assert await app.client.count() == 1
            run = await anext(aiter(app.client.list(workflow)))
            assert run.state is State.COMPLETED
            assert (await nightly(app, workflow)).last_slot == at("2030-01-01T01:00")


@pytest.mark.parametrize("catch_up", ["none", "latest", 5])
async def test_a_slot_whose_run_can_not_be_requested_is_tried_again_however_late(
    catch_up: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = reports(cron="@daily", catch_up=catch_up, overlap="start")
    async with engine(workflow) as app:
        await app.advance(DAY - HOUR)

        async def refuse(*_: object) -> None:
            raise ConnectionError("the broker is away")

        with monkeypatch.context() as broken:
            broken.setattr(app.host, "append", refuse)
            await app.advance(3 * HOUR)
        view = await nightly(app, workflow)
        assert view.error is not None
        assert (view.error.type, view.error.message) == ("ConnectionError", "the broker is away")
        assert view.attempt > 5
        await app.advance(HOUR)
        assert await days(app, workflow) == ["2030-01-02 00:00 UTC"]
        view = await nightly(app, workflow)
        assert (view.error, view.attempt, view.last_slot) == (None, 0, at("2030-01-02T00:00"))


async def test_a_function_that_fails_holds_its_slot_until_it_is_mended() -> None:
    broken = True

    def made(slot: datetime) -> Report:
        if broken:
            raise ValueError("no data yet")
        return dated(slot)

    workflow = reports(made, cron="@hourly", catch_up="none", overlap="start")
    async with engine(workflow) as app:
        await app.advance(3 * HOUR + 30 * MINUTE)
        view = await nightly(app, workflow)
        assert view.error is not None
        assert "no data yet" in view.error.traceback
        assert view.due_at is not None
        assert view.due_at > app.clock.now()
        broken = False
        await app.advance(HOUR)
        # That of 01:00 was being tried; those after it were missed.
        assert [day[-9:-4] for day in await days(app, workflow)] == ["01:00", "04:00"]


async def test_what_was_fired_before_a_failure_is_not_fired_again() -> None:
    calls: list[int] = []

    def made(slot: datetime) -> Report:
        calls.append(slot.hour)
        if slot.hour == 3 and calls.count(3) < 3:
            raise ValueError("not yet")
        return dated(slot)

    workflow = reports(made, cron="@hourly", catch_up=5, overlap="start")
    async with engine(workflow) as former:
        await former.settle()
    async with after_a_stop(former, workflow, 4 * HOUR + 30 * MINUTE) as app:
        await app.advance(MINUTE)
        assert calls == [1, 2, 3, 3, 3, 4]
        assert await app.client.count() == 4


async def test_an_object_of_a_function_that_does_not_fit_is_told() -> None:
    workflow = reports(lambda slot: {"day": [1]}, cron="@hourly")  # type: ignore[arg-type, return-value]
    async with engine(workflow) as app:
        await app.advance(HOUR)
        view = await nightly(app, workflow)
        assert view.error is not None
        assert view.error.type == "InvalidObject"


# ---- changes of the code


async def test_a_changed_schedule_goes_on_from_where_it_was() -> None:
    first, second = reports(cron="0 3 * * *"), reports(cron="0 4 * * *", foreign_id="other")
    async with engine(first) as former:
        await former.advance(DAY)
        run_id = (await nightly(former, first)).run_id
    async with engine(second, former=former) as app:
        view = await nightly(app, second)
        assert (view.cron, view.foreign_id, view.run_id) == ("0 4 * * *", "other", run_id)
        assert view.last_slot == at("2030-01-01T03:00")
        await app.advance(DAY)
        assert await started(app, second) == ["01 03:00", "02 04:00"]


async def test_new_slots_that_were_none_at_their_time_are_not_made_up_for() -> None:
    first, second = reports(cron="@monthly"), reports(cron="@hourly")
    async with engine(first) as former:
        await former.advance(10 * DAY)
    async with after_a_stop(former, second, 30 * MINUTE) as app:
        await app.advance(HOUR)
        assert await started(app, second) == ["11 01:00"]


async def test_a_slot_that_was_due_when_the_code_changed_is_not_lost() -> None:
    first, second = reports(cron="0 3 * * *"), reports(cron="0 3 * * *", overlap="start")
    async with engine(first) as former:
        await former.advance(2 * HOUR)
    async with after_a_stop(former, second, 2 * HOUR) as app:
        assert await started(app, second) == ["01 04:00"]
        assert await days(app, second) == ["2030-01-01 03:00 UTC"]
        await app.advance(DAY)
        runs = [run.foreign_id async for run in app.client.list(second)]
        assert runs == ["report", "report@2030-01-02T03:00:00Z"]


@pytest.mark.parametrize("left", range(4))
async def test_a_slot_is_fired_once_if_its_schedule_changes_just_then(left: int) -> None:
    first, second = reports(cron="@hourly"), reports(cron="@hourly", foreign_id="other")
    async with engine(first) as former:
        await former.settle()
        before = len(former.host.logs["reports"].records)
        await former.advance(HOUR)
    cut(former, len(former.host.logs["reports"].records) - before - left)
    async with engine(second, former=former) as app:
        await app.advance(30 * MINUTE)
        assert await app.client.count() == 1
        again = await app.client.backfill(
            second, "nightly", app.clock.now() - HOUR, app.clock.now()
        )
        assert len(again.slots) == 1
        await app.settle()
        assert await app.client.count() == 1


async def test_a_cron_that_was_changed_fires_no_slot_of_the_former_one() -> None:
    first, second = reports(cron="0 3 * * *"), reports(cron="0 4 * * *")
    async with engine(first) as former:
        await former.advance(2 * HOUR)
    async with after_a_stop(former, second, 3 * HOUR) as app:
        assert await days(app, second) == ["2030-01-01 04:00 UTC"]


async def test_a_changed_schedule_stays_paused() -> None:
    first, second = reports(cron="@hourly"), reports(cron="@daily")
    async with engine(first) as former:
        await former.settle()
        await former.client.pause_schedule(first, "nightly", "later")
    async with engine(second, former=former) as app:
        await app.advance(2 * DAY)
        view = await nightly(app, second)
        assert (view.state, view.cron, view.reason) == (State.PAUSED, "@daily", "later")
        assert await started(app, second) == []
        await app.client.resume_schedule(second, "nightly")
        await app.advance(DAY)
        assert (await nightly(app, second)).last_slot == at("2030-01-04T00:00")


async def test_an_unchanged_schedule_leaves_no_trace_at_a_restart() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as former:
        await former.advance(HOUR)
        length = len(former.host.logs["reports"].records)
    async with engine(workflow, former=former) as app:
        await app.settle()
        assert len(app.host.logs["reports"].records) == length


async def test_one_that_is_declared_no_more_is_told_of_and_loses_no_slot(
    caplog: pytest.LogCaptureFixture,
) -> None:
    declared, gone = reports(cron="@daily"), reports()
    async with engine(declared) as former:
        await former.settle()
    async with engine(gone, former=former) as without:
        assert [record.schedule for record in caplog.records] == ["nightly"]  # type: ignore[attr-defined]
        view = await nightly(without, gone)
        assert (view.reason, view.error) == ("it is not in the code any more", None)
        await without.advance(DAY)
        view = await nightly(without, gone)
        assert view.error is not None
        assert view.error.type == "ScheduleNotDeclared"
        assert "streamwf schedules delete" in view.error.message
        start, end = at("2030-01-01T00:00"), at("2030-01-02T00:00")
        with pytest.raises(ScheduleNotDeclared):
            await without.client.backfill(gone, "nightly", start - DAY, end)
    async with engine(declared, former=without) as app:
        view = await nightly(app, declared)
        assert (view.error, view.reason) == (None, "")
        assert await days(app, declared) == ["2030-01-02 00:00 UTC"]
    async with engine(gone, former=without) as app:
        await app.client.delete_schedule(gone, "nightly")
        assert await app.client.schedules(gone) == []


# ---- made at run time


async def test_a_schedule_is_made_at_run_time_and_outlives_a_restart() -> None:
    workflow = reports()
    async with engine(workflow) as former:
        made = await former.client.schedule(
            workflow,
            "hourly",
            "0  *  * * *",
            object=Report(day="each"),
            foreign_id="f",
            timezone=BERLIN,
            at=Status.SENT,
            overlap="start",
            catch_up="none",
        )
        assert (made.cron, made.timezone, made.status) == ("0 * * * *", BERLIN, "SENT")
        assert (made.overlap, made.catch_up, made.declared) == ("start", "none", False)
        assert made.object == {"day": "each", "stays": False}
        assert made.next_slots[0] == at("2030-01-01T01:00")
        await former.advance(HOUR)
    async with engine(workflow, former=former) as app:
        await app.advance(HOUR)
        runs = [(run.foreign_id, run.object) async for run in app.client.list(workflow)]
        assert runs == [
            ("f@2030-01-01T01:00:00Z", Report(day="each")),
            ("f@2030-01-01T02:00:00Z", Report(day="each")),
        ]


async def test_the_foreign_id_is_the_name_unless_given() -> None:
    workflow = reports()
    async with engine(workflow) as app:
        made = await app.client.schedule(workflow, "hourly", "@hourly", object=Report())
        assert made.foreign_id == "hourly"


async def test_a_schedule_that_is_made_again_is_changed_or_left_as_it_is() -> None:
    workflow = reports()

    async def make(app: Engine, cron: str, day: str) -> ScheduleView:
        return await app.client.schedule(workflow, "s", cron, object=Report(day=day))

    async with engine(workflow) as app:
        made = await make(app, "@hourly", "a")
        await app.advance(HOUR)
        length = len(app.host.logs["reports"].records)
        same = await make(app, "@hourly", "a")
        assert same.run_id == made.run_id
        assert len(app.host.logs["reports"].records) == length
        await app.client.pause_schedule(workflow, "s")
        changed = await make(app, "@daily", "b")
        assert (changed.run_id, changed.state) == (made.run_id, State.PAUSED)
        assert (changed.cron, changed.object) == ("@daily", {"day": "b", "stays": False})
        assert changed.last_slot == at("2030-01-01T01:00")
        await app.client.resume_schedule(workflow, "s")
        await app.advance(DAY)
        assert await days(app, workflow) == ["a", "b"]


async def test_all_who_make_the_same_schedule_at_once_get_it() -> None:
    workflow = reports()
    async with engine(workflow) as app:
        made = await asyncio.gather(
            *(
                app.client.schedule(workflow, "s", "@hourly", object=Report(day=str(n)))
                for n in range(5)
            )
        )
        assert len({view.run_id for view in made}) == 1
        await app.advance(HOUR)
        assert len(await started(app, workflow)) == 1


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"cron": "61 * * * *"}, InvalidCron),
        ({"timezone": "Mars/Base"}, InvalidCron),
        ({"name": "a/b"}, InvalidQuery),
        ({"name": ".."}, InvalidQuery),
        ({"name": "n" * 101}, InvalidQuery),
        ({"foreign_id": ""}, InvalidForeignId),
        ({"foreign_id": "f" * 480}, InvalidForeignId),
        ({"at": Status.DONE}, TerminalStart),
        ({"overlap": "queue"}, InvalidQuery),
        ({"catch_up": 0}, InvalidQuery),
        ({"catch_up": "all"}, InvalidQuery),
        ({"catch_up": 2}, InvalidQuery),
        ({"object": {"stays": "perhaps"}}, InvalidObject),
    ],
)
async def test_a_schedule_that_can_not_be_is_refused(
    how: dict[str, Any], error: type[Exception]
) -> None:
    workflow = reports()
    asked = {"name": "s", "cron": "@hourly", "object": Report(), **how}
    async with engine(workflow) as app:
        with pytest.raises(error):
            await app.client.schedule(workflow, asked.pop("name"), asked.pop("cron"), **asked)
        assert app.host.logs["reports"].records == []


async def test_an_object_that_fits_no_more_is_told_and_the_slot_is_held() -> None:
    class Strict(BaseModel):
        author: str

    def strict(object_type: Any) -> Workflow[Any, Status]:
        workflow: Workflow[Any, Status] = Workflow("reports", object_type, Status)

        @workflow.step(Status.CREATED, to=Status.DONE)
        async def end(run: Run[Any, Status]) -> Status:
            return Status.DONE

        return workflow

    loose, tight = strict(dict), strict(Strict)
    async with engine(loose) as former:
        await former.client.schedule(loose, "s", "@hourly", object={})
    async with engine(tight, former=former) as app:
        await app.advance(HOUR)
        view = await app.client.get_schedule(tight, "s")
        assert view.error is not None
        assert view.error.type == "InvalidObject"
        await app.client.schedule(tight, "s", "@hourly", object=Strict(author="me"))
        await app.settle()
        assert await app.client.count() == 1


# ---- by anyone who can reach the log


def request_to(log: MemoryLog, **event: Any) -> None:
    stamp = int(at("2030-01-01T00:00").timestamp() * 1_000)
    value = msgspec.json.encode({"type": "trigger", "subject": "s", "kind": "schedule", **event})
    log.append(None, value, stamp)


async def test_a_schedule_can_be_made_and_steered_by_events() -> None:
    workflow = reports()
    async with engine(workflow) as app:
        log = app.host.logs["reports"]
        request_to(log, data={"spec": {"cron": "@hourly", "foreign_id": "f", "object": {}}})
        await app.advance(HOUR)
        assert await started(app, workflow) == ["01 01:00"]
        request_to(log, type="pause", reason="stop")
        await app.settle()
        view = await app.client.get_schedule(workflow, "s")
        assert (view.state, view.reason) == (State.PAUSED, "stop")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"cron": "@never", "foreign_id": "f"}, "form of schedule '@never'"),
        ({"cron": "@hourly"}, "missing required field `foreign_id`"),
        ({"cron": "@hourly", "foreign_id": "f", "catch_up": 0}, "catch_up"),
        ({"cron": "@hourly", "foreign_id": "f", "object": 7}, "does not fit 'reports'"),
        (
            {"cron": "@hourly", "foreign_id": "f", "status": "LOST", "object": {}},
            "no status 'LOST'",
        ),
    ],
)
async def test_a_schedule_that_can_not_be_is_rejected_with_the_reason(
    spec: dict[str, Any], why: str
) -> None:
    workflow = reports()
    async with engine(workflow) as app:
        log = app.host.logs["reports"]
        request_to(log, data={"spec": spec})
        await app.settle()
        assert await app.client.schedules(workflow) == []
        [(letter, reason)] = log.dead_letters
        assert why in reason
        assert msgspec.json.decode(letter.value)["kind"] == "schedule"


async def test_a_schedule_that_is_changed_into_none_ends() -> None:
    workflow = reports()
    async with engine(workflow) as app:
        made = await app.client.schedule(workflow, "s", "@hourly", object=Report())
        request_to(app.host.logs["reports"], type="change", data={"spec": []})
        await app.settle()
        assert await app.client.schedules(workflow) == []
        last = (await app.client.history(made.run_id)).events[-1]
        assert (last.type, last.state) == ("rejected", State.CANCELLED)
        assert "schedule can't be read" in last.reason


async def test_only_inner_runs_can_be_changed() -> None:
    workflow = reports(lambda slot: Report(stays=True), cron="@hourly")
    async with engine(workflow) as app:
        await app.advance(HOUR)
        [run] = [run async for run in app.client.list(workflow)]
        log = app.host.logs["reports"]
        request_to(log, type="change", kind="", subject="report", data={"day": "x"})
        await app.settle()
        assert (await app.client.get(workflow, run.run_id)).version == run.version


# ---- the past


async def test_a_backfill_starts_the_runs_of_slots_that_have_none() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as app:
        await app.advance(2 * HOUR)
        start, end = at("2029-12-31T22:00"), at("2030-01-01T04:00")
        filled = await app.client.backfill(workflow, "nightly", start, end)
        await app.settle()
        runs = [run.foreign_id async for run in app.client.list(workflow)]
    # It was made at 00:00; those from 03:00 on are left to it.
    assert [slot.hour for slot in filled.slots] == [22, 23, 0, 1, 2]
    assert (filled.left_out, filled.cursor) == (0, None)
    assert runs == [
        *("report", "report"),
        *("report@2029-12-31T22:00:00Z", "report@2029-12-31T23:00:00Z"),
        "report@2030-01-01T00:00:00Z",
    ]


async def test_a_backfill_may_be_repeated() -> None:
    workflow = reports(cron="@hourly", overlap="start")
    async with engine(workflow) as app:
        await app.advance(2 * HOUR)
        start, end = at("2029-12-31T00:00"), at("2030-01-02T00:00")
        for _ in range(3):
            await app.client.backfill(workflow, "nightly", start, end)
            await app.settle()
            assert await app.client.count() == 24 + 3
        await app.advance(HOUR)
        assert await app.client.count() == 24 + 4


async def test_a_backfill_does_not_wait_for_a_run_in_progress() -> None:
    workflow = reports(lambda slot: Report(stays=True), cron="@hourly")
    async with engine(workflow) as app:
        await app.advance(3 * HOUR)
        assert await app.client.count() == 1
        await app.client.backfill(
            workflow, "nightly", at("2030-01-01T01:00"), at("2030-01-01T04:00")
        )
        await app.settle()
        runs = [run.foreign_id async for run in app.client.list(workflow)]
        assert runs == ["report", "report@2030-01-01T02:00:00Z", "report@2030-01-01T03:00:00Z"]


async def test_a_slot_that_was_backfilled_is_not_started_by_the_schedule_too() -> None:
    workflow = reports(cron="@hourly", catch_up=100, overlap="start")
    async with engine(workflow) as app:
        await app.advance(HOUR)
        await app.client.pause_schedule(workflow, "nightly")
        await app.advance(3 * HOUR)
        filled = await app.client.backfill(
            workflow, "nightly", at("2030-01-01T00:00"), at("2030-01-01T09:00")
        )
        # Those that it still has to look at are left to it.
        assert [slot.hour for slot in filled.slots] == [0, 1]
        await app.client.resume_schedule(workflow, "nightly")
        await app.settle()
        hours = sorted(await days(app, workflow))
        assert [day[-9:-4] for day in hours] == ["00:00", "01:00", "02:00", "03:00", "04:00"]


async def test_a_long_backfill_goes_on_part_by_part() -> None:
    workflow = reports(lambda slot: dated(slot) if slot.hour % 2 else None, cron="@hourly")
    async with engine(workflow) as app:
        await app.settle()
        start, end, parts = at("2029-12-31T00:30"), at("2030-01-01T00:00"), []
        while True:
            part = await app.client.backfill(workflow, "nightly", start, end, limit=10)
            parts.append((len(part.slots), part.left_out))
            if part.cursor is None:
                break
            start = part.cursor
        await app.settle()
        assert parts == [(10, 5), (10, 5), (3, 1)]
        assert await app.client.count() == 12


async def test_a_backfill_says_which_slot_failed() -> None:
    def made(slot: datetime) -> Report:
        if slot.hour == 2:
            raise ValueError("no data")
        return dated(slot)

    workflow = reports(made, cron="@hourly")
    async with engine(workflow) as app:
        await app.settle()
        start, end = at("2029-12-31T01:00"), at("2029-12-31T04:00")
        with pytest.raises(SlotFailed, match=r"at slot 2029-12-31T02:00:00Z: ValueError: no data"):
            await app.client.backfill(workflow, "nightly", start, end)
        await app.settle()
        assert await app.client.count() == 1


async def test_a_backfill_that_can_not_be_is_refused() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as app:
        await app.settle()
        now = app.clock.now()
        with pytest.raises(InvalidQuery, match="it is not before the end"):
            await app.client.backfill(workflow, "nightly", now, now)
        with pytest.raises(InvalidQuery, match="timezone"):
            await app.client.backfill(workflow, "nightly", now.replace(tzinfo=None), now)
        with pytest.raises(InvalidQuery, match="limit"):
            await app.client.backfill(workflow, "nightly", now - DAY, now, limit=0)
        with pytest.raises(ScheduleNotFound):
            await app.client.backfill(workflow, "weekly", now - DAY, now)
        none = await app.client.backfill(workflow, "nightly", now + MINUTE, now + DAY)
        assert (none.slots, none.cursor) == ([], None)
        everything = await app.client.backfill(
            workflow, "nightly", datetime.min.replace(tzinfo=UTC), now, limit=1
        )
        assert everything.slots == [at("1970-01-01T00:00")]


# ---- definitions


def test_all_mistakes_of_schedules_are_told_at_once() -> None:
    workflow = reports()
    for name, cron, options in [
        ("twice", "@daily", {}),
        ("twice", "@daily", {}),
        ("a b", "@daily", {}),
        ("cron", "0 25 * * *", {}),
        ("zone", "@daily", {"timezone": "Mars/Base"}),
        ("long", "@daily", {"foreign_id": "f" * 480}),
        ("foreign", "@daily", {"at": OrderStatus.CREATED}),
        ("ended", "@daily", {"at": Status.DONE}),
        ("overlap", "@daily", {"overlap": "queue"}),
        ("zero", "@daily", {"catch_up": 0}),
        ("yes", "@daily", {"catch_up": True}),
        ("both", "@daily", {"catch_up": 2}),
    ]:
        workflow.schedule(name, cron, **options)(dated)  # type: ignore[arg-type]
    with pytest.raises(InvalidDefinition) as refused:
        workflow.validate()
    told = str(refused.value)
    for mistake in (
        "two schedules called 'twice': give one another name",
        "schedule 'a b': its name has up to 100 letters, digits, '-', '_' or '.'",
        "schedule 'cron': hour of '0 25 * * *': '25' is not made of 0 to 23",
        "schedule 'zone': time zone of '@daily': 'Mars/Base' is not in the IANA database",
        "schedule 'long': its foreign id has 1 to 479 characters",
        "schedule 'foreign': at <Status.CREATED: 'created'> is no status: use one of Status",
        "schedule 'ended': nothing follows DONE: let its runs start at another status",
        "schedule 'overlap': overlap is 'queue': use \"skip\" or \"start\"",
        'schedule \'zero\': catch_up is 0: use "none", "latest", or 1 to 1,000',
        "schedule 'yes': catch_up is True",
        "schedule 'both': catch_up is 2: slots that are made up for are started at once",
    ):
        assert f"- {mistake}" in told
    assert told.count("\n- ") == 11
