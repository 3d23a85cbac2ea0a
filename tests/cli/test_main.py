import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest

from streamwf.cli import EXIT_CODES
from streamwf.errors import WorkerUnreachable
from tests.cli.conftest import Cli

NOBODY = "http://127.0.0.1:1"


def test_the_help_names_every_command_and_exit_code(cli: Cli) -> None:
    result = cli("--help")
    assert result.exit_code == 0
    for word in ("dev", "worker", "trigger", "runs", "rebuild", "verify", "graph"):
        assert f"\n  {word}" in result.output
    for code, said in EXIT_CODES.items():
        assert re.search(rf"^ +{code} +{re.escape(said)}$", result.output, re.MULTILINE)


@pytest.mark.parametrize("code", EXIT_CODES)
def test_each_exit_code_is_used_as_it_is_told(over_http: Cli, url: str, code: int) -> None:
    run_id = over_http("trigger", "parcels", "p-1", "--data", '{"waits": true}').stdout.strip()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = {
            0: ("show", run_id, "--url", url),
            1: ("show", "no-such-run", "--url", url),
            2: ("show", "--url", url),
            130: ("show", run_id, "--url", there),
        }[code]
        words = [sys.executable, "-m", "streamwf.cli", "runs", *command]
        with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            if code == 130:
                silent.settimeout(60)
                asking, _ = silent.accept()
                process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
            if code == 130:
                asking.close()
    assert process.returncode == code
    assert bool(said) is (code != 0)
    assert b"Traceback" not in said


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
