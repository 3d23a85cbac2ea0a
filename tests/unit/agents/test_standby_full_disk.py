"""A standby follows its shard's changelog, whatever becomes of its disk meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from streamwf.agents import standby
from streamwf.agents.standby import Standbys
from streamwf.settings import Settings
from streamwf.tables.changelog import MARKER_KEY, Marker
from streamwf.tables.runs import AsOf, Memory, RunsTable
from tests.support import Lines
from tests.unit.agents.reading import Reader

CHANGELOG = TopicPartition("orders.runs-changelog", 3)


class Table(RunsTable):
    """A table on a disk that is full at first."""

    full = True

    def write(self, changes: Any, rows: Any, as_of: AsOf) -> None:
        if self.full:
            raise OSError("no space left on device")
        super().write(changes, rows, as_of)


class Marked(msgspec.Struct):
    """A checkpoint in the changelog."""

    offset: int
    key: bytes = MARKER_KEY
    value: bytes = msgspec.json.encode(Marker("t", 7))


async def test_what_a_full_disk_has_not_taken_is_read_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(standby, "AGAIN", 0.0)
    monkeypatch.setattr(standby, "LogReader", Reader)
    lines, table = Lines(), Table(tmp_path, Memory())
    standbys = Standbys(Settings(), lines)
    reader: Any = standbys._reader
    await standbys.follow({CHANGELOG: table})
    await reader.deliver(CHANGELOG, [Marked(4)], 0)
    assert [fields["shard"] for fields in lines.of("standby_failed")] == [3]
    await reader.deliver(CHANGELOG, [Marked(5)], 0)
    assert table.as_of is None, "after what is missing nothing counts"
    table.full = False
    async with asyncio.timeout(30):
        while len(reader.followed) < 2:
            await asyncio.sleep(0)
    assert reader.followed == [{CHANGELOG: 0}, {CHANGELOG: 0}]
    await reader.deliver(CHANGELOG, [Marked(4), Marked(5)], 0)
    assert table.as_of is not None
    assert (table.as_of.marker, table.position) == (5, 7)
    await standbys.stop()
    table.close()
