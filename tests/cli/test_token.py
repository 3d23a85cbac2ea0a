"""`streamwf token`, and the command line of somebody who has one."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from streamwf import Settings
from streamwf.adapters.web import NoPeers, access_of, application, serve
from streamwf.embedded import EmbeddedHost
from streamwf.logs import StandardLogger
from streamwf.operations import Operations
from tests.cli.conftest import Cli
from tests.cli.sample import parcels
from tests.kafka.secure import Authority


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "TOKEN_FILE", "WEB_TOKEN_FILE", "CA_FILE", "CERT_FILE"):
        monkeypatch.delenv(f"STREAMWF_{name}", raising=False)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def secure_url(tmp_path: Path, tokens: Path) -> Iterator[str]:
    """The URL of a host that runs `parcels`, by HTTPS, for those who have a token."""
    authority = Authority(tmp_path, "ca")
    tokens.touch()
    settings = Settings(
        web_token_file=tokens, web_cert_file=authority.issue("worker", ["127.0.0.1"])
    )
    ready: list[str] = []
    begun, stop = Event(), asyncio.Event()

    async def host() -> None:
        embedded = EmbeddedHost(parcels)
        await embedded.start()
        access = access_of(settings, StandardLogger("streamwf.tests"))
        web = application(Operations(embedded), NoPeers(), lambda: None, access=access)
        server = await serve(web, "127.0.0.1", 0, access.tls)
        ready.append(server.url)
        begun.set()
        await stop.wait()
        await server.stop()
        await embedded.stop()

    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_until_complete, args=[host()])
    thread.start()
    assert begun.wait(10)
    yield ready[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def made(cli: Cli, tokens: Path, name: str, *roles: str) -> str:
    flags = [flag for role in roles for flag in ("--role", role)]
    result = cli("token", name, *flags, "--file", str(tokens))
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.strip()


def test_whoever_has_a_token_does_what_its_roles_let(
    cli: Cli, tokens: Path, tmp_path: Path, secure_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = ["--url", secure_url, "--ca-file", str(tmp_path / "ca.pem")]
    refused = cli("runs", "list", *ca)
    assert refused.exit_code == 1
    assert "Nobody here knows who asks." in refused.stderr
    assert "STREAMWF_TOKEN" in refused.stderr

    ann = made(cli, tokens, "ann", "operator")
    monkeypatch.setenv("STREAMWF_TOKEN", ann)
    run_id = cli("trigger", "parcels", "p-1", "--data", '{"weight": 1}', *ca).stdout.strip()
    assert cli("runs", "await", run_id, *ca).exit_code == 0
    history = json.loads(cli("runs", "history", run_id, "--json", *ca).stdout)
    assert history["events"][0]["by"] == "ann"
    refused = cli("runs", "delete-data", run_id, *ca)
    assert "takes the role admin of workflow 'parcels'; 'ann' has operator" in refused.stderr

    monkeypatch.delenv("STREAMWF_TOKEN")
    monkeypatch.setenv("STREAMWF_URL", secure_url)
    monkeypatch.setenv("STREAMWF_CA_FILE", str(tmp_path / "ca.pem"))
    own = tmp_path / "own-token"
    own.write_text(made(cli, tokens, "bob", "parcels=admin", "viewer") + "\n")
    assert cli("runs", "delete-data", run_id, "--token-file", str(own)).exit_code == 0
    lost = cli("runs", "list", "--token-file", str(tmp_path / "lost"))
    assert (lost.exit_code, "token_file: " in lost.stderr) == (1, True)

    for command in (
        ("runs", "count"),
        ("runs", "bulk", "resume", "--state", "PAUSED", "--yes"),
        ("roles",),
        ("schedules", "list", "parcels"),
        ("connectors", "list", "parcels"),
        ("check", "tests.cli.sample", "--against", secure_url),
    ):
        monkeypatch.setenv("STREAMWF_TOKEN_FILE", str(own))
        assert cli(*command).exit_code == 0, command
        monkeypatch.delenv("STREAMWF_TOKEN_FILE")
        assert "Nobody here knows who asks." in cli(*command).stderr, command


def test_the_file_has_no_token_in_it_and_is_nobody_elses(cli: Cli, tokens: Path) -> None:
    token = made(cli, tokens, "ann", "orders=viewer", "refunds=admin")
    again = made(cli, tokens, "ann", "viewer")
    lines = tokens.read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ann", "orders=viewer,refunds=admin"],
        ["ann", "*=viewer"],
    ]
    assert token != again
    assert token.startswith("streamwf_")
    assert token not in tokens.read_text()
    assert tokens.stat().st_mode & 0o777 == 0o600


def test_a_line_is_put_below_one_that_has_no_end(cli: Cli, tokens: Path) -> None:
    tokens.write_text("# who")
    made(cli, tokens, "ann", "viewer")
    assert len(tokens.read_text().splitlines()) == 2


def test_without_a_file_the_line_is_told(cli: Cli) -> None:
    result = cli("token", "ann", "--role", "viewer")
    assert "\nann *=viewer sha256:" in result.stderr
    assert result.stdout.strip() not in result.stderr
    assert len(result.stdout.split()) == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["ann"], "Missing option '--role'"),
        (["ann", "--role", "owner"], "'owner' is not WORKFLOW=ROLE; roles: viewer, operator"),
        (["ann", "--role", "=admin"], "'=admin' is not WORKFLOW=ROLE"),
        (["ann b", "--role", "admin"], "without spaces"),
    ],
)
def test_what_can_not_be_made(cli: Cli, arguments: list[str], why: str) -> None:
    result = cli("token", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr


def test_a_file_that_can_not_be_written(cli: Cli, tmp_path: Path) -> None:
    result = cli("token", "ann", "--role", "viewer", "--file", str(tmp_path / "no" / "tokens"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "can't be written: No such file or directory" in result.stderr
