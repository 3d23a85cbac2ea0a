"""Versions of runs in headers: which one is shown, and which one a request is for."""

import asyncio

import pytest

from streamwf.errors import VersionDiffers
from tests.web.calling import answers, waiting
from tests.web.harness import Pair, Reply, Worker, two_workers

ORDERS = "/api/v1/workflows/orders"


def told(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json.get("type", "").rpartition(":")[2]


async def picked(worker: Worker, foreign_id: str) -> str:
    run_id = await worker.trigger(foreign_id)
    await worker.reached(run_id, "PICKED")
    return run_id


@pytest.mark.parametrize("foreign_id", ["a-1", "b-1"])
async def test_every_view_of_a_run_tells_its_version(pair: Pair, foreign_id: str) -> None:
    run_id = await picked(pair.a, foreign_id)
    for path in (
        f"/api/v1/runs/{run_id}",
        f"/api/v1/runs/{run_id}/history",
        f"/api/v1/runs/{run_id}/await?status=PICKED",
        f"{ORDERS}/latest/{foreign_id}",
        f"{ORDERS}/latest/{foreign_id}/await?status=PICKED",
    ):
        reply = await pair.a.get(path)
        version = (await pair.a.get(f"/api/v1/runs/{run_id}")).json["version"]
        assert reply.headers["ETag"].startswith(f'"{version}.'), path
    reply = await pair.a.post(f"/api/v1/runs/{run_id}/pause")
    assert reply.headers["ETag"].startswith(f'"{reply.json["version"]}.')


@pytest.mark.parametrize("foreign_id", ["a-1", "b-1"])
async def test_what_is_known_is_not_sent_again(pair: Pair, foreign_id: str) -> None:
    run_id = await picked(pair.a, foreign_id)
    for path in (f"/api/v1/runs/{run_id}", f"{ORDERS}/latest/{foreign_id}"):
        tag = (await pair.a.get(path)).headers["ETag"]
        for known in (tag, f'"x", W/{tag}', "*"):
            reply = await pair.a.get(path, headers={"If-None-Match": known})
            assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", tag)
        reply = await pair.a.get(path, headers={"If-None-Match": '"1"'})
        assert reply.status == 200
    await pair.a.post(f"/api/v1/runs/{run_id}/pause")
    for path in (f"/api/v1/runs/{run_id}", f"{ORDERS}/latest/{foreign_id}"):
        assert (await pair.a.get(path, headers={"If-None-Match": tag})).status == 200


@pytest.mark.parametrize("foreign_id", ["a-1", "b-1"])
async def test_steering_as_of_a_version(pair: Pair, foreign_id: str) -> None:
    run_id = await picked(pair.a, foreign_id)
    tag = (await pair.a.get(f"/api/v1/runs/{run_id}")).headers["ETag"]
    paths = (f"/api/v1/runs/{run_id}", f"{ORDERS}/latest/{foreign_id}")
    for action, path in zip(("pause", "resume"), paths, strict=True):
        reply = await pair.a.post(f"{path}/{action}", headers={"If-Match": tag})
        assert reply.status == 200, reply.body
        stale = await pair.a.post(f"{path}/cancel", headers={"If-Match": tag})
        assert told(stale) == (412, "VersionDiffers")
        assert stale.json["version"] == reply.json["version"]
        tag = reply.headers["ETag"]
    for written in ('"{version}"', "{version}", "W/{tag}", "*"):
        version = tag.partition(".")[0].strip('"')
        named = written.format(version=version, tag=tag)
        reply = await pair.a.post(f"{paths[0]}/pause", headers={"If-Match": named})
        assert reply.status == 200, reply.body
        tag = (await pair.a.post(f"{paths[0]}/resume")).headers["ETag"]


async def test_of_two_who_saw_the_same_one_steers(pair: Pair) -> None:
    run_id = await picked(pair.a, "b-1")
    tag = (await pair.a.get(f"/api/v1/runs/{run_id}")).headers["ETag"]
    replies = await asyncio.gather(
        *(
            worker.post(f"/api/v1/runs/{run_id}/{action}", headers={"If-Match": tag})
            for worker, action in ((pair.a, "pause"), (pair.b, "cancel"))
        )
    )
    assert sorted(reply.status for reply in replies) == [200, 412]


async def test_the_latest_may_be_another_run_by_now(worker: Worker) -> None:
    first = await picked(worker, "o-1")
    tag = (await worker.get(f"{ORDERS}/latest/o-1")).headers["ETag"]
    await worker.post(f"/api/v1/runs/{first}/cancel")
    second = await picked(worker, "o-1")
    reply = await worker.post(f"{ORDERS}/latest/o-1/pause", headers={"If-Match": tag})
    assert told(reply) == (412, "VersionDiffers")
    assert (await worker.get(f"/api/v1/runs/{second}")).json["state"] == "RUNNING"


async def test_a_fork_and_a_callback_as_of_a_version() -> None:
    async with two_workers(declare=answers) as pair:
        run_id = await waiting(pair.b, "b-1", "by ann")
        tag = (await pair.a.get(f"/api/v1/runs/{run_id}")).headers["ETag"]
        call = {"name": "b-decide", "payload": {"price": 7}}
        fork = {"version": 2, "foreign_id": "b-2"}
        for stale in ('"1"', '"99"', '"0"'):
            for path, body in (
                (f"{ORDERS}/callbacks", {**call, "run_id": run_id}),
                (f"/api/v1/runs/{run_id}/fork", fork),
            ):
                reply = await pair.a.post(path, body, headers={"If-Match": stale})
                assert told(reply) == (412, "VersionDiffers"), path
        for way in ({"foreign_id": "b-1"}, {"correlation": "by ann"}):
            reply = await pair.a.post(
                f"{ORDERS}/callbacks", {**call, **way}, headers={"If-Match": tag}
            )
            assert told(reply) == (422, "InvalidQuery")
        reply = await pair.a.post(f"/api/v1/runs/{run_id}/fork", fork, headers={"If-Match": tag})
        assert reply.status == 200, reply.body
        reply = await pair.a.post(
            f"{ORDERS}/callbacks", {**call, "run_id": run_id}, headers={"If-Match": tag}
        )
        assert (reply.status, reply.json["outcome"]) == (200, "moved")


@pytest.mark.parametrize("tag", ['"x"', "", '"1", "2"', '"-1"', "7.1.2", "9" * 40])
async def test_what_is_no_version(worker: Worker, tag: str) -> None:
    run_id = await picked(worker, "o-1")
    reply = await worker.post(f"/api/v1/runs/{run_id}/pause", headers={"If-Match": tag})
    assert (reply.status, reply.json["field"]) == (422, "If-Match")
    assert (await worker.get(f"/api/v1/runs/{run_id}")).json["state"] == "RUNNING"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/runs/bulk", {"action": "pause", "query": {}}),
        (f"{ORDERS}/runs", {"foreign_id": "o-2", "object": {"price": 1}}),
        (f"{ORDERS}/schedules/s/pause", {}),
    ],
)
async def test_a_version_where_there_is_none(worker: Worker, path: str, body: dict) -> None:
    run_id = await picked(worker, "o-1")
    reply = await worker.post(path, body, headers={"If-Match": '"3"'})
    assert (reply.status, reply.json["field"]) == (422, "If-Match")
    assert (await worker.get(f"/api/v1/runs/{run_id}")).json["state"] == "RUNNING"
    assert len((await worker.get("/api/v1/runs")).json["runs"]) == 1


