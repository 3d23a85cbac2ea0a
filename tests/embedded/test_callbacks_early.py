"""Answers that come before they are wanted, by foreign id or by a value of the object."""

from datetime import timedelta
from typing import Any

import pytest

from streamwf import Skip, State, answering
from streamwf.errors import (
    InvalidPayload,
    InvalidQuery,
    NothingCorrelated,
    NotWaiting,
    TooManyCallbacks,
)
from streamwf.record import MAX_CALLS
from streamwf.testing import Engine
from tests.embedded.app import Gate
from tests.embedded.kit import dead_letters, records, started, types
from tests.embedded.loans import (
    GRANTED,
    HOUR,
    NO,
    PAID,
    REFUSED,
    REVIEW,
    YES,
    Loan,
    LoanRun,
    Loans,
    answered_by,
    bare,
    loans,
    waiting,
)
from tests.support import eventually

SECOND = timedelta(seconds=1)
TOO_LATE = "no run that waits for it came in time"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on its way."""
    monkeypatch.setattr(answering, "ON_ITS_WAY", 0.0)


async def keep(app: Engine, workflow: Loans, payload: object = YES, **known: Any) -> None:
    asked = {"wait_for": HOUR, **known}
    told = await app.client.callback(workflow, asked.pop("name", "decide"), payload, **asked)
    assert told.outcome == "kept"


# ---- by foreign id


async def test_one_that_comes_before_its_run_waits_for_it() -> None:
    workflow = loans()
    async with started(workflow) as app:
        told = await app.client.callback(
            workflow, "decide", YES, foreign_id="l-1", wait_for=timedelta(days=366)
        )
        assert (told.outcome, told.run) == ("kept", None)
        await keep(app, workflow, 5, name="pay", foreign_id="l-1")
        await app.advance(HOUR - SECOND)
        other = await waiting(app, workflow, "l-2")
        run = await app.trigger(workflow, "l-1", Loan())
        run = await app.get(run)
        assert (run.status, run.object.notes) == (PAID, ["fine", "paid 5"])
        assert (await app.client.get(workflow, other)).status is REVIEW


async def test_what_is_kept_is_no_run() -> None:
    workflow = loans()
    async with started(workflow) as app:
        await keep(app, workflow, foreign_id="l-1")
        await keep(app, workflow, correlation="a@b")
        assert [run async for run in app.client.list(workflow)] == []
        assert await app.client.latest(workflow, "l-1") is None
        assert await app.client.count() == 0
        assert (await app.client.describe("loans")).counts == {}


async def test_one_that_nobody_came_for_is_set_aside() -> None:
    workflow = loans()
    async with started(workflow) as app:
        await keep(app, workflow, foreign_id="l-1", wait_for=HOUR)
        await keep(app, workflow, correlation="a@b", wait_for=2 * HOUR)
        await app.advance(HOUR)
        assert dead_letters(app, workflow) == [TOO_LATE]
        await app.advance(HOUR)
        assert dead_letters(app, workflow) == [TOO_LATE] * 2
        run = await app.trigger(workflow, "l-1", Loan(email="a@b"))
        assert (await app.get(run)).status is REVIEW


async def test_a_key_counts_again_after_it_has_waited_in_vain() -> None:
    workflow = loans()
    async with started(workflow) as app:
        await keep(app, workflow, NO, foreign_id="l-1", wait_for=2 * HOUR)
        for _ in range(2):
            await keep(app, workflow, foreign_id="l-1", key="k", wait_for=HOUR)
            await keep(app, workflow, foreign_id="l-1", key="k", wait_for=HOUR)
            await app.advance(HOUR - SECOND)
        assert dead_letters(app, workflow) == [TOO_LATE]
        run = await app.trigger(workflow, "l-1", Loan())
        assert (await app.get(run)).object.notes == ["too much"]


async def test_a_key_of_a_sealed_answer_that_has_waited_in_vain_is_used_up() -> None:
    workflow = loans(encrypt=True)
    async with started(workflow) as app:
        for known in ({"foreign_id": "l-1"}, {"correlation": "a@b"}):
            await keep(app, workflow, **known, key="k")
            await app.advance(HOUR)
            with pytest.raises(InvalidQuery, match="give another one"):
                await keep(app, workflow, **known, key="k")
            await keep(app, workflow, **known, key="another")


async def test_one_that_comes_before_its_status_is_answered_there() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        told = await app.client.callback(workflow, "pay", 5, run_id=run_id, wait_for=HOUR)
        assert told.outcome == "kept"
        assert told.run is not None
        [call] = told.run.callbacks
        assert (call.name, call.until) == ("pay", app.clock.now() + HOUR)
        await app.advance(HOUR - SECOND)
        await app.client.callback(workflow, "decide", YES, run_id=run_id)
        await app.settle()
        run = await app.client.get(workflow, run_id)
        assert (run.status, run.object.notes) == (PAID, ["fine", "paid 5"])


async def test_one_that_waits_in_vain_at_its_run_is_declined() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        await keep(app, workflow, 5, name="pay", run_id=run_id)
        await app.advance(HOUR)
        run = await app.client.get(workflow, run_id)
        assert (run.callbacks, run.error, run.state) == ([], None, State.RUNNING)
        [*_, last] = (await app.client.history(run_id)).events
        assert (last.type, last.error and last.error.type) == ("declined", "NotWaiting")
        await app.client.callback(workflow, "decide", YES, run_id=run_id)
        await app.settle()
        assert (await app.client.get(workflow, run_id)).status is GRANTED


async def test_one_for_a_run_that_has_ended_waits_for_the_next() -> None:
    workflow = loans()
    async with started(workflow) as app:
        first = await waiting(app, workflow)
        await app.client.callback(workflow, "decide", NO, foreign_id="l-1")
        await keep(app, workflow, foreign_id="l-1")
        with pytest.raises(NotWaiting):
            await app.client.callback(workflow, "decide", YES, run_id=first, wait_for=HOUR)
        run = await app.trigger(workflow, "l-1", Loan())
        assert (await app.get(run)).status is GRANTED
        assert (await app.client.get(workflow, first)).status is REFUSED


async def test_what_waits_ends_with_its_run() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        await keep(app, workflow, 5, name="pay", foreign_id="l-1")
        await app.client.callback(workflow, "decide", NO, foreign_id="l-1")
        assert (await app.client.get(workflow, run_id)).callbacks == []
        second = await waiting(app, workflow)
        assert (await app.client.get(workflow, second)).callbacks == []


async def test_one_that_comes_before_its_run_begins() -> None:
    workflow = loans()
    async with started(workflow) as app:
        later = app.clock.now() + HOUR
        for foreign_id in ("l-1", "l-2", "l-3"):
            at = REVIEW if foreign_id == "l-3" else None
            await app.trigger(workflow, foreign_id, Loan(), start_at=later, at=at)
        with pytest.raises(NotWaiting, match="INITIATED at ASKED"):
            await app.client.callback(workflow, "decide", YES, foreign_id="l-1")
        for foreign_id in ("l-2", "l-3"):
            told = await app.client.callback(
                workflow, "decide", YES, foreign_id=foreign_id, wait_for=2 * HOUR
            )
            assert told.run is not None
            assert (told.outcome, told.run.state) == ("kept", State.INITIATED)
        await app.advance(HOUR - SECOND)
        assert [r.state async for r in app.client.list(workflow)] == [State.INITIATED] * 3
        await app.advance(SECOND)
        assert [r.status async for r in app.client.list(workflow)] == [REVIEW, GRANTED, GRANTED]


async def test_one_that_comes_while_the_first_step_is_under_way() -> None:
    gate = Gate()
    workflow = loans(gate)
    async with started(workflow) as app:
        run = await app.trigger(workflow, "l-1", Loan())
        await eventually(lambda: gate.waiting)
        await keep(app, workflow, foreign_id="l-1")
        gate.open()
        assert (await app.get(run)).status is GRANTED
        assert gate.most == 1, "the step has not begun anew"


async def test_one_for_a_run_whose_first_step_waits_for_something_else() -> None:
    workflow = loans()

    async def nothing(run: LoanRun) -> Skip:
        return Skip()

    workflow.steps.clear()
    workflow.handlers = [each for each in workflow.handlers if each.where != "step at ASKED"]
    workflow.step(type(REVIEW).ASKED, to=REVIEW)(nothing)
    async with started(workflow) as app:
        run = await app.get(await app.trigger(workflow, "l-1", Loan()))
        with pytest.raises(NotWaiting):
            await app.client.callback(workflow, "decide", YES, run_id=run.run_id)
        await keep(app, workflow, run_id=run.run_id)


async def test_there_is_an_end_to_how_many_wait() -> None:
    workflow = loans()
    async with started(workflow) as app:
        for _ in range(MAX_CALLS):
            await keep(app, workflow, foreign_id="l-1")
        with pytest.raises(TooManyCallbacks, match="'l-1' has 100 callbacks that wait already"):
            await keep(app, workflow, foreign_id="l-1")
        for _ in range(MAX_CALLS):
            await keep(app, workflow, correlation="a@b")
        with pytest.raises(TooManyCallbacks, match="'decide=a@b' has 100"):
            await keep(app, workflow, correlation="a@b")

        run_id = await waiting(app, workflow, "l-2")
        for _ in range(MAX_CALLS):
            await keep(app, workflow, 5, name="pay", run_id=run_id)
        with pytest.raises(TooManyCallbacks, match="'l-2' has 100"):
            await app.client.callback(workflow, "decide", YES, run_id=run_id)
        await app.advance(HOUR)
        told = await app.client.callback(workflow, "decide", YES, run_id=run_id)
        assert told.outcome == "moved"


async def test_there_is_an_end_to_how_much_waits() -> None:
    workflow = loans()
    large = "x" * 900_000
    async with started(workflow) as app:
        await keep(app, workflow, large, name="remark", foreign_id="l-1")
        with pytest.raises(TooManyCallbacks, match="'l-1' has 1 callbacks"):
            await keep(app, workflow, large, name="remark", foreign_id="l-1")


# ---- by a value of the object


async def test_a_run_is_known_by_a_value_of_its_object() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow, email="a@b")
        await waiting(app, workflow, "l-2", email="c@d")
        await waiting(app, workflow, "l-3")
        told = await app.client.callback(workflow, "decide", YES, correlation="a@b")
        assert told.run is not None
        assert (told.outcome, told.run.run_id) == ("moved", run_id)
        await app.settle()
        with pytest.raises(NothingCorrelated, match="'decide' by 'a@b'"):
            await app.client.callback(workflow, "decide", YES, correlation="a@b")


async def test_of_several_runs_the_first_that_waits_is_answered() -> None:
    workflow = loans()
    async with started(workflow) as app:
        ids = [await waiting(app, workflow, f"l-{n}", email="a@b") for n in range(3)]
        await app.client.cancel(ids[0])
        await app.settle()
        answered = []
        for _ in range(2):
            told = await app.client.callback(workflow, "decide", YES, correlation="a@b")
            assert told.run is not None
            answered.append(told.run.run_id)
            await app.settle()
        assert answered == ids[1:]


async def test_a_value_is_the_one_that_the_status_was_entered_with() -> None:
    workflow = bare()

    @workflow.callback(REVIEW, to=REVIEW, payload=str, correlate=lambda loan: loan.email)
    async def move(run: LoanRun, email: str) -> Any:
        run.object.email = email
        return REVIEW

    @workflow.callback(REVIEW, to=GRANTED)
    async def grant(run: LoanRun, data: bytes) -> Any:
        return GRANTED

    async with started(workflow) as app:
        run_id = await waiting(app, workflow, email="old")
        for former, now in [("old", "new"), ("new", "newer=ü /?")]:
            await app.client.callback(workflow, "move", now, correlation=former)
            await app.settle()
            with pytest.raises(NothingCorrelated):
                await app.client.callback(workflow, "move", "x", correlation=former)
        told = await app.client.callback(workflow, "move", "newest", correlation="newer=ü /?")
        assert told.run is not None
        assert (told.run.run_id, told.run.object["email"]) == (run_id, "newest")


async def test_one_that_comes_before_the_value_goes_to_the_first_run_that_has_it() -> None:
    workflow = loans()
    async with started(workflow) as app:
        await keep(app, workflow, correlation="a@b")
        await keep(app, workflow, NO, correlation="c@d")
        for number, email in enumerate(["a@b", "a@b", "c@d"]):
            await app.trigger(workflow, f"l-{number}", Loan(email=email))
            await app.settle()
        found = [run.status async for run in app.client.list(workflow)]
        assert found == [GRANTED, REVIEW, REFUSED]


async def test_one_that_is_told_to_wait_is_kept_at_once_however_long() -> None:
    workflow = loans()
    async with started(workflow) as app:
        for wait in (timedelta(milliseconds=1), HOUR, timedelta(days=366)):
            told = await app.client.callback(
                workflow, "decide", YES, correlation="a@b", wait_for=wait
            )
            assert (told.outcome, told.run) == ("kept", None)
        await app.advance(SECOND)
        assert dead_letters(app, workflow) == [TOO_LATE]


async def test_a_key_counts_once_by_whichever_way_it_comes() -> None:
    workflow = loans()
    async with started(workflow) as app:
        asked = {"correlation": "a@b", "key": "k"}
        for _ in range(3):
            await keep(app, workflow, "skip", name="remark", **asked)
        run = await app.trigger(workflow, "l-1", Loan(email="a@b"))
        assert (await app.get(run)).object.notes == ["skip"]
        again = await app.client.callback(workflow, "remark", "skip", **asked)
        assert again.outcome == "duplicate"
        assert (await types(app, run.run_id)).count("callback") == 1


@pytest.mark.parametrize("value", ["a\n@b", "x" * 500])
async def test_a_value_that_can_not_be_is_an_error_of_the_step(value: str) -> None:
    async def grant(run: LoanRun, data: bytes) -> Any:
        return GRANTED

    workflow = answered_by(grant, correlate=lambda loan: value)
    async with started(workflow) as app:
        run = await app.get(await app.trigger(workflow, "l-1", Loan()))
        assert run.status.name == "ASKED"
        assert run.error is not None
        assert run.error.type == "CorrelationInvalid"


async def test_a_refused_payload_does_not_use_up_a_value() -> None:
    workflow = loans()
    async with started(workflow) as app:
        await waiting(app, workflow, email="a@b")
        with pytest.raises(InvalidPayload):
            await app.client.callback(workflow, "decide", "perhaps", correlation="a@b")
        told = await app.client.callback(workflow, "decide", YES, correlation="a@b")
        assert told.outcome == "moved"


async def test_nothing_is_written_for_a_value_that_leads_nowhere() -> None:
    workflow = loans()
    async with started(workflow) as app:
        before = records(app, workflow)
        with pytest.raises(NothingCorrelated):
            await app.client.callback(workflow, "decide", YES, correlation="a@b")
        assert records(app, workflow) == before
