"""Looking at runs: one, its history, all that fit a filter, page by page."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from streamwf import Run, State, Workflow
from streamwf.errors import InvalidQuery, WorkflowNotFound
from streamwf.views import Page, Query, RunView
from tests.embedded.app import (
    CREATED,
    DONE,
    FAILED,
    PICKED,
    App,
    Order,
    Orders,
    Status,
    orders,
    running,
)
from tests.support import NOW, eventually

OrderRun = Run[Order, Status]


def sorted_out(name: str = "orders") -> Orders:
    """Runs end at DONE or FAILED, or stay at PICKED, by what is left of n by 3."""
    workflow = Workflow(name, Order, Status)

    @workflow.step(CREATED, to=[PICKED, DONE, FAILED])
    async def sort(run: OrderRun) -> Status:
        return [DONE, FAILED, PICKED][run.object.n % 3]

    @workflow.timeout(PICKED, after=NOW.replace(year=2099), to=DONE)
    async def late(run: OrderRun) -> Status:
        return DONE

    return workflow


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with running(sorted_out(), sorted_out("others")) as app:
        yield app


async def fill(app: App, count: int, name: str = "orders") -> list[str]:
    """So many runs; their foreign ids, in order."""
    for n in range(count):
        app.host.logs[name].append(
            None,
            b'{"type":"trigger","subject":"o-%04d","data":{"n":%d}}' % (n, n),
            1_000,
        )
    [shard] = app.host.shards(name)
    await eventually(lambda: shard.counts().total() == count)
    if name == "orders":
        await app.idle()
    else:
        await eventually(lambda: shard.counts()["DONE", "COMPLETED"] == -(-count // 3))
    return [f"o-{n:04}" for n in range(count)]


async def pages(app: App, size: int, **query: Any) -> list[Page]:
    found = []
    cursor = None
    while True:
        page = await app.client.find(Query(limit=size, cursor=cursor, **query))
        found.append(page)
        cursor = page.cursor
        if cursor is None:
            return found


def all_of(found: list[Page]) -> list[RunView]:
    return [run for page in found for run in page.runs]


def foreign_ids(runs: list[RunView]) -> list[str]:
    return [run.foreign_id for run in runs]


# ---- pages


@pytest.mark.parametrize("size", [53, 100, 847, 1_000])
async def test_a_thousand_runs_in_pages(app: App, size: int) -> None:
    ids = await fill(app, 1_000)
    found = await pages(app, size)
    assert foreign_ids(all_of(found)) == ids
    assert [len(page.runs) for page in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < len(found[-1].runs) <= size
    assert len(found) == -(-1_000 // size)
    assert found[0].missing == []


async def test_a_page_that_ends_with_the_last_run_is_the_last(app: App) -> None:
    await fill(app, 10)
    assert [len(page.runs) for page in await pages(app, 5)] == [5, 5]
    assert [len(page.runs) for page in await pages(app, 10)] == [10]


async def test_no_runs(app: App) -> None:
    assert await app.client.find() == Page(runs=[])


async def test_pages_do_not_shift_when_runs_come_in_between(app: App) -> None:
    ids = await fill(app, 30)
    first = await app.client.find(Query(limit=10))
    for foreign_id in ("a-before", "o-0004x", "z-after"):
        await app.start(foreign_id)
    second = await app.client.find(Query(limit=10, cursor=first.cursor))
    assert foreign_ids(first.runs) + foreign_ids(second.runs) == ids[:20]


async def test_pages_do_not_shift_when_the_run_at_their_border_runs_again(app: App) -> None:
    old = []
    for _ in range(6):
        old.append(await app.start("o-1", Order(n=0)))
        await app.until(old[-1], state=State.COMPLETED)
    await app.start("o-2")
    newest_first = old[::-1]
    for size in range(1, 6):
        first = await app.client.find(Query(workflow="orders", limit=size))
        assert [run.run_id for run in first.runs] == newest_first[:size]
        new = await app.start("o-1", Order(n=0))
        await app.until(new, state=State.COMPLETED)
        second = await app.client.find(Query(workflow="orders", cursor=first.cursor))
        assert [run.run_id for run in second.runs if run.foreign_id == "o-1"] == newest_first[size:]
        assert foreign_ids(second.runs)[-1] == "o-2"
        newest_first.insert(0, new)


async def test_pages_go_on_from_one_workflow_to_the_next(app: App) -> None:
    ids = await fill(app, 20)
    await fill(app, 20, "others")
    runs = all_of(await pages(app, 7))
    assert [(run.workflow, run.foreign_id) for run in runs] == [
        (name, foreign_id) for name in ("orders", "others") for foreign_id in ids
    ]


async def test_pages_of_a_filter(app: App) -> None:
    ids = await fill(app, 100)
    found = await pages(app, 9, status=["FAILED"], workflow="orders")
    assert foreign_ids(all_of(found)) == ids[1::3]


# ---- filters


async def test_filters(app: App) -> None:
    ids = await fill(app, 30)

    async def found(**query: Any) -> list[str]:
        return foreign_ids(all_of(await pages(app, 100, **query)))

    assert await found(status=["DONE"]) == ids[0::3]
    assert await found(status=["DONE", "FAILED"]) == sorted(ids[0::3] + ids[1::3])
    assert await found(state=["RUNNING"]) == ids[2::3]
    assert await found(state=["RUNNING", "COMPLETED"]) == ids
    assert await found(status=["PICKED"], state=["COMPLETED"]) == []
    assert await found(status=["NOPE"]) == []
    assert await found(workflow="orders") == ids
    assert await found(workflow="others") == []
    assert await found(foreign_id="o-0007") == ["o-0007"]
    assert await found(foreign_id="o-0007", workflow="orders") == ["o-0007"]
    assert await found(foreign_id="o-000", workflow="orders") == []
    assert await found(foreign_id="o-0007", status=["DONE"]) == []


async def test_a_foreign_id_has_all_its_runs_the_newest_first(app: App) -> None:
    ids = []
    for _ in range(4):
        ids.append(await app.start("o-1", Order(n=1)))
        await app.until(ids[-1], state=State.COMPLETED)
    await app.start("o-10")
    await app.start("o-1 ")
    page = await app.client.find(Query(workflow="orders", foreign_id="o-1"))
    assert [run.run_id for run in page.runs] == ids[::-1]
    latest = await app.client.latest(app.workflow, "o-1")
    assert latest is not None
    assert latest.run_id == ids[-1]


async def test_a_run_without_a_status_of_its_own_is_found_at_the_start() -> None:
    workflow = orders(start=PICKED)

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        app.append(
            {
                "type": "trigger",
                "subject": "o-1",
                "data": {},
                "startat": "2031-01-01T00:00:00Z",
            }
        )
        page = await eventually(lambda: non_empty(app, status=["PICKED"]))
        assert page.runs[0].status == "PICKED"
        assert (await app.client.describe("orders")).counts == {"PICKED": {"INITIATED": 1}}


async def non_empty(app: App, **query: Any) -> Page | None:
    page = await app.client.find(Query(**query))
    return page if page.runs else None


async def test_an_object_that_can_not_be_read_hides_no_other_run(app: App) -> None:
    await fill(app, 2)
    app.append(b'{"type":"trigger","subject":"x","data":{"n":1e999}}')
    await eventually(lambda: app.log.dead_letters)
    assert len((await app.client.find()).runs) == 3


@pytest.mark.parametrize("limit", [0, 1_001])
async def test_a_page_has_a_size(limit: int) -> None:
    with pytest.raises(ValidationError):
        Query(limit=limit)


async def test_what_can_not_be_asked(app: App) -> None:
    with pytest.raises(InvalidQuery):
        await app.client.find(Query(cursor="nobody made this"))
    with pytest.raises(WorkflowNotFound):
        await app.client.find(Query(workflow="nope"))


# ---- histories


async def test_a_history_tells_every_event_that_changed_the_run(app: App) -> None:
    run_id = await app.start(order=Order(n=2))
    await app.until(run_id, status=PICKED)
    await app.client.pause(run_id, "why not")
    await app.client.resume(run_id)
    await app.client.cancel(run_id, "enough")
    history = await app.client.history(run_id)
    assert (history.run_id, history.truncated) == (run_id, False)
    told = [(event.version, event.type, event.status, event.reason) for event in history.events]
    assert told == [
        (1, "trigger", "CREATED", ""),
        (2, "moved", "PICKED", ""),
        (3, "pause", "", "why not"),
        (4, "resume", "", ""),
        (5, "cancel", "", "enough"),
    ]
    assert [event.object for event in history.events] == [
        {"n": 2, "notes": []},
        {"n": 2, "notes": []},
        None,
        None,
        None,
    ]
    assert [event.offset for event in history.events] == sorted(
        {event.offset for event in history.events}
    )


async def test_a_history_leaves_out_what_was_refused(app: App) -> None:
    run_id = await app.start(order=Order(n=2))
    await app.until(run_id, status=PICKED)
    app.append({"type": "resume", "subject": "o-1"})
    app.append({"type": "trigger", "subject": "o-1", "data": {}})
    await app.idle()
    assert [event.type for event in (await app.client.history(run_id)).events] == [
        "trigger",
        "moved",
    ]


async def test_a_history_that_is_too_long_says_so() -> None:
    workflow = orders(start=CREATED)

    @workflow.step(CREATED, to=[CREATED, DONE])
    async def count(run: OrderRun) -> Status:
        run.object.n += 1
        return DONE if run.object.n == 300 else CREATED

    async with running(workflow) as app:
        run_id = await app.start()
        await app.until(run_id, state=State.COMPLETED)
        history = await app.client.history(run_id)
        assert history.truncated
        assert [event.version for event in history.events] == list(range(46, 302))
        assert history.events[-1].object["n"] == 300


# ---- workflows


async def test_a_workflow_is_told_with_its_counts(app: App) -> None:
    await fill(app, 30)
    view = await app.client.describe("orders")
    assert (view.name, view.start) == ("orders", "CREATED")
    assert view.statuses == list(Status.__members__)
    assert view.terminal == ["PACKED", "DONE", "FAILED"]
    assert view.counts == {
        "DONE": {"COMPLETED": 10},
        "FAILED": {"COMPLETED": 10},
        "PICKED": {"RUNNING": 10},
    }
    assert view.mermaid == app.workflow.mermaid()
