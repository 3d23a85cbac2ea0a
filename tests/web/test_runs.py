"""The views of runs, over an embedded host."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from streamwf.views import RunView
from tests.support import eventually
from tests.web.harness import Worker, running

RUNS = "/api/v1/workflows/orders/runs"


def errors(reply) -> dict[str, str]:
    return {error["field"]: error["message"] for error in reply.json["errors"]}


# ---- triggering


async def test_trigger_answers_with_the_run_and_where_it_is(worker: Worker) -> None:
    reply = await worker.post(RUNS, {"foreign_id": "o-1", "object": {"price": 3}})

    assert reply.status == 201
    run = RunView.model_validate(reply.json)
    assert (run.workflow, run.foreign_id, run.status) == ("orders", "o-1", "CREATED")
    assert run.object == {"price": 3, "note": ""}
    assert reply.headers["Location"] == f"/api/v1/runs/{run.run_id}"
    assert (await worker.get(reply.headers["Location"])).json["run_id"] == run.run_id


async def test_trigger_without_waiting_is_answered_once_the_log_has_it(worker: Worker) -> None:
    reply = await worker.post(RUNS + "?wait=false", {"foreign_id": "o-1", "object": {"price": 3}})

    assert reply.status == 202
    assert reply.json.keys() == {"run_id"}
    assert reply.headers["Location"] == f"/api/v1/runs/{reply.json['run_id']}"

    async def known() -> bool:
        return (await worker.get(reply.headers["Location"])).status == 200

    await eventually(known)


async def test_trigger_that_nobody_judges_in_time_is_answered_with_its_run_id() -> None:
    async with running(patience=0.05) as worker:
        worker.host.logs["orders"].grown = asyncio.Event()  # nobody folds any more
        reply = await worker.post(RUNS, {"foreign_id": "o-1", "object": {"price": 3}})

        assert reply.status == 202
        logged = worker.host.logs["orders"].records[-1].value
        assert reply.json["run_id"].encode() in logged
        assert reply.headers["Location"] == f"/api/v1/runs/{reply.json['run_id']}"


async def test_trigger_that_does_not_get_into_the_log_in_time_is_a_problem(monkeypatch) -> None:
    async def append(workflow, event) -> None:
        await asyncio.Event().wait()

    async with running(patience=0.05) as worker:
        monkeypatch.setattr(worker.host, "append", append)
        reply = await worker.post(RUNS, {"foreign_id": "o-1", "object": {"price": 3}})

    assert reply.status == 504
    assert reply.json["type"] == "urn:streamwf:error:DeadlineExceeded"


async def test_a_second_trigger_is_told_the_run_in_progress(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")

    reply = await worker.post(RUNS, {"foreign_id": "o-1", "object": {"price": 3}})

    assert reply.status == 409
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json == {
        "type": "urn:streamwf:error:RunInProgress",
        "title": "Run in progress",
        "status": 409,
        "detail": f"'o-1' has a run in progress: {run_id}. Wait for it or cancel it, then trigger.",
        "foreign_id": "o-1",
        "run_id": run_id,
    }


async def test_a_trigger_with_the_same_key_leads_to_the_same_run(worker: Worker) -> None:
    first = await worker.trigger("o-1", key="k")
    assert await worker.trigger("o-1", key="k") == first


async def test_a_trigger_says_where_and_when_to_start(worker: Worker) -> None:
    start_at = datetime.now(UTC) + timedelta(days=1)
    reply = await worker.post(
        RUNS,
        {
            "foreign_id": "o-1",
            "object": {"price": 3},
            "status": "PICKED",
            "start_at": start_at.isoformat(),
        },
    )
    run = RunView.model_validate(reply.json)
    assert (run.status, run.state, run.due_at) == ("PICKED", "INITIATED", start_at)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"object": {"price": 1}}, {"foreign_id"}),
        ({"foreign_id": 7, "object": {"price": 1}}, {"foreign_id"}),
        ({"foreign_id": "o", "object": {"price": 1}, "priority": 1}, {"priority"}),
        ({"foreign_id": "o", "object": {"price": 1}, "start_at": "soon"}, {"start_at"}),
        ({"foreign_id": "o", "object": {"price": 1}, "start_at": "2030-01-01T00:00"}, {"start_at"}),
        ({"foreign_id": "o", "object": {"price": 1}, "start_at": 1_893_456_000}, {"start_at"}),
        ({"key": 1, "status": 2, "foreign_id": "o"}, {"key", "status"}),
        ({"foreign_id": "o", "object": {"price": "cheap"}}, {"price"}),
        ({"foreign_id": "o", "object": {"note": 1}}, {"price", "note"}),
        ({"foreign_id": "o"}, {"object"}),
        ([1], {"body"}),
    ],
)
@pytest.mark.parametrize("wait", ["true", "false"])
async def test_a_trigger_names_the_fields_that_are_wrong(
    worker: Worker, body, wrong: set[str], wait: str
) -> None:
    reply = await worker.post(f"{RUNS}?wait={wait}", body)

    assert reply.status == 422
    assert errors(reply).keys() == wrong
    assert all(errors(reply).values())
    assert worker.host.logs["orders"].records == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"foreign_id": "o", "object": {"price": 1}, "status": "GONE"}, "UnknownStatus"),
        ({"foreign_id": "o", "object": {"price": 1}, "status": "SHIPPED"}, "TerminalStart"),
        ({"foreign_id": "o" * 501, "object": {"price": 1}}, "InvalidForeignId"),
        ({"foreign_id": "", "object": {"price": 1}}, "InvalidForeignId"),
        ({"foreign_id": "a\nb", "object": {"price": 1}}, "InvalidForeignId"),
    ],
)
async def test_a_trigger_that_no_run_can_come_of(worker: Worker, body, error: str) -> None:
    reply = await worker.post(RUNS, body)
    assert (reply.status, reply.json["type"]) == (422, f"urn:streamwf:error:{error}")


async def test_an_object_that_is_too_large(worker: Worker) -> None:
    body = {"foreign_id": "o", "object": {"price": 1, "note": "x" * 20_000}}
    reply = await worker.post(RUNS, body)
    assert (reply.status, reply.json["limit"]) == (413, 10_000)
    assert reply.json["type"] == "urn:streamwf:error:RecordTooLarge"


async def test_triggering_what_does_not_exist(worker: Worker) -> None:
    reply = await worker.post("/api/v1/workflows/nope/runs", {"foreign_id": "o"})
    assert reply.status == 404
    assert reply.json["known"] == "orders, refunds"


# ---- one run


async def test_get_and_history(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    worker.gate.set()
    await worker.reached(run_id, "SHIPPED")

    run = (await worker.get(f"/api/v1/runs/{run_id}")).json
    assert (run["status"], run["state"], run["version"]) == ("SHIPPED", "COMPLETED", 3)

    history = (await worker.get(f"/api/v1/runs/{run_id}/history")).json
    assert (history["run_id"], history["truncated"]) == (run_id, False)
    assert [(e["type"], e["version"], e["status"]) for e in history["events"]] == [
        ("trigger", 1, "CREATED"),
        ("moved", 2, "PICKED"),
        ("moved", 3, "SHIPPED"),
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/history"),
        ("GET", "/await"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/cancel"),
    ],
)
async def test_a_run_that_does_not_exist(worker: Worker, method: str, path: str) -> None:
    reply = await worker.ask(method, f"/api/v1/runs/nope{path}")
    assert (reply.status, reply.json["run_id"]) == (404, "nope")
    assert reply.json["type"] == "urn:streamwf:error:RunNotFound"


# ---- waiting


async def test_await_answers_as_soon_as_the_run_is_there(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    await worker.reached(run_id, "PICKED")
    waiting = asyncio.create_task(worker.get(f"/api/v1/runs/{run_id}/await?timeout=30"))
    await eventually(lambda: worker.shard.waiting._watchers)
    assert not waiting.done()

    worker.gate.set()

    reply = await waiting
    assert (reply.status, reply.json["state"]) == (200, "COMPLETED")


async def test_await_of_a_status_that_was_passed(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    worker.gate.set()
    await worker.reached(run_id, "SHIPPED")
    assert (await worker.get(f"/api/v1/runs/{run_id}/await?status=PICKED")).status == 200


async def test_await_that_takes_too_long(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    reply = await worker.get(f"/api/v1/runs/{run_id}/await?timeout=0.01")
    assert (reply.status, reply.json["seconds"]) == (504, 0.01)
    assert reply.json["type"] == "urn:streamwf:error:DeadlineExceeded"


async def test_await_that_can_not_come_true(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    await worker.reached(run_id, "PICKED")
    await worker.post(f"/api/v1/runs/{run_id}/cancel", {"reason": "no stock"})

    reply = await worker.get(f"/api/v1/runs/{run_id}/await?status=SHIPPED")

    assert reply.status == 409
    told = reply.json
    assert (told["state"], told["error_status"]) == ("CANCELLED", "PICKED")
    assert (told["wanted"], told["reason"]) == ("SHIPPED", "no stock")


async def test_await_of_a_status_that_does_not_exist(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    reply = await worker.get(f"/api/v1/runs/{run_id}/await?status=GONE")
    assert (reply.status, reply.json["type"]) == (422, "urn:streamwf:error:UnknownStatus")


@pytest.mark.parametrize("timeout", ["nan", "inf", "-1", "soon", "", "1e400"])
async def test_await_with_a_timeout_that_is_none(worker: Worker, timeout: str) -> None:
    reply = await worker.get(f"/api/v1/runs/x/await?timeout={timeout}")
    assert (reply.status, errors(reply).keys()) == (422, {"timeout"})


async def test_await_is_capped(worker: Worker, monkeypatch) -> None:
    monkeypatch.setattr("streamwf.adapters.web.handlers.LONGEST_AWAIT", 0.02)
    run_id = await worker.trigger("o-1")
    reply = await worker.get(f"/api/v1/runs/{run_id}/await?timeout=3600")
    assert (reply.status, reply.json["seconds"]) == (504, 0.02)


async def test_a_stop_does_not_wait_for_those_who_wait(worker: Worker, monkeypatch) -> None:
    monkeypatch.setattr("streamwf.adapters.web.handlers.LONGEST_AWAIT", 600.0)
    run_id = await worker.trigger("o-1")
    waiting = asyncio.create_task(worker.get(f"/api/v1/runs/{run_id}/await?timeout=600"))
    await eventually(lambda: worker.shard.waiting._watchers)

    async with asyncio.timeout(60):
        await worker.server.stop()

    reply = await waiting
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")


# ---- steering


async def test_pause_resume_and_cancel(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    await worker.reached(run_id, "PICKED")

    paused = await worker.post(f"/api/v1/runs/{run_id}/pause", {"reason": "stocktaking"})
    assert (paused.status, paused.json["state"]) == (200, "PAUSED")
    assert paused.json["reason"] == "stocktaking"

    resumed = await worker.post(f"/api/v1/runs/{run_id}/resume")
    assert (resumed.status, resumed.json["state"]) == (200, "RUNNING")

    cancelled = await worker.post(f"/api/v1/runs/{run_id}/cancel", {})
    assert (cancelled.status, cancelled.json["state"]) == (200, "CANCELLED")


async def test_what_the_state_forbids(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    reply = await worker.post(f"/api/v1/runs/{run_id}/resume")
    assert reply.status == 409
    assert reply.json["type"] == "urn:streamwf:error:TransitionRefused"
    assert reply.json["state"] in ("INITIATED", "RUNNING")
    assert reply.json["run_id"] == run_id


async def test_steering_with_the_same_key_counts_once(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    for _ in range(2):
        reply = await worker.post(f"/api/v1/runs/{run_id}/pause", {"key": "k"})
        assert (reply.status, reply.json["state"]) == (200, "PAUSED")
    assert (await worker.post(f"/api/v1/runs/{run_id}/pause", {"key": "other"})).status == 409


@pytest.mark.parametrize("body", [{"reason": 1}, {"why": "no"}, [], "x"])
async def test_steering_is_strict(worker: Worker, body) -> None:
    run_id = await worker.trigger("o-1")
    assert (await worker.post(f"/api/v1/runs/{run_id}/pause", body)).status == 422


async def test_a_reason_that_is_too_long(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    reply = await worker.post(f"/api/v1/runs/{run_id}/pause", {"reason": "x" * 20_000})
    assert (reply.status, reply.json["type"]) == (413, "urn:streamwf:error:RecordTooLarge")


# ---- lists


async def test_pages_have_every_run_once(worker: Worker) -> None:
    ids = [await worker.trigger(f"o-{number}") for number in range(7)]

    found, cursor = [], ""
    while cursor is not None:
        page = (await worker.get(f"/api/v1/runs?limit=3&cursor={cursor}")).json
        assert page["missing"] == []
        found += [run["run_id"] for run in page["runs"]]
        cursor = page["cursor"]

    assert found == ids


async def test_filters(worker: Worker) -> None:
    held = await worker.trigger("o-1")
    cancelled = await worker.trigger("o-2")
    await worker.reached(held, "PICKED")
    await worker.post(f"/api/v1/runs/{cancelled}/cancel")
    later = await worker.trigger("o-3", start_at="2099-01-01T00:00:00Z")

    async def find(query: str) -> list[str]:
        reply = await worker.get(f"/api/v1/runs?{query}")
        assert reply.status == 200, reply.json
        return [run["run_id"] for run in reply.json["runs"]]

    assert await find("workflow=orders") == [held, cancelled, later]
    assert await find("workflow=refunds") == []
    assert await find("state=RUNNING") == [held]
    assert await find("state=RUNNING&state=CANCELLED") == [held, cancelled]
    assert await find("status=CREATED&state=INITIATED") == [later]
    assert await find("status=PICKED&status=CREATED&state=RUNNING") == [held]
    assert await find("foreign_id=o-2") == [cancelled]
    assert await find("workflow=orders&foreign_id=o-2") == [cancelled]
    assert await find("foreign_id=o") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("state=SLEEPING", "state.0"),
        ("cursor=rubbish", "cursor"),
        ("cursor=%FF%00", "cursor"),
        ("cursor=WzEsMiwzXQ", "cursor"),
        ("order=up", "order"),
        ("workflow=orders&workflow=refunds", "workflow"),
    ],
)
async def test_a_query_that_can_not_be_read(worker: Worker, query: str, field: str) -> None:
    reply = await worker.get(f"/api/v1/runs?{query}")
    assert (reply.status, errors(reply).keys()) == (422, {field})


async def test_a_list_of_a_workflow_that_does_not_exist(worker: Worker) -> None:
    for query in ("workflow=nope", "workflow=nope&foreign_id=x"):
        reply = await worker.get(f"/api/v1/runs?{query}")
        assert (reply.status, reply.json["workflow"]) == (404, "nope")


# ---- workflows


async def test_workflows(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    await worker.reached(run_id, "PICKED")
    await worker.trigger("o-2", start_at="2099-01-01T00:00:00Z")

    orders = (await worker.get("/api/v1/workflows/orders")).json
    assert orders["counts"] == {"CREATED": {"INITIATED": 1}, "PICKED": {"RUNNING": 1}}
    assert (orders["start"], orders["terminal"]) == ("CREATED", ["SHIPPED", "LOST"])
    assert orders["mermaid"].startswith("stateDiagram-v2")
    assert orders["missing"] == []

    every = (await worker.get("/api/v1/workflows")).json
    assert [view["name"] for view in every["workflows"]] == ["orders", "refunds"]
    assert every["workflows"][0] == orders


async def test_a_workflow_that_does_not_exist(worker: Worker) -> None:
    reply = await worker.get("/api/v1/workflows/nope")
    assert (reply.status, reply.json["type"]) == (404, "urn:streamwf:error:WorkflowNotFound")
