"""Lists of the runs that a host owns: a page of one, or how many are in it.

Of several ways to the same page the shorter one is taken. Where an index shows that few runs may
fit, those are looked at. Else runs are looked at in the order of the list, until enough of them
fit. Where that takes long, a page ends with what was found, and says where to go on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from sys import maxsize
from typing import NamedTuple, TypeVar

from .candidates import Candidate, Candidates, Chosen, Source
from .indexing import read_ref
from .lists import Cursor, Following
from .moment import Moment
from .record import Record
from .shard import Shard
from .views import Filter, Order

#: How many runs are looked at, or index rows read, before others on the loop have their turn.
TURN = 200
READ = 2_000

#: Index rows that are read to find the few that may fit: at first, and if it would take long
#: otherwise. Where a row has to be read to know the place of a run, an eighth of that.
FEW = 1_000
MANY = 20_000
ROW = 8

#: Runs that are looked at in the order of the list before those that may fit are sought, and in
#: all.
AT_FIRST = 1_000
AT_MOST = 10_000

_ALL = (maxsize, maxsize)

T = TypeVar("T")


class Found(NamedTuple):
    """A run that fits, and where it is."""

    shard: Shard
    record: Record


class Listing:
    """One list. finds: tells whether the object of a run fits, if the filter asks for that."""

    def __init__(
        self,
        asked: Filter,
        chosen: Sequence[Chosen],
        order: Order,
        after: Cursor | None,
        finds: Callable[[Moment, Record], Awaitable[bool]],
    ) -> None:
        self._candidates = Candidates(asked, chosen, order)
        self._order = order
        self._after = after
        self._finds = finds
        self._begin()

    def _begin(self) -> None:
        self._follows = Following(self._order, self._after)
        self._found: list[tuple[Candidate, Record]] = []
        self._seen: set[str] = set()
        self._last: Candidate | None = None
        self._looked = 0

    # ---- a page

    async def page(self, limit: int) -> tuple[list[Found], Cursor | None]:
        """At most so many runs, and where the next page begins."""
        until = self._until()
        few = await self._gathered(FEW)
        if few is not None:
            done = await self._look_at(few, limit, AT_MOST)
        else:
            in_order = self._candidates.in_order(self._after)
            done = await self._look_at(in_order, limit, AT_FIRST)
            many = None if done else await self._gathered(MANY)
            if many is not None:
                self._begin()
            done = done or await self._look_at(many or in_order, limit, AT_MOST)
        cursor = self._cursor(limit, done)
        found = [Found(each.moment.shard, record) for each, record in self._found[:limit]]
        return found, None if cursor is None else cursor._replace(until=until)

    def _until(self) -> datetime | None:
        if self._order != "updated" or self._after is not None:
            return None if self._after is None else self._after.until
        last = (moment.last_updated() for moment in self._candidates.moments())
        return max((at for at in last if at is not None), default=None)

    def _cursor(self, limit: int, done: bool) -> Cursor | None:
        if len(self._found) > limit:
            return self._candidates.cursor(*self._found[limit - 1])
        if done or self._last is None:
            return None
        return self._candidates.cursor(self._last, self._last.record)

    async def _look_at(self, candidates: Iterator[Candidate], limit: int, most: int) -> bool:
        """Keep those that fit, until there is one more than wanted, or so many were looked at.
        Whether that was all that has to be looked at."""
        for number, candidate in enumerate(candidates, 1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            if candidate.record is not None and not self._follows(
                candidate.moment.name, candidate.record
            ):
                continue
            record = await self._fitting(candidate)
            if record is not None:
                self._found.append((candidate, record))
                if len(self._found) > limit:
                    return True
            self._last = candidate
            self._looked += 1
            if self._looked >= most:
                return False
        return True

    async def _fitting(self, candidate: Candidate) -> Record | None:
        """The run, if it fits and is where it was taken for."""
        moment, record = candidate.moment, candidate.record
        foreign_id, run_id = read_ref(candidate.ref)
        if run_id in self._seen or not moment.selection.named(foreign_id):
            return None
        if record is None:
            record = moment.record(candidate.ref)
            if record is None or not self._follows(moment.name, record):
                return None
        # One that was changed since its index row was read has another place now.
        if not (self._candidates.stands_at(candidate, record) and moment.selection.fits(record)):
            return None
        if moment.selection.searches and not await self._finds(moment, record):
            return None
        self._seen.add(run_id)
        return record

    # ---- how many

    async def count(self) -> int:
        counted = self._candidates.counted()
        if counted is not None:
            return await self._count_rows(counted)
        gathered = await self._gathered(MANY)
        await self._look_at(gathered or self._candidates.by_foreign_id(), *_ALL)
        return len(self._found)

    async def _count_rows(self, source: Source) -> int:
        count = 0
        for count, _ in enumerate(source.entries, 1):
            if count % READ == 0:
                await asyncio.sleep(0)
        return count + sum(1 for moment in source.moments for _ in moment.fresh())

    # ---- those that an index shows to be few

    async def _gathered(self, most: int) -> Iterator[Candidate] | None:
        """All that may fit, in the order of the list, if an index shows that they are few."""
        for source in self._candidates.sources(most):
            read = await self._read(source.entries, most if source.places else most // ROW)
            if read is not None:
                return self._candidates.gathered(source, read, self._after)
        named = await self._read(self._candidates.named(), most // ROW)
        return None if named is None else self._candidates.put_in_order(named, self._after)

    async def _read(self, rows: Iterator[T] | None, most: int) -> list[T] | None:
        """All rows, if they are no more than that."""
        if rows is None:
            return None
        read: list[T] = []
        while stretch := list(islice(rows, READ)):
            read += stretch
            if len(read) > most:
                return None
            if len(stretch) == READ:
                await asyncio.sleep(0)
        return read
