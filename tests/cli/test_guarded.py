"""Every command that serves something refuses to do so beyond this machine, unless it is said who
gets in."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.test_dev import HELLO, PATIENCE, dev, read_until

COMMAND = (sys.executable, "-m", "streamwf.cli")

#: Nothing listens there.
BROKERS = ("--brokers", "127.0.0.1:9")

TOKEN = "streamwf_" + "t" * 40

SERVING = {
    "memory": ("dev", HELLO, "--store", "memory", "--host"),
    "file": ("dev", HELLO, "--store", "sqlite:///own.db", "--host"),
    "worker": ("worker", HELLO, *BROKERS, "--web-host"),
    "relay": ("relay", HELLO, *BROKERS, "--store", "sqlite:///own.db", "--web-host"),
}


@pytest.mark.parametrize("kind", SERVING)
def test_it_refuses_to_start(kind: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *SERVING[kind], "0.0.0.0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    said = " ".join(done.stderr.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert said.startswith("Error: 0.0.0.0 is reached from other machines"), said
    assert "web_open (--web-open)" in said
    assert "Traceback" not in said
    assert not (tmp_path / "own.db").exists()


def status(url: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urlopen(Request(url, headers=headers), timeout=PATIENCE) as answer:
            code: int = answer.status
            return code
    except HTTPError as error:
        with error:
            return error.code


def runs_of(process: subprocess.Popen[str]) -> str:
    """Where the runs are of a `streamwf dev` that was started."""
    page = read_until(process.stdout, r"(http://127\.0\.0\.1:\d+/) \(")[1]
    return f"{page}api/v1/runs"


@pytest.mark.parametrize("store", ["memory", "sqlite:///own.db"])
def test_a_token_lets_in(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMWF_WEB_TOKEN", TOKEN)
    monkeypatch.setenv("STREAMWF_TOKEN", TOKEN)
    with dev(HELLO, "--host", "0.0.0.0", "--store", store) as process:
        url = runs_of(process)
        read_until(process.stdout, "COMPLETED at GREETED")
        assert [status(url, token) for token in (None, "x" * 40, TOKEN)] == [401, 401, 200]
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_what_is_before_it_lets_in() -> None:
    assert "STREAMWF_WEB_TOKEN" not in os.environ
    with dev(HELLO, "--host", "0.0.0.0", "--store", "memory", "--web-open") as process:
        url = runs_of(process)
        assert status(url, None) == 200
        process.terminate()
        assert process.wait(PATIENCE) == 0
