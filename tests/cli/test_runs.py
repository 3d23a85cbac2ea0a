import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamwf import State
from streamwf.cli.runs import write_run
from streamwf.views import RunView
from tests.cli.conftest import Cli

LET_IT = "let it go on"


@pytest.fixture
def run_of(over_http: Cli) -> Any:
    """Starts a run and gives its id."""

    def run(foreign_id: str, **parcel: Any) -> str:
        data = json.dumps(parcel)
        return over_http("trigger", "parcels", foreign_id, "--data", data).stdout.strip()

    return run


def read(cli: Cli, *arguments: str) -> Any:
    result = cli("runs", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_run_is_awaited_and_shown(over_http: Cli, run_of: Any) -> None:
    run_id = run_of("p-1", weight=3)
    awaited = read(over_http, "await", run_id)
    assert (awaited["status"], awaited["state"]) == ("THERE", "COMPLETED")
    assert read(over_http, "show", run_id) == awaited
    shown = over_http("runs", "show", run_id).stdout
    for line in (f"run:             {run_id}", "status:          THERE", '  "weight": 3,'):
        assert line in shown


def test_a_run_whose_step_is_held_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    held = RunView(
        workflow="parcels",
        foreign_id="p-1",
        run_id="r-1",
        status="PACKED",
        state=State.RUNNING,
        version=1,
        created_at=now,
        updated_at=now,
        due_at=now,
        held_until=now + timedelta(seconds=30),
    )
    write_run(held, as_json=False)
    assert "\nstep held until: 2030-01-02 03:04:35Z\n" in capsys.readouterr().out


def test_runs_are_listed_page_by_page(over_http: Cli, run_of: Any) -> None:
    ids = [run_of(f"p-{n}") for n in range(3)]
    for run_id in ids:
        read(over_http, "await", run_id)
    page = read(over_http, "list", "--workflow", "parcels", "--limit", "2")
    assert [run["foreign_id"] for run in page["runs"]] == ["p-0", "p-1"]
    rest = read(over_http, "list", "--limit", "2", "--cursor", page["cursor"])
    assert [run["run_id"] for run in rest["runs"]] == ids[2:]
    assert rest["cursor"] is None
    result = over_http("runs", "list", "--limit", "2")
    assert result.stdout.splitlines()[0].split()[:2] == ["FOREIGN", "ID"]
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["p-0", "p-1"]
    assert f"--cursor {page['cursor']}" in result.stderr


def test_runs_are_listed_by_what_they_are(over_http: Cli, run_of: Any) -> None:
    read(over_http, "await", run_of("done"))
    run_of("waits", waits=True)
    read(over_http, "await", run_of("waits-too", waits=True), "--status", "PACKED")

    def listed(*flags: str) -> list[str]:
        return [run["foreign_id"] for run in read(over_http, "list", *flags)["runs"]]

    assert listed("--state", "COMPLETED") == ["done"]
    assert listed("--state", "completed", "--state", "cancelled") == ["done"]
    assert listed("--status", "PACKED") == ["waits", "waits-too"]
    assert listed("--foreign-id", "waits") == ["waits"]
    assert over_http("runs", "list", "--state", "LOST").exit_code == 2
    assert over_http("runs", "list", "--workflow", "no-such").exit_code == 1


def test_a_run_is_paused_resumed_and_cancelled(over_http: Cli, run_of: Any) -> None:
    run_id = run_of("p-1", waits=True)
    refused = over_http("runs", "await", run_id)
    assert refused.exit_code == 1
    assert "it is PAUSED at PACKED. look at it" in refused.stderr
    assert read(over_http, "resume", run_id, "--reason", "fine")["state"] == "RUNNING"
    assert read(over_http, "await", run_id)["status"] == "THERE"
    again = over_http("runs", "resume", run_id)
    assert (again.exit_code, again.stdout) == (1, "")
    assert f"Can't resume run {run_id}: it is COMPLETED." in again.stderr

    other = run_of("p-2", waits=True)
    over_http("runs", "await", other)
    assert over_http("runs", "cancel", other).stdout == f"p-2 ({other}) is CANCELLED at PACKED\n"
    assert over_http("runs", "pause", other).exit_code == 1


def test_a_run_that_is_stuck_says_what_to_type_next(
    over_http: Cli, cli: Cli, url: str, run_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = run_of("p-1", waits=True)
    over_http("runs", "await", run_id)
    typed = f"streamwf runs resume {run_id}"
    *_, resume, _, _ = over_http("runs", "show", run_id).stdout.splitlines()
    assert resume.split() == f"{typed} --url {url} {LET_IT}".split()
    monkeypatch.setenv("STREAMWF_URL", url)
    *_, resume, _, _ = cli("runs", "show", run_id).stdout.splitlines()
    assert resume.split() == f"{typed} {LET_IT}".split()
    assert cli(*resume.removesuffix(LET_IT).split()[1:]).exit_code == 0


def test_a_run_is_steered_as_of_a_version(over_http: Cli, run_of: Any) -> None:
    run_id = run_of("p-1", waits=True)
    over_http("runs", "await", run_id)
    version = read(over_http, "show", run_id)["version"]
    stale = over_http("runs", "cancel", run_id, "--if-version", str(version - 1))
    assert (stale.exit_code, stale.stdout) == (1, "")
    assert f"it is at version {version}" in stale.stderr
    done = read(over_http, "cancel", run_id, "--if-version", str(version))
    assert (done["state"], done["version"]) == ("CANCELLED", version + 1)


def test_the_history_tells_each_move_and_why(over_http: Cli, run_of: Any) -> None:
    run_id = run_of("p-1", fails=True)
    over_http("runs", "await", run_id, "--timeout", "0.5")
    events = read(over_http, "history", run_id)["events"]
    assert [event["type"] for event in events] == ["trigger", "failed", "paused"]
    table = over_http("runs", "history", run_id).stdout
    assert [line.split()[3] for line in table.splitlines()[1:]] == ["trigger", "failed", "paused"]
    assert "ValueError: too heavy" in table
    assert [line.split()[-1] == "anonymous" for line in table.splitlines()[1:]] == [
        *(True, False, False),
    ]


def test_nothing_that_comes_from_users_controls_the_terminal(over_http: Cli, run_of: Any) -> None:
    run_id = run_of("p-1", fails=True)
    over_http("runs", "await", run_id, "--timeout", "0.5")
    for command in (["list"], ["show", run_id], ["history", run_id]):
        told = over_http("runs", *command).stdout
        assert "\x1b" not in told
        assert "too heavy\\x1b[31m" in told


def test_await_gives_up_when_its_time_is_over(over_http: Cli, run_of: Any) -> None:
    run_id = run_of("p-1", fails=True)
    result = over_http("runs", "await", run_id, "--status", "SENT", "--timeout", "0.2")
    assert result.exit_code == 1
    assert "took longer than 0.2 s" in result.stderr


@pytest.mark.parametrize("command", ["show", "history", "pause", "resume", "cancel", "await"])
def test_a_run_that_is_not_there_is_told(over_http: Cli, command: str) -> None:
    result = over_http("runs", command, "no-such-run")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No run 'no-such-run' is known here." in result.stderr


def test_the_url_may_be_in_the_environment(
    cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMWF_URL", url)
    assert read(cli, "list")["runs"] == []
