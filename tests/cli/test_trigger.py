import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Cli

Write = Callable[[str, str], Path]

STREAMWF = (sys.executable, "-m", "streamwf.cli")


def lines(*runs: Any) -> str:
    return "".join(run if isinstance(run, str) else json.dumps(run) + "\n" for run in runs)


def listed(cli: Cli) -> list[dict[str, Any]]:
    found = json.loads(cli("runs", "list", "--json").stdout)["runs"]
    assert isinstance(found, list)
    return found


def test_the_id_of_the_run_is_written(over_http: Cli) -> None:
    result = over_http("trigger", "parcels", "p-1", "--data", '{"weight": 2}')
    assert result.exit_code == 0
    [run] = listed(over_http)
    assert run["run_id"] == result.stdout.strip()
    assert run["object"]["weight"] == 2


def test_status_time_and_key_are_passed_on(over_http: Cli) -> None:
    flags = ("--at", "SENT", "--start-at", "2999-01-01T00:00:00Z", "--key", "k", "--data", "{}")
    first = over_http("trigger", "parcels", "p-1", *flags, "--json")
    again = over_http("trigger", "parcels", "p-1", *flags, "--no-wait", "--json")
    assert json.loads(first.stdout) == json.loads(again.stdout)
    [run] = listed(over_http)
    assert run["run_id"] == json.loads(first.stdout)["run_id"]
    assert (run["status"], run["due_at"]) == ("SENT", "2999-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("workflow", "flags", "why"),
    [
        ("no-such", [], "No workflow 'no-such' here; there are: parcels."),
        ("parcels", ["--data", '{"weight": "much"}'], "weight: Input should be a valid integer"),
        ("parcels", ["--data", "{}", "--at", "LOST"], "has no status 'LOST'"),
        ("parcels", ["--data", "{}", "--at", "THERE"], "can't start at 'THERE'"),
    ],
)
def test_a_refusal_says_why(over_http: Cli, workflow: str, flags: list[str], why: str) -> None:
    result = over_http("trigger", workflow, "p-1", *flags)
    assert (result.exit_code, result.stdout) == (1, "")
    assert why in result.stderr


def test_a_run_in_progress_is_named(over_http: Cli) -> None:
    waits = ("trigger", "parcels", "p-1", "--data", '{"waits": true}')
    run_id = over_http(*waits).stdout.strip()
    again = over_http(*waits)
    assert again.exit_code == 1
    assert f"'p-1' has a run in progress: {run_id}" in again.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["parcels"],
        ["parcels", "p-1", "--from", "-"],
        ["parcels", "--from", "-", "--data", "1"],
        ["parcels", "--from", "no-such-file"],
        ["parcels", "p-1", "--data", "{"],
        ["parcels", "p-1", "--start-at", "soon"],
        ["parcels", "p-1", "--start-at", "2999-01-01T00:00:00"],
        ["parcels", "p-1", "--brokers", "127.0.0.1:1", "--wait"],
        ["parcels", "p-1", "--topic-prefix", "x"],
    ],
)
def test_a_wrong_command_line_asks_nobody(cli: Cli, arguments: list[str]) -> None:
    assert cli("trigger", *arguments).exit_code == 2


def test_a_file_has_a_run_in_each_line(over_http: Cli, write: Write) -> None:
    runs = ({"foreign_id": f"p-{n:03}", "object": {"weight": n}} for n in range(100))
    result = over_http("trigger", "parcels", "--from", str(write("runs.jsonl", lines(*runs))))
    assert (result.exit_code, result.stdout) == (0, "100 accepted, 0 refused\n")
    found = json.loads(over_http("runs", "list", "--limit", "1000", "--json").stdout)["runs"]
    assert [run["object"]["weight"] for run in found] == list(range(100))


BAD = lines(
    {"foreign_id": "p-1", "object": {}},
    "\n",
    "{not json\n",
    {"foreign_id": "p-2", "object": {"weight": "much"}},
    {"foreign_id": "p-3", "object": {}, "colour": "red"},
    {"foreign_id": "", "object": {}},
    {"foreign_id": "p-4", "object": {}, "status": "SENT"},
)


def test_refused_lines_are_told_with_their_numbers(over_http: Cli, write: Write) -> None:
    result = over_http("trigger", "parcels", "--from", str(write("runs.jsonl", BAD)))
    assert (result.exit_code, result.stdout) == (1, "2 accepted, 4 refused\n")
    told = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in told] == [f"line {n}" for n in (3, 4, 5, 6)]
    assert "colour: Extra inputs are not permitted" in told[2]
    assert [run["foreign_id"] for run in listed(over_http)] == ["p-1", "p-4"]


def test_the_summary_may_be_json(over_http: Cli) -> None:
    result = over_http("trigger", "parcels", "--from", "-", "--json", stdin=BAD.encode())
    summary = json.loads(result.stdout)
    assert [line["line"] for line in summary.pop("refused")] == [3, 4, 5, 6]
    assert summary == {"accepted": 2, "requested": None, "read": 7, "stopped": ""}


def test_lines_at_the_start_may_be_left_out(over_http: Cli) -> None:
    result = over_http("trigger", "parcels", "--from", "-", "--skip", "6", stdin=BAD.encode())
    assert (result.exit_code, result.stdout) == (0, "1 accepted, 0 refused\n")


def test_what_is_wrong_with_every_line_stops_at_once(over_http: Cli) -> None:
    runs = lines(*({"foreign_id": f"p-{n}", "object": {}} for n in range(500)))
    result = over_http("trigger", "no-such", "--from", "-", stdin=runs.encode())
    assert result.exit_code == 1
    assert result.stdout.startswith("0 accepted, ")
    assert "Stopped after line " in result.stderr
    assert "No workflow 'no-such' here" in result.stderr


def test_ctrl_c_ends_what_is_under_way_and_says_where_to_go_on(url: str) -> None:
    command = [*STREAMWF, "trigger", "parcels", "--from", "-", "--url", url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        process.stdin.write(lines({"foreign_id": "p-1", "object": {}}, "{\n").encode())
        process.stdin.flush()
        wait_until_run(url, "p-1")
        process.send_signal(signal.SIGINT)
        # The pipe stays open: whoever writes into it need not have ended.
        assert process.wait(60) == 130
        told, errors = process.communicate()
    assert told == b"1 accepted, 1 refused\n"
    assert errors.endswith(b"Stopped after line 2: interrupted\nTo go on from there: --skip 2\n")


def wait_until_run(url: str, foreign_id: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        asked = f"{url}/api/v1/runs?foreign_id={foreign_id}"
        with urlopen(asked, timeout=60) as answer:
            if json.load(answer)["runs"]:
                return
    raise AssertionError("the first line was never triggered")
