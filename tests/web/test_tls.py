"""HTTPS: what is shown, what is wanted of who connects, and what workers show one another."""

import asyncio
import logging
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamwf import Client, Settings
from streamwf.access import EVERY, Identity, Role
from streamwf.adapters.web import access_of
from streamwf.adapters.web.tokens import entry_of, line_of, new_token
from streamwf.errors import InvalidSettings, NotAuthenticated, RoleMissing, WorkerUnreachable
from streamwf.logs import StandardLogger
from tests.kafka.secure import Authority
from tests.web.harness import SplitPeers, Worker, running

LOGGER = StandardLogger("streamwf.tests")
PASSWORD = "a-Tr0ub4dor"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[Worker]:
    async with running(access=access_of(Settings(**settings), LOGGER)) as worker:
        yield worker


def context(authority: Authority, cert: Path | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=authority.ca_file)
    if cert is not None:
        made.load_cert_chain(cert)
    return made


async def serial(worker: Worker, authority: Authority) -> str:
    """The serial number of the certificate that is shown."""
    port, tls = worker.server.port, context(authority)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    number: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return number


async def test_it_speaks_tls_and_nothing_else(authority: Authority) -> None:
    cert = authority.issue("worker", ["127.0.0.1"])
    async with served(web_cert_file=cert) as worker:
        assert worker.url.startswith("https://127.0.0.1:")
        assert (await worker.get("/healthz", ssl=context(authority))).status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await worker.get("/healthz")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(worker.url.replace("https", "http") + "/healthz")


