"""Callbacks over HTTP: whichever worker is asked, and by whatever the outside knows of the run.

Of two workers, `a` owns what begins with a, `b` what begins with b: foreign ids, and correlation
values, which begin with the name of their callback.
"""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from streamwf import Workflow, answering
from streamwf.adapters.web.forwarding import LOCAL
from streamwf.declared import StepResult
from streamwf.record import MAX_CALLS
from tests.web.calling import CALLBACKS, OrderRun, Verdict, answers, ask, problem, told, waiting
from tests.web.harness import LIMIT, Order, Pair, Status, nowhere, two_workers


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(answering, "ON_ITS_WAY", 0.05)
    async with two_workers(declare=answers) as started:
        yield started


# ---- by every way, to every worker


@pytest.mark.parametrize("foreign_id", ["a-1", "b-1"])
@pytest.mark.parametrize("way", ["foreign_id", "run_id", "correlation", "both"])
async def test_a_run_is_answered_whichever_worker_is_asked(
    pair: Pair, foreign_id: str, way: str
) -> None:
    run_id = await waiting(pair.a, foreign_id, note="them@example.org")
    known = {"foreign_id": foreign_id, "run_id": run_id, "correlation": "them@example.org"}
    both = {"foreign_id": foreign_id, "run_id": run_id}
    asked = both if way == "both" else {way: known[way]}
    # A value has its own place; embedded hosts share no log, so here it is that of its run.
    asked["name"] = f"{foreign_id[0]}-decide"
    for worker in (pair.a, pair.b):
        reply = await ask(worker, **asked, payload={"price": 8, "note": "skip"})
        assert told(reply) == (200, "skipped", "PICKED")
        assert reply.json["run"]["run_id"] == run_id
    assert told(await ask(pair.a, **asked)) == (200, "moved", "SHIPPED")
    assert (await pair.b.get(f"/api/v1/runs/{run_id}")).json["object"]["price"] == 7


async def test_what_is_forwarded_is_what_was_asked(pair: Pair) -> None:
    run_id = await waiting(pair.b, "b-1")
    data = base64.b64encode(b"\x00\xff").decode()
    asked = {"name": "scan", "foreign_id": "b-1", "payload_base64": data, "key": "k"}
    assert told(await pair.a.post(CALLBACKS, asked)) == (200, "moved", "SHIPPED")
    for worker in (pair.a, pair.b):
        assert told(await worker.post(CALLBACKS, asked)) == (200, "duplicate", "SHIPPED")
    assert (await pair.a.get(f"/api/v1/runs/{run_id}")).json["object"]["note"] == "00ff"


async def test_one_that_comes_too_early_is_kept_by_the_owner(pair: Pair) -> None:
    for number, way in enumerate(("foreign_id", "correlation")):
        known = {"foreign_id": f"b-{number}", "correlation": "them@example.org"}[way]
        reply = await ask(pair.a, **{way: known}, wait_for=3600)
        assert (reply.status, reply.json) == (200, {"outcome": "kept", "run": None, "error": None})
    for number, note in [(0, ""), (1, "them@example.org")]:
        run_id = await pair.b.trigger(f"b-{number}", object={"price": 1, "note": note})
        assert (await pair.b.reached(run_id, "SHIPPED")).status == 200


async def test_one_that_fails_is_kept_and_says_why(pair: Pair) -> None:
    await waiting(pair.b, "b-1")
    reply = await ask(pair.a, foreign_id="b-1", payload={"price": 7, "note": "error"})
    assert told(reply) == (200, "kept", "PICKED")
    assert reply.json["error"]["message"] == "not now"
    [call] = reply.json["run"]["callbacks"]
    assert (call["name"], call["attempt"]) == ("b-decide", 1)


async def test_a_forwarded_callback_is_never_forwarded_again(pair: Pair) -> None:
    await waiting(pair.b, "b-1")
    here = {LOCAL: "1"}
    asked = {"name": "b-decide", "payload": {"price": 7}}
    for known in ({"foreign_id": "b-1"}, {"correlation": "x"}):
        reply = await pair.a.post(CALLBACKS, {**asked, **known}, headers=here)
        assert problem(reply) == (503, "NotReady")
    reply = await pair.a.post(CALLBACKS, {**asked, "run_id": "r"}, headers=here)
    assert problem(reply) == (404, "RunNotFound")


