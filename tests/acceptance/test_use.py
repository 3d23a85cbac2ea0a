"""4 Using it: triggering, awaiting, steering and looking."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from streamwf import RunInfo, State
from streamwf.errors import (
    AwaitFailed,
    DeadlineExceeded,
    ForeignIdNotFound,
    InvalidForeignId,
    InvalidQuery,
    NotWaiting,
    RunInProgress,
    RunNotFound,
    TerminalStart,
    TransitionRefused,
    UnknownStatus,
    VersionNotFound,
    WorkflowNotFound,
)
from streamwf.views import Bulk, Filter, Query, Trigger
from streamwf.views import Order as ListOrder
from tests.acceptance.flows.carried import DONE, MORE, NEW, WAITING, Status
from tests.acceptance.flows.orders import Address, Order, orders
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row
from tests.acceptance.signs import Signs

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

#: So that nothing is of the same time.
INSTANT = timedelta(milliseconds=1)

#: For what will not be: long enough to be looked for.
MOMENT = timedelta(milliseconds=300)

Info = RunInfo[Order, Status]


async def unpaid(host: Host, name: str, order: Order | None = None) -> str:
    """The id of an order that waits to be paid."""
    run_id = await host.client.trigger(orders, name, order or Order())
    await host.client.await_(orders, run_id, WAITING)
    return run_id


async def shipped(host: Host, name: str, order: Order | None = None) -> str:
    """The id of an order that has completed."""
    run_id = await unpaid(host, name, order)
    await host.client.callback(orders, "pay", "cash", run_id=run_id)
    await host.client.await_(orders, run_id)
    return run_id


# ---- trigger


@row("4 trigger", "It returns the run's id once the log has the request, or once it is accepted.")
@pytest.mark.parametrize("wait", [True, False])
async def test_trigger(host: Host, name: str, wait: bool) -> None:
    run_id = await host.client.trigger(orders, name, Order(items=["book"]), wait=wait)
    [event] = [e for e in await host.events(orders, name) if e["type"] == "trigger"]
    assert (event["runid"], event["data"]["items"]) == (run_id, ["book"])
    run = await host.client.await_(orders, run_id, WAITING)
    assert (run.foreign_id, run.run_id, run.object.trail) == (name, run_id, ["picked"])


@row("4 trigger", "A key makes a repeat harmless: it leads to the same run, also after its end.")
async def test_trigger_with_a_key(host: Host, name: str) -> None:
    client = host.client
    run_id = await client.trigger(orders, name, Order(), key="k", wait=True)
    assert await client.trigger(orders, name, Order(), key="k", wait=True) == run_id
    await client.cancel(run_id)
    assert await client.trigger(orders, name, Order(), key="k", wait=True) == run_id
    assert await client.count(Filter(workflow="orders", foreign_id=name)) == 1


@row("4 trigger", "At a status of its own, and at a time.")
async def test_trigger_at_a_status_and_at_a_time(host: Host, name: str) -> None:
    start_at = host.now() + SECOND
    run_id = await host.client.trigger(orders, name, Order(), at=MORE, start_at=start_at, wait=True)
    run = await host.client.get(orders, run_id)
    assert (run.status, run.state, run.due_at) == (MORE, State.INITIATED, start_at)
    await host.pass_time(SECOND)
    run = await host.client.await_(orders, run_id)
    assert (run.status, run.object.trail) == (DONE, ["shipped"])
    assert run.updated_at >= start_at


@row("4 trigger", "What can't be is refused by name, and the log has nothing of it.")
async def test_a_trigger_that_can_not_be(host: Host, name: str) -> None:
    client = host.client
    with pytest.raises(TerminalStart):
        await client.trigger(orders, name, Order(), at=DONE)
    with pytest.raises(InvalidForeignId):
        await client.trigger(orders, "", Order())
    start_at = host.now().replace(tzinfo=None)
    with pytest.raises(InvalidQuery, match="time zone"):
        await client.trigger(orders, name, Order(), start_at=start_at)
    with pytest.raises(UnknownStatus, match="no status 'BLUE'"):
        await client._gateway.trigger("orders", Trigger(foreign_id=name, status="BLUE"), True)
    assert await host.events(orders, name) == []
    run_id = await client.trigger(orders, name, Order(), wait=True)
    with pytest.raises(RunInProgress):
        await client.trigger(orders, name, Order(), wait=True)
    assert [each.run_id async for each in client.list(orders, foreign_id=name)] == [run_id]


# ---- await


@row("4 await", "It returns at once if the run is there, or has passed the status, or has ended.")
async def test_await_what_is_there_already(host: Host, name: str) -> None:
    run_id = await shipped(host, name)
    for status in (NEW, WAITING, MORE, DONE, None):
        run = await host.client.await_(orders, run_id, status, timeout=timedelta(0))
        assert (run.status, run.state) == (DONE, State.COMPLETED)


@row("4 await", "It waits until the run comes there.")
async def test_await_what_is_to_come(host: Host, name: str) -> None:
    run_id = await unpaid(host, name)
    waiting = asyncio.create_task(host.client.await_(orders, run_id, DONE))
    with pytest.raises(DeadlineExceeded):
        await host.client.await_(orders, run_id, MORE, timeout=MOMENT)
    await host.client.callback(orders, "pay", "cash", run_id=run_id)
    assert (await waiting).status is DONE


@row("4 await", "It raises as soon as the run can't get there: cancelled, or completed elsewhere.")
@pytest.mark.parametrize("how", ["cancelled before", "cancelled meanwhile", "elsewhere"])
async def test_await_what_will_not_be(host: Host, name: str, how: str) -> None:
    client = host.client
    run_id = await unpaid(host, name)
    if how == "cancelled before":
        await client.cancel(run_id, "out of stock")
    waiting = asyncio.create_task(client.await_(orders, run_id, DONE))
    if how == "cancelled meanwhile":
        await client.cancel(run_id, "out of stock")
    elif how == "elsewhere":
        await client.callback(orders, "pay", "never", run_id=run_id)
    with pytest.raises(AwaitFailed) as failed:
        await waiting
    state, status = (
        (State.COMPLETED, "FAILED") if how == "elsewhere" else (State.CANCELLED, "WAITING")
    )
    assert (failed.value.state, failed.value.status) == (state, status)
    assert how == "elsewhere" or "out of stock" in str(failed.value)


@row("4 await", "Of a run that nobody knows it says so, and it never waits longer than it is told.")
async def test_await_has_an_end(host: Host, name: str) -> None:
    with pytest.raises(RunNotFound):
        await host.client.await_(orders, "no-such-run", timeout=MOMENT)
    run_id = await unpaid(host, name)
    with pytest.raises(DeadlineExceeded):
        await host.client.await_(orders, run_id, timeout=MOMENT)
    handle = host.client.run(orders, name)
    with pytest.raises(DeadlineExceeded):
        await handle.await_(DONE, timeout=MOMENT)


# ---- callback and controllers


@row(
    "4 callback and controllers",
    "By run id or by foreign id, each with a reason, each answered with the new state.",
)
@pytest.mark.parametrize("by", ["run id", "foreign id"])
async def test_steering(host: Host, name: str, by: str) -> None:
    client = host.client
    run_id = await unpaid(host, name)
    handle = client.run(orders, name)

    async def steer(action: str, reason: str) -> tuple[State, str]:
        if by == "run id":
            told = await getattr(client, action)(run_id, reason)
        else:
            told = await getattr(handle, action)(reason)
        assert told.run_id == run_id
        return told.state, told.reason

    assert await steer("pause", "lunch") == (State.PAUSED, "lunch")
    with pytest.raises(TransitionRefused):
        await steer("pause", "again")
    assert await steer("resume", "back") == (State.RUNNING, "back")
    assert await steer("cancel", "enough") == (State.CANCELLED, "enough")
    reasons = [event.reason for event in (await client.history(run_id)).events if event.reason]
    assert reasons == ["lunch", "back", "enough"]
    state, _ = await steer("delete_data", "asked for")
    assert state in (State.DATA_DELETION_REQUESTED, State.DATA_DELETED)


@row("4 callback and controllers", "`retry` tries at once what waits because of errors.")
async def test_retry(host: Host, name: str, signs: Signs) -> None:
    signs.put_up("broken")
    run_id = await host.client.trigger(orders, name, Order(folder=signs.folder))

    async def failed() -> bool:
        run = await host.client.latest(orders, name)
        return run is not None and run.attempt > 0

    await host.until(failed)
    signs.take_down("broken")
    told = await host.client.run(orders, name).retry("mended")
    assert told.state in (State.INITIATED, State.RUNNING)
    await host.client.await_(orders, run_id, WAITING)


@row("4 callback and controllers", "Of a run, or a foreign id, that nobody knows they say so.")
async def test_steering_what_is_not_there(host: Host, name: str) -> None:
    handle = host.client.run(orders, name)
    for action in ("pause", "resume", "cancel", "retry", "delete_data"):
        with pytest.raises(ForeignIdNotFound):
            await getattr(handle, action)()
        with pytest.raises(RunNotFound):
            await getattr(host.client, action)("no-such-run")
    with pytest.raises(ForeignIdNotFound):
        await handle.callback("pay", "cash")
    with pytest.raises((NotWaiting, RunNotFound)):
        await host.client.callback(orders, "pay", "cash", run_id="no-such-run")


# ---- get, latest, list, history


@row("4 get, latest, list, history", "`get` and `latest` give a run with the workflow's own types.")
async def test_get_and_latest(host: Host, name: str) -> None:
    assert await host.client.latest(orders, name) is None
    first = await shipped(host, name, Order(address=Address(city="Rome")))
    second = await unpaid(host, name)
    run = await host.client.get(orders, first)
    assert (run.run_id, run.status, run.object.address) == (first, DONE, Address(city="Rome"))
    latest = await host.client.latest(orders, name)
    assert latest is not None
    assert (latest.run_id, latest.status) == (second, WAITING)


@row("4 get, latest, list, history", "`history` tells every event that has changed a run.")
async def test_history(host: Host, name: str) -> None:
    run_id = await unpaid(host, name)
    await host.client.pause(run_id, "lunch")
    await host.client.resume(run_id)
    with pytest.raises(TransitionRefused):
        await host.client.resume(run_id)
    await host.client.callback(orders, "pay", "cash", run_id=run_id)
    await host.client.await_(orders, run_id)
    history = await host.client.history(run_id)
    assert not history.truncated
    assert [event.version for event in history.events] == list(range(1, len(history.events) + 1))
    assert [(event.type, event.status) for event in history.events] == [
        ("trigger", "NEW"),
        ("moved", "WAITING"),
        ("pause", ""),
        ("resume", ""),
        ("callback", ""),
        ("moved", "MORE"),
        ("moved", "DONE"),
    ]
    told = history.events[-1]
    assert told.object["trail"] == ["picked", "cash", "shipped"]
    assert told.definition == orders.definition
    assert all(a.time <= b.time for a, b in zip(history.events, history.events[1:], strict=False))


async def listed(host: Host, **asked: Any) -> list[str]:
    return [run.foreign_id async for run in host.client.list(orders, **asked)]


@row(
    "4 get, latest, list, history",
    "Filters: status, state, foreign id, its beginning, when created and updated, declared fields"
    " of the object; several values of one are alternatives.",
)
async def test_filters(host: Host, name: str) -> None:
    begun = host.now()
    rome = Order(customer=name, address=Address(city="Rome"), items=["book", "pen"], price=5)
    oslo = Order(customer=name, address=Address(city="Oslo"), price=7)
    a, b, c, d = (f"{name}-{letter}" for letter in "abcd")
    await unpaid(host, a, rome)
    await shipped(host, b, oslo)
    await host.pass_time(timedelta(milliseconds=10))
    between = host.now()
    await host.pass_time(timedelta(milliseconds=10))
    await host.client.cancel(await unpaid(host, c, rome), "no")
    await shipped(host, d, Order(customer=f"{name}, too"))
    ours = {"prefix": name}
    assert await listed(host, **ours) == [a, b, c, d]
    assert await listed(host, **ours, status=WAITING) == [a, c]
    assert await listed(host, **ours, status=[DONE, MORE]) == [b, d]
    assert await listed(host, **ours, state=State.CANCELLED) == [c]
    assert await listed(host, **ours, state=[State.COMPLETED, State.RUNNING]) == [a, b, d]
    assert await listed(host, **ours, status=WAITING, state=State.RUNNING) == [a]
    assert await listed(host, foreign_id=b) == [b]
    assert await listed(host, prefix=f"{name}-a") == [a]
    assert await listed(host, **ours, created_after=begun, created_before=between) == [a, b]
    assert await listed(host, **ours, created_after=between) == [c, d]
    assert await listed(host, **ours, updated_after=between) == [c, d]
    assert await listed(host, **ours, updated_before=begun) == []
    assert await listed(host, search={"customer": name}) == [a, b, c]
    assert await listed(host, search={"customer": name, "address.city": "Rome"}) == [a, c]
    assert await listed(host, search={"customer": name, "address.city": ["Rome", "Oslo"]}) == [
        *(a, b, c)
    ]
    assert await listed(host, search={"customer": name, "items": "pen"}) == [a, c]
    assert await listed(host, search={"customer": name, "price": ["7", "8"]}) == [b]
    with pytest.raises(InvalidQuery, match="customer"):
        await listed(host, search={"colour": "blue"})
    with pytest.raises(WorkflowNotFound):
        await host.client.find(Query(workflow="unheard-of"))


@row(
    "4 get, latest, list, history",
    "In six orders, page by page; pages do not shift when runs come and change in between.",
)
@pytest.mark.parametrize("by", ["foreign_id", "created", "updated"])
async def test_orders_and_pages(host: Host, name: str, by: Any) -> None:
    client = host.client
    names = [f"{name}-{number}" for number in (2, 0, 3, 1, 4)]
    run_ids = {}
    for each in names:
        run_ids[each] = await unpaid(host, each)
        await host.pass_time(INSTANT)
    changed = names[1:] + names[:1]
    for each in changed:
        await client.pause(run_ids[each])
        await host.pass_time(INSTANT)
    wanted = {"foreign_id": sorted(names), "created": names, "updated": changed}[by]

    async def pages(order: ListOrder) -> list[str]:
        query = Query(workflow="orders", prefix=name, order=order, limit=2)
        page = await client.find(query)
        found = [run.foreign_id for run in page.runs]
        # New ones, before and after whatever page comes next.
        await unpaid(host, f"{name}-! {order}")
        await unpaid(host, f"{name}-~ {order}")
        while page.cursor is not None:
            page = await client.find(query.model_copy(update={"cursor": page.cursor}))
            found += [run.foreign_id for run in page.runs]
        assert len(found) == len(set(found))
        return [each for each in found if each in names]

    assert await pages(by) == wanted
    assert await pages(f"-{by}") == wanted[::-1]


# ---- bulk


@row(
    "4 bulk",
    "Pause, resume, cancel, retry and delete all runs that fit, counted first, batch by batch.",
)
async def test_bulk(host: Host, name: str) -> None:
    client = host.client
    ours = Filter(workflow="orders", search={"customer": [name]})
    other = await unpaid(host, f"{name}-other", Order(customer=f"not {name}"))
    for number in range(7):
        await unpaid(host, f"{name}-{number}", Order(customer=name))
    assert await client.count(ours) == 7

    async def do(action: Any) -> list[Bulk]:
        return [part async for part in client.bulk(action, ours, "all of them", batch=3)]

    for action, state in (
        ("pause", State.PAUSED),
        ("resume", State.RUNNING),
        ("pause", State.PAUSED),
        ("retry", State.RUNNING),
        ("cancel", State.CANCELLED),
    ):
        parts = await do(action)
        # Each worker has its share, and batches are of each.
        assert sum(part.matched for part in parts) == 7
        assert sum(part.changed for part in parts) == 7
        assert len(parts) > 2
        runs = [run async for run in client.list(orders, search={"customer": name})]
        assert {(run.state, run.reason) for run in runs} == {(state, "all of them")}
    again = await do("cancel")
    assert sum(part.changed for part in again) == 0
    told = [refusal.why for part in again for refusal in part.refused]
    assert len(told) == 7
    assert all("it is CANCELLED" in why for why in told)
    assert sum(part.changed for part in await do("delete-data")) == 7

    async def deleted() -> bool:
        wanted = Filter(workflow="orders", prefix=name, state=[State.DATA_DELETED])
        return await client.count(wanted) == 7

    await host.until(deleted)
    assert (await client.get(orders, other)).state is State.RUNNING


# ---- fork


@row("4 fork", "A new run from what a run was at a version, with its origin recorded.")
async def test_fork(host: Host, name: str) -> None:
    client = host.client
    run_id = await shipped(host, name, Order(items=["book"]))
    forked = await client.fork(run_id, 2, foreign_id=f"{name}-again", reason="it was lost")
    run = await client.await_(orders, forked, WAITING)
    assert (run.object.items, run.object.trail) == (["book"], ["picked"])
    await client.callback(orders, "pay", "card", run_id=forked)
    run = await client.await_(orders, forked)
    assert (run.status, run.object.trail) == (DONE, ["picked", "card", "shipped"])
    page = await client.find(Query(workflow="orders", foreign_id=f"{name}-again"))
    assert [each.origin for each in page.runs] == [f"{run_id}@2"]
    original = await client.get(orders, run_id)
    assert original.object.trail == ["picked", "cash", "shipped"]
    same = await client.fork(run_id, 2)
    latest = await client.latest(orders, name)
    assert latest is not None
    assert latest.run_id == same


@row("4 fork", "What can't be forked is refused: no such version, an end, or a run in progress.")
async def test_what_can_not_be_forked(host: Host, name: str) -> None:
    client = host.client
    run_id = await shipped(host, name)
    last = (await client.get(orders, run_id)).version
    with pytest.raises(VersionNotFound):
        await client.fork(run_id, last + 1)
    with pytest.raises(TerminalStart):
        await client.fork(run_id, last)
    with pytest.raises(RunNotFound):
        await client.fork("no-such-run", 1)
    forked = await client.fork(run_id, 1, key="k")
    assert await client.fork(run_id, 1, key="k") == forked
    with pytest.raises(RunInProgress):
        await client.fork(run_id, 1)


# ---- rebuild, replay, verify


@row(
    "4 rebuild, replay, verify",
    "Tables that are made anew from the log are what they were, and runs go on.",
)
async def test_rebuild(host: Host, name: str, signs: Signs) -> None:
    client = host.client
    done = await shipped(host, f"{name}-done", Order(folder=signs.folder))
    run_id = await unpaid(host, name)
    paused = await unpaid(host, f"{name}-paused")
    await client.pause(paused, "lunch")
    before = [await client._gateway.get(each) for each in (done, run_id, paused)]
    await host.rebuild(orders)
    client = host.client
    assert [await client._gateway.get(each) for each in (done, run_id, paused)] == before
    assert await host.verify() == []
    await client.callback(orders, "pay", "cash", run_id=run_id)
    run = await client.await_(orders, run_id)
    assert run.object.trail == ["picked", "cash", "shipped"]
    await client.resume(paused)
    assert (await client.get(orders, paused)).state is State.RUNNING


@row("4 rebuild, replay, verify", "The log can be folded up to any time: runs as they were then.")
async def test_replay(host: Host, name: str) -> None:
    before = host.now()
    await host.pass_time(10 * INSTANT)
    run_id = await unpaid(host, name)
    await host.pass_time(10 * INSTANT)
    between = host.now()
    await host.pass_time(10 * INSTANT)
    await host.client.callback(orders, "pay", "cash", run_id=run_id)
    await host.client.await_(orders, run_id)

    async def then(until: datetime) -> list[tuple[str, str]]:
        found = await host.replay(orders, until)
        return [(run.status, run.state) for run in found if run.run_id == run_id]

    assert await then(before) == []
    assert await then(between) == [("WAITING", "RUNNING")]
    assert await then(host.now() + SECOND) == [("DONE", "COMPLETED")]


# ---- kcat


def line(kind: str, subject: str, **fields: Any) -> dict[str, Any]:
    """What a person writes with kcat."""
    return {"type": kind, "subject": subject, **fields}


@row("4 kcat, any language", "One line of JSON starts a run, calls it back and steers it.")
async def test_one_line_is_enough(host: Host, name: str) -> None:
    await host.produce(orders, line("trigger", name, data={"customer": "kcat"}))

    async def at(status: Status | None, state: State) -> bool:
        run = await host.client.latest(orders, name)
        return run is not None and run.state is state and run.status in (status, run.status)

    async def becomes(state: State, status: Status | None = None) -> None:
        async def look() -> bool:
            run = await host.client.latest(orders, name)
            fits = run is not None and run.state is state
            return fits and (status is None or (run is not None and run.status is status))

        await host.until(look)

    await becomes(State.RUNNING, WAITING)
    await host.produce(orders, line("pause", name, reason="lunch"))
    await becomes(State.PAUSED)
    await host.produce(orders, line("resume", name))
    await becomes(State.RUNNING)
    await host.produce(orders, line("callback", name, call="pay", data="cash"))
    await becomes(State.COMPLETED, DONE)
    await host.produce(orders, line("delete", name))
    await becomes(State.DATA_DELETED)
    await host.produce(orders, line("trigger", name, data={}, status="MORE"))
    await becomes(State.COMPLETED, DONE)
    await host.produce(orders, line("trigger", name, data={}))
    await becomes(State.RUNNING, WAITING)
    await host.produce(orders, line("cancel", name, reason="enough"))
    await becomes(State.CANCELLED)


@row(
    "4 kcat, any language",
    "A request that lies where another partitioner puts it is forwarded to its place, once.",
)
async def test_a_request_in_a_wrong_partition(host: Host, name: str) -> None:
    await host.produce(orders, line("trigger", name, data={"customer": "kcat"}), shift=1)

    async def there() -> bool:
        return await host.client.latest(orders, name) is not None

    await host.until(there)
    run = await host.client.latest(orders, name)
    assert run is not None
    await host.client.await_(orders, run.run_id, WAITING)
    await host.produce(orders, line("callback", name, call="pay", data="cash"), shift=1)
    run = await host.client.await_(orders, run.run_id)
    assert run.object.trail == ["picked", "cash", "shipped"]
    assert await host.client.count(Filter(workflow="orders", foreign_id=name)) == 1


@row("4 kcat, any language", "A repeat with the same key starts one run.")
async def test_a_repeated_line_with_a_key(host: Host, name: str) -> None:
    for _ in range(2):
        await host.produce(orders, line("trigger", name, key="k", data={}, status="MORE"))
    other = f"{name}-other"
    await host.produce(orders, line("trigger", other, data={}))

    async def folded() -> bool:
        return await host.client.latest(orders, other) is not None

    await host.until(folded)
    run = await host.client.run(orders, name).await_()
    assert run.status is DONE
    assert await host.client.count(Filter(workflow="orders", foreign_id=name)) == 1


@row("4 kcat, any language", "What can't be read, or does not fit, is set aside with its reason.")
async def test_what_does_not_fit_is_set_aside(host: Host, name: str) -> None:
    wrong = {
        f"nonsense of {name}".encode(): "not JSON",
        b'{"type":"fly","subject":"%s"}' % name.encode(): "no event type 'fly'",
        b'{"type":"trigger","subject":"%s-object","data":{"price":"dear"}}'
        % name.encode(): "price",
        b'{"type":"trigger","subject":"%s-status","status":"BLUE"}' % name.encode(): "BLUE",
        b'{"type":"trigger","subject":"%s-end","data":{},"status":"DONE"}'
        % name.encode(): "nothing is left to do there",
    }
    for value in wrong:
        await host.produce(orders, value, key=name.encode())
    await host.produce(orders, line("trigger", f"{name}-good", data={}))

    async def set_aside() -> bool:
        letters = [
            letter for letter in await host.dead_letters(orders) if name.encode() in letter.value
        ]
        return all(any(reason in letter.reason for letter in letters) for reason in wrong.values())

    await host.until(set_aside)
    assert (await host.client.run(orders, f"{name}-good").await_(WAITING)).status is WAITING
