"""`streamwf dead-letters` against a host."""

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


mended: list[bool] = []
parcels = Workflow("damaged", dict, Status)


@parcels.step(Status.TAKEN, to=Status.STORED)
async def store(run: Run[dict[str, Any], Status]) -> Status:
    return Status.STORED


async def scanner(position: str | None) -> AsyncIterator[tuple[str, Any]]:
    for number in range(0 if position is None else int(position) + 1, 2):
        yield f"{number}", f"poison {number} \x1b[31m"
    await asyncio.Event().wait()


@parcels.connector(from_iterator(scanner), name="scan")
async def scan(message: Message) -> Start[dict[str, Any], Status]:
    if not mended:
        raise ValueError("torn \x1b[31m")
    return Start(f"p-{message.position}", {})


@pytest.fixture
def letters(cli: Cli) -> Iterator[Cli]:
    with served(parcels) as url:
        yield lambda *arguments: cli("dead-letters", *arguments, "--url", url)
    mended.clear()


def listed(letters: Cli, count: int = 2) -> list[dict[str, Any]]:
    """What is listed, once it is so many."""
    while True:
        result = letters("list", "--workflow", "damaged", "--json")
        assert result.exit_code == 0, result.stderr
        found: list[dict[str, Any]] = json.loads(result.stdout)["letters"]
        if len(found) == count:
            return found


def test_they_are_listed_and_shown(letters: Cli) -> None:
    letter, _ = listed(letters)
    head, *rows = letters("list").stdout.splitlines()
    assert head.split() == ["ID", "SET", "ASIDE", "KEY", "FROM", "WHY"]
    assert [row.split()[0] for row in rows] == [each["id"] for each in listed(letters)]
    shown = letters("show", letter["id"]).stdout
    assert "ValueError: torn" in shown
    assert "poison" in shown
    assert "\x1b" not in shown + "".join(rows)


def test_a_page_says_where_the_next_one_begins(letters: Cli) -> None:
    listed(letters)
    result = letters("list", "--limit", "1")
    assert "2 in all; those before these: --cursor " in result.stderr
    cursor = result.stderr.split("--cursor ")[1].strip()
    assert len(letters("list", "--cursor", cursor).stdout.splitlines()) == 2


def test_they_are_sent_again_once_it_is_mended(letters: Cli) -> None:
    ids = [letter["id"] for letter in listed(letters)]
    refused = letters("retry", *ids)
    assert refused.exit_code == 1
    assert "torn" in refused.stderr
    mended.append(True)
    done = letters("retry", *ids, "--reason", "mended")
    assert done.stdout.splitlines() == [f"{id} is sent again" for id in ids]
    assert listed(letters, 0) == []


def test_they_are_dropped(letters: Cli) -> None:
    first, second = listed(letters)
    assert letters("drop", first["id"], "--json").exit_code == 0
    assert [letter["id"] for letter in listed(letters, 1)] == [second["id"]]
    assert letters("drop", first["id"]).exit_code == 1
