"""A shard's table in memory: for development, tests and looking aside."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice

from sortedcontainers import SortedDict, SortedSet

from streamwf.ports import Checkpoint, Due, Terms
from streamwf.record import LAST_KEY, Record, row_key
from streamwf.tables import ids, index_rows, timers
from streamwf.tables.tally import Tally

#: Rows that are scanned before the place is looked up anew, as there may be others meanwhile.
_STRETCH = 200


class MemoryTable:
    """Implements `streamwf.ports.ShardTable`."""

    def __init__(self, terms: Terms | None = None) -> None:
        """terms: those by which runs are indexed; None for a table that lists are never made of."""
        self.position: int | None = None
        self._terms = terms
        self._index: SortedDict[bytes, bytes] = SortedDict()
        self._rows: SortedDict[str, Record] = SortedDict()
        self._timers: SortedSet[bytes] = SortedSet()
        self._heads: dict[str, str] = {}
        self._tally = Tally()

    def write(self, checkpoint: Checkpoint) -> None:
        """Apply a checkpoint."""
        for run_id in list(ids.gone(checkpoint.changes, self.get)):
            self._heads.pop(run_id, None)
        if self._terms is not None:
            index, gone = index_rows.changed(checkpoint.changes, self._terms, self.get)
            for key in gone:
                self._index.pop(key, None)
            self._index.update(index)
        for change in checkpoint.changes:
            if change.before is not None:
                self._timers.difference_update(timers.keys(change.key, change.before))
                self._tally.add(change.before, -1)
            if change.after is None:
                self._rows.pop(change.key, None)
                continue
            self._rows[change.key] = change.after
            after = change.after
            self._heads[after.run_id] = row_key(after.kind, after.foreign_id)
            self._timers.update(timers.keys(change.key, after))
            self._tally.add(after, 1)
        self.position = checkpoint.position

    def put(self, due: Iterable[Due]) -> None:
        """Add to the agenda what no row says."""
        self._timers.update([timers.key(*each) for each in due])

    def delete(self, due: Iterable[Due]) -> None:
        """Take from the agenda what may still be in it."""
        self._timers.difference_update([timers.key(*each) for each in due])

    def get(self, key: str) -> Record | None:
        return self._rows.get(key)

    def head_of(self, run_id: str) -> str | None:
        return self._heads.get(run_id)

    def due(
        self, start: datetime, end: datetime, limit: int, past: str = ""
    ) -> list[tuple[datetime, str]]:
        keys = self._timers.irange(
            timers.key(start, past), timers.instant_key(end), inclusive=(False, False)
        )
        return [timers.read(key) for key in islice(keys, limit)]

    def scan(
        self, start: str, stop: str = LAST_KEY, *, backwards: bool = False
    ) -> Iterator[tuple[str, Record]]:
        inclusive = (True, False)
        while True:
            keys = self._rows.irange(start, stop, inclusive, reverse=backwards)
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
        keys = self._index.irange(start, stop, (True, False), reverse=backwards)
        return iter([(key, self._index[key]) for key in islice(keys, limit)])

    def counts(self) -> Mapping[tuple[str, str], int]:
        return self._tally.runs

    def timers(self) -> Mapping[str, int]:
        return self._tally.timers
