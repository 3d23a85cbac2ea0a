"""Which runs may be in a list, and in which order they are looked at.

Either in the order of the list, until enough of them fit; or those that an index shows to be the
only ones that may fit, put in order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple

from .indexing import END, Entry, instant_key, read_instant, read_ref, ref_of
from .lists import (
    Cursor,
    Place,
    Selection,
    after_all_of,
    by_instant,
    descending,
    instant_of,
    rest_of,
)
from .moment import Moment, Span
from .record import Record
from .shard import Shard
from .views import Filter, Order

#: Index rows that are opened at first, to be read in the order of the list; then twice as many.
STRETCH = 250

#: More index rows than there can be.
EVERY = 1 << 60

_place = itemgetter(0)

#: What is asked of a workflow: its name, what of it, and the shards that are here.
Chosen = tuple[str, Selection, Sequence[Shard]]


class Candidate(NamedTuple):
    """A run that may fit. place: to be compared with those of the same list.

    record: as it is; None if that is still to be read.
    """

    place: Place
    moment: Moment
    ref: bytes
    record: Record | None = None


class Source(NamedTuple):
    """Index rows of all runs that may fit. places: whether they tell the places of the runs."""

    moments: Sequence[Moment]
    entries: Iterator[tuple[Moment, Entry]]
    places: bool


class Candidates:
    """Those of one list. chosen: of all workflows that are asked for, by their names."""

    def __init__(self, asked: Filter, chosen: Sequence[Chosen], order: Order) -> None:
        self._asked = asked
        self._chosen = [each for each in chosen if not each[1].none]
        self._by = order.lstrip("-")
        self._order = order
        self._down = descending(order)
        self._created = Span.of(asked.created_after, asked.created_before)
        self._updated = Span.of(asked.updated_after, asked.updated_before)
        self.by_instant = by_instant(order)

    def moments(self) -> list[Moment]:
        return [
            Moment(name, asked, shard) for name, asked, shards in self._chosen for shard in shards
        ]

    def place(self, moment: Moment, record: Record) -> Place:
        at = instant_key(instant_of(self._order, record))
        return at, moment.name, ref_of(record.foreign_id, record.run_id)

    def stands_at(self, candidate: Candidate, record: Record) -> bool:
        """Whether the run is still where it was taken for."""
        return self._by != "updated" or candidate.place[0] == instant_key(record.updated_at)

    def cursor(self, last: Candidate, record: Record | None) -> Cursor:
        """Where a run is that was looked at. record: as it was then, if it is known."""
        foreign_id, run_id = read_ref(last.ref)
        if not self.by_instant and record is not None:
            return Cursor(self._order, last.moment.name, foreign_id, run_id, record.created_at)
        at = read_instant(last.place[0])
        return Cursor(self._order, last.moment.name, foreign_id, run_id, at)

    # ---- in the order of the list

    def in_order(self, after: Cursor | None) -> Iterator[Candidate]:
        """All that may fit and come after a cursor."""
        if not self.by_instant:
            yield from self.by_foreign_id(after)
            return
        border = None if after is None else _border(after)
        size = STRETCH
        while True:
            seen = 0
            for candidate in islice(self._stretch(border, size), size):
                seen += 1
                # A run with several of the terms that are wanted is there for each.
                if candidate.place != border:
                    border = candidate.place
                    yield candidate
            if seen < size:
                return
            size *= 2

    def _stretch(self, border: Place | None, size: int) -> Iterator[Candidate]:
        moments = self.moments()
        streams: list[Iterable[Candidate]] = [
            self._unread(moment, entries)
            for moment in moments
            for entries in self._entries(moment, self._behind(border, moment.name), size)
        ]
        fresh = (candidate for moment in moments for candidate in self.fresh(moment))
        behind = [each for each in fresh if border is None or self._comes_after(each.place, border)]
        behind.sort(key=_place, reverse=self._down)
        return merge(behind, *streams, key=_place, reverse=self._down)

    def _entries(self, moment: Moment, behind: Span, size: int) -> list[Iterator[Entry]]:
        if self._by == "updated":
            span = self._updated.within(behind)
            return moment.by_updated(span, backwards=self._down, limit=size)
        span = self._created.within(behind)
        if moment.selection.searches and moment.has_terms:
            field = next(iter(moment.selection.search))
            return moment.by_term(field, span, backwards=self._down, limit=size)
        return [moment.by_created(span, backwards=self._down, limit=size)]

    def _unread(self, moment: Moment, entries: Iterator[Entry]) -> Iterator[Candidate]:
        for at, ref, _ in entries:
            yield Candidate((at, moment.name, ref), moment, ref)

    def _behind(self, border: Place | None, name: str) -> Span:
        """Where in the indexes of a workflow what comes after a place is."""
        if border is None:
            return Span()
        at, workflow, ref = border
        if self._down:
            return Span(before=at + (END if name < workflow else ref if name == workflow else b""))
        return Span(
            after=at + (END if name < workflow else ref + b"\0" if name == workflow else b"")
        )

    def _comes_after(self, place: Place, border: Place) -> bool:
        return place < border if self._down else place > border

    def fresh(self, moment: Moment) -> Iterator[Candidate]:
        for record in moment.fresh():
            ref = ref_of(record.foreign_id, record.run_id)
            yield Candidate(self.place(moment, record), moment, ref, record)

    # ---- by foreign id

    def by_foreign_id(self, after: Cursor | None = None) -> Iterator[Candidate]:
        chosen = reversed(self._chosen) if self._down else self._chosen
        for name, asked, shards in chosen:
            start, stop = asked.start, asked.stop
            if after is not None and name == after.workflow:
                if self._down:
                    stop = min(stop, after_all_of(after.foreign_id))
                else:
                    start = max(start, after.foreign_id)
            elif after is not None and self._comes_after((after.workflow,), (name,)):
                continue
            moments = [Moment(name, asked, shard) for shard in shards]
            streams = [self._groups_of(moment, start, stop, after) for moment in moments]
            groups = merge(*streams, key=lambda group: group[0].place, reverse=self._down)
            yield from chain.from_iterable(groups)

    def _groups_of(
        self, moment: Moment, start: str, stop: str, after: Cursor | None
    ) -> Iterator[list[Candidate]]:
        for foreign_id, group in moment.groups(start, stop, backwards=self._down):
            place = (moment.name, foreign_id)
            if after is not None and place == (after.workflow, after.foreign_id):
                group = rest_of(group, after)
            if group:
                yield [
                    Candidate(place, moment, ref_of(foreign_id, record.run_id), record)
                    for record in group
                ]

    # ---- those that an index shows to be few

    def sources(self, most: int) -> Iterator[Source]:
        """Each has all that may fit, and is opened when it is asked for. most: rows that it need
        not go on after."""
        asked = self._asked
        if asked.foreign_id is not None:
            return
        if asked.status or asked.state or self._updated != Span():
            everywhere = self._updated == Span()
            if not everywhere or sum(each.standing for each in self.moments()) <= most:
                yield self._source(
                    lambda each: each.by_updated(self._updated, limit=most + 1), True
                )
        placed = self._by != "updated"
        if asked.search and all(each.has_terms for each in self.moments()):
            for field in self._chosen[0][1].search if self._chosen else ():
                yield self._source(partial(self._by_term, field, most + 1), placed)
        if self._created != Span():
            yield self._source(
                lambda each: [each.by_created(self._created, limit=most + 1)], placed
            )

    def _by_term(self, field: str, limit: int, moment: Moment) -> list[Iterator[Entry]]:
        return moment.by_term(field, self._created, limit=limit)

    def _source(self, opened: Callable[[Moment], list[Iterator[Entry]]], places: bool) -> Source:
        moments = self.moments()
        # All are opened before the first is read.
        several = [(moment, entries) for moment in moments for entries in opened(moment)]
        rows = ((moment, entry) for moment, entries in several for entry in entries)
        return Source(moments, rows, places)

    def _may_fit(self, moment: Moment, entry: Entry) -> bool:
        """As far as its index row tells."""
        created, span = entry.created, self._created
        return span.after <= created < span.before and moment.selection.named(
            read_ref(entry.ref)[0]
        )

    def counted(self) -> Source | None:
        """What has a row for each that fits, and no other."""
        selections = [asked for _, asked, _ in self._chosen]
        if all(each.only("created_after", "created_before") for each in selections):
            return self._source(lambda each: [each.by_created(self._created, limit=EVERY)], False)
        if all(
            each.only("status", "state", "updated_after", "updated_before") for each in selections
        ):
            return self._source(lambda each: each.by_updated(self._updated, limit=EVERY), False)
        return None

    def gathered(
        self, source: Source, found: Iterable[tuple[Moment, Entry]], after: Cursor | None
    ) -> Iterator[Candidate]:
        """In the order of the list: the runs of a source, and those that are not in it yet."""
        fresh = chain.from_iterable(map(self.fresh, source.moments))
        found = [each for each in found if self._may_fit(*each)]
        if self.by_instant:
            placed = (self._placed(moment, entry, source.places) for moment, entry in found)
            return self.put_in_order(chain(placed, fresh), after)
        named = {(moment.name, entry.ref.partition(b"\0")[0]): moment for moment, entry in found}
        named |= {(each.moment.name, each.ref.partition(b"\0")[0]): each.moment for each in fresh}
        return self._groups_named(named, after)

    def named(self) -> Iterator[Candidate] | None:
        """All whose foreign ids fit, if the filter is on those and the list in another order."""
        if not self.by_instant or (self._asked.foreign_id is None and not self._asked.prefix):
            return None
        return (
            each._replace(place=self.place(each.moment, each.record))
            for each in self.by_foreign_id()
            if each.record is not None
        )

    def put_in_order(
        self, candidates: Iterable[Candidate], after: Cursor | None
    ) -> Iterator[Candidate]:
        """Those that come after a cursor."""
        border = None if after is None else _border(after)
        behind = [
            each for each in candidates if border is None or self._comes_after(each.place, border)
        ]
        behind.sort(key=_place, reverse=self._down)
        return iter(behind)

    def _placed(self, moment: Moment, entry: Entry, places: bool) -> Candidate:
        record = None if places else moment.record(entry.ref)
        if record is not None:
            return Candidate(self.place(moment, record), moment, entry.ref, record)
        at = entry.created if self._by == "created" else entry.at
        return Candidate((at, moment.name, entry.ref), moment, entry.ref)

    def _groups_named(
        self, named: dict[tuple[str, bytes], Moment], after: Cursor | None
    ) -> Iterator[Candidate]:
        border = None if after is None else (after.workflow, after.foreign_id.encode())
        for key in sorted(named, reverse=self._down):
            if border is None or key == border or self._comes_after(key, border):
                foreign_id = key[1].decode()
                stop = after_all_of(foreign_id)
                for group in self._groups_of(named[key], foreign_id, stop, after):
                    yield from group


def _border(after: Cursor) -> Place:
    """The place of a cursor, in an order by instants."""
    return instant_key(after.at), after.workflow, ref_of(after.foreign_id, after.run_id)
