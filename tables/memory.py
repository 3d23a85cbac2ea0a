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

#: Rows that have changed until what is derived from them is made anew though nobody asks for it.
_UNSETTLED = 20_000


class MemoryTable:
    """Implements `streamwf.ports.ShardTable`.

    What is derived from the rows, all but the ids of runs, is brought up to date when it is asked
    for: a run has mostly ended by then, and what became of it between is never made.
    """

    def __init__(self, terms: Terms | None = None) -> None:
        """terms: those by which runs are indexed; None for a table that lists are never made of."""
        self.position: int | None = None
        self._terms = terms
        self._rows: dict[str, Record] = {}
        self._heads: dict[str, str] = {}
        # From what is derived to what the rows are now, by key.
        self._unsettled: dict[str, Change] = {}
        self._keys: SortedSet[str] = SortedSet()
        self._index: SortedDict[bytes, bytes] = SortedDict()
        self._timers: SortedSet[bytes] = SortedSet()
        self._tally = Tally()

    def write(self, checkpoint: Checkpoint) -> None:
        """Apply a checkpoint."""
        for run_id in list(ids.gone(checkpoint.changes, self.get)):
            self._heads.pop(run_id, None)
        unsettled = self._unsettled
        for change in checkpoint.changes:
            key, _, after = change
            earlier = unsettled.get(key)
            unsettled[key] = change if earlier is None else Change(key, earlier.before, after)
            if after is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = after
                self._heads[after.run_id] = row_key(after.kind, after.foreign_id)
        self.position = checkpoint.position
        if len(unsettled) > _UNSETTLED:
            self._settle()

    def _settle(self) -> None:
        """Bring up to date what is derived from the rows."""
        if not self._unsettled:
            return
        changes, self._unsettled = list(self._unsettled.values()), {}
        if self._terms is not None:
            index, gone = index_rows.changed(changes, self._terms, self.get)
            for key in gone:
                self._index.pop(key, None)
            self._index.update(index)
        for row, before, after in changes:
            if before is not None:
                self._timers.difference_update(timers.keys(row, before))
                self._tally.add(before, -1)
            if after is None:
                self._keys.discard(row)
            else:
                self._keys.add(row)
                self._timers.update(timers.keys(row, after))
                self._tally.add(after, 1)

    def put(self, due: Iterable[Due]) -> None:
        """Add to the agenda what no row says."""
        self._settle()
        self._timers.update([timers.key(*each) for each in due])

    def delete(self, due: Iterable[Due]) -> None:
        """Take from the agenda what may still be in it."""
        self._settle()
        self._timers.difference_update([timers.key(*each) for each in due])

    def get(self, key: str) -> Record | None:
        return self._rows.get(key)

    def head_of(self, run_id: str) -> str | None:
        return self._heads.get(run_id)

    def due(
        self, start: datetime, end: datetime, limit: int, past: str = ""
    ) -> list[tuple[datetime, str]]:
        self._settle()
        keys = self._timers.irange(
            timers.key(start, past), timers.instant_key(end), inclusive=(False, False)
        )
        return [timers.read(key) for key in islice(keys, limit)]

    def scan(
        self, start: str, stop: str = LAST_KEY, *, backwards: bool = False
    ) -> Iterator[tuple[str, Record]]:
        inclusive = (True, False)
        while True:
            self._settle()
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
        self._settle()
        keys = self._index.irange(start, stop, (True, False), reverse=backwards)
        return iter([(key, self._index[key]) for key in islice(keys, limit)])

    def counts(self) -> Mapping[tuple[str, str], int]:
        self._settle()
        return self._tally.runs

    def timers(self) -> Mapping[str, int]:
        self._settle()
        return self._tally.timers