async def test_an_owner_that_is_gone(pair: Pair) -> None:
    pair.urls["b"] = await nowhere()
    for known in ({"foreign_id": "b-1"}, {"correlation": "x"}, {"run_id": "r"}):
        assert problem(await ask(pair.a, **known)) == (503, "NotReady")
    assert problem(await ask(pair.a, foreign_id="unowned")) == (503, "NotReady")


# ---- problems


async def test_what_nobody_waits_for(pair: Pair) -> None:
    run_id = await waiting(pair.b, "b-1")
    for worker in (pair.a, pair.b):
        reply = await ask(worker, foreign_id="b-1", name="found")
        assert problem(reply) == (409, "NotWaiting")
        wanted = {"run_id": run_id, "state": "RUNNING", "name": "found"}
        assert wanted.items() <= reply.json.items()
        assert reply.json["error_status"] == "PICKED"
        reply = await ask(worker, foreign_id="b-2")
        assert problem(reply) == (404, "ForeignIdNotFound")
        reply = await ask(worker, run_id="no-such-run")
        assert problem(reply) == (404, "RunNotFound")
        reply = await ask(worker, foreign_id="b-1", run_id="no-such-run")
        assert problem(reply) == (404, "RunNotFound")
        reply = await ask(worker, correlation="nobody")
        assert problem(reply) == (404, "NothingCorrelated")
        assert (reply.json["name"], reply.json["value"]) == ("b-decide", "nobody")
    await ask(pair.a, foreign_id="b-1")
    assert problem(await ask(pair.a, run_id=run_id)) == (409, "NotWaiting")
    assert problem(await pair.a.post("/api/v1/workflows/nope/callbacks", {"foreign_id": "o"})) == (
        404,
        "WorkflowNotFound",
    )


async def test_what_does_not_fit(pair: Pair) -> None:
    run_id = await waiting(pair.b, "b-1")
    for worker in (pair.a, pair.b):
        reply = await ask(worker, foreign_id="b-1", payload={"price": "cheap"})
        assert problem(reply) == (422, "InvalidPayload")
        assert "price: Input should be a valid integer" in reply.json["detail"]
        reply = await ask(worker, foreign_id="b-1", name="b-deny")
        assert problem(reply) == (422, "UnknownCallback")
        assert reply.json["known"] == "a-decide, b-decide, found, scan"
        reply = await ask(worker, foreign_id="b-1", payload="x" * LIMIT)
        assert problem(reply) == (413, "RecordTooLarge")
        reply = await ask(worker, foreign_id="b-1", payload={"price": 7, "note": "fatal"})
        assert problem(reply) == (422, "CallbackFailed")
        assert reply.json["error"] == "never"
    run = (await pair.a.get(f"/api/v1/runs/{run_id}")).json
    assert (run["status"], run["object"]["price"], run["callbacks"]) == ("PICKED", 1, [])


async def test_more_than_a_run_can_keep(pair: Pair) -> None:
    await waiting(pair.b, "b-1")
    asked = {"foreign_id": "b-1", "name": "found", "wait_for": 3600}
    replies = await asyncio.gather(*(ask(pair.a, **asked) for _ in range(MAX_CALLS)))
    assert {told(reply) for reply in replies} == {(200, "kept", "PICKED")}
    reply = await ask(pair.a, **asked)
    assert problem(reply) == (429, "TooManyCallbacks")
    assert reply.json["count"] == MAX_CALLS


