"""What paces the steps of a process, and the lanes of one shard."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Breaker, Rate, Run, Workflow
from streamwf.agenda import Kind
from streamwf.events import CANCELLED, FAILED, MOVED, PAUSED, REJECTED, STARTED, Event
from streamwf.lanes import QUIET, Job, Pace, Paces, RunQueue
from streamwf.measures import Measures
from streamwf.record import Record, State
from tests.support import NOW, Lines, SteppedClock, record, result
from tests.unit.sample import Order, Status

MINUTE = timedelta(minutes=1)
Orders = Workflow[Order, Status]


def orders(name: str = "orders", **options: Any) -> Orders:
    workflow = Workflow(name, Order, Status)

    @workflow.step(Status.CREATED, to=Status.DONE, **options)
    async def finish(run: Run[Order, Status]) -> Status:
        return Status.DONE

    return workflow


def pace_of(
    paces: Paces, workflow: Orders, shard: int = 0, measures: Measures | None = None
) -> Pace:
    pace = paces.of(workflow, workflow.steps["CREATED"], shard, measures or Measures())
    assert pace is not None
    return pace


async def of(event: Event) -> Event:
    return event


def failed(message: str = "down") -> Awaitable[Event]:
    return of(result(FAILED, 3, errortype="OSError", errormessage=message))


# ---- what a process has


def test_a_step_that_declares_nothing_has_no_pace() -> None:
    workflow = orders()
    assert Paces(SteppedClock()).of(workflow, workflow.steps["CREATED"], 0, Measures()) is None


async def test_the_shards_of_a_process_share_a_breaker() -> None:
    workflow, clock = orders(breaker=Breaker(2, MINUTE)), SteppedClock()
    paces = Paces(clock, 2)
    first, second = pace_of(paces, workflow, 0), pace_of(paces, workflow, 1)
    other = pace_of(paces, orders("others", breaker=Breaker(2, MINUTE)))
    await first.run(record(), failed())
    assert first.free
    await second.run(record(), failed("refused\nwith more to say"))
    assert not first.free
    assert not second.free
    assert other.free
    assert paces.held("orders") == {"CREATED": (NOW + MINUTE, 2, "OSError: refused")}
    assert paces.held("others") == {}
    clock.step(MINUTE)
    await first.run(record(), of(result(MOVED, 3, status="DONE")))
    assert second.free
    assert paces.held("orders") == {}


def test_the_shards_share_a_rate() -> None:
    workflow, clock = orders(rate=Rate(3, MINUTE)), SteppedClock()
    paces = Paces(clock, 2)
    shares = []
    for shard in range(2):
        pace = pace_of(paces, workflow, shard)
        shares.append(0)
        while pace.free:
            assert pace._allowance is not None
            pace._allowance.take(clock.now())
            shares[shard] += 1
    assert shares == [2, 1]


@pytest.mark.parametrize(
    ("event", "failures"),
    [
        (result(FAILED, 3, errortype="OSError"), 2),
        (result(PAUSED, 3, state=State.PAUSED, errortype="OSError"), 2),
        (result(MOVED, 3, status="DONE", errortype="OSError"), 2),
        (result(MOVED, 3, status="DONE"), 0),
        (result(PAUSED, 3, state=State.PAUSED), 0),
        (result(CANCELLED, 3, state=State.CANCELLED), 0),
        (result(STARTED, 3), 1),
        (result(REJECTED, 3, state=State.CANCELLED), 1),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
async def test_what_counts_as_a_failure(event: Event, failures: int) -> None:
    paces = Paces(SteppedClock())
    pace = pace_of(paces, orders(breaker=Breaker(4, MINUTE)))
    await pace.run(record(), failed())
    await pace.run(record(), of(event))
    while pace.free:
        await pace.run(record(), failed())
        failures += 1
    assert failures == 4


async def test_one_that_is_cancelled_while_it_is_tried_makes_way_for_another() -> None:
    clock = SteppedClock()
    pace = pace_of(Paces(clock), orders(breaker=Breaker(1, MINUTE)))
    await pace.run(record(), failed())
    clock.step(MINUTE)

    async def cancelled() -> Event:
        assert not pace.free
        raise GeneratorExit

    with pytest.raises(GeneratorExit):
        await pace.run(record(), cancelled())
    assert pace.free


async def test_people_are_told_once_a_minute_of_each_step() -> None:
    clock, logger, measures = SteppedClock(), Lines(), Measures()
    told, paces = logger.said, Paces(clock, 2, logger)
    workflow = orders(lag_alert=MINUTE)
    first, second = (pace_of(paces, workflow, shard, measures) for shard in range(2))
    other = pace_of(paces, orders("others", lag_alert=MINUTE))
    in_time, late = record(due_at=NOW - MINUTE), record(due_at=NOW - 2 * MINUTE)
    done = result(MOVED, 3, status="DONE")
    await first.run(in_time, of(done))
    assert told == []
    for pace in (first, second, other, first):
        await pace.run(late, of(done))
    for (level, what, fields), name in zip(told, ("orders", "others"), strict=True):
        assert (level, what, fields["workflow"]) == ("warning", "step_late", name)
        assert (fields["run_id"], fields["status"], fields["seconds"]) == ("run-1", "CREATED", 120)
    assert measures.late == {"CREATED": 3}
    clock.step(QUIET)
    await second.run(late, of(done))
    assert len(told) == 3


# ---- the runs that wait


def run(number: int, **fields: Any) -> Record:
    return record(run_id=f"run-{number}", **fields)


def taken(queue: RunQueue) -> list[str]:
    jobs: list[Job | None] = [queue.popleft() for _ in range(len(queue))]
    return [job[0].run_id for job in jobs if job is not None]


def test_the_greater_goes_first_and_then_who_came_first() -> None:
    runs = {each.run_id: each for each in map(run, range(6))}
    ranks = dict(zip(runs, (0, 5, -1, 5, 0, 7), strict=True))
    queue = RunQueue(runs.get, lambda record: ranks[record.run_id])
    for each in runs.values():
        queue.append((each, Kind.STEP, ""))
    assert queue.run_ids == set(runs)
    assert taken(queue) == ["run-5", "run-1", "run-3", "run-0", "run-4", "run-2"]


def test_a_run_that_has_moved_on_is_passed_over() -> None:
    waiting = [run(1), run(2), run(3, lag=1), run(4)]
    now = {
        "run-1": run(1),
        "run-2": run(2, version=4),
        # A timer was answered, and all else left as it was.
        "run-3": run(3, version=4, lag=2),
    }
    queue = RunQueue(now.get, lambda _: 0)
    for each in waiting:
        queue.append((each, Kind.STEP, ""))
    jobs = [queue.popleft() for _ in waiting]
    assert [job and job[0] for job in jobs] == [now["run-1"], None, now["run-3"], None]
