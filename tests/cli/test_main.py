from importlib.metadata import version

import pytest

from streamwf.errors import WorkerUnreachable
from tests.cli.conftest import Cli

NOBODY = "http://127.0.0.1:1"


def test_the_help_names_every_command_and_exit_code(cli: Cli) -> None:
    result = cli("--help")
    assert result.exit_code == 0
    for word in ("dev", "worker", "trigger", "runs", "rebuild", "verify", "graph"):
        assert f"\n  {word}" in result.output
    for code in ("0    done", "1    refused", "2    the command line", "130  interrupted"):
        assert code in result.output


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    assert cli("--version").output == f"streamwf, version {version('streamwf')}\n"


@pytest.mark.parametrize(
    "arguments", [["fly"], ["runs", "list", "--limit", "0"], ["worker"], ["graph"]]
)
def test_a_wrong_command_line_is_told_with_exit_code_2(cli: Cli, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_an_error_is_one_message_on_stderr_and_exit_code_1(cli: Cli) -> None:
    result = cli("runs", "show", "some-run", "--url", NOBODY)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: No worker answers at {NOBODY}.")
    assert "Traceback" not in result.stderr


def test_debug_shows_the_error_as_it_was_raised(cli: Cli) -> None:
    with pytest.raises(WorkerUnreachable):
        cli("--debug", "runs", "show", "some-run", "--url", NOBODY)


@pytest.mark.parametrize("command", ["worker", "verify", "rebuild"])
def test_settings_that_can_not_be_are_told(cli: Cli, command: str) -> None:
    result = cli(command, "tests.cli.sample", "--partitions", "0", "--app-id", "a b")
    assert result.exit_code == 1
    assert "- partitions: " in result.stderr
    assert "- app_id: " in result.stderr


@pytest.mark.parametrize("command", ["dev", "worker", "verify", "rebuild"])
def test_a_wrong_environment_is_told(
    cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMWF_PARTITIONS", "many")
    result = cli(command, "tests.cli.sample")
    assert result.exit_code == 1
    assert "- partitions: " in result.stderr
