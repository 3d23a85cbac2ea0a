import json
from typing import Any

import pytest

from tests.cli.conftest import Cli

MAKE = ("create", "parcels", "nightly", "0 3 * * *", "--data", '{"weight": 2}')


@pytest.fixture
def schedules(over_http: Cli) -> Cli:
    return lambda *arguments: over_http("schedules", *arguments)


def read(schedules: Cli, *arguments: str) -> Any:
    result = schedules(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_schedule_is_made_listed_and_shown(schedules: Cli) -> None:
    made = schedules(*MAKE, "--timezone", "Europe/Berlin", "--overlap", "start", "--catch-up", "7")
    assert made.exit_code == 0, made.stderr
    assert made.stdout.startswith("nightly: next slot 2")
    view = read(schedules, "show", "parcels", "nightly")
    assert (view["timezone"], view["overlap"], view["catch_up"]) == ("Europe/Berlin", "start", 7)
    assert read(schedules, "list", "parcels")["schedules"][0]["run_id"] == view["run_id"]
    head, row = schedules("list", "parcels").stdout.splitlines()
    assert head.split()[:3] == ["NAME", "CRON", "TIME"]
    assert row.split()[:6] == ["nightly", "0", "3", "*", "*", "*"]
    shown = schedules("show", "parcels", "nightly").stdout
    for line in ("cron:            0 3 * * *", "foreign id:      nightly", '  "weight": 2,'):
        assert line in shown


def test_one_that_never_fires_is_seen_as_such(schedules: Cli) -> None:
    made = schedules("create", "parcels", "never", "0 0 30 2 *", "--data", "{}")
    assert made.stdout == "never: next slot never\n"
    assert "next slots:      never" in schedules("show", "parcels", "never").stdout
    assert schedules("list", "parcels").stdout.splitlines()[1].split()[-1] == "never"


def test_it_is_paused_resumed_and_deleted(schedules: Cli) -> None:
    schedules(*MAKE)
    assert schedules("pause", "parcels", "nightly", "--reason", "no paper").stdout == (
        "nightly is PAUSED\n"
    )
    assert "no paper" in schedules("list", "parcels").stdout
    assert schedules(*MAKE).stdout.endswith("(paused)\n")
    again = schedules("pause", "parcels", "nightly")
    assert again.exit_code == 1
    assert "Can't pause schedule 'nightly': it is PAUSED." in again.stderr
    assert read(schedules, "resume", "parcels", "nightly")["state"] == "RUNNING"
    assert schedules("delete", "parcels", "nightly").stdout == "nightly is CANCELLED\n"
    gone = schedules("show", "parcels", "nightly")
    assert gone.exit_code == 1
    assert "'parcels' has no schedule 'nightly'" in gone.stderr


def test_a_run_is_started_now(schedules: Cli, over_http: Cli) -> None:
    schedules(*MAKE)
    run_id = schedules(
        "run", "parcels", "nightly", "--reason", "hurry", "--key", "k"
    ).stdout.strip()
    assert read(schedules, "run", "parcels", "nightly", "--key", "k") == {"run_id": run_id}
    awaited = over_http("runs", "await", run_id, "--json")
    assert json.loads(awaited.stdout)["foreign_id"].startswith("nightly@run-")
    gone = schedules("run", "parcels", "lost")
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert "'parcels' has no schedule 'lost'" in gone.stderr


def test_the_past_is_backfilled_part_by_part(schedules: Cli, over_http: Cli) -> None:
    schedules("create", "parcels", "hourly", "@hourly", "--data", "{}")
    span = ("--start", "2020-01-01T00:00:00Z", "--end", "2020-01-06T06:00:00+00:00")
    assert read(schedules, "backfill", "parcels", "hourly", *span) == {
        "requested": 126,
        "left_out": 0,
        "cursor": None,
    }
    some = schedules("backfill", "parcels", "hourly", *span, "--limit", "5")
    assert some.stdout == "5 requested, 0 left out\n"
    assert "--start 2020-01-01T05:00:00+00:00" in some.stderr
    count = json.loads(over_http("runs", "count", "--json").stdout)
    assert count["count"] == 126


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("create", "parcels", "s", "61 * * * *", "--data", "{}"), 1, "The minute of schedule"),
        (("create", "parcels", "s", "@daily", "--data", "{"), 2, "it is not JSON"),
        (("create", "parcels", "s", "@daily", "--catch-up", "all"), 2, "catch_up"),
        (("create", "parcels", "s", "@daily", "--overlap", "queue"), 2, "--overlap"),
        (("create", "lost", "s", "@daily"), 1, "No workflow 'lost' here"),
        (("backfill", "parcels", "s", "--start", "2020-01-01", "--end", "2021-01-01"), 2, "start"),
        (("backfill", "parcels", "s", "--start", "2020-01-01T00:00:00Z"), 2, "--end"),
    ],
)
def test_what_can_not_be_is_told(
    schedules: Cli, arguments: tuple[str, ...], code: int, told: str
) -> None:
    result = schedules(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
