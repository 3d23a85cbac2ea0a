"""Schedules go on: after pauses, crashes, errors, and changes of the code."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from streamwf import Run, State
from streamwf.errors import (
    ScheduleDeclared,
    ScheduleNotDeclared,
    ScheduleNotFound,
    ScheduleRefused,
)
from streamwf.testing import engine
from tests.embedded.reports import (
    DAY,
    HOUR,
    MINUTE,
    Report,
    Status,
    after_a_stop,
    at,
    cut,
    dated,
    days,
    nightly,
    reports,
    started,
    types,
)

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


async def test_a_catch_up_that_was_begun_is_finished_first() -> None:
    workflow = reports(cron="@hourly", catch_up=150, overlap="start")
    async with engine(workflow) as former:
        await former.settle()
        before = len(former.host.logs["reports"].records)
    async with after_a_stop(former, workflow, 10 * DAY + 30 * MINUTE) as begun:
        await begun.settle()
    new = types(begun)[before:]
    batch = new.index("repeated") + 1
    assert new[:batch].count("trigger") == 100
    cut(begun, len(begun.host.logs["reports"].records) - before - batch)
    async with after_a_stop(begun, workflow, 200 * HOUR) as app:
        await app.settle()
        found = [run.foreign_id[7:-7] async for run in app.client.list(workflow)]
    first, last = at("2030-01-11T00:00"), at("2030-01-11T00:00") + 200 * HOUR
    slots = [first - n * HOUR for n in reversed(range(150))]
    slots += [last - n * HOUR for n in reversed(range(150))]
    assert found == [f"{slot:%Y-%m-%dT%H}" for slot in slots]


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