async def test_a_certificate_is_shown_as_it_is_at_the_time(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cert = authority.issue("worker", ["127.0.0.1"])
    shown = authority.folder / "shown.pem"
    shutil.copy(cert, shown)
    async with served(web_cert_file=shown) as worker:
        first = await serial(worker, authority)
        assert await serial(worker, authority) == first
        os.replace(authority.issue("next", ["127.0.0.1"]), shown)
        second = await serial(worker, authority)
        assert second != first
        shown.write_text("half a certificate")
        assert await serial(worker, authority) == second
        assert await serial(worker, authority) == second
        os.replace(authority.issue("last", ["127.0.0.1"]), shown)
        assert await serial(worker, authority) not in (first, second)
        said = [record.message for record in caplog.records if "certificate" in record.message]
        assert said == ["certificate_read", "certificate_not_read", "certificate_read"]


async def test_whoever_connects_has_to_show_a_certificate(authority: Authority) -> None:
    cert = authority.issue("worker", ["127.0.0.1"])
    stranger = Authority(authority.folder, "stranger").issue("mallory")
    async with served(web_cert_file=cert, web_client_ca_file=authority.ca_file) as worker:
        ours = context(authority, authority.issue("ann"))
        assert (await worker.get("/healthz", ssl=ours)).status == 200
        for tls in (context(authority), context(authority, stranger)):
            with pytest.raises(aiohttp.ClientError):
                await worker.get("/healthz", ssl=tls)


@pytest.mark.parametrize("mutual", [False, True])
async def test_workers_ask_one_another_by_tls_and_for_whom(
    authority: Authority, mutual: bool
) -> None:
    file = authority.folder / "tokens"
    tokens = {name: new_token() for name in ("viewer", "operator")}
    roles = {"viewer": Role.VIEWER, "operator": Role.OPERATOR}
    lines = [
        line_of(entry_of(tokens[name], Identity(name, {EVERY: role})))
        for name, role in roles.items()
    ]
    file.write_text("\n".join(lines))
    more = {"web_client_ca_file": authority.ca_file} if mutual else {}
    cert = authority.issue("worker", ["127.0.0.1"], PASSWORD)
    settings = Settings(
        web_cert_file=cert,
        web_key_password=PASSWORD,
        web_ca_file=authority.ca_file,
        web_token_file=file,
        **more,
    )
    assert PASSWORD not in repr(settings)
    urls: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        a, b = [
            await stack.enter_async_context(
                running(SplitPeers(letter, urls), access=access_of(settings, LOGGER))
            )
            for letter in "ab"
        ]
        urls |= {"a": a.url, "b": b.url}
        own = authority.issue("client")

        def client(token: str | None) -> Client:
            return Client.over_http(a.url, token=token, ca_file=authority.ca_file, cert_file=own)

        async with client(tokens["operator"]) as operator, client(tokens["viewer"]) as viewer:
            run_id = await operator.trigger(a.workflow, "b-1", a.workflow.object_type(price=1))
            await operator.pause(run_id)
            told = await viewer.history(run_id)
            assert [(event.type, event.by) for event in told.events if event.by] == [
                ("trigger", "operator"),
                ("pause", "operator"),
            ]
            with pytest.raises(RoleMissing, match="'viewer' has viewer"):
                await viewer.cancel(run_id)
            page = await viewer.find()
            assert ([run.run_id for run in page.runs], page.missing) == ([run_id], [])
        for token in (None, "wrong"):
            async with client(token) as nobody:
                with pytest.raises(NotAuthenticated, match="STREAMWF_TOKEN"):
                    await nobody.find()


async def test_a_worker_that_others_do_not_trust_is_missed(authority: Authority) -> None:
    other = Authority(authority.folder, "other")
    urls: dict[str, str] = {}

    def access(by: Authority, name: str) -> Any:
        cert = by.issue(name, ["127.0.0.1"])
        settings = Settings(web_cert_file=cert, web_ca_file=authority.ca_file)
        return access_of(settings, LOGGER)

    async with (
        running(SplitPeers("a", urls), access=access(authority, "a")) as a,
        running(SplitPeers("b", urls), access=access(other, "b")) as b,
    ):
        urls |= {"a": a.url, "b": b.url}
        tls = context(authority)
        page = (await a.get("/api/v1/runs", ssl=tls)).json
        assert page["missing"] == [b.url]
        latest = await a.get("/api/v1/workflows/orders/latest/b-1", ssl=tls)
        assert latest.status in (502, 503)


async def test_a_client_trusts_no_one_else(authority: Authority) -> None:
    other = Authority(authority.folder, "other")
    misnamed = authority.issue("elsewhere", ["elsewhere.example"])
    for cert in (other.issue("worker", ["127.0.0.1"]), misnamed):
        async with (
            served(web_cert_file=cert) as worker,
            Client.over_http(worker.url, token="t" * 40, ca_file=authority.ca_file) as client,
        ):
            with pytest.raises(WorkerUnreachable, match="certificate"):
                await client.find()


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ({"web_cert_file": "none.pem"}, "web_cert_file: .*none.pem can't be used"),
        ({"web_cert_file": "ca.pem"}, "web_cert_file: .*can't be used with its key"),
        ({"web_cert_file": "sealed.pem"}, "web_key_password: it does not open"),
        (
            {"web_cert_file": "sealed.pem", "web_key_password": "wrong"},
            "web_key_password: it does not open",
        ),
        (
            {"web_cert_file": "worker.pem", "web_key_file": "next.pem"},
            "web_key_file: its key is not that of",
        ),
        (
            {"web_cert_file": "worker.pem", "web_client_ca_file": "none.pem"},
            "web_client_ca_file: .* can't be used: No such file",
        ),
        (
            {"web_cert_file": "worker.pem", "web_ca_file": "none.pem"},
            "web_ca_file: .* can't be used: No such file",
        ),
        ({"web_key_file": "worker.pem"}, "web_key_file: web_cert_file is not given"),
        ({"web_client_ca_file": "ca.pem"}, "web_client_ca_file: web_cert_file is not given"),
    ],
)
def test_what_can_not_be_used(authority: Authority, settings: dict[str, str], mistake: str) -> None:
    authority.issue("worker", ["127.0.0.1"])
    authority.issue("next", ["127.0.0.1"])
    authority.issue("sealed", ["127.0.0.1"], PASSWORD)
    given = {
        name: value if "password" in name else authority.folder / value
        for name, value in settings.items()
    }
    with pytest.raises(InvalidSettings, match=mistake) as caught:
        access_of(Settings(**given), LOGGER)
    assert "wrong" not in str(caught.value)
