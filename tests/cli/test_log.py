"""`streamwf rebuild` and `streamwf verify`, but for what they do to topics."""

import json
from typing import Any

import pytest

from streamwf import agents
from streamwf.comparing import Difference, Rebuilt, Verified
from streamwf.errors import WorkersRunning
from streamwf.settings import Settings
from tests.cli.conftest import Cli
from tests.cli.sample import parcels

TARGET = "tests.cli.sample"


def answering(answer: Any, seen: list[Any]) -> Any:
    async def work(workflow: Any, settings: Settings, progress: Any) -> Any:
        seen.append((workflow, settings))
        progress(0, 10)
        progress(10, 10)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return work


def test_rebuild_tells_what_it_made(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(agents, "rebuild", answering(Rebuilt(8, 1_234, 56), seen))
    result = cli("rebuild", TARGET, "--brokers", "kafka:1", "--partitions", "8")
    assert result.exit_code == 0
    assert result.stdout == "parcels: 1,234 events folded into 56 runs in 8 partitions\n"
    [(workflow, settings)] = seen
    assert workflow is parcels
    assert (settings.brokers, settings.partitions) == ("kafka:1", 8)
    assert settings.app_id == "streamwf-parcels"
    as_json = json.loads(cli("rebuild", TARGET, "--json").stdout)
    assert as_json == {"workflow": "parcels", "partitions": 8, "events": 1_234, "runs": 56}


def test_rebuild_says_why_not(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    running = WorkersRunning(count=2, app_id="streamwf-parcels")
    monkeypatch.setattr(agents, "rebuild", answering(running, []))
    result = cli("rebuild", TARGET)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "2 workers are running in the group 'streamwf-parcels'" in result.stderr


def test_verify_is_content_without_differences(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "verify", answering(Verified(1_000, 0, []), []))
    result = cli("verify", TARGET)
    assert result.exit_code == 0
    assert result.stdout == "parcels: 1,000 rows, all as the log leads to them\n"


def test_verify_shows_the_differences(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [Difference(3, "p-1", '{"n":1}', '{"n":2}'), Difference(4, "p-2", None, "{}")]
    more = [Difference(5, f"p-{n}", "{}", None) for n in range(3, 30)]
    monkeypatch.setattr(agents, "verify", answering(Verified(1_000, 0, several + more), []))
    result = cli("verify", TARGET)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:6] == [
        "partition 3, 'p-1':",
        '  table: {"n":1}',
        '  log:   {"n":2}',
        "partition 4, 'p-2':",
        "  table: no row",
        "  log:   {}",
    ]
    assert result.stdout.endswith(
        "and 9 more\nparcels: 29 rows differ from the log, out of 1,000\n"
    )
    as_json = cli("verify", TARGET, "--json")
    assert as_json.exit_code == 1
    assert len(json.loads(as_json.stdout)["differences"]) == 29
