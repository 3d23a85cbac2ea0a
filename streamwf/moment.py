"""A shard at one moment, for one list: its index as the table has it, and what no checkpoint has
written yet.

What a list reads is opened all at once, and then read bit by bit while others on the loop have
their turns. So no run that fits all the while is passed over because it has moved meanwhile.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from heapq import merge
from itertools import chain, groupby, islice
from typing import NamedTuple

from .indexing import (
    CREATED,
    END,
    Entry,
    instant_key,
    read_entry,
    read_instant,
    read_ref,
    standing_prefix,
    term_prefix,
)
from .lists import Selection
from .record import SEPARATOR, Record
from .searched import term_of
from .shard import Shard


class Span(NamedTuple):
    """The part of an index that is wanted, by the instants that its keys have, or more of them:
    from the one on, and before the other."""

    after: bytes = b""
    before: bytes = END

    @classmethod
    def of(cls, after: datetime | None, before: datetime | None) -> "Span":
        return cls(
            b"" if after is None else instant_key(after),
            END if before is None else instant_key(before),
        )

    def within(self, other: "Span") -> "Span":
        return Span(max(self.after, other.after), min(self.before, other.before))


class Moment:
    """The runs of a shard that a selection may be about.

    Every iterator begins to read when it is asked for.
    """

    def __init__(self, name: str, selection: Selection, shard: Shard) -> None:
        self.name = name
        self.selection = selection
        self.shard = shard
        self._changed: set[str] = set()
        self._fresh: dict[str, Record | None] = {}
        for change in shard.rows.unwritten():
            for record in (change.before, change.after):
                if record is not None:
                    self._changed.add(record.run_id)
            self._fresh[change.key] = change.after

    def fresh(self) -> Iterator[Record]:
        """Runs that have changed since the last checkpoint, and fit."""
        for record in self._fresh.values():
            if record is not None and not record.kind and self.selection.fits(record):
                yield record

    @property
    def has_terms(self) -> bool:
        """Whether what its object is searched by is in an index."""
        return bool(self.shard.table.terms.name)

    # ---- indexes. What is in them is older than what is fresh.

    @property
    def standing(self) -> int:
        """How many rows of the table have a status and a state that are wanted."""
        return sum(count for _, count in self._standings())

    def by_created(self, span: Span, *, backwards: bool = False, limit: int) -> Iterator[Entry]:
        return self._open(CREATED, span, backwards, limit + len(self._changed))

    def by_updated(
        self, span: Span, *, backwards: bool = False, limit: int
    ) -> list[Iterator[Entry]]:
        """Those of each status and state that are wanted, apart."""
        # Beyond as many as there are, there is nothing but the remains of those that went.
        most = limit + len(self._changed)
        return [
            self._open(standing_prefix(*standing), span, backwards, min(count, most))
            for standing, count in self._standings()
        ]

    def by_term(
        self, field: str, span: Span, *, backwards: bool = False, limit: int
    ) -> list[Iterator[Entry]]:
        """Those with each value that is wanted of a field, apart, by when they were created."""
        most = limit + len(self._changed)
        return [
            self._open(term_prefix(term_of(field, value)), span, backwards, most)
            for value in self.selection.search[field]
        ]

    def last_updated(self) -> datetime | None:
        """When the last of those with a status and a state that are wanted was changed."""
        firsts = (islice(found, 1) for found in self.by_updated(Span(), backwards=True, limit=1))
        stored = [read_instant(entry.at) for entry in chain.from_iterable(firsts)]
        return max([*stored, *(record.updated_at for record in self.fresh())], default=None)

    def _standings(self) -> Iterator[tuple[tuple[str, str], int]]:
        for standing, count in self.shard.table.counts().items():
            if count > 0 and self.selection.stands(*standing):
                yield standing, count

    def _open(self, prefix: bytes, span: Span, backwards: bool, limit: int) -> Iterator[Entry]:
        start, stop = prefix + span.after, prefix + span.before
        found = self.shard.table.between(start, stop, backwards=backwards, limit=limit)
        entries = (read_entry(prefix, key, value) for key, value in found)
        if not self._changed:
            return entries
        return (entry for entry in entries if read_ref(entry.ref)[1] not in self._changed)

    # ---- rows

    def record(self, ref: bytes) -> Record | None:
        """The run as it is now."""
        foreign_id, run_id = read_ref(ref)
        for key in (foreign_id, f"{foreign_id}{SEPARATOR}{run_id}"):
            record = self.shard.rows.get(key)
            if record is not None and record.run_id == run_id:
                return record
        return None

    def groups(
        self, start: str, stop: str, *, backwards: bool = False
    ) -> Iterator[tuple[str, list[Record]]]:
        """The runs of each foreign id whose keys are in [start, stop), the newest run first: so a
        run that is new shifts no page."""
        rows = self._rows(start, stop, backwards)
        for foreign_id, group in groupby(rows, key=lambda row: row[1].foreign_id):
            yield foreign_id, [record for _, record in sorted(group, key=_age)]

    def _rows(self, start: str, stop: str, backwards: bool) -> Iterator[tuple[str, Record]]:
        keys = self._fresh_keys[bisect_left(self._fresh_keys, start) :]
        fresh = keys[: bisect_left(keys, stop)]
        recent = ((key, self._fresh[key]) for key in (reversed(fresh) if backwards else fresh))
        scanned = self.shard.table.scan(start, stop, backwards=backwards)
        stored = ((key, row) for key, row in scanned if key not in self._fresh)
        merged = merge(recent, stored, key=lambda row: row[0], reverse=backwards)
        return ((key, row) for key, row in merged if row is not None)

    @cached_property
    def _fresh_keys(self) -> list[str]:
        return sorted(self._fresh)


def _age(row: tuple[str, Record]) -> tuple[bool, int]:
    """Smaller for the newer run of a foreign id, whatever the older one was told since."""
    key, record = row
    return key != record.foreign_id, -record.offsets[0]
