"""Masked fields on the embedded host: steps and the client see them, and they are in no text."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from streamwf import Breaker, Cancel, Fatal, Retry, Run, Workflow
from streamwf.access import ANYBODY, asked_by
from streamwf.errors import CallbackFailed, InvalidObject, InvalidPayload, SlotFailed
from streamwf.record import State
from streamwf.redaction import MASK
from streamwf.sources import Call, Message, Start, from_iterator
from streamwf.testing import Engine
from streamwf.views import History
from tests.cards import (
    CARD,
    CODE,
    NEW_CARD,
    PIN,
    SECRETS,
    Answer,
    Payment,
    Receipt,
    Status,
    payments,
    receipts,
    secret,
)
from tests.embedded.kit import append, dead_letters, started
from tests.support import eventually

NEW, ASKED, PAID, FAILED = Status.NEW, Status.ASKED, Status.PAID, Status.FAILED

MOMENT = timedelta(seconds=1)


def texts(history: History) -> list[str]:
    """All that the events of a run say but for what it carries."""
    said = []
    for event in history.events:
        said.append(event.reason)
        if event.error is not None:
            said += [event.error.type, event.error.message, event.error.traceback]
    return said


def tells(*said: Any) -> list[str]:
    """The secrets that are told there."""
    whole = "\n".join(map(str, said))
    return [secret for secret in SECRETS if secret in whole]


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """No line of any log tells a secret, in whatever it says besides its text."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    lines = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert tells(*(vars(line) for line in lines), caplog.text) == []


async def told_of(app: Engine, workflow: Workflow[Any, Status], payment: Any) -> tuple[Any, str]:
    """A run after all that is due in two hours, and all that its events say."""
    run = await app.trigger(workflow, "o-1", payment)
    await app.advance(timedelta(hours=2))
    said = "\n".join(texts(await app.client.history(run.run_id)))
    return await app.get(run), said


# ---- who sees them


async def test_steps_and_the_client_in_the_process_see_what_is_masked() -> None:
    workflow, seen = payments(), []

    @workflow.step(ASKED, to=PAID)
    async def look(run: Run[Payment, Status]) -> Status:
        seen.append(run.object.card)
        return PAID

    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Payment())
        done = await app.await_status(run, PAID)
        assert seen == [CARD]
        assert done.object == Payment()
        [listed] = [each async for each in app.client.list(workflow)]
        assert listed.object.pin == PIN
        trigger = (await app.client.history(run.run_id)).events[0]
        assert trigger.object == secret()
        with asked_by(ANYBODY):
            masked = await app.client.find()
        assert masked.runs[0].object == {
            "amount": 1,
            "do": "go",
            "card": MASK,
            "pin": MASK,
            "holder": {"name": "ann", "address": MASK},
            "tokens": [MASK],
        }
        assert [run async for run in app.client.list(workflow, search={"holder.name": "ann"})]


# ---- errors and reasons


@pytest.mark.parametrize(
    ("do", "types"),
    [
        ("fail", ["trigger", "failed", "moved", "hooked"]),
        ("change and fail", ["trigger", "failed", "moved", "hooked"]),
        ("validate", ["trigger", "failed", "moved", "hooked"]),
        ("undeclared", ["trigger", "failed", "moved", "hooked"]),
        ("unwritable", ["trigger", "failed", "moved", "hooked"]),
        ("misfit", ["trigger", "failed", "moved", "hooked"]),
        ("pause", ["trigger", "paused"]),
        ("cancel", ["trigger", "cancelled", "hooked"]),
        ("go", ["trigger", "moved", "paused"]),
    ],
)
@pytest.mark.parametrize("encrypt", [False, True])
async def test_no_text_that_a_step_leads_to_tells_what_is_masked(
    do: str, types: list[str], encrypt: bool
) -> None:
    workflow = payments(auto_resume=None, encrypt=encrypt)
    async with started(workflow) as app:
        run, said = await told_of(app, workflow, Payment(do=do))
        kinds = [event.type for event in (await app.client.history(run.run_id)).events]
        assert [kind for kind in kinds if kind not in ("hook", "retain")] == types
        assert ("Traceback" in said) is (do != "pause")
        assert tells(said) == []
        shown = await app.client.find()
        assert tells(shown.runs[0].error, shown.runs[0].reason) == []


