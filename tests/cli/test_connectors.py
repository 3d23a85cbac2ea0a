import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from enum import Enum
from typing import Any

import pytest

from streamwf import Run, Workflow
from streamwf.sources import Message, Start, from_iterator
from tests.cli.conftest import Cli, served


class Status(Enum):
    TAKEN = 1
    STORED = 2


parcels = Workflow("taken", dict, Status)


@parcels.step(Status.TAKEN, to=Status.STORED)
async def store(run: Run[dict[str, Any], Status]) -> Status:
    return Status.STORED


async def scanner(position: str | None) -> AsyncIterator[tuple[str, Any]]:
    for number in range(0 if position is None else int(position) + 1, 3):
        yield f"{number}", {"id": f"p-{number}"} if number != 1 else "poison\x1b[31m"
    await asyncio.Event().wait()


@parcels.connector(from_iterator(scanner), name="scan")
async def scan(message: Message) -> Start[dict[str, Any], Status]:
    return Start(message.json()["id"], {})


@pytest.fixture
def connectors(cli: Cli) -> Iterator[Cli]:
    with served(parcels) as url:
        yield lambda *arguments: cli("connectors", *arguments, "--url", url)


def listed(connectors: Cli) -> Any:
    """The connector, once all was read."""
    while True:
        result = connectors("list", "taken", "--json")
        assert result.exit_code == 0, result.stderr
        [connector] = json.loads(result.stdout)["connectors"]
        if sum(part["messages"] for part in connector["partitions"]) == 3:
            return connector


def test_connectors_are_listed(connectors: Cli) -> None:
    connector = listed(connectors)
    [part] = connector["partitions"]
    assert (part["position"], part["set_aside"], part["behind"]) == ("2", 1, None)
    head, whole, row = connectors("list", "taken").stdout.splitlines()
    assert head.split()[:5] == ["NAME", "SOURCE", "PARTITION", "STATE", "POSITION"]
    assert whole.split()[:5] == ["scan", "scanner", "running", "3", "1"]
    assert row.split()[:6] == ["scan", "scanner", "0", "RUNNING", "2", "3"]
    assert connector["looking"]["run_id"] in whole
    assert part["run_id"] in row


def test_one_is_paused_and_resumed(connectors: Cli) -> None:
    listed(connectors)
    assert connectors("pause", "taken", "scan", "--reason", "full").stdout == "scan is paused\n"
    assert "full" in connectors("list", "taken").stdout
    assert connectors("resume", "taken", "scan").stdout == "scan is running\n"


def test_there_is_none_of_that_name(connectors: Cli) -> None:
    result = connectors("pause", "taken", "nope")
    assert result.exit_code == 1
    assert result.stderr == "Error: 'taken' has no connector 'nope'; it has: scan.\n"
