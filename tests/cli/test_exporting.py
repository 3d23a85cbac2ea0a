"""`runs show --version` and `runs history --export`: what a run was, in words and in a file."""

import json
from pathlib import Path

import pytest

from streamwf.testing import replay
from tests.cli.conftest import Cli
from tests.cli.sample import Status, parcels


@pytest.fixture
def run_id(over_http: Cli) -> str:
    """Of a run that has come to its end."""
    started = over_http("trigger", "parcels", "p-1", "--data", '{"weight": 3}').stdout.strip()
    assert over_http("runs", "await", started).exit_code == 0
    return started


@pytest.mark.parametrize("named", ["{run_id}", "parcels/p-1"])
def test_a_run_as_it_was_at_a_version(over_http: Cli, run_id: str, named: str) -> None:
    run = named.format(run_id=run_id)
    shown = over_http("runs", "show", run, "--version", "2", "--json")
    told = json.loads(shown.stdout)
    assert (told["status"], told["state"], told["version"]) == ("SENT", "RUNNING", 2)
    text = over_http("runs", "show", run, "--version", "2").stdout
    assert "status:          SENT" in text
    # What to type next is for what it is now.
    assert "streamwf runs" not in text
    none = over_http("runs", "show", run, "--version", "9")
    assert (none.exit_code, none.stdout) == (1, "")
    assert f"Run {run_id} has had no version 9: its versions are 1 to 3." in none.stderr


@pytest.mark.parametrize("named", ["{run_id}", "parcels/p-1"])
def test_a_history_in_a_file(over_http: Cli, run_id: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "sent.json"
    file.write_text("an older one, which is longer" * 1_000)
    result = over_http("runs", "history", named.format(run_id=run_id), "--export", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"3 events of run {run_id}\n"
    replayed = replay(parcels, file)
    assert (replayed.status, replayed.version) == (Status.THERE, 3)
    document = json.loads(file.read_text())
    assert (document["format"], document["workflow"]) == (1, "parcels")
    to_stdout = over_http("runs", "history", run_id, "--export", "-").stdout
    assert json.loads(to_stdout) == document


def test_no_file_is_made_of_a_run_that_is_not_there(over_http: Cli, tmp_path: Path) -> None:
    file = tmp_path / "none.json"
    result = over_http("runs", "history", "nobody", "--export", str(file))
    assert result.exit_code == 1
    assert "No run 'nobody' is known here" in result.stderr
    assert not file.exists()


def test_a_file_that_cant_be_written(over_http: Cli, run_id: str, tmp_path: Path) -> None:
    file = tmp_path / "missing" / "sent.json"
    result = over_http("runs", "history", run_id, "--export", str(file))
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
    both = over_http("runs", "history", run_id, "--export", str(tmp_path / "a"), "--json")
    assert both.exit_code == 2
    assert "leave --json out" in both.stderr


def test_definitions_are_checked_against_exported_histories(
    over_http: Cli, cli: Cli, tmp_path: Path
) -> None:
    waits = over_http("trigger", "parcels", "p-2", "--data", '{"waits": true}').stdout.strip()
    over_http("runs", "await", waits, "--timeout", "5")
    file = tmp_path / "waits.json"
    assert over_http("runs", "history", waits, "--export", str(file)).exit_code == 0
    checked = cli("check", "tests.cli.sample", "--against", str(file))
    assert checked.exit_code == 0
    assert "of 1 live run 1 can go on, 0 can't" in checked.stdout
