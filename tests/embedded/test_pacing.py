"""What holds back the steps of many runs, and which of them goes first."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

import streamwf.shard
from streamwf import Breaker, Fatal, Pause, Rate, Retry, Run, Skip, State
from streamwf.operations import Operations
from streamwf.testing import START, Engine, engine
from tests.embedded.app import (
    CREATED,
    DONE,
    FAILED,
    PICKED,
    Gate,
    Info,
    Order,
    Orders,
    Status,
    orders,
)
from tests.support import eventually

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
RARELY = Retry(HOUR, maximum=HOUR, jitter=0)
OrderRun = Run[Order, Status]


class Service:
    """What a step calls. down: whether it fails. calls: of which runs, in their order."""

    def __init__(self) -> None:
        self.down = False
        self.calls: list[str] = []

    def workflow(self, **options: Any) -> Orders:
        """A step at CREATED that calls it, and one at PICKED that does not."""
        workflow = orders()

        @workflow.step(CREATED, to=[PICKED, DONE], **options)
        async def call(run: OrderRun) -> Status:
            self.calls.append(run.foreign_id)
            if self.down:
                raise OSError("refused")
            return DONE

        @workflow.step(PICKED, to=DONE)
        async def pack(run: OrderRun) -> Status:
            return DONE

        return workflow


async def trigger(app: Engine, workflow: Orders, count: int, name: str = "o") -> list[Info]:
    return [await app.trigger(workflow, f"{name}-{number}", Order()) for number in range(count)]


def names(*numbers: int) -> list[str]:
    return [f"o-{number}" for number in numbers]


# ---- rate


async def test_a_rate_starts_so_many_in_so_long() -> None:
    service = Service()
    workflow = service.workflow(rate=Rate(10, MINUTE))
    async with engine(workflow) as app:
        await trigger(app, workflow, 25)
        await app.settle()
        assert service.calls == names(*range(10))
        await app.advance(MINUTE - SECOND)
        assert len(service.calls) == 10
        await app.advance(SECOND)
        assert service.calls == names(*range(20))
        await app.advance(HOUR)
        assert service.calls == names(*range(25))


async def test_an_engine_stops_at_each_instant_at_which_a_rate_lets_one_go() -> None:
    service = Service()
    workflow = service.workflow(rate=Rate(1, MINUTE))
    async with engine(workflow) as app:
        runs = await trigger(app, workflow, 4)
        await app.advance(HOUR)
        updated = [(await app.get(run)).updated_at for run in runs]
        assert updated == [START + number * MINUTE for number in range(4)]


async def test_a_rate_counts_each_attempt() -> None:
    service = Service()
    service.down = True
    workflow = service.workflow(rate=Rate(1, MINUTE), retry=Retry(SECOND, jitter=0))
    async with engine(workflow) as app:
        await trigger(app, workflow, 1)
        await app.advance(3 * MINUTE)
        assert len(service.calls) == 4


async def test_what_is_held_back_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamwf.shard, "MAX_QUEUED", 5)
    service = Service()
    workflow = service.workflow(rate=Rate(1, HOUR))
    async with engine(workflow) as app:
        await trigger(app, workflow, 20)
        other = await app.trigger(workflow, "other", Order(), at=PICKED, start_at=START + MINUTE)
        await app.advance(2 * MINUTE)
        assert (await app.get(other)).state is State.COMPLETED
        assert service.calls == ["o-0"]


async def test_a_test_is_told_what_holds_a_run_back() -> None:
    service = Service()
    workflow = service.workflow(rate=Rate(1, HOUR))
    async with engine(workflow) as app:
        _, held = await trigger(app, workflow, 2)
        with pytest.raises(AssertionError, match="held back by its rate or its breaker"):
            await app.await_status(held, DONE)


async def test_a_run_that_is_steered_while_it_is_held_back() -> None:
    service = Service()
    workflow = service.workflow(rate=Rate(1, MINUTE))
    async with engine(workflow) as app:
        runs = await trigger(app, workflow, 4)
        await app.settle()
        await app.client.cancel(runs[1].run_id)
        await app.client.pause(runs[2].run_id)
        await app.client.resume(runs[2].run_id)
        await app.client.pause(runs[3].run_id)
        await app.advance(HOUR)
        assert service.calls == names(0, 2), "once, and only what may run"
        await app.client.resume(runs[3].run_id)
        await app.settle()
        assert service.calls == names(0, 2, 3)


async def test_timeouts_of_a_step_that_is_held_back_are_due_as_ever() -> None:
    service = Service()
    workflow = service.workflow(rate=Rate(1, HOUR))

    @workflow.timeout(CREATED, after=MINUTE, to=FAILED)
    async def late(run: OrderRun) -> Status:
        return FAILED

    async with engine(workflow) as app:
        first, *others = await trigger(app, workflow, 3)
        assert (await app.get(first)).status is DONE
        for run in others:
            await app.expect_timeout(run, "late", due_at=START + MINUTE)
        await app.advance(MINUTE)
        assert [(await app.get(run)).status for run in others] == [FAILED, FAILED]
        assert service.calls == ["o-0"]


# ---- priority


async def test_the_greater_priority_goes_first_and_then_who_came_first() -> None:
    gate, calls = Gate(), list[int]()
    workflow = orders()

    @workflow.step(CREATED, to=DONE, parallel=1, priority=lambda run: run.object.n % 10)
    async def call(run: OrderRun) -> Status:
        calls.append(run.object.n)
        await gate.wait()
        return DONE

    async with engine(workflow) as app:
        for n in (0, 11, 5, 21, 9, 1):
            await app.trigger(workflow, f"o-{n}", Order(n=n))
        await eventually(lambda: gate.waiting)
        gate.open()
        await app.settle()
        assert calls == [0, 9, 5, 11, 21, 1]


async def test_a_priority_that_fails_is_none_and_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate, calls = Gate(), list[int]()
    workflow = orders()

    def priority(run: OrderRun) -> int:
        if run.object.n < 3:
            raise ValueError("no such customer")
        return "high" if run.object.n < 5 else 1  # type: ignore[return-value]

    @workflow.step(CREATED, to=DONE, parallel=1, priority=priority)
    async def call(run: OrderRun) -> Status:
        calls.append(run.object.n)
        await gate.wait()
        return DONE

    async with engine(workflow) as app:
        for n in range(7):
            await app.trigger(workflow, f"o-{n}", Order(n=n))
        await eventually(lambda: gate.waiting)
        gate.open()
        await app.settle()
        assert calls == [0, 5, 6, 1, 2, 3, 4]
    told = [(each.message, vars(each)["status"]) for each in caplog.records]
    assert told == [("priority_failed", "CREATED"), ("priority_is_no_number", "CREATED")]


# ---- breaker


async def test_failures_in_a_row_hold_a_step_until_one_that_is_tried_succeeds() -> None:
    service = Service()
    service.down = True
    workflow = service.workflow(breaker=Breaker(3, MINUTE), retry=RARELY, parallel=1)
    async with engine(workflow) as app:
        await trigger(app, workflow, 10)
        await app.settle()
        assert service.calls == names(0, 1, 2)
        await app.advance(MINUTE - SECOND)
        assert service.calls == names(0, 1, 2)
        await app.advance(SECOND)
        assert service.calls == names(0, 1, 2, 3), "one is tried"
        await app.advance(MINUTE)
        assert service.calls == names(0, 1, 2, 3, 4), "another rest, another is tried"
        service.down = False
        await app.advance(MINUTE)
        assert service.calls == names(*range(10)), "the others go on"
        await app.advance(HOUR)
        assert service.calls[10:] == names(0, 1, 2, 3, 4), "those that failed, when they are due"


async def test_only_one_is_tried_at_a_time() -> None:
    gate, calls = Gate(), list[str]()
    workflow = orders()

    @workflow.step(CREATED, to=DONE, breaker=Breaker(1, MINUTE))
    async def call(run: OrderRun) -> Status:
        calls.append(run.foreign_id)
        if len(calls) == 1:
            raise OSError("refused")
        await gate.wait()
        return DONE

    async with engine(workflow) as app:
        first = await app.trigger(workflow, "o-0", Order())
        await app.get(first)
        await trigger(app, workflow, 5, "later")
        app.clock.advance(MINUTE)
        await eventually(lambda: gate.waiting)
        app.host.run_due()
        assert gate.most == 1
        gate.open()
        await app.settle()
        assert len(calls) == 7


async def test_a_success_in_between_breaks_the_row() -> None:
    calls = list[str]()
    workflow = orders()

    @workflow.step(CREATED, to=DONE, breaker=Breaker(2, MINUTE), retry=RARELY, parallel=1)
    async def call(run: OrderRun) -> Any:
        calls.append(run.foreign_id)
        if int(run.foreign_id[-1]) % 2:
            raise OSError("refused")
        return (DONE, Skip(), Pause("to be looked at"))[int(run.foreign_id[-1]) % 3]

    async with engine(workflow) as app:
        await trigger(app, workflow, 10)
        await app.settle()
        assert calls == names(*range(10))


@pytest.mark.parametrize("options", [{"on_error": FAILED}, {}, {"pause_after": 1}], ids=str)
async def test_a_failure_for_good_counts_as_well(options: dict[str, Any]) -> None:
    calls = list[str]()
    workflow = orders()

    @workflow.step(CREATED, to=DONE, breaker=Breaker(2, MINUTE), parallel=1, **options)
    async def call(run: OrderRun) -> Status:
        calls.append(run.foreign_id)
        raise Fatal("no")

    async with engine(workflow) as app:
        await trigger(app, workflow, 5)
        await app.settle()
        assert calls == names(0, 1)


async def test_other_steps_and_workflows_feel_nothing() -> None:
    service, another = Service(), Service()
    service.down = True
    workflow = service.workflow(breaker=Breaker(1, HOUR))
    others = another.workflow(breaker=Breaker(1, HOUR))
    others.name = "others"
    async with engine(workflow, others) as app:
        await trigger(app, workflow, 3)
        await app.settle()
        packed = await app.trigger(workflow, "packed", Order(), at=PICKED)
        called = await app.trigger(others, "called", Order())
        assert (await app.get(packed)).state is State.COMPLETED
        assert (await app.get(called)).state is State.COMPLETED
        assert service.calls == ["o-0"]


async def test_what_is_held_is_told() -> None:
    service = Service()
    service.down = True
    workflow = service.workflow(breaker=Breaker(2, MINUTE), retry=RARELY, parallel=1)
    async with engine(workflow) as app:
        operations = Operations(app.host)
        first, *_, last = await trigger(app, workflow, 3)
        later = await app.trigger(workflow, "later", Order(), start_at=START + HOUR)
        elsewhere = await app.trigger(workflow, "p", Order(), at=PICKED, start_at=START + SECOND)
        await app.settle()
        told = operations.describe("orders").held
        assert {status: held.model_dump() for status, held in told.items()} == {
            "CREATED": {"until": START + MINUTE, "failures": 2, "reason": "OSError: refused"}
        }
        assert (await app.get(last)).held_until == START + MINUTE
        for run in (first, later, elsewhere):
            assert (await app.get(run)).held_until is None, "it is not due before that"
        await app.client.pause(last.run_id)
        assert (await app.get(last)).held_until is None
        await app.client.resume(last.run_id)
        service.down = False
        await app.advance(MINUTE)
        assert operations.describe("orders").held == {}
        assert (await app.get(last)).state is State.COMPLETED


async def test_a_breaker_and_a_rate_hold_back_together() -> None:
    service = Service()
    service.down = True
    workflow = service.workflow(
        breaker=Breaker(2, MINUTE), rate=Rate(4, 3 * MINUTE), retry=RARELY, parallel=1
    )
    async with engine(workflow) as app:
        await trigger(app, workflow, 10)
        await app.advance(MINUTE)
        assert service.calls == names(0, 1, 2)
        service.down = False
        await app.advance(MINUTE)
        assert service.calls == names(0, 1, 2, 3), "the breaker lets all go, the rate does not"
        await app.advance(MINUTE)
        assert service.calls == names(0, 1, 2, 3, 4, 5)


# ---- lag_alert


@contextmanager
def warned(caplog: pytest.LogCaptureFixture) -> Iterator[list[tuple[str, float]]]:
    told: list[tuple[str, float]] = []
    with caplog.at_level(logging.WARNING, "streamwf.shard"):
        yield told
    told += [(each.message, vars(each)["seconds"]) for each in caplog.records]


async def test_a_step_that_starts_too_late_is_counted_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    workflow = service.workflow(rate=Rate(1, 10 * SECOND), lag_alert=MINUTE)
    with warned(caplog) as told:
        async with engine(workflow) as app:
            await trigger(app, workflow, 20)
            await app.advance(MINUTE)
            [shard] = app.host.shards("orders")
            assert shard.measures.late == {}
            await app.advance(HOUR)
            assert shard.measures.late == {"CREATED": 13}
    assert told == [("step_late", 70.0), ("step_late", 130.0), ("step_late", 190.0)]


async def test_an_alert_alone_holds_nothing_back(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    workflow = service.workflow(lag_alert=MINUTE)
    with warned(caplog) as told:
        async with engine(workflow) as app:
            await app.trigger(workflow, "in time", Order(), start_at=START + MINUTE)
            app.clock.advance(2 * MINUTE)
            await app.settle()
            await app.trigger(workflow, "late", Order(), start_at=START + 3 * MINUTE)
            app.clock.advance(3 * MINUTE)
            await app.settle()
            assert service.calls == ["in time", "late"]
    assert told == [("step_late", 120.0)]