async def test_the_client_steers_as_of_a_version(worker: Worker) -> None:
    run_id = await picked(worker, "o-1")
    async with worker.client() as client:
        version = (await client.get(worker.workflow, run_id)).version
        with pytest.raises(VersionDiffers) as stale:
            await client.pause(run_id, if_version=version - 1)
        assert (stale.value.version, stale.value.expected) == (version, version - 1)
        assert (await client.pause(run_id, if_version=version)).version == version + 1


async def test_the_latest_run_of_a_foreign_id_is_steered_as_of_a_version(worker: Worker) -> None:
    await picked(worker, "o-1")
    async with worker.client() as client:
        handle = client.run(worker.workflow, "o-1")
        for steer in (handle.pause, handle.retry, handle.cancel, handle.delete_data):
            version = (await handle.get()).version
            with pytest.raises(VersionDiffers):
                await steer(if_version=version - 1)
            assert (await steer("as it was seen", if_version=version)).version > version


# ---- keys


@pytest.mark.parametrize("foreign_id", ["a-1", "b-1"])
async def test_a_key_in_the_header(pair: Pair, foreign_id: str) -> None:
    body = {"foreign_id": foreign_id, "object": {"price": 1}}
    first, again = [
        await pair.a.post(f"{ORDERS}/runs", body, headers={"Idempotency-Key": key})
        for key in ("k", '"k"')
    ]
    assert (first.status, again.status) == (201, 201)
    run_id = first.json["run_id"]
    assert again.json["run_id"] == run_id
    in_body = await pair.b.post(f"{ORDERS}/runs", {**body, "key": "k"})
    assert in_body.json["run_id"] == run_id
    other = await pair.a.post(
        f"{ORDERS}/runs", {**body, "object": {"price": 2}}, headers={"Idempotency-Key": "k"}
    )
    assert told(other) == (422, "KeyReused")
    assert other.json["key"] == "k"

    pause = f"/api/v1/runs/{run_id}/pause"
    for reason, status in (("x", 200), ("x", 200), ("y", 422)):
        reply = await pair.a.post(pause, {"reason": reason}, headers={"Idempotency-Key": "k"})
        assert reply.status == status, reply.body
    assert (await pair.a.post(pause, headers={"Idempotency-Key": "l"})).status == 409


@pytest.mark.parametrize("key", ["", "x" * 501, '""'])
async def test_what_is_no_key(worker: Worker, key: str) -> None:
    body = {"foreign_id": "o-1", "object": {"price": 1}}
    reply = await worker.post(f"{ORDERS}/runs", body, headers={"Idempotency-Key": key})
    assert (reply.status, reply.json["field"]) == (422, "Idempotency-Key")


async def test_two_keys(worker: Worker) -> None:
    body = {"foreign_id": "o-1", "object": {"price": 1}, "key": "k"}
    reply = await worker.post(f"{ORDERS}/runs", body, headers={"Idempotency-Key": "l"})
    assert (reply.status, reply.json["field"]) == (422, "Idempotency-Key")
    assert (await worker.get("/api/v1/runs")).json["runs"] == []
