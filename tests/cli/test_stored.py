"""Commands on what lies in a database: `--store`, in place of Kafka."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from streamwf.adapters.sql.engine import create
from streamwf.adapters.stores import open_stores
from streamwf.events import TRIGGER, encode_event, request
from streamwf.ports import Outgoing
from tests.cli.conftest import Cli
from tests.support import NOW

TARGET = "tests.cli.sample"

#: The commands that only look, or make rows anew, of what is there.
COMMANDS = {
    "verify": ["verify", TARGET],
    "rebuild": ["rebuild", TARGET],
    "replay": ["replay", TARGET, "--until", "2100-01-01T00:00:00Z"],
    "check": ["check", TARGET, "--against", "store"],
}


async def tables(url: str) -> list[str]:
    engine = create(url, "store")
    async with engine.connect() as connection:
        found: list[str] = await connection.run_sync(lambda known: inspect(known).get_table_names())
    await engine.dispose()
    return found


async def append(url: str, *events: bytes, workflow: str = "parcels") -> None:
    """Write into the log of a workflow, with all tables made."""
    async with open_stores(url, "store") as stores:
        sender = await stores.log.streamer.sender(workflow)
        await sender.send([Outgoing(b"p-1", event) for event in events])
        await sender.close()


def trigger() -> bytes:
    event = request(
        "parcels",
        TRIGGER,
        "p-1",
        NOW,
        event_id="event-1",
        runid="run-1",
        status="PACKED",
        data=b'{"weight":1}',
    )
    return encode_event(event)


@pytest.fixture
def url(sqlite_url: str) -> str:
    """The URL of a file that has a run which is at its start."""
    asyncio.run(append(sqlite_url, trigger()))
    return sqlite_url


# ---- what is not there is not made


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_file_is_made(cli: Cli, sqlite_url: str, tmp_path: Path, command: list[str]) -> None:
    result = cli(*command, "--store", sqlite_url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"The database {tmp_path / 'streamwf.db'} does not exist: no such file" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("kind", ["sqlite_url", "postgres_url", "mariadb_url"])
def test_no_tables_are_made(
    cli: Cli, request: pytest.FixtureRequest, tmp_path: Path, kind: str, command: list[str]
) -> None:
    url: str = request.getfixturevalue(kind)
    if kind == "sqlite_url":
        with closing(sqlite3.connect(tmp_path / "streamwf.db")) as file:
            file.execute("CREATE TABLE others (id INTEGER)")
    before = asyncio.run(tables(url))
    result = cli(*command, "--store", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has no tables of streamwf, and none were made" in result.stderr
    assert asyncio.run(tables(url)) == before


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_log_is_made_of_a_workflow_that_was_never_there(
    cli: Cli, sqlite_url: str, command: list[str]
) -> None:
    asyncio.run(append(sqlite_url, trigger(), workflow="others"))
    before = asyncio.run(tables(sqlite_url))
    result = cli(*command, "--store", sqlite_url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has no table streamwf_parcels_events" in result.stderr
    assert "'parcels'" in result.stderr
    assert asyncio.run(tables(sqlite_url)) == before


def test_what_is_there_is_looked_at(cli: Cli, url: str) -> None:
    assert cli(*COMMANDS["rebuild"], "--store", url).stdout == (
        "parcels: 1 event folded into 1 run in 1 partition\n"
    )
    assert cli(*COMMANDS["verify"], "--store", url).stdout == (
        "parcels: 1 row, all as the log leads to them\n"
    )
    replayed = cli(*COMMANDS["replay"], "--store", url)
    assert replayed.stdout.split()[3:] == ["PACKED", "INITIATED", "1"]
    assert replayed.stderr == "1 event folded\n"


# ---- the definition against the runs of a database

BOXED = """\
from enum import Enum
from streamwf import Workflow

Status = Enum("Status", "BOXED THERE")
parcels = Workflow("parcels", dict, Status)

@parcels.step(Status.BOXED, to=Status.THERE)
async def go(run):
    return Status.THERE
"""


@pytest.mark.parametrize("against", [["--against", "store"], ["--against"]])
def test_all_runs_of_a_database_can_go_on(cli: Cli, url: str, against: list[str]) -> None:
    result = cli("check", TARGET, *against, "--store", url)
    assert result.exit_code == 0
    assert result.stdout.endswith("of 1 live run 1 can go on, 0 can't\n")


@pytest.mark.usefixtures("modules_as_before")
def test_a_database_has_a_run_that_cant_go_on(cli: Cli, url: str, tmp_path: Path) -> None:
    changed = tmp_path / "boxed.py"
    changed.write_text(BOXED)
    before = asyncio.run(tables(url))
    result = cli("check", str(changed), "--against", "store", "--store", url, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["live"], told["blocked"]) == (1, 1)
    [problem] = told["problems"]
    assert (problem["status"], problem["blocks"]) == ("PACKED", True)
    assert [run["foreign_id"] for run in problem["runs"]] == ["p-1"]
    assert asyncio.run(tables(url)) == before


@pytest.mark.parametrize("against", [[], ["--against", "kafka"]])
def test_a_database_is_looked_at_only_if_it_is_asked_for(cli: Cli, against: list[str]) -> None:
    result = cli("check", TARGET, *against, "--store", "sqlite:///orders.db")
    assert result.exit_code == 2
    assert "--store is for --against store" in result.stderr
