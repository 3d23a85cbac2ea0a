"""`streamwf callback`, and `streamwf runs` by foreign id."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from streamwf import answering
from tests.cli.conftest import Cli, served
from tests.embedded.books import books, pages
from tests.embedded.loans import loans

YES = '{"yes": true, "note": "fine"}'


@pytest.fixture
def shell(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command line, speaking to a host that grants loans."""
    monkeypatch.setattr(answering, "ON_ITS_WAY", 0.0)
    of = pages()
    with served(loans(), books(of), of) as url:
        yield lambda *arguments, **more: cli(*arguments, "--url", url, **more)


def waiting(shell: Cli, foreign_id: str = "l-1", **loan: Any) -> str:
    """The id of a run that waits at REVIEW."""
    run_id = shell("trigger", "loans", foreign_id, "--data", json.dumps(loan)).stdout.strip()
    assert shell("runs", "await", run_id, "--status", "REVIEW").exit_code == 0
    return run_id


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


# ---- callback


def test_a_run_is_answered_by_whatever_is_known_of_it(shell: Cli) -> None:
    known = ["--foreign-id", "--run-id", "--correlation"]
    for number, option in enumerate(known):
        run_id = waiting(shell, f"l-{number}", email=f"{number}@example.org")
        value = {"--foreign-id": f"l-{number}", "--run-id": run_id}.get(
            option, f"{number}@example.org"
        )
        result = shell("callback", "loans", "decide", option, value, "--data", YES)
        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"moved\nl-{number} ({run_id}) is RUNNING at GRANTED\n"


def test_what_came_of_it_as_json(shell: Cli) -> None:
    run_id = waiting(shell)
    asked = ["callback", "loans", "decide", "--foreign-id", "l-1", "--data", YES, "--key", "k"]
    told = read(shell(*asked, "--json"))
    assert (told["outcome"], told["run"]["run_id"], told["error"]) == ("moved", run_id, None)
    assert read(shell(*asked, "--json"))["outcome"] == "duplicate"


def test_bytes_from_a_file_or_from_stdin(shell: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(b"picture")
    asked = ["callback", "loans", "scan", "--foreign-id"]
    for foreign_id, file, stdin in [("l-1", str(picture), None), ("l-2", "-", b"picture")]:
        run_id = waiting(shell, foreign_id)
        told = read(shell(*asked, foreign_id, "--file", file, "--json", stdin=stdin))
        assert told["run"]["run_id"] == run_id
        assert told["run"]["object"]["notes"] == ["picture"]


def test_one_that_comes_too_early(shell: Cli) -> None:
    asked = ["--foreign-id", "l-1", "--data", YES, "--wait-for", "60"]
    assert shell("callback", "loans", "decide", *asked).stdout == "kept\n"
    run_id = shell("trigger", "loans", "l-1", "--data", "{}").stdout.strip()
    assert read(shell("runs", "await", run_id, "--status", "GRANTED", "--json"))["object"] == {
        "email": None,
        "notes": ["fine"],
    }


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["decide", "--foreign-id", "l-2"], "'l-2' has no run of 'loans'"),
        (["decide", "--run-id", "nope"], "No run 'nope' is known here"),
        (["decide", "--correlation", "a@b"], "No run waits for callback 'decide' by 'a@b'"),
        (["pay", "--foreign-id", "l-1"], "does not wait for callback 'pay': it is RUNNING"),
        (["deny", "--foreign-id", "l-1"], "it has: decide, pay, remark, scan"),
        (["decide", "--foreign-id", "l-1", "--data", "{}"], "yes: Field required"),
        (["decide", "--foreign-id", "l\n1"], "A foreign id has 1 to 500 characters"),
    ],
)
def test_what_is_refused_says_why(shell: Cli, asked: list[str], told: str) -> None:
    waiting(shell)
    result = shell("callback", "loans", *asked)
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ([], "Say which run"),
        (["--foreign-id", "l-1", "--run-id", "r"], "Say which run"),
        (["--foreign-id", "l-1", "--data", "{"], "it is not JSON"),
        (["--foreign-id", "l-1", "--data", "1", "--file", "-"], "not both"),
        (["--foreign-id", "l-1", "--file", "/no/such/file"], "No such file"),
        (["--foreign-id", "l-1", "--wait-for", "-1"], "not in the range"),
    ],
)
def test_what_can_not_be_asked(cli: Cli, asked: list[str], told: str) -> None:
    result = cli("callback", "loans", "decide", *asked)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_workflow_that_is_not_there(shell: Cli) -> None:
    result = shell("callback", "lones", "decide", "--foreign-id", "l-1")
    assert result.exit_code == 1
    assert "No workflow 'lones' here; there are: books, loans, pages" in result.stderr


