"""The near part of a shard's agenda, in memory; the rest waits in the table.

Of what is due before the horizon it is held here when, and of which row; what is due later is read
from the table, window by window, as the horizon moves on. So a scan costs what is due and never
what waits, and a row is read once, when something of it is due. Entries of rows that no checkpoint
has written yet are remembered on the side.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from .agenda import Entry, Kind, entries
from .ports import ShardTable
from .record import Record

#: How far ahead the agenda is read from the table.
WINDOW = timedelta(seconds=2)

#: How many due entries are read from the table at a time: any number may be due at one instant, and
#: all else waits while they are read.
DUE_LIMIT = 1_000

#: How many are given out at a time, by all shards of a worker and less what is under way: so that
#: other jobs do not wait behind them. A few always, as there may be no end of others.
GIVEN, LEAST = 400, 25

#: Of how many that are held no more are read, as they come first; and of how many the rest is left
#: to the table.
HELD, MOST_HELD = 200, 4_000

#: How many entries of the table are looked at to say what is late.
LATE_LIMIT = 1_000

_MICROSECOND = timedelta(microseconds=1)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


#: When something of a row is due, and the row's key.
_Due: TypeAlias = tuple[datetime, str]


class Timetable:
    """What comes due next in a shard. get: gives the row of a key."""

    def __init__(self, table: ShardTable, get: Callable[[str], Record | None]) -> None:
        self._table = table
        self._get = get
        # Held is what is due up to this instant, and at it of rows with keys up to this one.
        self._horizon = (_BEGINNING, "")
        self._heap: list[_Due] = []
        self._unwritten: list[_Due] = []
        self._writing: list[_Due] = []

    def add(self, key: str, entry: Entry) -> None:
        """Note an entry of a run that has just been folded, and is not begun now."""
        due = (entry.due_at, key)
        if due > self._horizon:
            self._unwritten.append(due)
            return
        heapq.heappush(self._heap, due)
        if len(self._heap) > MOST_HELD:
            self._hold_less()

    def _hold_less(self) -> None:
        """Hold what comes first, and leave the rest to the table, or to the checkpoint that will
        write it there."""
        first = sorted(self._heap)
        self._heap, later = first[:HELD], first[HELD:]
        self._horizon = self._heap[-1]
        self._unwritten += later

    def has_due(self, now: datetime) -> bool:
        return bool(self._heap) and self._heap[0][0] <= now

    def due(self, now: datetime, most: int = GIVEN) -> Iterator[tuple[Record, Kind, str]]:
        """Take out what has come due, of so many rows at most, without what holds no more."""
        for _ in range(most):
            heap = self._heap
            if not heap or heap[0][0] > now:
                return
            due = heapq.heappop(heap)
            while heap and heap[0] == due:
                heapq.heappop(heap)
            due_at, key = due
            record = self._get(key)
            if record is not None:
                for entry in entries(record):
                    # The table knows no time before the beginning.
                    if max(entry.due_at, _BEGINNING) == due_at:
                        yield record, entry.kind, entry.name

    def late(self, now: datetime) -> Iterator[tuple[Record, Kind, str]]:
        """What is due and was not taken out: of what is held, and of what was left in the table
        because the shard has too much to do, or is not live. Of what was left, no more than
        `LATE_LIMIT` is looked at, and as much of what no checkpoint has written yet."""
        keys = {key for due_at, key in self._heap if due_at <= now}
        begin, past = self._horizon
        if begin <= now:
            far = self._table.due(begin, now + _MICROSECOND, LATE_LIMIT, past)
            unwritten = itertools.chain(self._writing, self._unwritten)
            fresh = (each for each in unwritten if each > self._horizon and each[0] <= now)
            keys |= {key for _, key in (*far, *itertools.islice(fresh, LATE_LIMIT))}
        for key in keys:
            record = self._get(key)
            if record is not None:
                for due_at, kind, name in entries(record):
                    if due_at <= now:
                        yield record, kind, name

    def scan(self, now: datetime) -> None:
        """Move the horizon on to a window from now, and hold what is due before it.

        Twice a window is often enough: reading the table at each look cost an idle host more than
        all else that it did.
        """
        begin, past = self._horizon
        if begin >= now + WINDOW / 2 or len(self._heap) >= HELD:
            return
        until = (now + WINDOW, "")
        found = self._table.due(begin, until[0], DUE_LIMIT, past)
        unwritten = itertools.chain(self._writing, self._unwritten)
        found += (each for each in unwritten if self._horizon < each <= until)
        if len(found) >= DUE_LIMIT:
            found = heapq.nsmallest(DUE_LIMIT, found)
            until = found[-1]
        for due in found:
            heapq.heappush(self._heap, due)
        self._horizon = until

    # ---- in step with the shard's checkpoints

    def writing(self) -> None:
        """A checkpoint is about to write all rows that have changed."""
        self._writing, self._unwritten = self._unwritten, []

    def written(self) -> None:
        self._writing = []

    def not_written(self) -> None:
        self._unwritten[:0] = self._writing
        self._writing = []
