"""A standby that follows more changelogs loses nothing of those that it goes on with."""

import asyncio
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
from tests.unit.agents.reading import Reader

PARTITION = TopicPartition("changelog", 0)
OTHER = TopicPartition("changelog", 1)


async def test_a_checkpoint_that_is_read_half_while_others_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "LogReader", Reader)
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
    reads: Any = standbys._reader
    await standbys.follow({PARTITION: tables[PARTITION]})
    reads.free.clear()
    await reads.deliver(PARTITION, written[:1], 0)
    following = asyncio.create_task(standbys.follow(tables))
    await asyncio.sleep(0)
    await reads.deliver(PARTITION, written[1:], 0)
    reads.free.set()
    await following
    await reads.deliver(PARTITION, written[reads.followed[-1][PARTITION] :], 0)
    assert dict(tables[PARTITION].rows()) == {key: encode_record(run) for key, run in runs.items()}
    for table in tables.values():
        table.close()
