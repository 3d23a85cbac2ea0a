"""It holds under this: faults that others have, races, and clocks.

Those that another row shows are marked there.
"""

import asyncio
import random
from datetime import timedelta

import pytest

from streamwf import State
from streamwf.errors import DeadlineExceeded, NotWaiting, StreamwfError, TransitionRefused
from streamwf.views import Filter
from tests.acceptance.flows.carried import DONE, EXPIRED, MORE, NEW, WAITING, Thing
from tests.acceptance.flows.crowd import One, crowd
from tests.acceptance.flows.orders import Order as Purchase
from tests.acceptance.flows.orders import orders
from tests.acceptance.flows.outcomes import Scripted, outcomes
from tests.acceptance.flows.states import states
from tests.acceptance.flows.timeouts import Order, timeouts
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row
from tests.acceptance.signs import Signs

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

#: For what will not be: long enough to be looked for.
MOMENT = timedelta(milliseconds=300)

CROWD = 10_000


async def waiting(host: Host, name: str, order: Order) -> str:
    """The id of a run whose timeouts are set."""
    run_id = await host.client.trigger(timeouts, name, order, at=MORE, wait=True)

    async def entered() -> bool:
        return (await host.client.get(timeouts, run_id)).state is State.RUNNING

    await host.until(entered)
    return run_id


# ---- timeouts


@row("under faults", "A timeout of an old run does not touch a new one of the same foreign id.")
async def test_a_timeout_of_an_old_run(host: Host, name: str, signs: Signs) -> None:
    order = Order(folder=signs.folder, remind=1, answers=["done"])
    old = await waiting(host, name, order)
    await host.client.cancel(old)
    new = await waiting(host, name, Order(remind=3_600))
    await host.pass_time(2 * SECOND)
    run = await host.client.get(timeouts, new)
    assert (run.status, run.state, run.object.trail) == (MORE, State.RUNNING, [])
    assert [timer.name for timer in run.timers] == ["remind"]
    assert (await host.client.get(timeouts, old)).state is State.CANCELLED
    assert signs.notes() == []


@row("under faults", "Pause and resume, however often, leave a timeout there once.")
async def test_pause_and_resume_insert_no_timeout_twice(
    host: Host, name: str, signs: Signs
) -> None:
    run_id = await waiting(host, name, Order(folder=signs.folder, remind=1))
    for _ in range(3):
        await host.client.pause(run_id)
        await host.client.resume(run_id)
    assert len((await host.client.get(timeouts, run_id)).timers) == 1
    await host.pass_time(2 * SECOND)
    await host.until(lambda: bool(signs.notes()))
    assert (await host.client.get(timeouts, run_id)).timers == []
    await host.pass_time(SECOND)
    assert signs.notes() == ["remind"]


@row("under faults", "A timeout that answers `Skip` fires once, and not at every look.")
async def test_a_timeout_that_skips_fires_once(host: Host, name: str, signs: Signs) -> None:
    run_id = await waiting(host, name, Order(folder=signs.folder, remind=0.1))
    await host.pass_time(SECOND)
    await host.until(lambda: bool(signs.notes()))
    await host.pass_time(2 * SECOND)
    assert signs.notes() == ["remind"]
    assert (await host.client.get(timeouts, run_id)).state is State.RUNNING


# ---- awaiting and looking


@row("under faults", "A pause does not satisfy who awaits a status, and does not end the waiting.")
async def test_await_is_not_satisfied_by_a_pause(host: Host, name: str) -> None:
    start_at = host.now() + SECOND
    run_id = await host.client.trigger(states, name, Thing(), start_at=start_at, wait=True)
    waiting = asyncio.create_task(host.client.await_(states, run_id, WAITING))
    with pytest.raises(DeadlineExceeded):
        await host.client.await_(states, run_id, WAITING, timeout=MOMENT)
    await host.pass_time(SECOND)
    assert (await waiting).status is WAITING


@row("under faults", "Awaiting a run that has completed ends, whatever was awaited.")
async def test_await_after_completion_does_not_hang(host: Host, name: str) -> None:
    run_id = await host.client.trigger(orders, name, Purchase(), at=MORE)
    await host.client.await_(orders, run_id)
    for status in (DONE, MORE, None):
        run = await host.client.await_(orders, run_id, status)
        assert run.status is DONE
    with pytest.raises(StreamwfError):
        await host.client.await_(orders, run_id, WAITING)


@row("under faults", "`latest` gives the latest run, also once the data of it was deleted.")
async def test_latest_after_its_data_is_deleted(host: Host, name: str) -> None:
    first = await host.client.trigger(states, name, Thing(), wait=True)
    await host.client.cancel(first)
    second = await host.client.trigger(states, name, Thing(), wait=True)
    await host.client.cancel(second)
    await host.client.delete_data(second)

    async def deleted() -> bool:
        return (await host.client.get(states, second)).state is State.DATA_DELETED

    await host.until(deleted)
    latest = await host.client.latest(states, name)
    assert latest is not None
    assert (latest.run_id, latest.object) == (second, None)


# ---- errors that end more than a run


@row(
    "under faults",
    "Whatever a step raises, also what stops other programs, is an error of its run alone.",
)
@pytest.mark.parametrize("kind", ["TimeoutError", "CancelledError", "SystemExit", "RecursionError"])
async def test_errors_of_the_deadline_type(host: Host, name: str, signs: Signs, kind: str) -> None:
    scripted = Scripted(folder=signs.folder, script=[f"any {kind}", "DONE"])
    run_id = await host.client.trigger(outcomes, name, scripted, wait=True)

    async def failed() -> bool:
        return (await host.client.get(outcomes, run_id)).attempt == 1

    await host.until(failed)
    run = await host.client.get(outcomes, run_id)
    assert run.error is not None
    assert run.error.type == kind
    other = await host.client.trigger(outcomes, f"{name}-other", Scripted(folder=signs.folder))
    assert (await host.client.await_(outcomes, other)).status is DONE
    await host.pass_time(SECOND)
    assert (await host.client.await_(outcomes, run_id)).status is DONE


