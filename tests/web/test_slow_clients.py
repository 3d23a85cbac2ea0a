"""Clients that send or read too little, or too much: they are cut off, and the worker goes on."""

import asyncio
import json
import resource
import socket

import pytest

from streamwf.adapters.web import connection, reading
from tests.web.harness import Worker

RUNS = b"/api/v1/workflows/orders/runs"
SOON = 0.5


async def opened(worker: Worker) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", worker.server.port)


async def trickle(writer: asyncio.StreamWriter, parts: bytes) -> None:
    """So many bytes, for as long as they are taken."""
    try:
        while True:
            writer.write(parts)
            await writer.drain()
            await asyncio.sleep(0.01)
    except ConnectionError:
        pass


async def cut_off(reader: asyncio.StreamReader) -> bytes:
    """What is answered until the connection ends; it has to."""
    told = b""
    async with asyncio.timeout(60):
        try:
            while part := await reader.read(65_536):
                told += part
        except ConnectionError:
            pass
    return told


@pytest.mark.parametrize(
    ("head", "more"),
    [(b"", b""), (b"GET ", b"/"), (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ", b"x")],
    ids=["nothing", "a path", "a header"],
)
async def test_a_head_that_never_ends(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, head: bytes, more: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_TIME", SOON)
    reader, writer = await opened(worker)
    writer.write(head)
    task = asyncio.create_task(trickle(writer, more))
    await cut_off(reader)
    task.cancel()
    writer.close()
    assert (await worker.get("/healthz")).status == 200


async def test_who_waits_for_an_answer_is_not_cut_off(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_TIME", SOON)
    monkeypatch.setattr(connection, "READ_TIME", SOON)
    run_id = await worker.trigger("o-1")
    reply = await worker.get(f"/api/v1/runs/{run_id}/await?timeout={5 * SOON}")
    assert reply.status == 504


async def test_a_body_that_never_ends(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_TIME", SOON)
    reader, writer = await opened(worker)
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % RUNS
    writer.write(head + b"Content-Length: 5000\r\n\r\n{")
    task = asyncio.create_task(trickle(writer, b" "))
    told = await cut_off(reader)
    task.cancel()
    writer.close()
    assert told.startswith(b"HTTP/1.1 408"), told
    assert b"application/problem+json" in told
    assert (await worker.get("/healthz")).status == 200


async def test_an_answer_that_nobody_reads(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_TIME", SOON)
    for number in range(40):
        await worker.trigger(f"o-{number}", object={"price": 1, "note": "x" * 8_000})
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", worker.server.port))
    asked = b"GET /api/v1/runs?limit=40 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    # More than the machine itself keeps for a client.
    with client:
        try:
            for _ in range(200):
                await loop.sock_sendall(client, asked)
            async with asyncio.timeout(60):
                while True:
                    await loop.sock_sendall(client, asked)
                    await asyncio.sleep(0.02)
        except ConnectionError:
            pass
    assert (await worker.get("/healthz")).status == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_a_hundred_megabytes(worker: Worker, chunked: bool) -> None:
    part, size = b" " * 1_000_000, 100_000_000
    reader, writer = await opened(worker)
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % RUNS
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def send() -> None:
        try:
            writer.write(head + length + b"\r\n\r\n")
            for _ in range(size // len(part)):
                writer.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
                await writer.drain()
        except ConnectionError:
            pass

    task = asyncio.create_task(send())
    async with asyncio.timeout(60):
        told = await reader.readuntil(b"}")
    task.cancel()
    writer.close()
    assert told.startswith(b"HTTP/1.1 413"), told
    assert json.loads(told.partition(b"\r\n\r\n")[2])["type"].endswith("RecordTooLarge")
    # Kilobytes; the body itself would be a hundred thousand.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert (await worker.get("/healthz")).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: x\r\n" * 10_000 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
        b"\x16\x03\x01 this is TLS\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n" % RUNS,
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"
        % RUNS,
    ],
    ids=["header", "path", "headers", "zero", "tls", "version", "length", "lengths"],
)
async def test_what_is_no_request(
    worker: Worker, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await opened(worker)
    writer.write(request_)
    told = await cut_off(reader)
    writer.close()
    assert told.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400")), told
    assert b"application/problem+json" in told
    assert not caplog.records
    assert (await worker.get("/healthz")).status == 200