async def test_what_an_error_says_besides_is_kept() -> None:
    workflow = payments()
    async with started(workflow) as app:
        _, said = await told_of(app, workflow, Payment(do="fail"))
        assert f"that is {MASK} of '{MASK}" in said
        assert f"the pin is {MASK}" in said
        assert "KeyError" in said
        assert "amount=1" in said
        assert "in charge" in said


async def test_an_object_that_does_not_fit_is_told_by_its_fields() -> None:
    workflow = payments()
    async with started(workflow) as app:
        _, said = await told_of(app, workflow, Payment(do="misfit"))
        assert "amount: Input should be a valid integer" in said


@pytest.mark.parametrize("where", ["correlate", "after", "on_error"])
async def test_nor_does_what_a_status_leads_to_that_is_entered(where: str) -> None:
    workflow: Workflow[Payment, Status] = Workflow("payments", Payment, Status)

    @workflow.step(NEW, to=ASKED, on_error=ASKED, retry=Retry(attempts=1))
    async def ask(run: Run[Payment, Status]) -> Status:
        if where == "on_error":
            run.object.card = NEW_CARD
            raise ValueError(NEW_CARD)
        return ASKED

    def fails(run: Run[Payment, Status]) -> timedelta:
        raise ValueError(f"no date for {run.object!r}")

    workflow.callback(
        ASKED, to=PAID, name="a", correlate=lambda it: it.card * 99 if where == "correlate" else ""
    )(lambda run, given: PAID)
    workflow.timeout(ASKED, name="t", to=PAID, after=MOMENT if where == "correlate" else fails)(
        lambda run: PAID
    )
    async with started(workflow) as app:
        run, said = await told_of(app, workflow, Payment())
        assert run.error is not None
        assert tells(said, run.error) == []
        assert CARD[:10] not in said


async def test_nor_do_the_errors_of_timeouts_callbacks_and_hooks() -> None:
    workflow = payments()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Payment())
        await app.await_status(run, ASKED)
        client = app.client

        kept = await client.callback(
            workflow, "answer", Answer(code=CODE, do="fail"), correlation=CARD
        )
        assert kept.error is not None
        assert f"code='{MASK}'" in kept.error.message
        assert tells(kept.error) == []
        with pytest.raises(CallbackFailed) as failed:
            await client.callback(workflow, "anything", {"card": NEW_CARD}, foreign_id="o-1")
        with pytest.raises(InvalidPayload) as misfit:
            await client.callback(workflow, "answer", {"code": PIN}, foreign_id="o-1")
        assert "code: it does not fit (string_type)" in str(misfit.value)
        await app.advance(timedelta(minutes=1))
        paused = await client.callback(
            workflow, "answer", Answer(code=CODE, do="pause"), foreign_id="o-1"
        )
        assert paused.run is not None
        assert paused.run.reason == f"{MASK} is suspicious"
        await client.resume(run.run_id)
        await app.advance(timedelta(hours=2))
        await client.cancel(run.run_id)
        await app.settle()
        history = await client.history(run.run_id)
        assert {event.type for event in history.events} >= {"declined", "postponed", "hooked"}
        assert tells(*texts(history), failed.value, misfit.value) == []


async def test_nor_does_a_step_that_is_held_or_has_no_rank() -> None:
    workflow: Workflow[Payment, Status] = Workflow("payments", Payment, Status)

    def rank(run: Run[Payment, Status]) -> int:
        if run.foreign_id == "o-1":
            raise ValueError(f"no rank for {run.object!r}")
        return run.object.card  # type: ignore[return-value]

    @workflow.step(NEW, to=PAID, breaker=Breaker(failures=1), priority=rank)
    async def fail(run: Run[Payment, Status]) -> Status:
        raise ValueError(f"no such card: {run.object.card}")

    async with started(workflow) as app:
        for foreign_id in ("o-1", "o-2"):
            await app.trigger(workflow, foreign_id, Payment())
        await app.settle()
        held = (await app.client.describe("payments")).held["NEW"]
        assert held.reason == f"ValueError: no such card: {MASK}"