# ---- races


@row("under races", "A step that returns after its run was cancelled changes nothing.")
async def test_a_step_that_returns_after_its_run_was_cancelled(
    host: Host, name: str, signs: Signs
) -> None:
    signs.put_up("hold")
    run_id = await host.client.trigger(states, name, Thing(folder=signs.folder))
    await host.until(lambda: signs.notes() == ["begins 1"])
    await host.client.cancel(run_id, "enough")
    again = await host.client.trigger(states, name, Thing(), wait=True)
    signs.put_up("go on")

    async def returned() -> bool:
        told = await host.events(states, name)
        return any(event["type"] == "moved" and event["runid"] == run_id for event in told)

    await host.until(returned)
    run = await host.client.get(states, run_id)
    assert (run.status, run.state, run.object.trail) == (NEW, State.CANCELLED, [])
    assert (await host.client.await_(states, again, WAITING)).object.trail == ["worked"]


@row(
    "under races",
    "Of a callback, a timeout and a cancel at the same time one wins, and the others are told.",
)
async def test_a_callback_races_a_timeout_and_a_cancel(host: Host, name: str, signs: Signs) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    wins = await asyncio.gather(
        *(race(host, f"{name}-{number}", signs, chance) for number in range(30))
    )
    print({win: wins.count(win) for win in set(wins)})


async def race(host: Host, name: str, signs: Signs, chance: random.Random) -> str:
    """Who has won: told by all sides in the same way."""
    after = 0.5
    run_id = await waiting(host, name, Order(folder=signs.folder, expire=after))

    # Before the timeout is due or about then, on a clock that does not stand still.
    together = chance.choice([0.05, after])

    async def later() -> None:
        await asyncio.sleep(together + chance.uniform(-0.05, 0.05))

    async def call_back() -> bool:
        await later()
        try:
            told = await chance.choice(host.clients).callback(timeouts, "go", "DONE", run_id=run_id)
        except NotWaiting:
            return False
        # One that was not answered is asked again.
        assert told.outcome in ("moved", "duplicate")
        return True

    async def cancel() -> bool:
        await later()
        try:
            told = await chance.choice(host.clients).cancel(run_id)
        except TransitionRefused:
            return False
        assert told.state is State.CANCELLED
        return True

    async def let_it_expire() -> None:
        await later()
        await host.pass_time(timedelta(seconds=after))

    contenders = [call_back(), cancel(), let_it_expire()]
    order_of = chance.sample(range(3), 3)
    answers = await asyncio.gather(*(contenders[number] for number in order_of))
    told = dict(zip(order_of, answers, strict=True))
    run = await host.client.await_(timeouts, run_id)
    if told[0]:
        # A callback that has moved the run to its end leaves nothing to the others.
        assert (run.status, run.state, told[1]) == (DONE, State.COMPLETED, False)
        return "callback"
    if told[1]:
        assert (run.status, run.state) == (MORE, State.CANCELLED)
        return "cancel"
    assert (run.status, run.state) == (EXPIRED, State.COMPLETED)
    return "timeout"


# ---- time


@row(
    "under time",
    "A clock that goes back an hour delays nothing twice, loses nothing, repeats nothing.",
)
async def test_the_clock_goes_back_an_hour(host: Host, name: str, signs: Signs) -> None:
    order = Order(folder=signs.folder, remind=1, answers=["done"])
    timed = await waiting(host, name, order)
    before = await host.client.get(timeouts, timed)
    step = await host.client.trigger(
        outcomes, name, Scripted(folder=signs.folder, script=["repeat", "skip"]), wait=True
    )

    async def skipped() -> bool:
        return (await host.client.get(outcomes, step)).due_at is None

    await host.until(skipped)
    await host.restart(behind=HOUR)
    # The deadline is an instant, and an instant it stays.
    run = await host.client.get(timeouts, timed)
    assert (run.timers, run.status) == (before.timers, MORE)
    later = await host.client.trigger(orders, name, Purchase())
    run_later = await host.client.await_(orders, later, WAITING)
    assert run_later.created_at < before.created_at
    await host.client.callback(orders, "pay", "cash", foreign_id=name)
    assert (await host.client.await_(orders, later)).status is DONE
    again = await host.client.get(outcomes, step)
    assert (again.state, again.object.trail) == (State.RUNNING, ["NEW 1"])
    await host.client.callback(timeouts, "go", "DONE", run_id=timed)
    assert "remind" not in signs.notes()


@row("under time", "10,000 timeouts that are due in the same second are all met, once each.")
@pytest.mark.timeout(240)
async def test_ten_thousand_timeouts_of_one_second(host: Host, name: str) -> None:
    at = host.now() + 5 * SECOND
    data = One(at=at).model_dump(mode="json")
    await host.produce_all(
        crowd,
        (
            {"type": "trigger", "subject": f"{name}-{number}", "data": data}
            for number in range(CROWD)
        ),
    )

    async def count(**state: object) -> int:
        return await host.client.count(Filter(workflow="crowd", prefix=name, **state))

    async def begun() -> bool:
        return await count() == CROWD

    await host.until(begun, within=90)
    await host.pass_time(max(at - host.now(), timedelta(0)))

    async def ended() -> bool:
        return await count(state=[State.COMPLETED]) == CROWD

    await host.until(ended, within=90)
    listed = host.client.list(crowd, prefix=f"{name}-99")
    assert {run.object.times async for run in listed} == {1}