# ---- runs


def test_a_run_is_named_by_its_workflow_and_its_foreign_id(shell: Cli) -> None:
    run_id = waiting(shell, "2030/l 1")
    name = "loans/2030/l 1"
    assert read(shell("runs", "show", name, "--json"))["run_id"] == run_id
    assert read(shell("runs", "history", name, "--json"))["run_id"] == run_id
    told = f"2030/l 1 ({run_id}) is PAUSED at REVIEW\n"
    assert shell("runs", "pause", name, "--reason", "lunch").stdout == told
    assert read(shell("runs", "resume", name, "--json"))["state"] == "RUNNING"
    assert read(shell("runs", "await", name, "--status", "REVIEW", "--json"))["run_id"] == run_id
    assert read(shell("runs", "cancel", name, "--json"))["state"] == "CANCELLED"
    asked = read(shell("runs", "delete-data", name, "--json"))
    assert asked["state"] == "DATA_DELETION_REQUESTED"
    for command in ("show", "history", "pause", "await", "retry", "delete-data"):
        result = shell("runs", command, "loans/l-2")
        assert result.exit_code == 1
        assert "'l-2' has no run of 'loans'" in result.stderr


def test_what_waits_for_no_error_is_not_retried(shell: Cli) -> None:
    run_id = waiting(shell)
    result = shell("runs", "retry", run_id)
    assert result.exit_code == 1
    assert f"Can't retry run {run_id}: it is RUNNING" in result.stderr


def test_a_run_is_forked(shell: Cli) -> None:
    run_id = waiting(shell)
    new = shell("runs", "fork", "loans/l-1", "1", "--foreign-id", "l-2", "--reason", "again")
    new_id = new.stdout.strip()
    shown = read(shell("runs", "show", new_id, "--json"))
    assert (shown["foreign_id"], shown["origin"]) == ("l-2", f"{run_id}@1")
    told = shell("runs", "show", new_id).stdout
    assert f"forked from:     {run_id}@1\n" in told
    assert "run_id" in read(shell("runs", "fork", run_id, "2", "--foreign-id", "l-3", "--json"))
    for version, code, why in [("0", 2, "range"), ("99", 1, "can't be forked"), ("x", 2, "valid")]:
        result = shell("runs", "fork", run_id, version)
        assert (result.exit_code, why in result.stderr) == (code, True)
    assert f"has a run in progress: {run_id}" in shell("runs", "fork", run_id, "1").stderr


def test_a_run_is_shown_with_what_waits_at_it_and_what_it_has_started(shell: Cli) -> None:
    run_id = waiting(shell)
    asked = ["--run-id", run_id, "--data", "5", "--wait-for", "60"]
    assert shell("callback", "loans", "pay", *asked).stdout.startswith("kept\n")
    assert "callbacks:       pay\n" in shell("runs", "show", run_id).stdout
    history = shell("runs", "history", run_id).stdout
    assert history.splitlines()[3].split()[3:] == ["callback", "anonymous", "callback", "pay"]

    book = shell("trigger", "books", "b", "--data", '{"pages": 2}').stdout.strip()
    assert shell("runs", "await", book, "--status", "WRITING").exit_code == 0
    shown = shell("runs", "show", book).stdout
    assert "children:        pages/b/0 in progress, pages/b/1 in progress\n" in shown
    assert f"parent:          books/{book}/b\n" in shell("runs", "show", "pages/b/0").stdout
