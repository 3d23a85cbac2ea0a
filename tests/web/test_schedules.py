"""Schedules over HTTP, by the worker that owns them or another one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from streamwf import Client, State
from streamwf.errors import (
    InvalidCron,
    NotReady,
    ScheduleNotFound,
    ScheduleRefused,
)
from streamwf.events import TRIGGER, Event
from streamwf.schedule_views import ScheduleRequest
from streamwf.views import Filter
from tests.support import eventually
from tests.web.harness import Order, Pair, Status, Worker, nowhere

SCHEDULES = "/api/v1/workflows/orders/schedules"

HOURLY = {"cron": "@hourly", "object": {"price": 3}}


async def made(worker: Worker, name: str, **more: Any) -> dict[str, Any]:
    reply = await worker.ask("PUT", f"{SCHEDULES}/{name}", json=HOURLY | more)
    assert reply.status == 200, reply.body
    view: dict[str, Any] = reply.json
    return view


def triggered(worker: Worker) -> list[str]:
    """Of whom there are triggers in the log of a worker."""
    decode = msgspec.json.Decoder(Event).decode
    events = [decode(record.value or b"") for record in worker.host.logs["orders"].records]
    return [event.subject for event in events if event.type == TRIGGER]


async def test_a_schedule_is_made_and_told(worker: Worker) -> None:
    first = await made(worker, "a", timezone="Europe/Berlin", overlap="start", catch_up=7)

    async def runs() -> Any:
        view = (await worker.get(f"{SCHEDULES}/a")).json
        return view if view["state"] == "RUNNING" else None

    view = await eventually(runs)
    assert view["run_id"] == first["run_id"]
    assert view["next_slots"] == first["next_slots"]
    assert (await worker.get(SCHEDULES)).json == {"schedules": [view], "missing": []}
    assert (view["workflow"], view["name"]) == ("orders", "a")
    assert (view["cron"], view["timezone"]) == ("@hourly", "Europe/Berlin")
    assert (view["overlap"], view["catch_up"], view["declared"]) == ("start", 7, False)
    assert view["object"] == {"price": 3, "note": ""}
    assert (view["foreign_id"], view["status"]) == ("a", "CREATED")
    assert len(view["next_slots"]) == 5
    run = (await worker.get(f"/api/v1/runs/{view['run_id']}")).json
    assert run["foreign_id"] == "a"


async def test_asking_for_it_again_changes_it_and_is_harmless(worker: Worker) -> None:
    first = await made(worker, "a")
    assert (await made(worker, "a"))["run_id"] == first["run_id"]
    changed = await made(worker, "a", cron="@daily")
    assert (changed["run_id"], changed["cron"]) == (first["run_id"], "@daily")


async def test_it_is_paused_resumed_and_deleted(worker: Worker) -> None:
    await made(worker, "a")
    paused = await worker.post(f"{SCHEDULES}/a/pause", {"reason": "no paper"})
    assert (paused.json["state"], paused.json["reason"]) == ("PAUSED", "no paper")
    again = await worker.post(f"{SCHEDULES}/a/pause")
    assert (again.status, again.json["type"]) == (409, "urn:streamwf:error:ScheduleRefused")
    assert (await worker.post(f"{SCHEDULES}/a/resume")).json["state"] == "RUNNING"
    for _ in range(2):  # as it is when an answer was lost on its way
        deleted = await worker.post(f"{SCHEDULES}/a/delete", {"key": "k"})
        assert (deleted.status, deleted.json["state"]) == (200, "CANCELLED")
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/delete")):
        gone = await worker.ask(method, f"{SCHEDULES}/a{path}")
        assert (gone.status, gone.json["type"]) == (404, "urn:streamwf:error:ScheduleNotFound")


async def test_the_past_is_backfilled_once(worker: Worker) -> None:
    await made(worker, "a")
    asked = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-01T03:00:00Z", "limit": 2}
    first = await worker.post(f"{SCHEDULES}/a/backfill", asked)
    assert first.json == {
        "slots": ["2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z"],
        "left_out": 0,
        "cursor": "2020-01-01T02:00:00Z",
    }
    for _ in range(2):
        rest = await worker.post(f"{SCHEDULES}/a/backfill", asked | {"start": first.json["cursor"]})
        assert (rest.json["slots"], rest.json["cursor"]) == (["2020-01-01T02:00:00Z"], None)
    async with worker.client() as client:
        run = await client.latest(worker.workflow, "a@2020-01-01T02:00:00Z")
        assert run is not None
        assert await client.count() == 3


async def test_a_run_is_started_now_once_for_each_key(worker: Worker) -> None:
    before = await made(worker, "a", foreign_id="f")
    await worker.post(f"{SCHEDULES}/a/pause")
    for number in range(4):  # paused, and whatever else runs
        key = {"Idempotency-Key": f"k{number % 2}"}
        started = await worker.post(f"{SCHEDULES}/a/run", {"reason": "ask"}, headers=key)
        assert started.status == 200, started.body
        run = (await worker.reached(started.json["run_id"], "PICKED")).json
        assert (run["object"]["price"], run["foreign_id"][:6]) == (3, "f@run-")
    first = (await worker.get(f"/api/v1/runs/{run['run_id']}/history")).json["events"][0]
    assert first["reason"] == "schedule a, run now: ask"
    async with worker.client() as client:
        assert await client.count(Filter(workflow="orders")) == 2
    after = (await worker.get(f"{SCHEDULES}/a")).json
    assert (after["state"], after["last_slot"]) == ("PAUSED", None)
    assert after["next_slots"] == before["next_slots"]


async def test_without_a_key_each_request_is_another_run(worker: Worker) -> None:
    await made(worker, "a")
    first, second = [(await worker.post(f"{SCHEDULES}/a/run")).json for _ in range(2)]
    assert first["run_id"] != second["run_id"]


async def test_a_schedule_that_is_not_there_starts_nothing(worker: Worker) -> None:
    assert (await worker.post(f"{SCHEDULES}/a/run")).status == 404
    await made(worker, "a")
    await worker.post(f"{SCHEDULES}/a/delete")
    assert (await worker.post(f"{SCHEDULES}/a/run")).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "cron"),
        ({"cron": "@hourly", "every": 1}, "every"),
        ({"cron": "@hourly", "overlap": "queue"}, "overlap"),
        ({"cron": "@hourly", "catch_up": 0}, "catch_up"),
        ({"cron": "@hourly", "object": {}}, "price"),
        (HOURLY | {"catch_up": 2}, "catch_up"),
    ],
)
async def test_what_can_not_be_read_is_named(
    worker: Worker, body: dict[str, Any], field: str
) -> None:
    reply = await worker.ask("PUT", f"{SCHEDULES}/a", json=body)
    assert reply.status == 422
    assert any(field in error["field"] for error in reply.json["errors"])


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("a", HOURLY | {"cron": "0 25 * * *"}, "The hour of schedule '0 25 * * *' can't be used"),
        ("a", HOURLY | {"timezone": "Mars/Base"}, "'Mars/Base' is not in the IANA database"),
        ("a", HOURLY | {"status": "LOST"}, "nothing is left to do there"),
        ("a", HOURLY | {"foreign_id": ""}, "A foreign id has 1 to 500 characters"),
        ("a%20b", HOURLY, "a schedule's name has up to 100 letters"),
    ],
)
async def test_a_schedule_that_can_not_be_is_refused(
    worker: Worker, name: str, body: dict[str, Any], told: str
) -> None:
    reply = await worker.ask("PUT", f"{SCHEDULES}/{name}", json=body)
    assert reply.status == 422
    assert told in reply.json["detail"]
    assert (await worker.get(SCHEDULES)).json["schedules"] == []


async def test_a_backfill_that_can_not_be_is_refused(worker: Worker) -> None:
    await made(worker, "a")
    for wrong in (
        {"start": "2020-01-01T00:00:00", "end": "2020-01-02T00:00:00Z"},
        {"start": "2020-01-02T00:00:00Z", "end": "2020-01-01T00:00:00Z"},
        {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z", "limit": 5_000},
    ):
        assert (await worker.post(f"{SCHEDULES}/a/backfill", wrong)).status == 422


async def test_a_workflow_that_is_not_here_has_no_schedules(worker: Worker) -> None:
    for method, path in (("GET", ""), ("GET", "/a"), ("POST", "/a/pause")):
        reply = await worker.ask(method, f"/api/v1/workflows/none/schedules{path}")
        assert (reply.status, reply.json["type"]) == (404, "urn:streamwf:error:WorkflowNotFound")


# ---- several workers


async def test_each_schedule_is_at_its_owner_whoever_is_asked(pair: Pair) -> None:
    for name in ("a-1", "b-1"):
        await made(pair.a, name)
    assert triggered(pair.a) == ["a-1"]
    assert triggered(pair.b) == ["b-1"]
    for worker in (pair.a, pair.b):
        listed = (await worker.get(SCHEDULES)).json
        assert [view["name"] for view in listed["schedules"]] == ["a-1", "b-1"]
        assert listed["missing"] == []
        assert (await worker.get(f"{SCHEDULES}/b-1")).json["name"] == "b-1"
    assert (await pair.a.post(f"{SCHEDULES}/b-1/pause")).json["state"] == "PAUSED"
    asked = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-01T02:00:00Z"}
    filled = await pair.a.post(f"{SCHEDULES}/b-1/backfill", asked)
    assert len(filled.json["slots"]) == 2
    once = {"key": "k"}
    first, again = [await each.post(f"{SCHEDULES}/b-1/run", once) for each in (pair.a, pair.b)]
    assert first.json == again.json
    run = await pair.a.reached(first.json["run_id"], "PICKED")
    assert run.json["foreign_id"].startswith("b-1@run-")
    assert (await pair.b.post(f"{SCHEDULES}/a-1/delete")).json["state"] == "CANCELLED"
    assert (await pair.a.get(f"{SCHEDULES}/a-1")).status == 404


async def test_one_whose_shard_is_moving_is_told_once_as_it_is_now(pair: Pair) -> None:
    for worker, cron in ((pair.a, "@hourly"), (pair.b, "@daily")):
        asked = ScheduleRequest(cron=cron, object={"price": 1})
        await worker.operations.schedule("orders", "a-1", asked)
    for worker in (pair.a, pair.b):
        [view] = (await worker.get(SCHEDULES)).json["schedules"]
        assert view["cron"] == "@daily"


async def test_who_did_not_answer_is_told(pair: Pair) -> None:
    await made(pair.a, "a-1")
    pair.urls["b"] = await nowhere()
    listed = (await pair.a.get(SCHEDULES)).json
    assert ([view["name"] for view in listed["schedules"]], listed["missing"]) == (
        ["a-1"],
        [pair.urls["b"]],
    )
    assert (await pair.a.get(f"{SCHEDULES}/b-1")).status == 503


# ---- the client


async def test_the_client_speaks_of_schedules_over_http(worker: Worker) -> None:
    async with worker.client() as client:
        view = await client.schedule(
            worker.workflow, "a", "@hourly", object=Order(price=1), foreign_id="f", overlap="start"
        )
        assert (view.foreign_id, view.overlap) == ("f", "start")
        [listed] = await client.schedules(worker.workflow)
        assert listed.run_id == view.run_id
        assert (await client.get_schedule(worker.workflow, "a")).next_slots == view.next_slots
        paused = await client.pause_schedule(worker.workflow, "a", "later")
        assert (paused.state, paused.reason) == (State.PAUSED, "later")
        with pytest.raises(ScheduleRefused):
            await client.pause_schedule(worker.workflow, "a")
        assert (await client.resume_schedule(worker.workflow, "a")).state is State.RUNNING
        now = datetime.now(UTC)
        filled = await client.backfill(worker.workflow, "a", now - timedelta(hours=2), now)
        assert len(filled.slots) == 2
        run_id = await client.run_schedule(worker.workflow, "a", key="k")
        assert (await client.await_(worker.workflow, run_id, Status.PICKED)).object.price == 1
        assert await client.run_schedule(worker.workflow, "a", key="k") == run_id
        await client.delete_schedule(worker.workflow, "a")
        with pytest.raises(ScheduleNotFound):
            await client.get_schedule(worker.workflow, "a")
        with pytest.raises(InvalidCron):
            await client.schedule(worker.workflow, "a", "@never", object=Order(price=1))


async def test_the_client_raises_if_a_worker_is_missing(pair: Pair) -> None:
    pair.urls["b"] = await nowhere()
    async with Client.over_http(pair.a.url) as client:
        with pytest.raises(NotReady, match="a part of the schedules"):
            await client.schedules(pair.a.workflow)
