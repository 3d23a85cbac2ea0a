"""Bearer tokens: in a file that is read again, by their hashes."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamwf import Settings
from streamwf.access import EVERY, Identity, Role
from streamwf.adapters.web import access_of
from streamwf.adapters.web.tokens import entry_of, line_of, new_token
from streamwf.errors import InvalidSettings
from streamwf.logs import StandardLogger
from tests.web.harness import Worker, running

LOGGER = StandardLogger("streamwf.tests")


def added(file: Path, name: str, **roles: Role) -> str:
    """The token of somebody who is in the file from now on."""
    token = new_token()
    with file.open("a") as opened:
        opened.write(line_of(entry_of(token, Identity(name, roles or {EVERY: Role.ADMIN}))) + "\n")
    return token


def replaced(file: Path, text: str) -> None:
    """Replace it as editors do. What was there before is a moment older."""
    other = file.with_name("other")
    other.write_text(text)
    os.replace(other, file)


@asynccontextmanager
async def guarded(**settings: Any) -> AsyncIterator[Worker]:
    async with running(access=access_of(Settings(**settings), LOGGER)) as worker:
        yield worker


async def status(worker: Worker, authorization: str | None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    return (await worker.get("/api/v1/workflows/orders", headers=headers)).status


async def test_whoever_bears_a_token_is_let_in(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# who, what, and the hash of the token\n\n")
    ann, bob = added(file, "ann"), added(file, "bob", refunds=Role.VIEWER)
    async with guarded(web_token_file=file) as worker:
        assert await status(worker, f"Bearer {ann}") == 200
        assert await status(worker, f"bearer  {ann} ") == 200
        assert await status(worker, f"Bearer {bob}") == 404
        wrong = [ann[:-1], ann + "x", ann.lower(), "", "é" * 40, "\xff", bob + ann]
        hashed = file.read_text().split("sha256:")[1].split()[0]
        for token in [*(f"Bearer {each}" for each in (*wrong, hashed)), ann, f"Basic {ann}", ""]:
            assert await status(worker, token) == 401, token
        assert await status(worker, None) == 401
        path = f"/api/v1/workflows/orders?token={ann}&access_token={ann}"
        assert (await worker.get(path)).status == 401


async def test_a_token_of_the_settings_may_do_everything() -> None:
    token = new_token()
    async with guarded(web_token=token) as worker:
        assert await status(worker, f"Bearer {token}") == 200
        assert await status(worker, f"Bearer {token}x") == 401
        bearer = {"Authorization": f"Bearer {token}"}
        content = {"foreign_id": "o-1", "object": {"price": 1}}
        reply = await worker.post("/api/v1/workflows/orders/runs", content, headers=bearer)
        path = f"/api/v1/runs/{reply.json['run_id']}/history"
        assert (await worker.get(path, headers=bearer)).json["events"][0]["by"] == "admin"


async def test_the_file_is_read_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "tokens"
    ann = added(file, "ann")
    async with guarded(web_token_file=file) as worker:
        bob = added(file, "bob")
        assert await status(worker, f"Bearer {bob}") == 200
        replaced(file, file.read_text().splitlines()[1])
        assert await status(worker, f"Bearer {ann}") == 401
        assert await status(worker, f"Bearer {bob}") == 200

        for broken in ("bob admin\n", "bob =admin sha256:xyz\n", "bob sha256:\n"):
            replaced(file, broken)
            assert await status(worker, f"Bearer {bob}") == 200
        file.unlink()
        assert await status(worker, f"Bearer {bob}") == 200
        said = [record.message for record in caplog.records if record.message.startswith("tokens")]
        assert said == ["tokens_read"] * 2 + ["tokens_not_read"] * 4
        replaced(file, "")
        assert await status(worker, f"Bearer {bob}") == 401


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ann admin", "line 2: it is not NAME ROLES sha256:HASH"),
        ("ann admin sha256:abc", "line 2: it is not NAME ROLES sha256:HASH"),
        ("ann admin streamwf_secret", "line 2: it is not NAME ROLES sha256:HASH"),
        (f"ann orders:admin sha256:{'0' * 64}", "line 2: 'orders:admin' is not WORKFLOW=ROLE"),
        (f"ann owner sha256:{'0' * 64}", "roles: viewer, operator, admin"),
        (f"ann =admin sha256:{'0' * 64}", "line 2: '=admin' is not WORKFLOW=ROLE"),
        (f"ann b admin sha256:{'0' * 64}", "line 2: it is not NAME ROLES sha256:HASH"),
    ],
)
def test_a_file_that_can_not_be_used(tmp_path: Path, line: str, why: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"\n{line}\n")
    with pytest.raises(InvalidSettings, match="web_token_file") as caught:
        access_of(Settings(web_token_file=file), LOGGER)
    assert why in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"web_token_file: .* No such file"):
        access_of(Settings(web_token_file=tmp_path / "none"), LOGGER)


async def test_no_token_is_told_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    file, own = tmp_path / "tokens", new_token()
    ann = added(file, "ann", orders=Role.VIEWER)
    settings = Settings(web_token=own, web_token_file=file)
    assert own not in repr(settings) + str(settings.model_dump())
    assert ann not in file.read_text()
    told = []
    async with running(access=access_of(settings, LOGGER)) as worker:
        for token in (ann, own, "wrong-token-of-somebody"):
            for path in ("runs", "runs/x/pause", "workflows/never/runs", "nowhere"):
                bearer = {"Authorization": f"Bearer {token}"}
                for method in ("GET", "POST"):
                    reply = await worker.ask(method, f"/api/v1/{path}", headers=bearer)
                    told.append(f"{reply.headers} {reply.body!r}")
    said = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    for secret in (ann, own, "wrong-token-of-somebody"):
        assert secret not in said + "".join(told)
