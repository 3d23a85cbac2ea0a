"""Nothing beyond this machine, unless it is said who gets in."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from streamwf import Settings
from streamwf.access import EVERY, Asked, Identity, Role
from streamwf.adapters.web import access_of
from streamwf.errors import AccessNotConfigured, InvalidSettings
from streamwf.logs import StandardLogger
from tests.web.harness import running

LOGGER = StandardLogger("streamwf.tests")
TOKEN = "streamwf_" + "t" * 40


class Ann:
    """Whoever asks is Ann. Implements `streamwf.access.Authenticator`."""

    async def identify(self, asked: Asked) -> Identity:
        return Identity(f"ann of {asked.method} {asked.path}", {EVERY: Role.ADMIN})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "worker-1", "127.0.0.1.evil"])
def test_others_reach_nothing_that_nobody_guards(host: str) -> None:
    with pytest.raises(AccessNotConfigured) as caught:
        access_of(Settings(web_host=host), LOGGER)
    for setting in ("web_token_file", "STREAMWF_WEB_TOKEN", "web_authenticator", "--web-open"):
        assert setting in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_on_this_machine_nothing_need_be_said(host: str) -> None:
    access = access_of(Settings(web_host=host), LOGGER)
    assert (access.authenticator, access.hosts) == (None, frozenset())


@pytest.mark.parametrize(
    "said", [{"web_open": True}, {"web_token": TOKEN}, {"web_authenticator": "gate:ann"}]
)
def test_it_is_said_who_gets_in(said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = ModuleType("gate")
    gate.ann = Ann()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gate", gate)
    access = access_of(Settings(web_host="0.0.0.0", **said), LOGGER)
    assert (access.authenticator is None) == ("web_open" in said)
    assert access.hosts is None


def test_it_is_said_in_code() -> None:
    assert access_of(Settings(web_host="0.0.0.0"), LOGGER, Ann()).authenticator is not None


def test_it_is_not_said_twice() -> None:
    with pytest.raises(InvalidSettings, match="web_open: it is said as well who gets in"):
        access_of(Settings(web_open=True, web_token=TOKEN), LOGGER)


def test_a_token_that_could_be_found_by_trying() -> None:
    with pytest.raises(ValueError, match="at least 20 items") as caught:
        Settings(web_token="sesame-open")
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("no_such_module:gate", "No module named 'no_such_module'"),
        ("json:gate", "has no attribute 'gate'"),
        ("json:dumps", "has to be an object with the method `identify`"),
        ("tests.web.test_configured:Ann", "has to be an object with the method `identify`"),
    ],
)
def test_an_authenticator_that_is_none(place: str, why: str) -> None:
    with pytest.raises(InvalidSettings, match="web_authenticator") as caught:
        access_of(Settings(web_authenticator=place), LOGGER)
    assert why in str(caught.value)


async def test_one_of_your_own_is_told_what_is_asked_and_comes_first(tmp_path: Path) -> None:
    access = access_of(Settings(web_token=TOKEN), LOGGER, Ann())
    async with running(access=access) as worker:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        content = {"foreign_id": "o-1", "object": {"price": 1}}
        path = "/api/v1/workflows/orders/runs"
        reply = await worker.post(f"{path}?wait=true", content, headers=bearer)
        told = await worker.get(f"/api/v1/runs/{reply.json['run_id']}/history")
        assert told.json["events"][0]["by"] == f"ann of POST {path}"


async def test_one_of_your_own_that_fails_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def identify(self, asked: Asked) -> Identity:
            raise KeyError(asked.headers["Authorization"])

    async with running(access=access_of(Settings(), LOGGER, Broken())) as worker:
        reply = await worker.get("/api/v1/runs", headers={"Authorization": "Bearer x"})
        assert reply.status == 500
        assert (await worker.get("/healthz")).status == 200
        assert "request_failed" in caplog.text


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\x1b[31mb"])
def test_a_name_that_can_not_be_kept(name: str) -> None:
    with pytest.raises(ValueError, match="the name"):
        Identity(name, {})


@pytest.mark.parametrize(
    ("said", "host", "status"),
    [
        ({}, "flows.example", 421),
        ({"web_allowed_hosts": "flows.example, other.example"}, "FLOWS.example:443", 200),
        ({"web_allowed_hosts": "flows.example"}, "localhost", 200),
        ({"web_allowed_hosts": "flows.example"}, "other.example", 421),
        ({"advertise": "https://flows.example:6066"}, "flows.example:6066", 200),
        ({"web_host": "0.0.0.0", "web_open": True}, "flows.example", 200),
        (
            {"web_host": "0.0.0.0", "web_open": True, "web_allowed_hosts": "flows.example"},
            *("evil.example", 421),
        ),
    ],
)
async def test_the_names_that_it_may_be_asked_by(
    said: dict[str, Any], host: str, status: int
) -> None:
    async with running(access=access_of(Settings(**said), LOGGER)) as worker:
        assert (await worker.get("/api/v1/runs", headers={"Host": host})).status == status
