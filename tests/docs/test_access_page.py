"""What docs/access.md shows is what happens."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from streamwf import Client, Settings
from streamwf.access import Asked, Role
from streamwf.adapters.web import access_of
from streamwf.adapters.web.tokens import TokenFile
from streamwf.logs import StandardLogger
from streamwf.settings import WebAccess, load
from tests.docs.readme import ROOT, blocks

PAGE = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")
MAKE, DEV, USE, SETTINGS = blocks("sh", PAGE)
CLIENT, GATE = blocks("python", PAGE)
[TOKENS] = blocks("text", PAGE)

ADDRESS = "http://127.0.0.1:6066"
LOGGER = StandardLogger("streamwf.tests")

#: Seconds that a block may take.
PATIENCE = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "examples" / "hello.py", tmp_path)
    return tmp_path


def shell(folder: Path, text: str, url: str = ADDRESS) -> str:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text.replace(ADDRESS, url)],
        cwd=folder,
        env={**os.environ, "PATH": tools, "STREAMWF_URL": url},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    """The URL of the worker of the second block, with the tokens of the first one."""
    shell(folder, MAKE.text)
    words = DEV.text.split()[1:]
    command = [sys.executable, "-m", "streamwf.cli", *words, "--port", "0", "--store", "memory"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        alarm = threading.Timer(3 * PATIENCE, process.kill)
        alarm.start()
        assert process.stdout
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert found
        yield found[0]
        process.terminate()
        process.wait(PATIENCE)
        alarm.cancel()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_whoever_has_a_token_gets_in(folder: Path, url: str) -> None:
    told = shell(folder, USE.text, url)
    trigger = next(line for line in told.splitlines() if " trigger " in line)
    assert trigger.split()[-1] == "ann"
    assert '"greeting":"Hello, Ada!"' in told
    assert "# TYPE streamwf_runs gauge" in told
    refused = "streamwf runs list 2>&1 && exit 1 || true"
    assert "Nobody here knows who asks." in shell(folder, refused, url)


def test_the_file_is_one(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(TOKENS.text)
    TokenFile(file, LOGGER)


def test_the_client_takes_what_it_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "ann.token").write_text("streamwf_x\n")
    page: dict[str, Any] = {}
    exec(compile(CLIENT.text, "page.py", "exec"), page)
    assert isinstance(page["client"], Client)


def test_the_authenticator_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_SECRET", "s3cret")
    gate = ModuleType("gate")
    exec(compile(GATE.text, "gate.py", "exec"), gate.__dict__)
    monkeypatch.setitem(sys.modules, "gate", gate)
    access = access_of(Settings(web_host="0.0.0.0", web_authenticator="gate:proxy"), LOGGER)
    assert access.authenticator is not None

    async def roles(**headers: str) -> Any:
        asked = Asked("GET", "/", {f"X-{k.replace('_', '-')}": v for k, v in headers.items()})
        assert access.authenticator is not None
        found = await access.authenticator.identify(asked)
        return None if found is None else (found.name, found.role("orders"))

    async def all_of_them() -> None:
        assert await roles(User="ann") is None
        assert await roles(User="ann", Proxy_Secret="wrong") is None
        assert await roles(User="ann", Proxy_Secret="s3cret") == ("ann", Role.VIEWER)
        grouped = {"User": "ann", "Proxy_Secret": "s3cret", "Groups": "x,flows"}
        assert await roles(**grouped) == ("ann", Role.ADMIN)

    asyncio.run(all_of_them())


def test_the_environment_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    said = dict(re.findall(r"^export (\w+)=(\S+)$", SETTINGS.text, re.MULTILINE))
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    found = {str(value) for value in load().model_dump(exclude_defaults=True).values()}
    assert found >= set(said.values())


def test_every_setting_is_told() -> None:
    known = PAGE.lower()
    assert not [n for n in WebAccess.model_fields if n not in known and n != "web_key_password"]