async def test_nor_do_children_tell_their_parents() -> None:
    workflow, printed = payments(), receipts()
    async with started(workflow, printed) as app:
        run = await app.trigger(workflow, "o-1", Payment(do="child"))
        await app.settle()
        [child] = (await app.get(run)).children
        assert (child.state, child.reason) == (State.CANCELLED, f"no paper for {MASK}")
        with asked_by(ANYBODY):
            history = await app.client.history(run.run_id)
        assert "child" in [event.type for event in history.events]
        assert tells(history) == []


# ---- what can't be read


async def test_of_what_does_not_fit_any_more_nothing_is_shown() -> None:
    workflow = payments()
    async with started(workflow) as app:
        append(app, workflow, type="trigger", subject="o-1", data={**secret(), "amount": CARD})
        await app.settle()
        with asked_by(ANYBODY):
            [run] = (await app.client.find()).runs
            history = await app.client.history(run.run_id)
        assert (run.state, run.object) == (State.CANCELLED, MASK)
        assert "amount: Input should be a valid integer" in run.reason
        assert [event.object for event in history.events][:2] == [MASK, None]
        assert tells(run, history, *dead_letters(app, workflow)) == []

        [(letter, reason)] = app.host.logs["payments"].dead_letters
        assert "amount: Input should be a valid integer" in reason
        assert msgspec.json.decode(letter.value)["data"] == {**secret(), "amount": CARD}


async def test_deleted_data_is_nothing_and_no_mask() -> None:
    workflow = payments()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Payment(do="cancel"))
        await app.settle()
        await app.client.delete_data(run.run_id)
        await app.settle()
        with asked_by(ANYBODY):
            [shown] = (await app.client.find()).runs
        assert (shown.state, shown.object) == (State.DATA_DELETED, None)


async def test_an_error_of_before_a_field_was_masked_is_shown_without_it() -> None:
    class Open(Payment):
        card: str = CARD
        tokens: list[str] = []

    former: Workflow[Open, Status] = Workflow("payments", Open, Status)

    @former.step(NEW, to=PAID)
    async def fail(run: Run[Open, Status]) -> Status:
        raise Fatal(f"no such card: {run.object.card}")

    async with started(former) as app:
        await app.trigger(former, "o-1", Open())
        await app.settle()
    async with started(payments(auto_resume=None), former=app) as later:
        [stored] = (await later.client.find()).runs
        assert stored.error is not None
        assert tells(stored.error) == [CARD]
        with asked_by(ANYBODY):
            [shown] = (await later.client.find()).runs
            history = await later.client.history(shown.run_id)
        assert shown.error is not None
        assert shown.error.message == f"no such card: {MASK}"
        assert tells(shown, history) == []


# ---- who asks


async def test_what_is_asked_with_wrong_objects_is_refused_without_them() -> None:
    workflow = payments()
    async with started(workflow) as app:
        for payment in (
            Payment.model_construct(card=PIN, do="go"),
            Payment.model_construct(holder=CARD),
            Payment.model_construct(tokens=[{CARD: CARD}]),
        ):
            with pytest.raises(InvalidObject) as refused:
                await app.trigger(workflow, "o-1", payment)
            assert tells(refused.value, refused.value.fields) == []


# ---- schedules and connectors


async def test_what_a_schedule_starts_is_masked_and_started_whole() -> None:
    workflow = payments()
    async with started(workflow) as app:
        made = await app.client.schedule(workflow, "nightly", "@every 1h", object=Payment())
        assert made.object == secret()
        await app.advance(timedelta(minutes=90))
        found = await app.client.latest(workflow, "nightly")
        assert found is not None
        assert found.object.card == CARD
        with asked_by(ANYBODY):
            shown = await app.client.get_schedule(workflow, "nightly")
            history = await app.client.history(made.run_id)
        assert shown.object["card"] == MASK
        assert history.events[0].object["spec"]["object"]["holder"] == {
            "name": "ann",
            "address": MASK,
        }
        assert tells(shown, history) == []


