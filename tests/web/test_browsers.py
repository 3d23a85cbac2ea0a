"""What pages of others can't have a browser do here, and what our own may."""

import pytest

from tests.web.harness import Worker, two_workers

RUNS = "/api/v1/workflows/orders/runs"
CONTENT = {"foreign_id": "o-1", "object": {"price": 1}}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
async def test_a_page_of_another_site_changes_nothing(
    worker: Worker, headers: dict[str, str]
) -> None:
    run_id = await worker.trigger("o-0")
    for path in (RUNS, f"/api/v1/runs/{run_id}/cancel", "/api/v1/runs/bulk"):
        reply = await worker.post(path, CONTENT, headers=headers)
        assert reply.status == 403
        assert reply.json["type"].endswith("CrossSite")
    # Without a body nothing else would stop it.
    assert (await worker.post(f"/api/v1/runs/{run_id}/cancel", headers=headers)).status == 403
    assert (await worker.get("/api/v1/runs/count")).json["count"] == 1
    assert (await worker.get(f"/api/v1/runs/{run_id}")).json["state"] != "CANCELLED"


async def test_our_own_pages_may(worker: Worker) -> None:
    for number, headers in enumerate(
        [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": worker.url}, {}]
    ):
        content = CONTENT | {"foreign_id": f"o-{number}"}
        assert (await worker.post(RUNS, content, headers=headers)).status == 201


async def test_our_own_pages_may_change_what_another_worker_has() -> None:
    async with two_workers() as pair:
        headers = {"Sec-Fetch-Site": "same-origin", "Origin": pair.a.url}
        content = CONTENT | {"foreign_id": "b-1"}
        reply = await pair.a.post(RUNS, content, headers=headers)
        assert reply.status == 201
        path = f"/api/v1/runs/{reply.json['run_id']}/cancel"
        assert (await pair.a.post(path, headers={"Origin": pair.a.url})).status == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_what_a_form_can_send_is_not_taken(worker: Worker, content_type: str) -> None:
    reply = await worker.post(RUNS, data=b"{}", headers={"Content-Type": content_type})
    assert reply.status == 415


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("evil.example:6066", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[::1", 421),
        ("10.0.0.1", 421),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("127.0.0.1:1234", 200),
        ("127.1.2.3", 200),
        ("[::1]:6066", 200),
    ],
)
async def test_only_names_of_this_machine_lead_here(worker: Worker, host: str, status: int) -> None:
    for path in ("/api/v1/runs", "/metrics", "/nothing/here"):
        reply = await worker.get(path, headers={"Host": host})
        assert reply.status == (404 if status == 200 and path == "/nothing/here" else status)
        assert status == 200 or reply.json["type"].endswith("HostRefused")
    for path in ("/healthz", "/readyz"):
        assert (await worker.get(path, headers={"Host": host})).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/api/v1/runs", "/nothing/here"])
async def test_every_answer_says_what_a_page_may_do(worker: Worker, path: str) -> None:
    reply = await worker.get(path)
    assert reply.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
    told = {name: reply.headers[name] for name in HEADERS}
    assert told == HEADERS
    assert not [name for name in reply.headers if name.startswith("Access-Control-")]


HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


async def test_no_other_site_reads_what_is_answered(worker: Worker) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for reply in (
        await worker.get("/api/v1/runs", headers=asked),
        await worker.ask("OPTIONS", RUNS, headers=asked),
    ):
        assert not [name for name in reply.headers if name.startswith("Access-Control-")]
