"""A shard's table in memory: for development, tests and looking aside."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice

from sortedcontainers import SortedDict, SortedSet

from streamwf.ports import Change, Checkpoint, Due, Terms
from streamwf.record import LAST_KEY, Record, row_key
from streamwf.tables import ids, index_rows, timers
from streamwf.tables.tally import Tally

#: Rows that are scanned before the place is looked up anew, as there may be others meanwhile.
_STRETCH = 200

#: Rows that have changed until what lists are made of is brought up to date though nobody asks.
_UNLISTED = 100_000


class MemoryTable:
    """Implements `streamwf.ports.ShardTable`.

    What is derived from the rows, all but the ids of runs, is brought up to date when it is asked
    for: a run has mostly ended by then, and what became of it between is never made. The agenda is
    asked for time and again, and is apart from what lists are made of for that.
    """

    def __init__(self, terms: Terms | None = None) -> None:
        """terms: those by which runs are indexed; None for a table that lists are never made of."""
        self.position: int | None = None
        self._terms = terms
        self._rows: dict[str, Record] = {}
        self._heads: dict[str, str] = {}
        # The rows as the agenda, and as lists, were last made of them, if they have changed since.
        self._unplanned: dict[str, Record | None] = {}
        self._unlisted: dict[str, Record | None] = {}
        self._timers: SortedSet[bytes] = SortedSet()
        self._keys: SortedSet[str] = SortedSet()
        self._index: SortedDict[bytes, bytes] = SortedDict()
        self._tally = Tally()

    def write(self, checkpoint: Checkpoint) -> None:
        """Apply a checkpoint."""
        for run_id in list(ids.gone(checkpoint.changes, self.get)):
            self._heads.pop(run_id, None)
        for key, before, after in checkpoint.changes:
            self._unplanned.setdefault(key, before)
            self._unlisted.setdefault(key, before)
            if after is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = after
                if before is None or before.run_id != after.run_id:
                    self._heads[after.run_id] = row_key(after.kind, after.foreign_id)
        self.position = checkpoint.position
        if len(self._unlisted) > _UNLISTED:
            self._list()

    def _plan(self) -> None:
        """Bring the agenda up to date."""
        for key, before in self._unplanned.items():
            after = self._rows.get(key)
            was = timers.keys(key, before) if before is not None else ()
            waits = timers.keys(key, after) if after is not None else ()
            if was != waits:
                self._timers.difference_update(was)
                self._timers.update(waits)
        self._unplanned = {}

    def _list(self) -> None:
        """Bring up to date what lists are made of."""
        changes = [Change(key, before, self.get(key)) for key, before in self._unlisted.items()]
        self._unlisted = {}
        if self._terms is not None:
            index, gone = index_rows.changed(changes, self._terms, self.get)
            for key in gone:
                self._index.pop(key, None)
            self._index.update(index)
        for row, before, after in changes:
            if before is not None:
                self._tally.add(before, -1)
            if after is not None:
                self._tally.add(after, 1)
            if after is None:
                self._keys.discard(row)
            elif before is None:
                self._keys.add(row)

    def put(self, due: Iterable[Due]) -> None:
        """Add to the agenda what no row says."""
        self._plan()
        self._timers.update([timers.key(*each) for each in due])

    def delete(self, due: Iterable[Due]) -> None:
        """Take from the agenda what may still be in it."""
        self._plan()
        self._timers.difference_update([timers.key(*each) for each in due])

    def get(self, key: str) -> Record | None:
        return self._rows.get(key)

    def head_of(self, run_id: str) -> str | None:
        return self._heads.get(run_id)

    def due(
        self, start: datetime, end: datetime, limit: int, past: str = ""
    ) -> list[tuple[datetime, str]]:
        self._plan()
        keys = self._timers.irange(
            timers.key(start, past), timers.instant_key(end), inclusive=(False, False)
        )
        return [timers.read(key) for key in islice(keys, limit)]

    def scan(
        self, start: str, stop: str = LAST_KEY, *, backwards: bool = False
    ) -> Iterator[tuple[str, Record]]:
        inclusive = (True, False)
        while True:
            self._list()
            keys = self._keys.irange(start, stop, inclusive, reverse=backwards)
            found = [(key, self._rows[key]) for key in islice(keys, _STRETCH)]
            yield from found
            if len(found) < _STRETCH:
                return
            if backwards:
                stop = found[-1][0]
            else:
                start, inclusive = found[-1][0], (False, False)

    @property
    def terms(self) -> Terms:
        assert self._terms is not None, "it is not indexed"
        return self._terms

    def between(
        self, start: bytes, stop: bytes, *, backwards: bool = False, limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        assert self._terms is not None, "it is not indexed"
        self._list()
        keys = self._index.irange(start, stop, (True, False), reverse=backwards)
        return iter([(key, self._index[key]) for key in islice(keys, limit)])

    def counts(self) -> Mapping[tuple[str, str], int]:
        self._list()
        return self._tally.runs

    def timers(self) -> Mapping[str, int]:
        self._list()
        return self._tally.timers
