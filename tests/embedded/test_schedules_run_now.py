"""Runs of a schedule that somebody asks for, whatever its slots."""

from datetime import datetime

import pytest

from streamwf import State
from streamwf.errors import InvalidObject, ScheduleNotFound, SlotFailed, SlotLeftOut
from streamwf.testing import engine
from tests.embedded.reports import BERLIN, HOUR, Report, at, dated, days, nightly, reports


async def test_it_carries_what_the_function_makes_of_the_present() -> None:
    workflow = reports(cron="0 3 * * *", timezone=BERLIN, encrypt=True)
    async with engine(workflow) as app:
        await app.advance(HOUR)
        run_id = await app.client.run_schedule(workflow, "nightly")
        run = await app.client.await_(workflow, run_id)
        assert run.object == Report(day="2030-01-01 02:00 CET")


async def test_it_waits_for_no_other_and_no_other_waits_for_it() -> None:
    workflow = reports(lambda slot: Report(stays=True), cron="@hourly")
    async with engine(workflow) as app:
        await app.settle()
        before = await nightly(app, workflow)
        asked = [await app.client.run_schedule(workflow, "nightly") for _ in range(2)]
        await app.settle()
        after = await nightly(app, workflow)
        assert (after.last_slot, after.next_slots) == (before.last_slot, before.next_slots)
        await app.advance(HOUR)
        assert (await nightly(app, workflow)).last_slot == at("2030-01-01T01:00")
        runs = [run async for run in app.client.list(workflow, order="created")]
        assert {run.run_id for run in runs[:2]} == set(asked)
        assert [run.foreign_id for run in runs[2:]] == ["report"]


async def test_one_for_each_key_whenever_it_is_asked() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as app:
        await app.settle()
        asked = set()
        for key in ("a", "b", "a", "b"):
            asked.add(await app.client.run_schedule(workflow, "nightly", key=key))
            await app.advance(HOUR / 10)
        assert len(asked) == await app.client.count() == 2
        assert await days(app, workflow) == ["2030-01-01 00:00 UTC", "2030-01-01 00:06 UTC"]


async def test_of_one_that_is_paused() -> None:
    workflow = reports(cron="@hourly")
    async with engine(workflow) as app:
        await app.settle()
        await app.client.pause_schedule(workflow, "nightly")
        run_id = await app.client.run_schedule(workflow, "nightly")
        assert (await app.client.await_(workflow, run_id)).state is State.COMPLETED
        await app.advance(2 * HOUR)
        assert await app.client.count() == 1
        assert (await nightly(app, workflow)).state is State.PAUSED


async def test_one_that_is_made_at_run_time() -> None:
    workflow = reports()
    async with engine(workflow) as app:
        long = "f" * 479
        await app.client.schedule(
            workflow, "s", "@hourly", object=Report(day="each"), foreign_id=long
        )
        await app.client.run_schedule(workflow, "s")
        assert await days(app, workflow) == ["each"]


async def test_what_the_function_does_not_make_is_told() -> None:
    def made(slot: datetime) -> Report | None:
        if slot.hour == 0:
            return None
        if slot.hour == 1:
            raise ValueError("no data")
        return Report.model_construct(stays="perhaps") if slot.hour == 2 else dated(slot)

    workflow = reports(made, cron="0 12 * * *")
    async with engine(workflow) as app:
        await app.settle()
        with pytest.raises(SlotLeftOut, match="leaves 2030-01-01T00:00:00Z out"):
            await app.client.run_schedule(workflow, "nightly")
        await app.advance(HOUR)
        with pytest.raises(SlotFailed, match="at slot 2030-01-01T01:00:00Z: ValueError: no data"):
            await app.client.run_schedule(workflow, "nightly")
        await app.advance(HOUR)
        with pytest.raises(InvalidObject):
            await app.client.run_schedule(workflow, "nightly")
        with pytest.raises(ScheduleNotFound):
            await app.client.run_schedule(workflow, "weekly")
        assert await app.client.count() == 0
