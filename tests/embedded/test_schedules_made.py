"""Schedules that are made at run time, or by events; and runs for slots of the past."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from streamwf import Run, State, Workflow
from streamwf.errors import (
    InvalidCron,
    InvalidForeignId,
    InvalidObject,
    InvalidQuery,
    ScheduleNotFound,
    SlotFailed,
    TerminalStart,
)
from streamwf.schedule_views import ScheduleView
from streamwf.testing import Engine, engine
from tests.embedded.reports import (
    BERLIN,
    DAY,
    HOUR,
    MINUTE,
    Report,
    Status,
    at,
    dated,
    days,
    reports,
    request_to,
    started,
)

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
        await app.settle()
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


# ---- encrypted


async def test_the_runs_of_a_workflow_that_encrypts_are_sealed_each_for_itself() -> None:
    workflow = reports(cron="@hourly", encrypt=True)
    async with engine(workflow) as app:
        await app.advance(2 * HOUR)
        await app.client.backfill(
            workflow, "nightly", at("2029-12-31T20:00"), at("2030-01-01T02:00")
        )
        assert await days(app, workflow) == [
            *(f"2030-01-01 {hour:02}:00 UTC" for hour in (1, 2)),
            *(f"2029-12-31 {hour:02}:00 UTC" for hour in (20, 21, 22, 23)),
            "2030-01-01 00:00 UTC",
        ]
        for record in app.host.logs["reports"].records:
            assert b":00 UTC" not in (record.value or b"")
        # Of one whose data was deleted nobody can make another.
        run = await anext(aiter(app.client.list(workflow)))
        await app.client.delete_data(run.run_id)
        await app.settle()
        length = await app.client.count()
        await app.client.backfill(
            workflow, "nightly", at("2029-12-31T20:00"), at("2030-01-01T03:00")
        )
        await app.settle()
        assert await app.client.count() == length


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
