"""Requests that nobody well-meaning sends: each gets an answer of its own, and none a 500."""

import asyncio
import gzip
import json

import pytest

from tests.web.harness import LIMIT, Worker, running

RUNS = "/api/v1/workflows/orders/runs"


async def raw(worker: Worker, request: bytes) -> bytes:
    """What the server says to these bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


def get(target: bytes, *headers: bytes) -> bytes:
    lines = [b"GET " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize(
    "run_id",
    ["%00", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%ff%fe", "a%0d%0ab", "%F0%9F%98%80", "x" * 4000],
)
@pytest.mark.parametrize("path", ["", "/history", "/await"])
async def test_run_ids(worker: Worker, run_id: str, path: str) -> None:
    answer = await raw(worker, get(f"/api/v1/runs/{run_id}{path}".encode()))
    assert answer.startswith(b"HTTP/1.1 404"), answer
    assert b"RunNotFound" in answer


@pytest.mark.parametrize(
    "target",
    [
        b"/api/v1/runs/../../healthz",
        b"//api/v1/runs",
        b"/api/v1/runs/",
        b"/api/v1/runs//history",
        b"/api/v1/workflows/%2e%2e/runs",
        b"http://elsewhere.example/api/v1/runs/x",
        b"/api/v1/runs/\xff\xfe",
        b"/api/v1/runs/x/restart",
    ],
)
async def test_paths(worker: Worker, target: bytes) -> None:
    answer = await raw(worker, get(target))
    assert answer.split(b" ", 2)[1] in (b"400", b"404", b"405"), answer


@pytest.mark.parametrize(
    "query",
    [
        b"foreign_id=%00",
        b"foreign_id=%ff",
        b"foreign_id=\xff",
        b"workflow=orders&foreign_id=%ed%a0%80",
        b"workflow=%00",
        b"cursor=" + b"A" * 6000,
        b"cursor=WyJhIiwiXHVkODAwIiwiYyJd",
        b"limit=99999999999999999999999",
        b"limit=1e1",
        b"status=" + b"&status=".join([b"X"] * 500),
        b"%00=%00",
        b"prefix=%00",
        b"prefix=%ff",
        b"prefix=%ed%a0%80",
        b"search.%ff=%ff",
        b"search.customer=%ed%a0%80",
        b"search.customer=%00",
        b"search." + b"x" * 3000 + b"=1",
        b"&".join(b"search.%d=1" % number for number in range(500)),
        b"created_after=9999-12-31T23:59:59-23:00",
        b"created_after=0001-01-01T00:00:00%2B23:00",
        b"updated_before=1e400",
        b"updated_before=99999999999999999999",
        b"order=created&cursor=WyJjcmVhdGVkIiwidyIsImYiLCJyIiwiOTk5OS0xMi0zMVQyMzo1OTo1OS0yMzowMCJd",
        b"order=%00",
    ],
)
async def test_queries(worker: Worker, query: bytes) -> None:
    answer = await raw(worker, get(b"/api/v1/runs?" + query))
    assert answer.split(b" ", 2)[1] in (b"200", b"400", b"404", b"422"), answer


async def test_a_cursor_of_another_list_is_no_way_around_a_filter(worker: Worker) -> None:
    await worker.trigger("o-1")
    await worker.trigger("o-2")
    cursor = (await worker.get("/api/v1/runs?limit=1")).json["cursor"]
    page = (await worker.get(f"/api/v1/runs?state=COMPLETED&cursor={cursor}")).json
    assert page["runs"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"foreign_id": "\\ud800", "object": {"price": 1}}', 400),
        (b"[" * 5000, 400),
        (b'{"foreign_id": "o", "object": {"price": ' + b"9" * 5000 + b"}}", 400),
        (b'{"foreign_id": "o", "object": {"price": NaN}}', 422),
        (b'{"foreign_id": "o\\u0000", "object": {"price": 1}}', 422),
        (b"null", 422),
    ],
)
async def test_bodies(worker: Worker, body: bytes, status: int) -> None:
    reply = await worker.post(RUNS, data=body, headers={"Content-Type": "application/json"})
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert worker.host.logs["orders"].records == []


async def test_what_no_run_can_hold_does_not_spoil_the_list(worker: Worker) -> None:
    """The objects of `refunds` may be anything."""
    for number, data in enumerate(
        [b"NaN", b"1e999", b"-0", b"9" * 400, b"[" * 150 + b"]" * 150, b'"\\u0000"']
    ):
        body = b'{"foreign_id": "%d", "object": {"a": %s}}' % (number, data)
        reply = await worker.post(
            "/api/v1/workflows/refunds/runs",
            data=body,
            headers={"Content-Type": "application/json"},
        )
        assert reply.status in (201, 422), (data, reply.body)
    assert (await worker.get("/api/v1/runs")).status == 200


@pytest.mark.parametrize(
    "start_at",
    ["9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00", "1969-12-31T23:59:59Z"],
)
async def test_instants_at_the_ends_of_time(worker: Worker, start_at: str) -> None:
    run_id = await worker.trigger("o-1", start_at=start_at)
    assert (await worker.get(f"/api/v1/runs/{run_id}")).status == 200
    assert (await worker.get("/api/v1/runs")).status == 200
    await worker.trigger("o-2")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x"]
)
async def test_a_form_of_another_site_starts_nothing(worker: Worker, content_type: str) -> None:
    body = b'{"foreign_id": "o-1", "object": {"price": 1}}'
    run_id = await worker.trigger("o-2")
    for path in (RUNS, RUNS + "?wait=false", f"/api/v1/runs/{run_id}/cancel"):
        reply = await worker.post(path, data=body, headers={"Content-Type": content_type})
        assert reply.status == 415
        assert reply.headers["Content-Type"] == "application/problem+json"
    assert (await worker.get("/api/v1/runs?foreign_id=o-1")).json["runs"] == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_huge(worker: Worker, chunked: bool) -> None:
    async def chunks():
        for _ in range(40):
            yield b" " * LIMIT

    body = chunks() if chunked else b" " * LIMIT * 40
    reply = await worker.post(RUNS, data=body, headers={"Content-Type": "application/json"})
    assert (reply.status, reply.json["limit"]) == (413, LIMIT)


async def test_a_body_that_swells(worker: Worker) -> None:
    body = gzip.compress(b" " * LIMIT * 1000)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    reply = await worker.post(RUNS, data=body, headers=headers)
    assert reply.status == 413


async def test_a_body_that_is_not_as_it_says(worker: Worker) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    reply = await worker.post(RUNS, data=b'{"foreign_id": "o"}', headers=headers)
    assert reply.status == 400


@pytest.mark.parametrize("wait", ["maybe", "", "True", "1"])
async def test_wait_is_true_or_false(worker: Worker, wait: str) -> None:
    reply = await worker.post(f"{RUNS}?wait={wait}", {"foreign_id": "o", "object": {"price": 1}})
    assert reply.status == 422


async def test_headers(worker: Worker) -> None:
    for headers in (
        [b"Accept: application/openmetrics-text;version=x\x0b"],
        [b"Accept: " + b"," * 5000],
        [b"X-Streamwf-Local: \xff"],
        [b"Content-Type: \xff"],
    ):
        answer = await raw(worker, get(b"/metrics", *headers))
        assert answer.split(b" ", 2)[1] in (b"200", b"400"), answer


async def test_run_ids_of_other_programs() -> None:
    """A trigger in short form may name its run anything."""
    async with running() as worker:
        for number, run_id in enumerate(["a/b", "a b", "%2F", "ü", "?x=1", "..", "#", "a\nb"]):
            event = {
                "type": "trigger",
                "subject": f"o-{number}",
                "runid": run_id,
                "data": {"price": 1},
            }
            worker.host.logs["orders"].append(None, json.dumps(event).encode(), 0)
        async with asyncio.timeout(30):
            while len((await worker.get("/api/v1/runs")).json["runs"]) < 8:
                await asyncio.sleep(0)

        client = worker.client()
        async with client:
            for run_id in ["a/b", "a b", "%2F", "ü", "?x=1", "#", "a\nb"]:
                view = await client.get(worker.workflow, run_id)
                assert view.run_id == run_id
