"""Who has asked for what is kept in the log, and told in the history and in a line."""

import logging
from typing import Any

import pytest

from streamwf.views import Trigger
from tests.web.calling import answers
from tests.web.harness import LIMIT, Worker, running
from tests.web.test_access import ACCESS, history, started, who

WORKFLOW = "/api/v1/workflows/orders"
ROOT = who("root")


def by(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who has asked for what, of a history."""
    return [(event["type"], event["by"]) for event in events if event["by"]]


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.message == "steered"]


async def waiting(worker: Worker) -> str:
    run_id = await started(worker, "o-1")
    path = f"/api/v1/runs/{run_id}/await?status=PICKED&timeout=30"
    assert (await worker.get(path, **ROOT)).status == 200
    return run_id


async def test_each_request_to_a_run_says_who_and_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(access=ACCESS, declare=answers) as worker:
        run_id = await waiting(worker)
        for action, name in (("pause", "operator"), ("resume", "guest"), ("retry", "admin")):
            path = f"/api/v1/runs/{run_id}/{action}"
            await worker.post(path, {"reason": f"{name} says so"}, **who(name))
        called = {"name": "b-decide", "run_id": run_id, "payload": {"price": 7}}
        reply = await worker.post(f"{WORKFLOW}/callbacks", called, **who("operator"))
        assert reply.status == 200, reply.body
        await worker.get(f"/api/v1/runs/{run_id}/await?timeout=30", **ROOT)
        assert (
            await worker.post(f"/api/v1/runs/{run_id}/delete-data", {}, **who("admin"))
        ).status == 200

        told = await history(worker, run_id)
        assert by(told) == [
            ("trigger", "root"),
            ("pause", "operator"),
            ("resume", "guest"),
            ("callback", "operator"),
            ("delete", "admin"),
        ]
        in_log = [record.value for record in worker.host.logs["orders"].records]
        assert any(
            b'"by":"guest"' in value and b"guest says so" in value for value in in_log if value
        )
        said = [(line["by"], line["action"], line["outcome"]) for line in lines(caplog)]
        assert said == [
            ("root", "trigger", "accepted"),
            ("operator", "pause", "accepted"),
            ("guest", "resume", "accepted"),
            ("admin", "retry", "state_forbids"),
            ("operator", "callback", "accepted"),
            ("admin", "delete", "accepted"),
        ]
        pause = lines(caplog)[1]
        assert (pause["workflow"], pause["run_id"], pause["foreign_id"], pause["reason"]) == (
            *("orders", run_id, "o-1"),
            "operator says so",
        )


async def test_what_starts_runs_says_who(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(access=ACCESS) as worker:
        content = {"foreign_id": "o-2", "object": {"price": 1}}
        reply = await worker.post(f"{WORKFLOW}/runs?wait=false", content, **who("operator"))
        assert (
            await worker.get(f"/api/v1/runs/{reply.json['run_id']}/await?status=PICKED", **ROOT)
        ).status == 200
        assert by(await history(worker, reply.json["run_id"])) == [("trigger", "operator")]
        forked = await worker.post(
            f"/api/v1/runs/{reply.json['run_id']}/fork",
            {"version": 1, "foreign_id": "o-3", "reason": "again"},
            **who("admin"),
        )
        assert by(await history(worker, forked.json["run_id"])) == [("trigger", "admin")]
        assert [(line["by"], line["reason"]) for line in lines(caplog)] == [
            ("operator", ""),
            ("admin", "again"),
        ]


async def test_schedules_say_who(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(access=ACCESS) as worker:
        path = f"{WORKFLOW}/schedules/nightly"
        asked = {"cron": "@daily", "object": {"price": 1}}
        made = (await worker.ask("PUT", path, json=asked, **who("admin"))).json
        await worker.ask("PUT", path, json=asked | {"cron": "@hourly"}, **who("admin"))
        await worker.post(f"{path}/pause", {"reason": "quiet"}, **who("operator"))
        past = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-01T00:30:00Z"}
        reply = await worker.post(f"{path}/backfill", past, **who("operator"))
        assert reply.json["left_out"] == 0, reply.json
        await worker.post(f"{path}/delete", {}, **who("admin"))
        assert by(await history(worker, made["run_id"])) == [
            ("trigger", "admin"),
            ("change", "admin"),
            ("pause", "operator"),
            ("cancel", "admin"),
        ]
        [run] = (await worker.get("/api/v1/runs", **ROOT)).json["runs"]
        assert by(await history(worker, run["run_id"])) == [("trigger", "operator")]
        assert [(line["by"], line["action"]) for line in lines(caplog)] == [
            ("admin", "trigger"),
            ("admin", "change"),
            ("operator", "pause"),
            ("operator", "trigger"),
            ("admin", "cancel"),
        ]


async def test_where_nobody_is_asked_it_is_anonymous(worker: Worker) -> None:
    run_id = await worker.trigger("o-1")
    assert by((await worker.get(f"/api/v1/runs/{run_id}/history")).json["events"]) == [
        ("trigger", "anonymous")
    ]


async def test_what_the_program_itself_asks_is_asked_by_nobody(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = await worker.operations.trigger("orders", Trigger(foreign_id="o-1", object={"price": 1}))
    assert by((await worker.get(f"/api/v1/runs/{run.run_id}/history")).json["events"]) == []
    assert lines(caplog) == []


async def test_nobody_hides_behind_a_reason_that_fills_the_record() -> None:
    async with running(access=ACCESS) as worker:
        run_id = await waiting(worker)
        path = f"/api/v1/runs/{run_id}/pause"
        sizes = range(LIMIT - 400, LIMIT)
        for size in reversed(sizes):
            reply = await worker.post(path, {"reason": "x" * size}, **who("operator"))
            if reply.status == 200:
                break
            assert reply.status == 413
        assert reply.status == 200
        assert (await history(worker, run_id))[-1]["by"] == "operator"
