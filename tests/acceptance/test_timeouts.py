"""1 timeout: what happens to a run that has stayed at a status for too long."""

from datetime import timedelta

import pytest

from streamwf import RunInfo, State
from tests.acceptance.flows.carried import DONE, EXPIRED, FAILED, MORE, NEW, WAITING, Status
from tests.acceptance.flows.timeouts import PAST, STAY, Order, timeouts
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row
from tests.acceptance.signs import Signs

SECOND = timedelta(seconds=1)
MOMENT = timedelta(milliseconds=500)
FAR = 3_600.0


async def start(host: Host, name: str, order: Order, at: Status = MORE) -> RunInfo[Order, Status]:
    """A run that has entered its status, with the timers of that stay."""
    run_id = await host.client.trigger(timeouts, name, order, at=at)

    async def entered() -> RunInfo[Order, Status] | None:
        run = await host.client.get(timeouts, run_id)
        return None if run.state is State.INITIATED else run

    await host.client.await_(timeouts, run_id, at)
    found = await host.until(entered)
    assert found is not None
    return found


async def now(host: Host, run: RunInfo[Order, Status]) -> RunInfo[Order, Status]:
    return await host.client.get(timeouts, run.run_id)


def due(run: RunInfo[Order, Status]) -> dict[str, float]:
    """The seconds from the last change of a run until its timers are due."""
    return {
        timer.name: round((timer.due_at - run.updated_at).total_seconds(), 1)
        for timer in run.timers
    }


@row("1 timeout", "After a duration, counted from entering the status.")
async def test_after_a_duration(host: Host, name: str) -> None:
    run = await start(host, name, Order(), at=WAITING)
    assert due(run) == {"after_a_while": STAY.total_seconds()}
    await host.pass_time(STAY)
    run = await host.client.await_(timeouts, run.run_id)
    assert (run.status, run.object.trail) == (EXPIRED, ["expired at WAITING"])
    assert run.updated_at - run.created_at >= STAY


@row("1 timeout", "At an instant, which the run says; and at once if that has passed.")
async def test_at_an_instant(host: Host, name: str) -> None:
    at = host.now() + SECOND
    run = await start(host, name, Order(at=at), at=NEW)
    assert [timer.due_at for timer in run.timers] == [at]
    await host.pass_time(SECOND)
    run = await host.client.await_(timeouts, run.run_id)
    assert run.status is EXPIRED
    assert run.updated_at >= at
    late = await host.client.trigger(timeouts, f"{name}-late", Order(at=PAST))
    assert (await host.client.await_(timeouts, late)).status is EXPIRED
    fixed = await host.client.trigger(timeouts, f"{name}-fixed", Order(), at=FAILED)
    assert (await host.client.await_(timeouts, fixed)).status is EXPIRED


@row("1 timeout", "As a function of the run says, for which `None` means no timeout.")
async def test_as_the_run_says(host: Host, name: str) -> None:
    run = await start(host, name, Order(remind=FAR, expire=None))
    assert due(run) == {"remind": FAR}
    none = await start(host, f"{name}-none", Order(), at=NEW)
    assert none.timers == []


@row("under faults", "A timeout that is due does not run its sibling, which is not.")
@row("1 timeout", "Several of a status, each due on its own.")
async def test_several_each_on_its_own(host: Host, name: str, signs: Signs) -> None:
    run = await start(host, name, Order(folder=signs.folder, remind=0.5, expire=1.5))
    assert due(run) == {"remind": 0.5, "expire": 1.5}
    await host.pass_time(MOMENT)
    await host.until(lambda: signs.notes() == ["remind"])
    run = await now(host, run)
    assert [timer.name for timer in run.timers] in (["expire"], ["remind", "expire"])
    assert run.status is MORE
    await host.pass_time(SECOND)
    run = await host.client.await_(timeouts, run.run_id)
    assert (run.status, signs.notes()) == (EXPIRED, ["remind", "expire"])


