"""Requests as any producer can write them: what comes of them, whoever has sent them."""

import base64
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Retry, State
from tests.embedded.kit import append, dead_letters, started, types
from tests.embedded.loans import (
    GRANTED,
    HOUR,
    PAID,
    REFUSED,
    REVIEW,
    Loan,
    LoanRun,
    Status,
    loans,
    waiting,
)

YES = {"yes": True, "note": "fine"}


async def test_a_callback_by_foreign_id() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        append(app, workflow, type="callback", subject="l-1", call="decide", data=YES)
        await app.settle()
        append(app, workflow, type="callback", subject="l-1", data=5)
        await app.settle()
        run = await app.client.get(workflow, run_id)
        assert (run.status, run.object.notes) == (PAID, ["fine", "paid 5"])
        assert (await types(app, run_id))[2:] == ["callback", "moved", "callback", "moved"]


async def test_a_callback_of_bytes() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        data = base64.b64encode("schön".encode()).decode()
        append(app, workflow, type="callback", subject="l-1", call="scan", data_base64=data)
        await app.settle()
        assert (await app.client.get(workflow, run_id)).object.notes == ["schön"]


async def test_a_callback_by_run_id() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        asked = {"type": "callback", "subject": "l-1", "call": "decide", "data": YES}
        append(app, workflow, **asked, runid="another")
        await app.settle()
        assert (await app.client.get(workflow, run_id)).status is REVIEW
        append(app, workflow, **asked, runid=run_id)
        await app.settle()
        assert (await app.client.get(workflow, run_id)).status is GRANTED


@pytest.mark.parametrize("same", [{"key": "k"}, {"id": "from-the-bank-1"}])
async def test_a_callback_that_is_sent_again(same: dict[str, str]) -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        asked = {"type": "callback", "subject": "l-1", "call": "remark"}
        for text in ("once", "again"):
            append(app, workflow, **asked, data=text, **same)
        append(app, workflow, **asked, data="other", key="other")
        await app.settle()
        assert (await app.client.get(workflow, run_id)).object.notes == ["once", "other"]


async def test_a_key_is_the_same_over_the_log_and_by_the_client() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        asked = {"type": "callback", "subject": "l-1", "call": "remark", "data": "once"}
        append(app, workflow, **asked, key="k")
        await app.settle()
        told = await app.client.callback(workflow, "remark", "once", foreign_id="l-1", key="k")
        assert told.outcome == "duplicate"
        assert (await app.client.get(workflow, run_id)).object.notes == ["once"]


async def test_a_callback_that_waits_for_its_run() -> None:
    workflow = loans()
    async with started(workflow) as app:
        until = (app.clock.now() + HOUR).isoformat()
        asked = {"type": "callback", "call": "decide", "data": YES}
        append(app, workflow, **asked, subject="l-1", until=until)
        append(app, workflow, **asked, subject="l-2")
        # For whichever run has the value: what leads from it to runs has a foreign id too.
        append(app, workflow, **asked, subject="decide=a@b", kind="correlation", until=until)
        await app.settle()
        for foreign_id, email in [("l-1", None), ("l-2", None), ("l-3", "a@b")]:
            await app.trigger(workflow, foreign_id, Loan(email=email))
        await app.settle()
        found = [run.status async for run in app.client.list(workflow)]
        assert found == [GRANTED, REVIEW, GRANTED]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"call": "decide", "data": {"yes": "perhaps"}}, "InvalidPayload"),
        ({"call": "decide"}, "InvalidPayload"),
        ({"call": "scan", "data_base64": "ä"}, "InvalidPayload"),
        ({"call": "pay", "data": 1}, "NotWaiting"),
        ({"call": "no such"}, "NotWaiting"),
        ({}, "NotWaiting"),
    ],
)
async def test_a_callback_that_can_not_be_answered(more: dict[str, Any], error: str) -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        append(app, workflow, type="callback", subject="l-1", **more)
        await app.settle()
        run = await app.client.get(workflow, run_id)
        assert (run.status, run.callbacks, run.error) == (REVIEW, [], None)
        [*_, declined] = (await app.client.history(run_id)).events
        assert declined.error is not None
        assert declined.error.type == error


@pytest.mark.parametrize(
    "record",
    [
        {"call": 7},
        {"until": "tomorrow"},
        {"until": "2030-01-01T00:00:00"},
        {"id": "a b"},
        {"kind": "postbox"},
        {"subject": "l\u00001"},
        {"subject": ""},
    ],
)
async def test_a_callback_that_can_not_be_read(record: dict[str, Any]) -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow)
        append(app, workflow, **{"type": "callback", "subject": "l-1", "call": "scan", **record})
        await app.settle()
        assert len(dead_letters(app, workflow)) == 1
        assert (await app.client.get(workflow, run_id)).status is REVIEW


async def test_a_run_is_steered() -> None:
    workflow = loans()
    async with started(workflow) as app:
        run_id = await waiting(app, workflow, email="a@b")
        for kind, state in [
            ("pause", State.PAUSED),
            ("resume", State.RUNNING),
            ("delete", State.RUNNING),
            ("cancel", State.CANCELLED),
            ("resume", State.CANCELLED),
        ]:
            append(app, workflow, type=kind, subject="l-1", reason=f"they said {kind}")
            await app.settle()
            assert (await app.client.get(workflow, run_id)).state is state
        assert (await app.client.get(workflow, run_id)).reason == "they said cancel"
        append(app, workflow, type="delete", subject="l-1")
        await app.settle()
        view = await app.client._gateway.get(run_id)
        assert (view.state, view.object) == (State.DATA_DELETED, None)


async def test_what_waits_because_of_errors_is_tried_again() -> None:
    workflow, attempts = loans(), list[int]()

    @workflow.step(REVIEW, to=REFUSED, retry=Retry(HOUR, maximum=HOUR, jitter=0))
    async def review(run: LoanRun) -> Status:
        attempts.append(run.attempt)
        if len(attempts) < 3:
            raise OSError("nobody there")
        return REFUSED

    async with started(workflow) as app:
        run = await app.trigger(workflow, "l-1", Loan())
        await app.settle()
        for expected in ([1], [1, 2], [1, 2, 3]):
            assert attempts == expected
            append(app, workflow, type="retry", subject="l-1", runid=run.run_id)
            await app.settle()
        assert (await app.client.get(workflow, run.run_id)).status is REFUSED
        assert app.clock.now() - app.clock.start < timedelta(seconds=1)
