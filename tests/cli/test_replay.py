"""`streamwf replay` on what lies in a database: at a time, at an offset, between two."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from streamwf.adapters.stores import open_stores
from streamwf.events import (
    CANCEL,
    FORGOTTEN,
    MOVED,
    PAUSE,
    RESUME,
    TRIGGER,
    Event,
    encode_event,
    request,
    source_of,
)
from streamwf.ports import Outgoing
from streamwf.record import State
from tests.cli.conftest import Cli
from tests.support import NOW

TARGET = "tests.cli.sample"


def asked(kind: str, foreign_id: str, number: int, **fields: Any) -> Event:
    return request(
        "parcels",
        kind,
        foreign_id,
        NOW + timedelta(seconds=number),
        event_id=f"e-{number}",
        runid=f"run-{foreign_id}",
        **fields,
    )


def result(kind: str, foreign_id: str, number: int, version: int, **fields: Any) -> Event:
    return Event(
        specversion="1.0",
        id=f"e-{number}",
        source=source_of("parcels"),
        type=kind,
        subject=foreign_id,
        time=NOW + timedelta(seconds=number),
        runid=f"run-{foreign_id}",
        version=version,
        **fields,
    )


#: In the order of the log. After the fourth event p-1 is paused and p-2 cancelled.
EVENTS = [
    asked(TRIGGER, "p-1", 0, status="PACKED", data=b'{"weight":1,"fails":false}'),
    asked(TRIGGER, "p-2", 1, status="PACKED", data=b'{"weight":2}'),
    asked(PAUSE, "p-1", 2, reason="lunch"),
    asked(CANCEL, "p-2", 3),
    asked(RESUME, "p-1", 4),
    result(
        *(MOVED, "p-1", 5, 3),
        status="SENT",
        state=State.RUNNING,
        data=msgspec.Raw(b'{"weight":9,"fails":false}'),
    ),
    result(FORGOTTEN, "p-2", 6, 2),
    asked(TRIGGER, "p-3", 7, status="PACKED", data=b'{"weight":3}'),
]


async def fill(url: str) -> tuple[list[int], list[datetime]]:
    """The offset of each event, and when the log got it."""
    offsets, times = [], []
    async with open_stores(url, "store") as stores:
        sender = await stores.log.streamer.sender("parcels")
        for event in EVENTS:
            await sender.send([Outgoing(event.subject.encode(), encode_event(event))])
            [end] = (await stores.log.streamer.ends("parcels")).values()
            [record] = await stores.log.streamer.read("parcels", 0, [end - 1])
            offsets.append(record.offset)
            times.append(datetime.fromtimestamp(record.timestamp / 1_000, UTC))
            await asyncio.sleep(0.002)
        await sender.close()
    return offsets, times


class Filled:
    def __init__(self, url: str) -> None:
        self.url = url
        self.offsets, self.times = asyncio.run(fill(url))


@pytest.fixture(params=["sqlite_url", "postgres_url", "mariadb_url"])
def filled(request: pytest.FixtureRequest) -> Filled:
    return Filled(request.getfixturevalue(request.param))


@pytest.fixture
def file(sqlite_url: str) -> Filled:
    return Filled(sqlite_url)


def replay(cli: Cli, filled: Filled, *options: str) -> Any:
    result = cli("replay", TARGET, *options, "--store", filled.url, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# ---- at one moment


def test_up_to_an_offset_and_up_to_a_time(cli: Cli, filled: Filled) -> None:
    expected = [
        {"INITIATED": 1},
        {"INITIATED": 2},
        {"INITIATED": 1, "PAUSED": 1},
        {"CANCELLED": 1, "PAUSED": 1},
    ]
    for number, counts in enumerate(expected):
        offset, time = filled.offsets[number], filled.times[number]
        for moment in (str(offset), f"0:{offset}", time.isoformat()):
            told = replay(cli, filled, "--until", moment)
            assert (told["events"], told["counts"]) == (number + 1, {"PACKED": counts}), moment


def test_a_run_as_it_was_at_an_offset(cli: Cli, filled: Filled) -> None:
    for run in ("p-1", "run-p-1"):
        then = replay(cli, filled, "--run", run, "--until", str(filled.offsets[2]))
        assert (then["state"], then["version"], then["reason"]) == ("PAUSED", 2, "lunch")
        assert then["object"] == {"weight": 1, "fails": False}
    result = cli(
        *("replay", TARGET, "--run", "p-3", "--until", str(filled.offsets[6])),
        *("--store", filled.url),
    )
    assert result.exit_code == 1
    assert "there was no run 'p-3' then" in result.stderr


def test_an_offset_behind_the_end_is_the_end(cli: Cli, file: Filled) -> None:
    assert replay(cli, file, "--until", "1000000")["events"] == len(EVENTS)


# ---- between two


def test_what_has_changed_between_two_moments(cli: Cli, filled: Filled) -> None:
    first, last = filled.offsets[3], filled.offsets[-1]
    told = replay(cli, filled, "--diff", str(first), str(last))
    assert (told["events_before"], told["events_after"]) == (4, 8)
    assert told["before"] == {"PACKED": {"CANCELLED": 1, "PAUSED": 1}}
    assert told["after"] == {"PACKED": {"INITIATED": 1}, "SENT": {"RUNNING": 1}}
    [new], [changed], [gone] = (told[kind]["runs"] for kind in ("new", "changed", "gone"))
    assert new == {
        "foreign_id": "p-3",
        "run_id": "run-p-3",
        "before": None,
        "after": {"version": 1, "status": "PACKED", "state": "INITIATED"},
    }
    assert changed["before"] == {"version": 2, "status": "PACKED", "state": "PAUSED"}
    assert changed["after"] == {"version": 4, "status": "SENT", "state": "RUNNING"}
    assert (gone["foreign_id"], gone["after"]) == ("p-2", None)
    times = filled.times[3].isoformat(), filled.times[-1].isoformat()
    assert replay(cli, filled, "--diff", *times) == told
    assert replay(cli, filled, "--diff", str(first), times[1]) == told
    same = replay(cli, filled, "--diff", str(last), str(last))
    assert [same[kind]["count"] for kind in ("new", "changed", "gone")] == [0, 0, 0]


def test_what_has_changed_as_people_read_it(cli: Cli, file: Filled) -> None:
    moments = (str(file.offsets[3]), str(file.offsets[-1]))
    result = cli("replay", TARGET, "--diff", *moments, "--store", file.url)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines == [
        ["STATUS", "STATE", "BEFORE", "AFTER"],
        ["PACKED", "CANCELLED", "1", "0"],
        ["PACKED", "INITIATED", "0", "1"],
        ["PACKED", "PAUSED", "1", "0"],
        ["SENT", "RUNNING", "0", "1"],
        [],
        ["FOREIGN", "ID", "BEFORE", "AFTER", "RUN", "ID"],
        ["new", "p-3", "PACKED", "INITIATED", "(1)", "run-p-3"],
        ["changed", "p-1", "PACKED", "PAUSED", "(2)", "SENT", "RUNNING", "(4)", "run-p-1"],
        ["gone", "p-2", "PACKED", "CANCELLED", "(2)", "run-p-2"],
    ]
    assert result.stderr == "runs: 1 new, 1 changed, 1 gone; 4 events between\n"


async def crowd(url: str, count: int) -> None:
    async with open_stores(url, "store") as stores:
        sender = await stores.log.streamer.sender("parcels")
        events = [asked(TRIGGER, f"n-{n:04}", n, status="PACKED", data=b"{}") for n in range(count)]
        await sender.send([Outgoing(e.subject.encode(), encode_event(e)) for e in events])
        await sender.close()


def test_of_many_runs_some_are_named_and_the_rest_are_counted(cli: Cli, sqlite_url: str) -> None:
    asyncio.run(crowd(sqlite_url, 1_005))
    diff = ("replay", TARGET, "--diff", "0", "1000000", "--store", sqlite_url)
    told = json.loads(cli(*diff, "--json").stdout)
    assert told["new"]["count"] == 1_005
    assert len(told["new"]["runs"]) == 1_000
    shown = cli(*diff).stdout
    assert shown.count("new  ") == 21
    assert "… and 985 more" in shown


def test_a_run_field_by_field(cli: Cli, filled: Filled) -> None:
    moments = ("--diff", str(filled.offsets[2]), str(filled.offsets[-1]))
    told = replay(cli, filled, *moments, "--run", "p-1")
    assert (told["before"]["state"], told["after"]["state"]) == ("PAUSED", "RUNNING")
    fields = {each["field"]: (each["before"], each["after"]) for each in told["fields"]}
    assert fields["status"] == ("PACKED", "SENT")
    assert fields["version"] == (2, 4)
    assert fields["reason"] == ("lunch", "")
    assert "object" not in fields
    assert "foreign_id" not in fields
    assert told["object"] == [
        "@@ -1,4 +1,4 @@",
        " {",
        '-  "weight": 1,',
        '+  "weight": 9,',
        '   "fails": false',
        " }",
    ]
    result = cli("replay", TARGET, *moments, "--run", "p-1", "--store", filled.url)
    assert "before:          PACKED PAUSED, version 2\n" in result.stdout
    assert '-  "weight": 1,\n+  "weight": 9,\n' in result.stdout


def test_a_run_that_was_not_there_before_or_is_not_after(cli: Cli, file: Filled) -> None:
    moments = ("--diff", str(file.offsets[3]), str(file.offsets[-1]))
    new = replay(cli, file, *moments, "--run", "p-3")
    assert (new["before"], new["fields"]) == (None, [])
    assert [line[0] for line in new["object"]] == ["@", "+", "+", "+"]
    gone = replay(cli, file, *moments, "--run", "p-2")
    assert gone["after"] is None
    nobody = cli("replay", TARGET, *moments, "--run", "p-9", "--store", file.url)
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert "there was no run 'p-9' at either moment" in nobody.stderr


# ---- mistakes


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "Give one of --until and --diff"),
        (["--until", "1", "--diff", "1", "2"], "Give one of --until and --diff"),
        (["--until", "yesterday"], "'yesterday' is neither a time like"),
        (["--until", "1:2:3"], "neither a time like"),
        (["--until", "0:1,0:2"], "it names a partition twice"),
        (["--until", "2030-01-01T00:00:00"], "it has no time zone"),
        (["--diff", "2", "1"], "the first moment is the later one"),
        (["--diff", "0:2", "0:1"], "the first moment is the later one"),
        (["--diff", "2030-01-01T00:00:00Z", "2029-01-01T00:00:00Z"], "the later one; swap them"),
    ],
)
def test_what_is_no_moment(cli: Cli, sqlite_url: str, options: list[str], says: str) -> None:
    result = cli("replay", TARGET, *options, "--store", sqlite_url)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())


def test_a_partition_that_is_not_there(cli: Cli, file: Filled) -> None:
    result = cli("replay", TARGET, "--until", "3:1", "--store", file.url)
    assert result.exit_code == 1
    assert "The log has no partition 3: its partitions are 0 to 0." in result.stderr