@row("1 timeout", "Bound to this stay in the status: who leaves and comes back has a new deadline.")
async def test_bound_to_its_stay(host: Host, name: str) -> None:
    run = await start(host, name, Order(), at=WAITING)
    [first] = run.timers
    await host.pass_time(MOMENT)
    await host.client.callback(timeouts, "go", "WAITING", run_id=run.run_id)
    run = await now(host, run)
    [second] = run.timers
    assert second.due_at >= first.due_at + MOMENT
    await host.client.callback(timeouts, "go", "MORE", run_id=run.run_id)
    assert (await now(host, run)).timers == []
    await host.pass_time(STAY)
    assert (await now(host, run)).status is MORE


@row(
    "1 timeout",
    "Deadlines survive a crash and a pause unchanged; one that came due meanwhile is met once.",
)
async def test_deadlines_survive_a_crash_and_a_pause(host: Host, name: str, signs: Signs) -> None:
    far = await start(host, name, Order(folder=signs.folder, remind=FAR, expire=2 * FAR))
    near = await start(host, f"{name}-near", Order(folder=signs.folder, remind=1, answers=["done"]))
    await host.client.pause(far.run_id)
    assert (await now(host, far)).timers == far.timers
    await host.restart(kill=True)
    assert (await now(host, far)).timers == far.timers
    await host.pass_time(SECOND)
    near = await host.client.await_(timeouts, near.run_id)
    assert (near.status, signs.notes()) == (DONE, ["remind"])
    await host.client.resume(far.run_id)
    assert (await now(host, far)).timers == far.timers


@row("1 timeout", "One that becomes due in a pause is met after it, once.")
async def test_one_that_becomes_due_in_a_pause(host: Host, name: str, signs: Signs) -> None:
    run = await start(host, name, Order(folder=signs.folder, remind=1, answers=["done"]))
    await host.client.pause(run.run_id)
    await host.pass_time(2 * SECOND)
    assert signs.notes() == []
    await host.client.resume(run.run_id)
    run = await host.client.await_(timeouts, run.run_id)
    assert (run.status, signs.notes()) == (DONE, ["remind"])


@row("1 timeout", "It may skip, repeat, pause or cancel, as a step may.")
@pytest.mark.parametrize(
    ("answers", "state", "notes"),
    [
        (["skip"], State.RUNNING, 1),
        (["repeat", "repeat", "done"], State.COMPLETED, 3),
        (["pause"], State.PAUSED, 1),
        (["cancel"], State.CANCELLED, 1),
    ],
    ids=["skip", "repeat", "pause", "cancel"],
)
async def test_what_it_may_answer(
    host: Host, name: str, signs: Signs, answers: list[str], state: State, notes: int
) -> None:
    run = await start(host, name, Order(folder=signs.folder, remind=0.2, answers=answers))
    await host.pass_time(SECOND)
    await host.until(lambda: len(signs.notes()) == notes)

    async def reached() -> bool:
        return (await now(host, run)).state is state and not (await now(host, run)).timers

    await host.until(reached)
    run = await now(host, run)
    # What skips has changed nothing.
    assert run.object.trail == [] if answers == ["skip"] else ["reminded"] * notes


@row("1 timeout", "One that fails is tried again, and its error is visible.")
async def test_one_that_fails_is_tried_again(host: Host, name: str, signs: Signs) -> None:
    order = Order(folder=signs.folder, remind=0.2, answers=["fail", "fail", "done"])
    run = await start(host, name, order)
    await host.pass_time(SECOND)
    run = await host.client.await_(timeouts, run.run_id)
    assert (run.status, signs.notes()) == (DONE, ["remind"] * 3)
    events = (await host.client.history(run.run_id)).events
    told = [event.error.message for event in events if event.error is not None]
    assert told == ["no mail server, attempt 1", "no mail server, attempt 2"]
