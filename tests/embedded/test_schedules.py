"""Schedules: which slots are fired, each once, whatever happens to clocks and workers."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from streamwf import Run, State
from streamwf.errors import (
    InvalidDefinition,
)
from streamwf.testing import engine
from tests.embedded.app import DONE as ORDER_DONE
from tests.embedded.app import Order, orders, running
from tests.embedded.app import Status as OrderStatus
from tests.embedded.reports import (
    BERLIN,
    DAY,
    HOUR,
    MINUTE,
    Report,
    Status,
    after_a_stop,
    at,
    clock_at,
    dated,
    days,
    nightly,
    reports,
    started,
)

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
