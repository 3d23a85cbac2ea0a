import json

import pytest

from streamwf.cli.bench import _latencies
from tests.cli.conftest import Cli

SMALL = ("--runs", "20", "--concurrency", "4", "--yes")


def test_it_tells_what_was_measured(over_http: Cli) -> None:
    result = over_http("bench", "parcels", "--data", "{}", *SMALL, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["runs"], found["ended"], found["concurrency"]) == (20, 20, 4)
    # Triggered, sent, there.
    assert found["transitions"] == 60
    assert found["failed"] == {}
    assert found["transitions_per_second"] == pytest.approx(60 / found["seconds"], rel=0.1)
    accepted, ended = found["accepted_ms"], found["ended_ms"]
    assert 0 < accepted["p50"] <= accepted["p99"] <= accepted["max"] <= ended["max"]
    assert ended["max"] <= 1_000 * found["seconds"]
    # With the one that went ahead.
    listed = over_http("runs", "count", "--prefix", "bench-", "--state", "COMPLETED")
    assert listed.stdout == "21\n"

    told = over_http("bench", "parcels", "--data", "{}", *SMALL).stdout.splitlines()
    assert told[0].startswith("20 runs in ")
    assert [line.split()[0] for line in told[1:]] == ["MILLISECONDS", "accepted", "there"]


def test_runs_that_do_not_get_there_are_counted(over_http: Cli) -> None:
    waits = ("--data", '{"waits": true}', "--runs", "3", "--yes")
    first = over_http("bench", "parcels", *waits)
    # Nothing is measured if not even one gets there.
    assert (first.exit_code, first.stdout) == (1, "")
    assert "it is PAUSED at PACKED. look at it" in first.stderr
    assert over_http("bench", "parcels", *waits, "--status", "PACKED").exit_code == 0


def test_what_can_not_be_is_told_at_once(over_http: Cli) -> None:
    for arguments, code, said in (
        (("nope", "--yes"), 1, "No workflow 'nope' here"),
        (("parcels", "--data", '{"weight": "x"}', "--yes"), 1, "does not fit 'parcels'"),
        (("parcels", "--data", "{", "--yes"), 2, "it is not JSON"),
        (("parcels", "--data", "{}"), 2, "There is no terminal to ask at"),
    ):
        result = over_http("bench", *arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert said in result.stderr
    assert over_http("runs", "count").stdout == "0\n"


def test_percentiles_are_those_of_what_was_done() -> None:
    hundred = _latencies([number / 1_000 for number in range(100, 0, -1)])
    assert hundred is not None
    assert tuple(hundred.model_dump().values()) == (50, 95, 99, 100)
    one = _latencies([0.5])
    assert one is not None
    assert set(one.model_dump().values()) == {500}
    assert _latencies([]) is None
