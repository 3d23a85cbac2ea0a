"""Answers from outside that are repeated, or meet something else that happens to the run."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Pause, State
from streamwf.errors import (
    InvalidPayload,
    NotWaiting,
)
from streamwf.testing import Engine
from tests.embedded.app import Gate
from tests.embedded.kit import started, types
from tests.embedded.loans import (
    GRANTED,
    HOUR,
    NO,
    REFUSED,
    REVIEW,
    YES,
    Loan,
    LoanRun,
    Loans,
    Status,
    answered_by,
    bare,
    finished,
    loans,
    waiting,
)
from tests.support import eventually

SECOND = timedelta(seconds=1)


# ---- keys


async def test_a_repeat_with_the_same_key_counts_once() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        told = await asyncio.gather(
            *(
                app.client.callback(workflow, "remark", "once", run_id=run_id, key="k")
                for _ in range(5)
            )
        )
        assert told[0].outcome == "moved"
        assert {each.outcome for each in told} <= {"moved", "duplicate"}
        again = await app.client.callback(workflow, "remark", "once", run_id=run_id, key="k")
        assert again.outcome == "duplicate"
        assert again.run is not None
        assert again.run.run_id == run_id
        await app.client.callback(workflow, "remark", "other", run_id=run_id, key="other")
        assert (await app.client.get(workflow, run_id)).object.notes == ["once", "other"]


async def test_a_repeat_after_the_end_is_a_duplicate_and_no_answer_to_the_next_run() -> None:
    workflow = loans()
    async with started(workflow) as app:
        await waiting(app, workflow)
        asked = {"foreign_id": "l-1", "key": "k", "wait_for": HOUR}
        assert (await app.client.callback(workflow, "decide", NO, **asked)).outcome == "moved"
        assert (await app.client.callback(workflow, "decide", NO, **asked)).outcome == "duplicate"
        second = await waiting(app, workflow)
        assert (await app.client.get(workflow, second)).status is REVIEW


async def test_a_repeat_of_one_that_has_paused_the_run_is_a_duplicate() -> None:
    async def stop(run: LoanRun, data: bytes) -> Pause:
        return Pause("ask Ann")

    workflow = answered_by(stop)
    async with started(workflow) as app:
        await waiting(app, workflow)
        told = [
            (await app.client.callback(workflow, "stop", foreign_id="l-1", key="k")).outcome
            for _ in range(2)
        ]
        assert told == ["paused", "duplicate"]


async def test_a_refused_answer_does_not_use_up_its_key() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        asked = {"foreign_id": "l-1", "key": "k"}
        with pytest.raises(InvalidPayload):
            await app.client.callback(workflow, "decide", "perhaps", **asked)
        with pytest.raises(NotWaiting):
            await app.client.callback(workflow, "pay", 5, **asked)
        assert (await app.client.callback(workflow, "decide", YES, **asked)).outcome == "moved"
        assert (await app.client.callback(workflow, "pay", 5, **asked)).outcome == "moved"
        assert (await app.client.get(workflow, run_id)).object.notes == ["fine", "paid 5"]


# ---- at the same time as something else


def gated() -> tuple[Loans, Gate]:
    """Its callback waits at a gate."""
    gate, workflow = Gate(), bare()

    @workflow.callback(REVIEW, to=GRANTED)
    async def slow(run: LoanRun, data: bytes) -> Status:
        await gate.wait()
        return GRANTED

    @workflow.callback(REVIEW, to=REFUSED)
    async def quick(run: LoanRun, data: bytes) -> Status:
        return REFUSED

    @workflow.timeout(REVIEW, after=HOUR, to=REFUSED)
    async def late(run: LoanRun) -> Status:
        return REFUSED

    finished(workflow)
    return workflow, gate


async def held(app: Engine, workflow: Loans, gate: Gate) -> tuple[str, asyncio.Task[Any]]:
    """A run whose callback is in flight, and what its caller is told."""
    run_id = await waiting(app, workflow)
    asked = asyncio.create_task(app.client.callback(workflow, "slow", foreign_id="l-1"))
    await eventually(lambda: gate.waiting)
    return run_id, asked


async def test_a_caller_is_told_that_the_run_was_cancelled_meanwhile() -> None:
    workflow, gate = gated()
    async with started(workflow) as app:
        run_id, asked = await held(app, workflow, gate)
        await app.client.cancel(run_id, "too late")
        with pytest.raises(NotWaiting, match="CANCELLED at REVIEW"):
            await asked
        gate.open()
        await app.settle()
        run = await app.client.get(workflow, run_id)
        assert (run.state, run.status) == (State.CANCELLED, REVIEW)


async def test_a_caller_is_told_that_the_run_was_paused_meanwhile() -> None:
    workflow, gate = gated()
    async with started(workflow) as app:
        run_id, asked = await held(app, workflow, gate)
        await app.client.pause(run_id)
        told = await asked
        assert told.outcome == "kept"
        assert told.run is not None
        assert told.run.state is State.PAUSED
        gate.open()
        await app.settle()
        run = await app.client.get(workflow, run_id)
        assert (run.state, run.status, len(run.callbacks)) == (State.PAUSED, REVIEW, 1)
        await app.client.resume(run_id)
        await app.settle()
        assert (await app.client.get(workflow, run_id)).status is GRANTED


async def test_of_an_answer_and_a_timeout_the_first_wins() -> None:
    workflow, gate = gated()
    async with started(workflow) as app:
        run_id, asked = await held(app, workflow, gate)
        app.clock.advance(HOUR)
        app.host.run_due()
        with pytest.raises(NotWaiting, match="COMPLETED at REFUSED"):
            await asked
        gate.open()
        await app.settle()
        assert (await app.client.get(workflow, run_id)).status is REFUSED
        assert (await types(app, run_id)).count("moved") == 2


async def test_of_two_answers_the_first_wins_and_the_other_is_told() -> None:
    workflow, gate = gated()
    async with started(workflow) as app:
        _, asked = await held(app, workflow, gate)
        assert (await app.client.callback(workflow, "quick", foreign_id="l-1")).outcome == "moved"
        with pytest.raises(NotWaiting, match="COMPLETED at REFUSED"):
            await asked
        gate.open()


async def test_answers_at_once_move_the_run_once() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        told = await asyncio.gather(
            *(
                app.client.callback(workflow, "decide", each, foreign_id="l-1")
                for each in [YES, NO] * 10
            ),
            return_exceptions=True,
        )
        moved = [each for each in told if not isinstance(each, NotWaiting)]
        assert [getattr(each, "outcome", each) for each in moved] == ["moved"]
        assert len((await app.client.get(workflow, run_id)).object.notes) == 1


async def test_a_step_in_flight_goes_on_while_answers_come_that_change_nothing() -> None:
    workflow, gate, begun = loans(), Gate(), []

    @workflow.step(REVIEW, to=GRANTED)
    async def review(run: LoanRun) -> Status:
        begun.append(run.object.notes)
        await gate.wait()
        return GRANTED

    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        await eventually(lambda: gate.waiting)
        later = {"yes": True, "note": "later"}
        assert (await app.client.callback(workflow, "decide", later, run_id=run_id)).run
        with pytest.raises(NotWaiting):
            await app.client.callback(workflow, "pay", 1, run_id=run_id)
        gate.open()
        await app.settle()
        assert (await app.client.get(workflow, run_id)).status is GRANTED
        assert begun == [[]]


# ---- states


async def test_a_paused_run_keeps_answers_until_it_is_resumed() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        await app.client.pause(run_id, "holidays")
        told = await app.client.callback(workflow, "decide", YES, foreign_id="l-1")
        assert told.outcome == "kept"
        assert told.run is not None
        assert [call.name for call in told.run.callbacks] == ["decide"]
        await app.advance(24 * HOUR)
        assert (await app.client.get(workflow, run_id)).status is REVIEW
        await app.client.resume(run_id)
        await app.settle()
        assert (await app.client.get(workflow, run_id)).status is GRANTED


async def test_a_run_that_has_ended_waits_for_nothing() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        await app.client.cancel(run_id)
        for known in ({"foreign_id": "l-1"}, {"run_id": run_id}):
            with pytest.raises(NotWaiting, match="'decide': it is CANCELLED at REVIEW"):
                await app.client.callback(workflow, "decide", YES, **known)


async def test_a_start_that_waits_for_an_answer_can_have_it_at_once() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "l-1", Loan(), at=REVIEW)
        told = await app.client.callback(workflow, "decide", YES, foreign_id="l-1")
        assert told.outcome == "moved"
        assert (await types(app, run.run_id))[0] == "trigger"


async def test_a_run_that_does_not_wait_yet_says_so() -> None:
    gate = Gate()
    workflow = loans(gate)
    async with started(workflow) as app:
        run = await app.trigger(workflow, "l-1", Loan())
        await eventually(lambda: gate.waiting)
        with pytest.raises(NotWaiting, match=r"'decide': it is .* at ASKED"):
            await app.client.callback(workflow, "decide", YES, foreign_id="l-1")
        gate.open()
        await app.settle()
        assert (await app.client.get(workflow, run.run_id)).status is REVIEW
        assert gate.most == 1