async def test_a_slot_that_fails_tells_no_input() -> None:
    workflow = payments()

    @workflow.schedule("nightly", "@every 1h")
    def make(slot: Any) -> Payment:
        return Payment.model_validate({"card": [CARD]})

    async with started(workflow) as app:
        await app.advance(timedelta(minutes=61))
        start = app.clock.start
        with pytest.raises(SlotFailed) as failed:
            await app.client.backfill(workflow, "nightly", start - timedelta(hours=2), start)
        view = await app.client.get_schedule(workflow, "nightly")
        assert view.error is not None
        assert f"input_value={MASK}" in view.error.message
        assert tells(view.error, failed.value) == []


async def test_a_message_that_can_not_be_used_is_set_aside_whole_and_its_reason_is_masked() -> None:
    workflow = payments()
    bad = [
        json.dumps({"card": [CARD], "do": "validate"}).encode(),
        json.dumps({"deep": [{"card": CARD}], "do": "fail"}).encode(),
        json.dumps({"code": CODE, "do": "call"}).encode(),
        json.dumps({"amount": CARD, "card": NEW_CARD, "do": "start"}).encode(),
    ]

    async def feed(after: str | None) -> AsyncIterator[tuple[str, bytes]]:
        for number, each in enumerate(bad if after is None else ()):
            yield str(number), each

    @workflow.connector(from_iterator(feed))
    def use(message: Message) -> Any:
        data = json.loads(message.value or b"")
        match data["do"]:
            case "validate":
                Payment.model_validate(data)
            case "call":
                return Call("answer", {"code": [data["code"]]}, foreign_id="o-1")
            case "start":
                return Start("o-1", Payment.model_construct(**data))
        raise ValueError(f"can't use {data}")

    async with started(workflow) as app:
        log = app.host.logs["payments"]
        await eventually(lambda: len(log.dead_letters) == len(bad))
        letters = log.dead_letters
        assert [letter.value for letter, _ in letters] == bad
        reasons = [reason for _, reason in letters]
        assert reasons[0].startswith("ValidationError: 1 validation error for Payment")
        assert f"'deep': [{{'card': '{MASK}'}}]" in reasons[1]
        assert "code: it does not fit (string_type)" in reasons[2]
        assert "amount: Input should be a valid integer" in reasons[3]
        assert tells(*reasons) == []


# ---- debugging


def lines(caplog: pytest.LogCaptureFixture, *names: str) -> list[tuple[Any, ...]]:
    return [
        tuple(vars(line).get(name) for name in ("msg", *names))
        for line in caplog.records
        if line.name == "streamwf.shard" and line.levelname == "INFO"
    ]


async def test_a_workflow_that_is_debugged_tells_what_happens_and_not_what_it_carries(
    logged: pytest.LogCaptureFixture,
) -> None:
    workflow = payments()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Payment())
        await app.await_status(run, ASKED)
        append(app, workflow, type="trigger", subject="o-1", data=secret())
        append(app, workflow, type="nonsense", subject="o-1", data=secret())
        append(app, workflow, type="pause", subject="nobody")
        await app.settle()

        assert lines(logged, "type", "verdict", "status", "job", "version")[:6] == [
            ("run_changed", "trigger", "accepted", "NEW", None, 1),
            ("job_begun", None, None, "NEW", "step", 1),
            ("job_ended", "moved", None, "NEW", "step", 1),
            ("run_changed", "moved", "accepted", "ASKED", None, 2),
            ("run_changed", "correlate", "accepted", "", None, 1),
            ("event_refused", "trigger", "run_in_progress", "ASKED", None, 2),
        ]
        told = lines(logged, "workflow", "shard", "foreign_id", "run_id")
        assert told[0] == ("run_changed", "payments", 0, "o-1", run.run_id)
        assert told[4][:4] == ("run_changed", "payments", 0, None)
        assert told[6] == ("record_set_aside", "payments", 0, None, None)
        assert told[7] == ("event_refused", "payments", 0, "nobody", "")


async def test_a_workflow_that_is_not_debugged_tells_nothing(
    logged: pytest.LogCaptureFixture,
) -> None:
    workflow: Workflow[Receipt, Status] = Workflow("receipts", Receipt, Status)

    @workflow.step(NEW, to=PAID)
    async def stop(run: Run[Receipt, Status]) -> Cancel:
        return Cancel("")

    async with started(workflow) as app:
        await app.trigger(workflow, "o-1", Receipt(card=CARD))
        await app.settle()
    assert lines(logged) == []