async def test_an_answer_that_nobody_gives_in_time(pair: Pair) -> None:
    pair.b.operations.patience = 0.05
    await waiting(pair.b, "b-1")
    never = asyncio.Event()

    async def endless(run: OrderRun, verdict: Verdict) -> StepResult[Status]:
        await never.wait()
        return Status.SHIPPED

    callbacks = pair.b.workflow.callbacks["PICKED"]
    slow = Workflow("slow", Order, Status)
    slow.callback(Status.PICKED, to=Status.SHIPPED, payload=Verdict, name="b-decide")(endless)
    callbacks["b-decide"] = slow.callbacks["PICKED"]["b-decide"]
    reply = await ask(pair.a, foreign_id="b-1")
    assert problem(reply) == (504, "DeadlineExceeded")
    assert reply.json["logged"] is True
    never.set()
    latest = "/api/v1/workflows/orders/latest/b-1"
    assert (await pair.a.get(f"{latest}/await?status=SHIPPED&timeout=30")).status == 200


# ---- what nobody well-meaning sends


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 5000, 400),
        (b'{"foreign_id": "\\ud800"}', 400),
        (b'{"foreign_id": "b-1", "payload": ' + b"9" * 5000 + b"}", 400),
        (b"null", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"foreign_id": ""}', 422),
        (b'{"foreign_id": "b\\u0000"}', 422),
        (b'{"foreign_id": "' + b"b" * 501 + b'"}', 422),
        (b'{"foreign_id": 7}', 422),
        (b'{"foreign_id": "b-1", "correlation": "x"}', 422),
        (b'{"foreign_id": "b-1", "payload": 1, "payload_base64": "AA=="}', 422),
        (b'{"foreign_id": "b-1", "payload_base64": "\xc3\xa4"}', 422),
        (b'{"foreign_id": "b-1", "payload_base64": "A"}', 422),
        (b'{"foreign_id": "b-1", "wait_for": -1}', 422),
        (b'{"foreign_id": "b-1", "wait_for": 1e400}', 422),
        (b'{"foreign_id": "b-1", "wait_for": NaN}', 422),
        (b'{"foreign_id": "b-1", "wait_for": "1"}', 422),
        (b'{"foreign_id": "b-1", "reason": "x"}', 422),
        (b'{"foreign_id": "b-1", "key": 7}', 422),
        (b'{"correlation": "x"}', 422),
        (b'{"correlation": "\\u0000", "name": "b-decide"}', 422),
        (b'{"correlation": "' + b"x" * 500 + b'", "name": "b-decide"}', 422),
        (b'{"run_id": "", "name": "b-decide"}', 404),
        (b'{"run_id": "..", "name": "b-decide"}', 404),
        (b'{"foreign_id": "b-1", "run_id": "\\u0000", "name": "b-decide"}', 404),
    ],
)
async def test_bodies(pair: Pair, body: bytes, status: int) -> None:
    await waiting(pair.b, "b-1")
    before = len(pair.b.host.logs["orders"].records)
    for worker in (pair.a, pair.b):
        headers = {"Content-Type": "application/json"}
        reply = await worker.post(CALLBACKS, data=body, headers=headers)
        assert problem(reply)[0] == status
        reply = await worker.post(CALLBACKS, data=body, headers={"Content-Type": "text/plain"})
        assert reply.status == 415
    found_out_later = status == 404 and b"b-1" in body
    assert len(pair.b.host.logs["orders"].records) - before <= 2 * found_out_later


@pytest.mark.parametrize(
    "payload", [b"NaN", b"1e999", b"-0", b'"\\u0000"', b"[" * 100 + b"]" * 100, b'{"price": 1e2}']
)
async def test_payloads_that_are_barely_json(pair: Pair, payload: bytes) -> None:
    run_id = await waiting(pair.b, "b-1")
    for name in (b"b-decide", b"scan"):
        body = b'{"foreign_id": "b-1", "name": "%s", "payload": %s}' % (name, payload)
        reply = await pair.a.post(
            CALLBACKS, data=body, headers={"Content-Type": "application/json"}
        )
        assert reply.status in (200, 409, 422), reply.body
    assert (await pair.a.get(f"/api/v1/runs/{run_id}/history")).status == 200
    assert (await pair.b.get("/api/v1/runs")).status == 200
    assert pair.b.host.logs["orders"].dead_letters == []
