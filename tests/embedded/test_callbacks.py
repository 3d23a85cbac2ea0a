"""Answers from outside: what they lead to, and what those are told who gave them."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from streamwf import Cancel, Fatal, Pause, Repeat, Retry, Skip, State
from streamwf.callback_views import CallbackRequest
from streamwf.declared import StepResult
from streamwf.errors import (
    CallbackFailed,
    ForeignIdNotFound,
    InvalidForeignId,
    InvalidPayload,
    InvalidQuery,
    NotWaiting,
    RecordTooLarge,
    RunNotFound,
    StreamwfError,
    UnknownCallback,
    WorkflowNotFound,
)
from tests.embedded.kit import records, started, types
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
    Status,
    answered_by,
    loans,
    waiting,
)

SECOND = timedelta(seconds=1)


# ---- what they lead to


@pytest.mark.parametrize(("answer", "status"), [(YES, GRANTED), (NO, REFUSED)])
async def test_an_answer_moves_the_run_and_the_caller_is_told(answer: Any, status: Status) -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        told = await app.client.callback(workflow, "decide", answer, foreign_id="l-1")
        assert told.outcome == "moved"
        assert told.error is None
        assert told.run is not None
        assert (told.run.run_id, told.run.status) == (run_id, status.name)
        assert told.run.object["notes"] == [answer.note]
        run = await app.client.get(workflow, run_id)
        assert (run.status, run.object.notes) == (status, [answer.note])


async def test_a_plain_function_answers_too() -> None:
    workflow = loans()
    async with started(workflow) as app:
        await waiting(app, workflow)
        told = await app.client.callback(workflow, "scan", b"picture", foreign_id="l-1")
        assert told.run is not None
        assert (told.run.status, told.run.object["notes"]) == ("GRANTED", ["picture"])


async def test_one_that_skips_changes_nothing() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        before = await app.client.get(workflow, run_id)
        later = {"yes": True, "note": "later"}
        told = await app.client.callback(workflow, "decide", later, foreign_id="l-1")
        assert told.outcome == "skipped"
        after = await app.client.get(workflow, run_id)
        assert (after.status, after.object, after.callbacks) == (before.status, before.object, [])
        assert (
            await app.client.callback(workflow, "decide", YES, run_id=run_id)
        ).outcome == "moved"


async def test_one_that_repeats_itself_runs_again_with_what_it_has_saved() -> None:
    async def count(run: LoanRun, data: bytes) -> StepResult[Status]:
        run.object.notes.append(data.decode())
        return GRANTED if len(run.object.notes) == 3 else Repeat(after=HOUR)

    workflow = answered_by(count)
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        told = await app.client.callback(workflow, "count", b"x", foreign_id="l-1")
        assert (told.outcome, told.error) == ("kept", None)
        run = await app.client.get(workflow, run_id)
        assert [call.due_at for call in run.callbacks] == [app.clock.now() + HOUR]
        await app.advance(2 * HOUR - SECOND)
        assert (await app.client.get(workflow, run_id)).object.notes == ["x", "x"]
        await app.advance(SECOND)
        run = await app.client.get(workflow, run_id)
        assert (run.status, run.object.notes) == (GRANTED, ["x", "x", "x"])


@pytest.mark.parametrize(
    ("outcome", "told", "state"),
    [(Pause("ask Ann"), "paused", State.PAUSED), (Cancel("no"), "cancelled", State.CANCELLED)],
)
async def test_one_that_ends_the_work_keeps_what_it_has_changed(
    outcome: Any, told: str, state: State
) -> None:
    async def stop(run: LoanRun, data: bytes) -> StepResult[Status]:
        run.object.notes.append("stopped")
        return outcome

    workflow = answered_by(stop)
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        found = await app.client.callback(workflow, "stop", foreign_id="l-1")
        run = await app.client.get(workflow, run_id)
        assert (found.outcome, run.state, run.reason) == (told, state, outcome.reason)
        assert (run.status, run.object.notes, run.callbacks) == (REVIEW, ["stopped"], [])


async def test_one_that_leads_back_to_its_status_begins_its_time_anew() -> None:
    workflow = loans()

    @workflow.timeout(REVIEW, after=HOUR, to=REFUSED)
    async def late(run: LoanRun) -> Status:
        return REFUSED

    async with started(workflow) as app:
        run = await app.trigger(workflow, "l-1", Loan())
        await app.advance(HOUR - SECOND)
        run = await app.callback_when(run, REVIEW, "remark", "wait")
        await app.expect_timeout(run, "late", due_at=app.clock.now() + HOUR)
        await app.advance(HOUR - SECOND)
        assert (await app.get(run)).status is REVIEW
        await app.advance(SECOND)
        assert (await app.get(run)).status is REFUSED


# ---- errors


async def test_one_that_fails_is_tried_again_and_the_caller_told() -> None:
    seen = []

    async def flaky(run: LoanRun, data: bytes) -> Status:
        seen.append((run.attempt, run.idempotency_key, data))
        if run.attempt < 3:
            raise OSError("the bank is shut")
        return GRANTED

    workflow = answered_by(flaky, retry=Retry(SECOND, factor=2, jitter=0))
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        told = await app.client.callback(workflow, "flaky", b"x", foreign_id="l-1")
        assert told.outcome == "kept"
        assert told.error is not None
        assert (told.error.type, told.error.message) == ("OSError", "the bank is shut")
        run = await app.client.get(workflow, run_id)
        [call] = run.callbacks
        assert (call.name, call.attempt, call.due_at) == ("flaky", 1, app.clock.now() + SECOND)
        assert run.error is not None
        await app.advance(3 * SECOND)
        run = await app.client.get(workflow, run_id)
        assert (run.status, run.error, run.callbacks) == (GRANTED, None, [])
        assert [attempt for attempt, _, _ in seen] == [1, 2, 3]
        assert {data for _, _, data in seen} == {b"x"}
        assert len({key for _, key, _ in seen}) == 1


async def test_each_answer_has_an_idempotency_key_of_its_own() -> None:
    keys = []

    async def note(run: LoanRun, data: bytes) -> Status:
        keys.append(run.idempotency_key)
        return REVIEW

    workflow = answered_by(note)
    async with started(workflow) as app:
        await waiting(app, workflow)
        for _ in range(3):
            await app.client.callback(workflow, "note", foreign_id="l-1")
    assert len(set(keys)) == 3


async def test_an_answer_keeps_its_key_wherever_its_run_goes_between_two_tries() -> None:
    keys: list[str] = []

    async def flaky(run: LoanRun, data: bytes) -> Status:
        if data == b"look again":
            return REVIEW
        keys.append(run.idempotency_key)
        if run.attempt == 1:
            raise OSError("the bank is shut")
        return GRANTED

    workflow = answered_by(flaky)
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        await app.client.callback(workflow, "flaky", b"yes", foreign_id="l-1")
        told = await app.client.callback(workflow, "flaky", b"look again", foreign_id="l-1")
        assert told.outcome == "moved"
        await app.settle()
        assert (await app.client.get(workflow, run_id)).status is GRANTED
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_one_that_fails_for_good_changes_nothing() -> None:
    async def forbid(run: LoanRun, data: bytes) -> Status:
        run.object.notes.append("lost")
        raise Fatal("never")

    workflow = answered_by(forbid)
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        with pytest.raises(
            CallbackFailed, match=r"'forbid' of run .* failed for good: Fatal: never"
        ):
            await app.client.callback(workflow, "forbid", foreign_id="l-1")
        run = await app.client.get(workflow, run_id)
        assert (run.state, run.status, run.object.notes) == (State.RUNNING, REVIEW, [])
        assert (run.callbacks, run.error) == ([], None)
        [*_, declined] = (await app.client.history(run_id)).events
        assert declined.type == "declined"
        assert declined.error is not None
        assert declined.error.type == "Fatal"


async def test_attempts_are_used_up() -> None:
    async def fail(run: LoanRun, data: bytes) -> Status:
        raise OSError("no")

    workflow = answered_by(fail, retry=Retry(SECOND, attempts=2, jitter=0))
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        assert (await app.client.callback(workflow, "fail", foreign_id="l-1")).outcome == "kept"
        await app.advance(HOUR)
        assert (await types(app, run_id))[2:] == ["callback", "postponed", "declined"]
        assert (await app.client.get(workflow, run_id)).callbacks == []


async def undeclared(run: LoanRun, data: bytes) -> Status:
    return PAID


async def misshapen(run: LoanRun, data: bytes) -> Status:
    run.object.notes = 7  # type: ignore[assignment]
    return GRANTED


async def endless(run: LoanRun, data: bytes) -> Status:
    await asyncio.Event().wait()
    return GRANTED


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (undeclared, "UndeclaredTransition"),
        (misshapen, "InvalidObject"),
        (endless, "StepTimedOut"),
    ],
)
async def test_what_can_not_be_is_an_error_like_any_other(
    function: Callable[..., Any], error: str
) -> None:
    workflow = answered_by(function, timeout=timedelta(milliseconds=5))
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        told = await app.client.callback(workflow, function.__name__, foreign_id="l-1")
        assert told.outcome == "kept"
        assert told.error is not None
        assert told.error.type == error
        run = await app.client.get(workflow, run_id)
        assert (run.status, run.object.notes) == (REVIEW, [])


async def test_a_payload_whose_type_fails_is_an_error_of_the_callback() -> None:
    def break_down(given: Any) -> Any:
        raise KeyError("no such rate")

    async def convert(run: LoanRun, rate: Any) -> Status:
        return GRANTED

    workflow = answered_by(convert, payload=Annotated[Any, AfterValidator(break_down)])
    async with started(workflow) as app:
        await waiting(app, workflow)
        told = await app.client.callback(workflow, "convert", 1, foreign_id="l-1")
        assert told.outcome == "kept"
        assert told.error is not None
        assert told.error.type == "KeyError"


# ---- what they bring


@pytest.mark.parametrize(
    ("kind", "given", "comes"),
    [
        (bytes, b"\x00\xff", b"\x00\xff"),
        (bytes, bytearray(b"ab"), b"ab"),
        (bytes, memoryview(b"ab"), b"ab"),
        (bytes, b"", b""),
        (bytes, None, b""),
        (bytes, {"a": [1, None]}, b'{"a":[1,null]}'),
        (str, "schön\n\x00 \u2028", "schön\n\x00 \u2028"),
        (int, 2**70, 2**70),
        (float | None, float("nan"), None),
        (datetime, datetime(2030, 1, 1), datetime(2030, 1, 1)),
        (list[int], (1, 2), [1, 2]),
        (dict[str, Any], b'{"a": 1}', {"a": 1}),
        (Loan, Loan(email="a"), Loan(email="a")),
    ],
)
async def test_payloads(kind: Any, given: object, comes: object) -> None:
    seen = []

    async def take(run: LoanRun, payload: Any) -> Skip:
        seen.append(payload)
        return Skip()

    workflow = answered_by(take, payload=kind)
    async with started(workflow) as app:
        await waiting(app, workflow)
        await app.client.callback(workflow, "take", given, foreign_id="l-1")
    assert seen == [comes]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"yes": "perhaps", "note": "s3cret"}, "yes: Input should be a valid boolean"),
        ({"note": "s3cret"}, "yes: Field required"),
        ("s3cret", "payload: Input should be an object"),
        (None, "payload: Input should be an object"),
        (b"{s3cret", "payload: Invalid JSON"),
    ],
)
async def test_a_payload_that_does_not_fit_changes_nothing(given: object, told: str) -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        with pytest.raises(InvalidPayload, match=f"'decide': {told}") as refused:
            await app.client.callback(workflow, "decide", given, foreign_id="l-1")
        assert "s3cret" not in str(refused.value)
        run = await app.client.get(workflow, run_id)
        assert (run.status, run.object.notes, run.callbacks) == (REVIEW, [], [])


@pytest.mark.parametrize("payload", [object(), "\ud800", {1: object()}, [lambda: 1]])
async def test_a_payload_that_json_can_not_hold(payload: object) -> None:
    workflow = loans()
    async with started(workflow) as app:
        await waiting(app, workflow)
        before = records(app, workflow)
        with pytest.raises(InvalidPayload, match="'decide'"):
            await app.client.callback(workflow, "decide", payload, foreign_id="l-1")
        with pytest.raises(RecordTooLarge, match="payload"):
            await app.client.callback(workflow, "decide", "x" * 1_000_000, foreign_id="l-1")
        assert records(app, workflow) == before


# ---- which run


async def test_a_run_is_known_by_its_foreign_id_or_by_its_own() -> None:
    workflow = loans()
    async with started(workflow) as app:
        first = await waiting(app, workflow)
        await app.client.callback(workflow, "decide", NO, foreign_id="l-1")
        second = await waiting(app, workflow)
        with pytest.raises(NotWaiting, match=f"{first} .* COMPLETED at REFUSED"):
            await app.client.callback(workflow, "decide", YES, run_id=first)
        told = await app.client.run(workflow, "l-1").callback("decide", YES)
        assert told.run is not None
        assert told.run.run_id == second


async def test_the_only_callback_of_a_status_needs_no_name() -> None:
    workflow = loans()
    async with started(workflow) as app:
        await waiting(app, workflow)
        with pytest.raises(NotWaiting):
            await app.client.callback(workflow, "", YES, foreign_id="l-1")
        await app.client.callback(workflow, "decide", YES, foreign_id="l-1")
        told = await app.client.callback(workflow, "", 5, foreign_id="l-1")
        assert told.run is not None
        assert told.run.status == "PAID"


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({}, InvalidQuery),
        ({"foreign_id": "l-1", "correlation": "a@b"}, InvalidQuery),
        ({"run_id": "r-1", "correlation": "a@b"}, InvalidQuery),
        ({"foreign_id": ""}, InvalidForeignId),
        ({"foreign_id": "l\n1"}, InvalidForeignId),
        ({"foreign_id": "l-2"}, ForeignIdNotFound),
        ({"foreign_id": "l-1", "run_id": "r-1"}, RunNotFound),
        ({"run_id": "r-1"}, RunNotFound),
        ({"foreign_id": "l-1", "name": "decline"}, UnknownCallback),
        ({"correlation": "a@b", "name": "decline"}, UnknownCallback),
        ({"correlation": "a@b", "name": ""}, InvalidQuery),
        ({"correlation": "a\n@b"}, InvalidQuery),
        ({"correlation": "a" * 500}, InvalidQuery),
        ({"foreign_id": "l-1", "wait_for": -1}, InvalidQuery),
        ({"foreign_id": "l-1", "wait_for": float("inf")}, InvalidQuery),
        ({"foreign_id": "l-1", "wait_for": float("nan")}, InvalidQuery),
        ({"foreign_id": "l-1", "payload": 1, "payload_base64": "AA=="}, InvalidQuery),
        ({"foreign_id": "l-1", "payload_base64": "ä"}, InvalidQuery),
        ({"foreign_id": "l-1", "payload_base64": "A"}, InvalidQuery),
    ],
)
async def test_what_can_not_be_asked_is_refused_before_the_log_has_it(
    asked: dict[str, Any], error: type[StreamwfError]
) -> None:
    workflow = loans()
    async with started(workflow) as app:
        await waiting(app, workflow)
        before = records(app, workflow)
        with pytest.raises(error):
            await app.client._gateway.callback(
                "loans", CallbackRequest.of(**{"name": "decide", **asked})
            )
        # Whether there is such a run is told by the fold.
        found_out_later = error in (ForeignIdNotFound, RunNotFound)
        assert records(app, workflow) - before <= int(found_out_later)


async def test_a_workflow_that_is_not_there() -> None:
    async with started(loans()) as app:
        with pytest.raises(WorkflowNotFound):
            await app.client._gateway.callback("nope", CallbackRequest(foreign_id="l-1"))
