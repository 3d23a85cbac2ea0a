"""What shells complete."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.conftest import Cli

NOBODY = "http://127.0.0.1:1"


def completed(line: str, url: str) -> list[str]:
    """What bash is offered after a line that ends where the cursor is."""
    words = line.split(" ")
    asked = subprocess.run(
        [sys.executable, "-m", "streamwf.cli"],
        env={
            **os.environ,
            "_STREAMWF_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "STREAMWF_URL": url,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert asked.stderr == ""
    return [offer.partition(",")[2] for offer in asked.stdout.splitlines() if offer]


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("streamwf re", ["relay", "rebuild", "replay"]),
        ("streamwf runs li", ["list"]),
        ("streamwf runs list --state PA", ["PAUSED"]),
        ("streamwf trigger pa", ["parcels"]),
        ("streamwf trigger x", []),
        ("streamwf runs list --workflow ", ["parcels"]),
        ("streamwf runs list --workflow parcels --status ", ["PACKED", "SENT", "THERE"]),
        ("streamwf runs list --status S", ["SENT"]),
        ("streamwf runs show ", ["parcels/"]),
        ("streamwf runs show parcels/p-", ["parcels/p-1", "parcels/p-2"]),
        ("streamwf schedules list ", ["parcels"]),
        ("streamwf completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_what_is_offered(over_http: Cli, url: str, line: str, offers: list[str]) -> None:
    for foreign_id in ("p-1", "p-2", "q-1"):
        over_http("trigger", "parcels", foreign_id, "--data", "{}")
    assert completed(line, url) == offers


@pytest.mark.parametrize(
    "line", ["streamwf trigger ", "streamwf runs show ", "streamwf runs show a/"]
)
def test_where_nobody_answers_nothing_is_offered(line: str) -> None:
    assert completed(line, NOBODY) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_this_command(cli: Cli, shell: str) -> None:
    script = cli("completion", shell).stdout
    assert f"_STREAMWF_COMPLETE={shell}_complete" in script
    assert cli("completion", shell, "--json").exit_code == 0
    found = shutil.which(shell)
    if found is not None:
        subprocess.run([found, "-n"], input=script, text=True, timeout=60, check=True)
