"""Timers that wait: what it costs to look at them is what is due, whatever waits."""

import os
import resource
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from streamwf import timetable as module
from streamwf.record import Record, Timer, encode_record
from streamwf.tables.runs import AsOf, Memory, RunsTable
from streamwf.timetable import DUE_LIMIT, Timetable
from tests.support import NOW, record

#: The whole is 1,000,000.
TIMERS = int(os.environ.get("STREAMWF_TIMERS", "50000"))

#: Rows that are written at a time.
PILE = 50_000

#: Of so many, which are due second by second. As many are due at one instant, later.
SOON = 1_000

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def due_at(number: int) -> timedelta:
    return (number + 1) * SECOND if number < SOON else DAY


class Reading:
    """A table of timers. read: how many entries, and rows, were read of it."""

    def __init__(self, path: Path) -> None:
        self.table = RunsTable(path, Memory())
        for begin in range(0, TIMERS, PILE):
            rows = {}
            for number in range(begin, min(begin + PILE, TIMERS)):
                name = f"o-{number:07}"
                timer = Timer("late", NOW + due_at(number))
                row = record(foreign_id=name, run_id=f"run-{number}", timers=(timer,))
                rows[name.encode()] = encode_record(row)
            self.table.write_bare(rows, AsOf("table-1", begin + 1, begin + 1))
        for _ in self.table.derive():
            pass
        self.read = 0
        self.timetable = Timetable(self, self.get)  # type: ignore[arg-type]

    def get(self, key: str) -> Record | None:
        self.read += 1
        return self.table.get(key)

    def due(self, *given: object) -> list[object]:
        found = self.table.due(*given)  # type: ignore[arg-type]
        self.read += len(found)
        return list(found)


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    reading = Reading(tmp_path / "table")
    yield reading
    reading.table.close()


def megabytes() -> float:
    """The most that this process ever had."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


@pytest.mark.timeout(600)
def test_a_look_costs_what_is_due_and_none_is_early(reading: Reading) -> None:
    assert reading.table.timers() == {"CREATED": TIMERS}
    timetable, before = reading.timetable, megabytes()
    for second in range(SOON):
        now = NOW + second * SECOND
        timetable.scan(now)
        found = [row.foreign_id for row, _, _ in timetable.due(now)]
        assert found == ([f"o-{second - 1:07}"] if second else [])
    # Each of these was read as an entry when it came near, and as a row when it was due.
    assert reading.read <= 2 * (SOON + module.WINDOW // SECOND)
    timetable.scan(NOW + DAY - SECOND)
    assert {row.due_at for row, _, _ in timetable.due(NOW + DAY - SECOND)} <= {None}
    given_out, longest = set[str](), 0.0
    while len(given_out) < TIMERS - SOON:
        read, begun = reading.read, time.perf_counter()
        timetable.scan(NOW + DAY)
        part = [row.foreign_id for row, _, _ in timetable.due(NOW + DAY)]
        longest = max(longest, time.perf_counter() - begun)
        assert part
        assert reading.read - read <= 2 * 2 * DUE_LIMIT
        given_out |= set(part)
    timetable.scan(NOW + 2 * DAY)
    assert list(timetable.due(NOW + 2 * DAY)) == []
    print(f"longest look {longest:.2f} s, {megabytes() - before:.0f} MB more")
