"""Doing the same to all runs that fit a filter."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from streamwf import Pause, Run, State, Workflow
from streamwf.errors import InvalidQuery, WorkflowNotFound
from streamwf.views import MAX_BULK, Action, Bulk, BulkSteering, Filter, Query
from tests.embedded.app import CREATED, DONE, FAILED, App, Order, Orders, Status, running
from tests.support import eventually

FAILING = Filter(workflow="orders", state=[State.PAUSED])


def failing(broken: list[bool]) -> Orders:
    """Its runs pause at their first error while it is broken."""
    workflow = Workflow("orders", Order, Status)

    @workflow.step(CREATED, to=[DONE, FAILED], pause_after=1)
    async def sort(run: Run[Order, Status]) -> Status | Pause:
        if broken:
            raise ValueError("no power")
        return DONE

    return workflow


@pytest.fixture
def broken() -> list[bool]:
    return [True]


@pytest.fixture
async def app(broken: list[bool]) -> AsyncIterator[App]:
    async with running(failing(broken)) as app:
        yield app


async def fill(app: App, count: int, state: State = State.PAUSED) -> None:
    for number in range(count):
        app.append(b'{"type":"trigger","subject":"o-%04d","data":{"n":1}}' % number)
    await counted(app, count, state)


async def counted(app: App, count: int, state: State) -> None:
    async def look() -> bool:
        return await app.client.count(Filter(state=[state])) == count

    await eventually(look)


async def done(app: App, action: Action, asked: Filter, batch: int = 100) -> list[Bulk]:
    return [part async for part in app.client.bulk(action, asked, "by hand", batch=batch)]


async def test_runs_that_failed_are_tried_again(app: App, broken: list[bool]) -> None:
    await fill(app, 250)
    broken.clear()
    parts = await done(app, "retry", FAILING)
    assert [(part.matched, part.changed) for part in parts] == [(100, 100), (100, 100), (50, 50)]
    await counted(app, 250, State.COMPLETED)
    run = (await app.client.find(Query(limit=1))).runs[0]
    events = (await app.client.history(run.run_id)).events
    assert [event.type for event in events].count("retry") == 1


async def test_each_is_steered_once_while_they_fall_back(app: App) -> None:
    """A resumed run fails again, and fits the filter anew."""
    await fill(app, 60)
    parts = await done(app, "resume", FAILING, batch=7)
    assert sum(part.changed for part in parts) == 60
    await counted(app, 60, State.PAUSED)
    runs = (await app.client.find(Query(limit=100))).runs
    for run in runs:
        events = (await app.client.history(run.run_id)).events
        assert [event.type for event in events].count("resume") == 1


async def test_data_is_deleted(app: App, broken: list[bool]) -> None:
    broken.clear()
    await fill(app, 30, State.COMPLETED)
    [part] = await done(app, "delete-data", Filter(workflow="orders", prefix="o-001"))
    assert (part.matched, part.changed, part.refused) == (10, 10, [])
    await counted(app, 10, State.DATA_DELETED)


async def test_what_refuses_holds_up_no_other(app: App) -> None:
    await fill(app, 5)
    runs = (await app.client.find()).runs
    await app.client.cancel(runs[2].run_id)
    [part] = await done(app, "cancel", Filter())
    assert (part.matched, part.changed) == (5, 4)
    [refusal] = part.refused
    assert (refusal.run_id, refusal.foreign_id) == (runs[2].run_id, "o-0002")
    assert refusal.why == f"Can't cancel run {runs[2].run_id}: it is CANCELLED."


async def test_who_stops_asking_leaves_the_rest(app: App) -> None:
    await fill(app, 10)
    async for part in app.client.bulk("cancel", FAILING, batch=4):
        assert part.changed == 4
        break
    assert await app.client.count(FAILING) == 6


async def test_a_query_is_a_filter(app: App) -> None:
    await fill(app, 5)
    asked = Query(workflow="orders", limit=2, order="-created")
    [part] = await done(app, "cancel", asked)
    assert (part.matched, part.changed) == (5, 5)


async def test_nothing_fits(app: App) -> None:
    assert await done(app, "pause", FAILING) == [Bulk(matched=0, changed=0)]
    await fill(app, 1)
    later = app.clock.now() + timedelta(days=1)
    assert await done(app, "cancel", Filter(created_after=later)) == [Bulk(matched=0, changed=0)]


async def test_what_can_not_be_asked(app: App) -> None:
    with pytest.raises(WorkflowNotFound):
        await done(app, "pause", Filter(workflow="nope"))
    for batch in (0, MAX_BULK + 1):
        with pytest.raises(InvalidQuery):
            await done(app, "pause", FAILING, batch=batch)
    with pytest.raises(InvalidQuery):
        BulkSteering.of(action="explode", query=FAILING)
