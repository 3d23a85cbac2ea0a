"""A standby that follows more changelogs loses nothing of those that it goes on with."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from streamwf.agents import standby
from streamwf.agents.standby import Standbys
from streamwf.ports import Change, Checkpoint
from streamwf.record import encode_record
from streamwf.settings import Settings
from streamwf.tables.changelog import ChangelogRecord, records_of
from streamwf.tables.runs import Memory, RunsTable
from tests.support import record

PARTITION = TopicPartition("changelog", 0)
OTHER = TopicPartition("changelog", 1)


class Reader:
    """In place of the one on Kafka. Like it, it delivers what it has read before it follows others,
    and here the test says when that is."""

    def __init__(self, settings: Settings, deliver: Any, **_: Any) -> None:
        self.deliver: Callable[
            [TopicPartition, Sequence[ChangelogRecord], int], Awaitable[None]
        ] = deliver
        self.free = asyncio.Event()
        self.starts: dict[TopicPartition, int] = {}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def follow(self, positions: Mapping[TopicPartition, Callable[[], int]]) -> None:
        await self.free.wait()
        self.starts = {partition: position() for partition, position in positions.items()}


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[Reader]:
    made: list[Reader] = []

    def make(*args: Any, **kwargs: Any) -> Reader:
        made.append(Reader(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(standby, "LogReader", make)
    return made


async def test_a_checkpoint_that_is_read_half_while_others_are_followed(
    tmp_path: Path, readers: list[Reader]
) -> None:
    memory = Memory()
    tables = {
        partition: RunsTable(tmp_path / str(partition.partition), memory)
        for partition in (PARTITION, OTHER)
    }
    runs = {key: record(foreign_id=key, run_id=f"run-{key}") for key in "ab"}
    changes = [Change(key, None, run) for key, run in runs.items()]
    written = [
        ChangelogRecord(offset, key, value)
        for offset, (key, value) in enumerate(records_of(Checkpoint(changes, 7), "table")[1])
    ]
    standbys = Standbys(Settings())
    [reads] = readers
    reads.free.set()
    await standbys.follow({PARTITION: tables[PARTITION]})
    reads.free.clear()
    await reads.deliver(PARTITION, written[:1], 0)
    following = asyncio.create_task(standbys.follow(tables))
    await asyncio.sleep(0)
    await reads.deliver(PARTITION, written[1:], 0)
    reads.free.set()
    await following
    await reads.deliver(PARTITION, written[reads.starts[PARTITION] :], 0)
    assert dict(tables[PARTITION].rows()) == {key: encode_record(run) for key, run in runs.items()}
    for table in tables.values():
        table.close()
