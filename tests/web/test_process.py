"""Health, metrics and the server itself."""

import socket

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamwf.adapters.web import serve
from streamwf.errors import CannotListen
from tests.web.harness import Worker


async def test_a_worker_is_alive_before_it_is_ready(worker: Worker) -> None:
    worker.why.append("3 of 8 shards are being recovered")

    assert (await worker.get("/healthz")).status == 200
    reply = await worker.get("/readyz")
    assert (reply.status, reply.json["detail"]) == (503, "3 of 8 shards are being recovered")
    assert reply.headers["Retry-After"] == "1"
    assert reply.headers["Content-Type"] == "application/problem+json"

    worker.why.clear()
    assert (await worker.get("/readyz")).status == 200


async def test_metrics_are_served(worker: Worker) -> None:
    await worker.trigger("o-1", start_at="2099-01-01T00:00:00Z")
    reply = await worker.get("/metrics")

    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {
        family.name: family for family in text_string_to_metric_families(reply.body.decode())
    }
    assert [sample.labels for sample in families["streamwf_runs"].samples if sample.value] == [
        {"workflow": "orders", "status": "CREATED", "state": "INITIATED"}
    ]


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/api/v1/runs", "/nothing/here"])
async def test_every_answer_forbids_guessing_and_keeping(worker: Worker, path: str) -> None:
    reply = await worker.get(path)
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_port_that_is_taken(worker: Worker) -> None:
    with pytest.raises(CannotListen, match=r"Address already in use\.(?s:.*)--web-port") as raised:
        await serve(aiohttp.web.Application(), "127.0.0.1", worker.server.port)
    assert raised.value.port == worker.server.port


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70_000)])
async def test_an_address_that_can_not_be(host: str, port: int) -> None:
    with pytest.raises(CannotListen):
        await serve(aiohttp.web.Application(), host, port)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:{}"),
        ("0.0.0.0", "http://127.0.0.1:{}"),
        ("localhost", "http://localhost:{}"),
        ("::1", "http://[::1]:{}"),
        ("::", "http://[::1]:{}"),
    ],
)
async def test_the_url_is_one_that_answers(host: str, url: str) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    server = await serve(aiohttp.web.Application(), host, 0)
    try:
        assert server.url == url.format(server.port)
        async with aiohttp.ClientSession() as session, session.get(server.url) as response:
            assert response.status == 404
    finally:
        await server.stop()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
