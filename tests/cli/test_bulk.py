"""Counting runs, and doing the same to all that fit."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

STREAMWF = (sys.executable, "-m", "streamwf.cli")

PAUSED = ("--workflow", "parcels", "--state", "PAUSED")


@pytest.fixture
def waiting(over_http: Cli, tmp_path: Path) -> list[str]:
    """Five runs that wait for people to look at them, and one that is done."""
    pile = tmp_path / "pile"
    lines = [{"foreign_id": f"p-{n}", "object": {"waits": True, "weight": n}} for n in range(5)]
    pile.write_text("\n".join(map(json.dumps, [*lines, {"foreign_id": "q", "object": {}}])))
    assert over_http("trigger", "parcels", "--from", str(pile)).exit_code == 0
    deadline = time.monotonic() + 60
    while (count(over_http, *PAUSED), count(over_http, "--state", "COMPLETED")) != (5, 1):
        assert time.monotonic() < deadline
    return [line["foreign_id"] for line in lines]


def count(cli: Cli, *flags: str) -> int:
    return int(cli("runs", "count", *flags).stdout)


def read(cli: Cli, *arguments: str) -> Any:
    result = cli("runs", *arguments, "--json")
    return json.loads(result.stdout)


@pytest.mark.usefixtures("waiting")
def test_runs_are_counted_and_listed_by_more(over_http: Cli) -> None:
    def listed(*flags: str) -> list[str]:
        found = [run["foreign_id"] for run in read(over_http, "list", *flags)["runs"]]
        assert count(over_http, *flags) == len(found)
        return found

    assert listed("--prefix", "p-") == ["p-0", "p-1", "p-2", "p-3", "p-4"]
    assert listed("--search", "weight=3") == ["p-3"]
    assert listed("--search", "weight=3", "--search", "weight=1", "--search", "waits=false") == [
        "p-1",
        "p-3",
        "q",
    ]
    assert listed("--created-before", "2020-01-01T00:00:00Z") == []
    assert len(listed("--updated-after", "2020-01-01T00:00:00Z")) == 6
    assert read(over_http, "count", "--prefix", "q") == {"count": 1, "missing": []}
    newest = read(over_http, "list", "--order", "-foreign_id", "--limit", "2")
    assert [run["foreign_id"] for run in newest["runs"]] == ["q", "p-4"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--created-after", "2030-01-01"], "created_after can't be read"),
        (["--search", "weight"], "'weight' is not FIELD=VALUE"),
        (["--prefix", "x" * 501], "prefix can't be read"),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["count"], ["bulk", "pause"]])
def test_a_filter_that_can_not_be_read(
    cli: Cli, command: list[str], flags: list[str], told: str
) -> None:
    result = cli("runs", *command, *flags)
    assert result.exit_code == 2
    assert told in result.stderr


def test_all_that_fit_are_resumed(over_http: Cli, waiting: list[str]) -> None:
    result = over_http("runs", "bulk", "resume", *PAUSED, "--reason", "seen", "--yes")
    assert (result.exit_code, result.stdout) == (0, "5 changed, 0 refused\n")
    assert "5 runs fit." in result.stderr
    assert count(over_http, *PAUSED) == 0


def test_what_is_refused_is_told(over_http: Cli, waiting: list[str]) -> None:
    result = over_http("runs", "bulk", "resume", "--workflow", "parcels", "-y")
    assert (result.exit_code, result.stdout) == (1, "5 changed, 1 refused\n")
    [told] = [line for line in result.stderr.splitlines() if line.startswith("q (")]
    assert "Can't resume run" in told
    assert "it is COMPLETED" in told


def test_programs_get_json(over_http: Cli, waiting: list[str]) -> None:
    done = read(over_http, "bulk", "cancel", "--prefix", "p-", "--yes")
    assert done == {"matched": 5, "changed": 5, "refused": [], "stopped": ""}
    done = read(over_http, "bulk", "cancel", "--prefix", "q", "--yes")
    assert (done["changed"], len(done["refused"])) == (0, 1)
    assert done["refused"][0]["foreign_id"] == "q"
    done = read(over_http, "bulk", "cancel", "--prefix", "nobody")
    assert done == {"matched": 0, "changed": 0, "refused": [], "stopped": ""}


def test_without_a_terminal_it_has_to_be_told(over_http: Cli, waiting: list[str]) -> None:
    result = over_http("runs", "bulk", "cancel", *PAUSED)
    assert result.exit_code == 2
    assert "5 runs fit." in result.stderr
    assert "say --yes" in result.stderr
    assert count(over_http, *PAUSED) == 5


def test_no_filter_is_no_answer(over_http: Cli, waiting: list[str]) -> None:
    result = over_http("runs", "bulk", "cancel", "--yes")
    assert result.exit_code == 2
    assert "Say which runs, at least by --workflow." in result.stderr
    assert over_http("runs", "bulk", "explode", "--workflow", "parcels").exit_code == 2
    assert over_http("runs", "bulk", "cancel", "--workflow", "nope", "--yes").exit_code == 1
    assert count(over_http, *PAUSED) == 5


@contextmanager
def at_a_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command at a terminal, and the end of it where people sit."""
    people, command = pty.openpty()
    process = subprocess.Popen(
        [*STREAMWF, *arguments],
        stdin=command,
        stdout=subprocess.PIPE,
        stderr=command,
    )
    os.close(command)
    try:
        yield process, people
    finally:
        process.kill()
        process.communicate()
        os.close(people)


def seen(people: int, what: str) -> str:
    """What a terminal has shown, once that is in it."""
    shown = b""
    while what.encode() not in shown:
        shown += os.read(people, 1_000)
    return shown.decode()


@pytest.mark.parametrize(("answer", "left", "code"), [("y\n", 0, 0), ("n\n", 5, 1)])
def test_at_a_terminal_it_asks(
    over_http: Cli, url: str, waiting: list[str], answer: str, left: int, code: int
) -> None:
    with at_a_terminal("runs", "bulk", "cancel", *PAUSED, "--url", url) as (process, people):
        shown = seen(people, "cancel 5 runs? [y/N]")
        assert "5 runs fit." in shown
        os.write(people, answer.encode())
        assert process.wait(60) == code
    assert count(over_http, *PAUSED) == left


def test_ctrl_c_leaves_what_was_done_and_says_so(over_http: Cli, url: str, tmp_path: Path) -> None:
    pile = tmp_path / "pile"
    later = {"start_at": "2099-01-01T00:00:00Z"}
    lines = [{"foreign_id": f"p-{n:04}", "object": {}, **later} for n in range(3_000)]
    pile.write_text("\n".join(map(json.dumps, lines)))
    assert over_http("trigger", "parcels", "--from", str(pile), "--no-wait").exit_code == 0
    process = subprocess.Popen(
        [*STREAMWF, "runs", "bulk", "cancel", "--prefix", "p-", "-y", "--json", "--url", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        while not count(over_http, "--state", "CANCELLED"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    done = json.loads(out)
    assert process.returncode == 130
    assert done["stopped"] == "interrupted"
    assert 0 < done["changed"] < 3_000
    assert count(over_http, "--state", "CANCELLED") == done["changed"]
    result = over_http("runs", "bulk", "cancel", "--state", "INITIATED", "-y")
    assert result.stdout == f"{3_000 - done['changed']:,} changed, 0 refused\n"


def test_a_worker_that_goes_away_is_told_with_what_was_done(cli: Cli) -> None:
    result = cli("runs", "bulk", "pause", "--workflow", "w", "-y", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "No worker answers at http://127.0.0.1:1" in result.stderr
