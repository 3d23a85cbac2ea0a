"""Lists: every filter, every order, pages that hold while runs change, counting."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, get_args

import msgspec
import pytest

from streamwf import Run, RunInfo, Skip, State, Workflow
from streamwf.errors import InvalidForeignId, InvalidQuery, WorkflowNotFound
from streamwf.events import MAX_FOREIGN_ID
from streamwf.views import MAX_VALUES, Order, Page, Query, RunView
from tests.embedded.app import App, running
from tests.support import NOW, eventually

SECOND = timedelta(seconds=1)
ORDERS: tuple[Order, ...] = get_args(Order)


class Step(Enum):
    OPEN = 1
    SHUT = 2


def parcels(name: str = "orders", *search: str) -> Workflow[dict[str, Any], Step]:
    """Its runs stay where they are."""
    workflow: Workflow[dict[str, Any], Step] = Workflow(name, dict, Step, search=search)

    @workflow.step(Step.OPEN, to=Step.SHUT)
    async def wait(run: Run[dict[str, Any], Step]) -> Skip:
        return Skip()

    return workflow


@pytest.fixture
async def app() -> AsyncIterator[App]:
    first = parcels("orders", "customer", "address.city", "tags", "lines.sku", "n")
    async with running(first, parcels("others", "colour")) as app:  # type: ignore[arg-type]
        yield app


async def start(app: App, foreign_id: str, name: str = "orders", **data: Any) -> str:
    workflow = app.host.workflows[name]
    run_id = await app.client.trigger(workflow, foreign_id, data, wait=True)
    await app.client.await_(workflow, run_id, Step.OPEN)
    await eventually(lambda: app.host.logs[name].records and settled(app, name))
    return run_id


def settled(app: App, name: str) -> bool:
    [shard] = app.host.shards(name)
    folded = shard.position == len(app.host.logs[name].records)
    return folded and not shard.dispatcher.running and not shard.dispatcher.queued


async def pages(app: App, size: int = 50, **query: Any) -> list[Page]:
    found = []
    cursor = None
    while True:
        page = await app.client.find(Query(limit=size, cursor=cursor, **query))
        found.append(page)
        cursor = page.cursor
        if cursor is None:
            return found


async def listed(app: App, size: int = 50, **query: Any) -> list[str]:
    """The foreign ids on all pages."""
    runs = [run for page in await pages(app, size, **query) for run in page.runs]
    count = await app.client.count(Query(**query))
    assert count == len(runs)
    return [run.foreign_id for run in runs]


# ---- filters


async def test_a_prefix_of_the_foreign_id(app: App) -> None:
    for foreign_id in ("a", "ab", "ab-1", "ab-2", "abc", "b", "ä-1", "B"):
        await start(app, foreign_id)
    for order in ORDERS:
        assert sorted(await listed(app, prefix="ab", order=order)) == ["ab", "ab-1", "ab-2", "abc"]
    assert await listed(app, 1, prefix="ab-", workflow="orders") == ["ab-1", "ab-2"]
    assert await listed(app, prefix="ä") == ["ä-1"]
    assert await listed(app, prefix="x") == []
    assert len(await listed(app, prefix="")) == 8
    assert await listed(app, prefix="ab", foreign_id="abc") == ["abc"]
    assert await listed(app, prefix="abc", foreign_id="ab") == []


async def test_when_runs_were_created_and_changed(app: App) -> None:
    ids = []
    for number in range(4):
        ids.append(await start(app, f"o-{number}"))
        app.clock.step(SECOND)
    await app.client.pause(ids[1])

    def at(seconds: int) -> datetime:
        return NOW + seconds * SECOND

    assert await listed(app, created_after=at(1)) == ["o-1", "o-2", "o-3"]
    assert await listed(app, created_before=at(1)) == ["o-0"]
    assert await listed(app, created_after=at(1), created_before=at(3)) == ["o-1", "o-2"]
    assert await listed(app, updated_after=at(3)) == ["o-1", "o-3"]
    assert await listed(app, updated_after=at(4)) == ["o-1"]
    assert await listed(app, updated_before=at(2)) == ["o-0"]
    assert await listed(app, updated_after=at(4), state=["RUNNING"]) == []
    # The same instant in another time zone.
    east = at(3).astimezone(tz=datetime.fromisoformat("2030-01-01T00:00:00+05:30").tzinfo)
    assert await listed(app, created_after=east) == ["o-3"]


async def test_fields_of_the_object(app: App) -> None:
    await start(app, "o-1", customer="ann", address={"city": "Rome"}, tags=["new", "big"], n=3)
    await start(app, "o-2", customer="bob", address={"city": "Rome"}, lines=[{"sku": "x"}], n=3.5)
    await start(app, "o-3", customer="ann", address=None, lines=[{"sku": "y"}, {"sku": "x"}])
    await start(app, "o-4", customer=None, tags=[], n=True, address=["Rome"])
    await start(app, "o-5")
    await start(app, "o-6", "others", colour="red", customer="ann")

    async def found(**search: list[str]) -> list[str]:
        fields = {name.replace("__", "."): values for name, values in search.items()}
        return await listed(app, search=fields)

    assert await found(customer=["ann"]) == ["o-1", "o-3"]
    assert await found(customer=["ann", "bob", "eve"]) == ["o-1", "o-2", "o-3"]
    assert await found(address__city=["Rome"]) == ["o-1", "o-2"]
    assert await found(address__city=["Rome"], customer=["ann"]) == ["o-1"]
    assert await found(customer=["Ann"]) == []
    assert await found(tags=["big"]) == ["o-1"]
    assert await found(lines__sku=["x"]) == ["o-2", "o-3"]
    assert await found(n=["3"]) == ["o-1"]
    assert await found(n=["3.5", "true"]) == ["o-2", "o-4"]
    assert await found(customer=["null"]) == ["o-4"]
    assert await found(customer=[]) == ["o-1", "o-2", "o-3", "o-4", "o-5", "o-6"]
    assert await found(colour=["red"]) == ["o-6"]
    # One field is of the one workflow, one of the other.
    assert await found(colour=["red"], customer=["ann"]) == []
    assert await listed(app, workflow="others", search={"colour": ["red"]}) == ["o-6"]


async def test_a_field_that_is_not_declared_is_told_with_those_that_are(app: App) -> None:
    with pytest.raises(InvalidQuery) as refused:
        await app.client.find(Query(workflow="orders", search={"colour": ["red"]}))
    assert str(refused.value) == (
        "search.colour can't be read: runs can't be searched by it; fields: "
        "address.city, customer, lines.sku, n, tags."
    )
    with pytest.raises(InvalidQuery):
        await app.client.count(Query(search={"customer.name": ["ann"]}))
    async with running(parcels()) as bare:  # type: ignore[arg-type]
        with pytest.raises(InvalidQuery, match=r"none; declare them with Workflow\(search=…\)"):
            await bare.client.find(Query(search={"colour": []}))


async def test_what_is_encrypted_is_found_all_the_same() -> None:
    sealed = parcels("orders", "customer")
    sealed.encrypt = True
    async with running(sealed) as app:  # type: ignore[arg-type]
        for number, customer in enumerate(("ann", "bob", "ann")):
            await start(app, f"o-{number}", customer=customer)
        assert all(b"ann" not in (record.value or b"") for record in app.log.records)
        assert await listed(app, search={"customer": ["ann"]}) == ["o-0", "o-2"]


async def test_an_object_that_can_not_be_read_is_not_found_and_hides_no_other(app: App) -> None:
    await start(app, "o-1", customer="ann")
    for number, data in enumerate([b"1e999", b"[" * 2_000 + b"]" * 2_000, b'"ann"', b"null"]):
        app.append(b'{"type":"trigger","subject":"x-%d","data":%s}' % (number, data))
    await eventually(lambda: settled(app, "orders"))
    assert await listed(app, search={"customer": ["ann"]}) == ["o-1"]


async def test_what_can_not_be_asked(app: App) -> None:
    many = [str(number) for number in range(MAX_VALUES + 1)]
    for given in (
        {"status": many},
        {"search": {"customer": many}},
        {"search": {key: ["x"] for key in many}},
        {"search": {"customer": ["x" * 501]}},
        {"status": ["x" * 501]},
        {"prefix": "x" * (MAX_FOREIGN_ID + 1)},
        {"created_after": datetime(2030, 1, 1)},
        {"updated_before": "yesterday"},
        {"order": "size"},
        {"limit": 0},
        {"nope": 1},
    ):
        with pytest.raises(InvalidQuery) as refused:
            Query.of(**given)
        assert refused.value.errors[0]["field"].split(".")[0] in given
    for told, query in (
        (InvalidQuery, Query(prefix="\x01")),
        (InvalidForeignId, Query(foreign_id="\x01schedule")),
        (InvalidForeignId, Query(foreign_id="")),
        (WorkflowNotFound, Query(workflow="nope")),
    ):
        for ask in (app.client.find, app.client.count):
            with pytest.raises(told):
                await ask(query)


async def test_the_runs_of_the_engine_itself_are_left_out(app: App) -> None:
    await start(app, "o-1")
    app.append(
        {
            "type": "callback",
            "subject": "nobody",
            "call": "hello",
            "data": 1,
            "until": "2031-01-01T00:00:00Z",
        }
    )
    [shard] = app.host.shards("orders")
    await eventually(lambda: len(list(shard.scan(""))) == 2)
    for order in ORDERS:
        assert await listed(app, order=order) == ["o-1"]
    assert await app.client.count() == 1
    assert await app.client.count(Query(prefix="n")) == 0


# ---- orders


async def spread(app: App) -> list[RunView]:
    """Runs of two workflows, some of the same foreign id, changed in another order than made."""
    made = []
    for number in range(6):
        name = ("orders", "others")[number % 2]
        for _ in range(3):
            made.append(await start(app, f"o-{9 - number}", name))
            if number % 3:
                app.clock.step(SECOND)
            await app.client.cancel(made[-1])
    for number in (7, 3, 11):
        app.clock.step(SECOND)
        event = {"type": "delete", "subject": f"o-{9 - number // 3}", "runid": made[number]}
        name = ("orders", "others")[number // 3 % 2]
        app.host.logs[name].append(None, msgspec.json.encode(event), stamp(app))
        await eventually(lambda name=name: settled(app, name))
    return (await app.client.find(Query(limit=100))).runs


def stamp(app: App) -> int:
    return int(app.clock.now().timestamp() * 1_000)


@pytest.mark.parametrize("order", ORDERS)
async def test_pages_of_every_size_make_the_same_list(app: App, order: Order) -> None:
    runs = await spread(app)
    by = order.removeprefix("-")

    def place(run: RunView) -> Any:
        if by == "foreign_id":
            return run.workflow, run.foreign_id
        at = run.created_at if by == "created" else run.updated_at
        return at, run.workflow, run.foreign_id, run.run_id

    wanted = [run.run_id for run in sorted(runs, key=place, reverse=order.startswith("-"))]
    assert len(wanted) == 18
    for size in (1, 2, 3, 5, 17, 18, 19):
        found = await pages(app, size, order=order)
        assert [run.run_id for page in found for run in page.runs] == wanted
        assert len(found) == -(-18 // size)


async def test_of_a_foreign_id_the_newest_comes_first_whatever_the_old_one_was_told(
    app: App,
) -> None:
    made = []
    for _ in range(3):
        made.append(await start(app, "o-1"))
        await app.client.cancel(made[-1])
    app.append({"type": "delete", "subject": "o-1", "runid": made[0]})
    await eventually(lambda: settled(app, "orders"))
    for order in ("foreign_id", "-foreign_id"):
        found = await pages(app, 2, workflow="orders", order=order)
        assert [run.run_id for page in found for run in page.runs] == made[::-1]
    page = await app.client.find(Query(workflow="orders", foreign_id="o-1", limit=1))
    assert [run.run_id for run in page.runs] == made[-1:]


@pytest.mark.parametrize("order", ["foreign_id", "-foreign_id"])
async def test_pages_hold_when_the_run_at_their_border_fits_no_longer(
    app: App, order: Order
) -> None:
    made = []
    for _ in range(4):
        made.append(await start(app, "o-1"))
        await app.client.cancel(made[-1])
    query = Query(state=[State.CANCELLED], limit=2, order=order)
    first = await app.client.find(query)
    assert [run.run_id for run in first.runs] == [made[3], made[2]]
    await app.client.delete_data(made[2])
    rest = await app.client.find(query.model_copy(update={"cursor": first.cursor}))
    assert [run.run_id for run in rest.runs] == [made[1], made[0]]


@pytest.mark.parametrize("order", ["created", "-created", "foreign_id", "-foreign_id"])
async def test_pages_hold_while_runs_come_and_change(app: App, order: Order) -> None:
    old = []
    for number in range(10):
        old.append(await start(app, f"o-{number}"))
        app.clock.step(SECOND)
    wanted = old[::-1] if order.startswith("-") else old
    found: list[str] = []
    query = Query(order=order, limit=3)
    while True:
        page = await app.client.find(query)
        found += [run.run_id for run in page.runs]
        if page.cursor is None:
            break
        query = query.model_copy(update={"cursor": page.cursor})
        await start(app, f"o-{len(found)}-more")
        # Those at the border run again, and others change.
        await app.client.cancel(found[-1])
        await start(app, page.runs[-1].foreign_id)
        if len(found) < len(old):
            await app.client.pause(wanted[len(found)])
        app.clock.step(SECOND)
    assert [run_id for run_id in found if run_id in old] == wanted
    assert len(found) == len(set(found))


@pytest.mark.parametrize("order", ["updated", "-updated"])
async def test_by_when_they_changed_none_comes_twice_and_what_stays_comes_once(
    app: App, order: Order
) -> None:
    ids = []
    for number in range(10):
        ids.append(await start(app, f"o-{number}"))
        app.clock.step(SECOND)
    shown = ids[::-1] if order.startswith("-") else ids
    changing = {shown[0], shown[4], shown[8]}
    found: list[str] = []
    query = Query(order=order, limit=3)
    while True:
        page = await app.client.find(query)
        found += [run.run_id for run in page.runs]
        if page.cursor is None:
            break
        query = query.model_copy(update={"cursor": page.cursor})
        for run_id in changing:
            run = await app.client.get(app.workflow, run_id)
            paused = run.state is State.PAUSED
            await (app.client.resume if paused else app.client.pause)(run_id)
        await start(app, f"new-{len(found)}")
        await eventually(lambda: settled(app, "orders"))
        app.clock.step(SECOND)
    assert [run_id for run_id in found if run_id not in changing] == [
        run_id for run_id in shown if run_id not in changing
    ]
    assert len(found) == len(set(found))
    assert found[0] == shown[0]


async def test_a_cursor_is_of_one_order(app: App) -> None:
    for number in range(3):
        await start(app, f"o-{number}")
    page = await app.client.find(Query(limit=1, order="created"))
    with pytest.raises(InvalidQuery, match="it is of a list by created, not by updated"):
        await app.client.find(Query(cursor=page.cursor, order="updated"))


# ---- all of them, typed


async def test_all_runs_that_fit_are_listed_with_their_types(app: App) -> None:
    workflow: Workflow[dict[str, Any], Step] = app.host.workflows["orders"]
    for number in range(5):
        await start(app, f"o-{number}", customer=("ann", "bob")[number % 2])
        app.clock.step(SECOND)
    await start(app, "o-9", "others")
    runs: list[RunInfo[dict[str, Any], Step]] = [run async for run in app.client.list(workflow)]
    assert [(run.foreign_id, run.status) for run in runs] == [
        (f"o-{number}", Step.OPEN) for number in range(5)
    ]
    assert runs[1].object == {"customer": "bob"}

    async def found(**given: Any) -> list[str]:
        return [run.foreign_id async for run in app.client.list(workflow, **given)]

    assert await found(search={"customer": "bob"}) == ["o-1", "o-3"]
    assert await found(search={"customer": ["bob", "eve"]}, order="-created") == ["o-3", "o-1"]
    assert await found(status=Step.SHUT) == []
    assert await found(status=[Step.OPEN, Step.SHUT], state=State.RUNNING, prefix="o-4") == ["o-4"]
    assert await found(created_before=NOW + SECOND) == ["o-0"]
    assert await found(state=[State.PAUSED]) == []
    with pytest.raises(InvalidQuery):
        await found(created_before=datetime(2030, 1, 1))


async def test_a_list_goes_on_over_its_pages(app: App) -> None:
    for number in range(450):
        app.append(b'{"type":"trigger","subject":"o-%03d","data":{}}' % number)
    await eventually(lambda: settled(app, "orders"))
    workflow = app.host.workflows["orders"]
    ids = [run.foreign_id async for run in app.client.list(workflow, order="-foreign_id")]
    assert ids == [f"o-{number:03}" for number in reversed(range(450))]
    assert await app.client.count(Query(workflow="orders")) == 450
