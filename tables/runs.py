"""The runs table of one shard: RocksDB, in the image of its changelog.

What lies in it, by the first byte of the key: `r` runs, with all of a foreign id side by side;
`d` the agenda (timers.py); `i` from run id to the key of the row; `c`, `u` and `f` what runs are
listed by (`streamwf/indexing.py`); `m` what the table is as of. A
batch holds the rows of whole checkpoints together with their position and the changelog's offset,
so that the store never holds what the changelog does not.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from typing import cast

import msgspec
from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from streamwf.agenda import timers_of
from streamwf.indexing import LETTERS, VERSION
from streamwf.indexing import index_rows as rows_of
from streamwf.ports import Change, Due, Terms
from streamwf.record import LAST_KEY, Record, decode_record, row_key
from streamwf.tables import ids, index_rows, timers
from streamwf.tables.tally import Tally

_ROW, _RUN_ID, _AS_OF = b"r", b"i", b"m"

#: Shared by all shards of the process: bytes of cached blocks, and of rows not yet in files.
_CACHE_BYTES = 64 << 20
_BUFFER_BYTES = 96 << 20

#: Rows that are looked at for one batch when what is derived from all of them is made anew.
_PILE = 2_000

#: Rows that are put into a batch before others have their turn.
_PART = 500


class AsOf(msgspec.Struct, frozen=True):
    """What a table is as of.

    table_id: which incarnation of the changelog it is the image of.
    marker: the offset, in the changelog, of the latest position marker that it holds.
    position: the offset of the next event to fold.
    timers: how many wait, by status; None in a table that was written before they were counted.
    index: by what its runs are indexed.
    bare: whether it has rows alone, and what is derived from them is still to be made.
    """

    table_id: str
    marker: int
    position: int
    counts: list[tuple[str, str, int]] = []
    timers: list[tuple[str, int]] | None = None
    index: str = ""
    bare: bool = False


class Memory:
    """What the RocksDB stores of a process share."""

    def __init__(self) -> None:
        self.cache = Cache(_CACHE_BYTES)
        self.buffers = WriteBufferManager(_BUFFER_BYTES, False)

    def used(self) -> dict[str, int]:
        """Bytes that each part has now. The cache keeps what was read up to 64 MiB, the buffers
        what was written up to 96 MiB; both are filled before anything is dropped."""
        return {"cache": self.cache.get_usage(), "buffers": self.buffers.get_usage()}


class RunsTable:
    """Implements `streamwf.ports.ShardTable`."""

    def __init__(
        self, path: Path, memory: Memory, terms: Terms | None = None, *, sync: bool = False
    ) -> None:
        """terms: those by which runs are indexed; None for a table that lists are never made of.
        sync: whether what is written is on the disk, and not only in the system's cache."""
        self._terms = terms
        self._path = path
        self._memory = memory
        self._writing = WriteOptions()
        self._writing.sync = sync
        self._open()

    def _open(self) -> None:
        self._failed = True
        self._path.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_manager(self._memory.buffers)
        options.set_keep_log_file_num(2)
        # Where many runs have passed through a status, nothing but their remains may be left to
        # read before the few that are there.
        options.add_compact_on_deletion_collector_factory(4_096, 2_048, 0.0)
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._memory.cache)
        blocks.set_bloom_filter(10, False)
        blocks.set_cache_index_and_filter_blocks(True)
        # In parts: whole ones are too large for the cache, and would be read for every row.
        blocks.set_index_type(BlockBasedIndexType.two_level_index_search())
        blocks.set_partition_filters(True)
        options.set_block_based_table_factory(blocks)
        # Without the second, a table that is there already would be opened with a small cache of
        # its own, and without filters.
        families = {"default": options}
        self._db = Rdict(str(self._path), options=options, column_families=families)
        self._failed = False
        stored = self._db.get(_AS_OF)
        self.as_of = None if stored is None else msgspec.msgpack.decode(stored, type=AsOf)
        counts = self.as_of.counts if self.as_of else []
        known = self.as_of.timers if self.as_of else []
        self._tally = Tally(
            Counter({(status, state): count for status, state, count in counts}),
            self._counted() if known is None else Counter(dict(known)),
        )
        if self.as_of is not None and not self.bare and self.as_of.index != self._indexed_by:
            self._index_anew(self.as_of)

    @property
    def _indexed_by(self) -> str:
        return "" if self._terms is None else f"{VERSION} {self._terms.name}"

    @property
    def position(self) -> int | None:
        return None if self.as_of is None else self.as_of.position

    @property
    def bare(self) -> bool:
        """Whether it is of no use yet: see `write_bare`."""
        return self.as_of is not None and self.as_of.bare

    def mend(self) -> None:
        """Open it anew if it could not be written, or opened, as when its disk was full: RocksDB
        writes nothing more until then."""
        if self._failed:
            self.close()
            self._open()

    def wipe(self) -> None:
        """Start again with nothing."""
        self.close()
        shutil.rmtree(self._path)
        self._open()

    def close(self) -> None:
        # One that could not be written says so again, and is closed.
        with suppress(Exception):
            self._db.close()

    def _index_anew(self, as_of: AsOf) -> None:
        """The index is that of another version, or of other fields."""

        def index(batch: WriteBatch, key: str, record: Record) -> None:
            if self._terms is not None:
                for row in rows_of(record, self._terms):
                    batch.put(*row)

        for _ in self._made_anew(LETTERS, index):
            pass
        self._note(msgspec.structs.replace(as_of, index=self._indexed_by))

    def _made_anew(
        self, letters: Iterable[bytes], make: Callable[[WriteBatch, str, Record], None]
    ) -> Iterator[int]:
        """Make anew what lies under letters and is derived from the rows, each of which `make` is
        shown; yields how many it has been shown, time and again. Until all is done, the table says
        that it is not, and whoever opens it begins again."""
        for letter in letters:
            end = bytes([letter[0] + 1])
            # What was deleted as a range is looked at by whoever reads in it later.
            if next(self._items(letter, end), None) is not None:
                self._db.delete_range(letter, end)
        rows = self.scan("")
        while pile := list(islice(rows, _PILE)):
            batch = WriteBatch(raw_mode=True)
            for key, record in pile:
                make(batch, key, record)
            self._commit(batch)
            yield len(pile)

    def _note(self, as_of: AsOf) -> None:
        self._db.put(_AS_OF, msgspec.msgpack.encode(as_of), self._writing)
        self.as_of = as_of

    # ---- writing

    def write(self, changes: Sequence[Change], rows: Sequence[bytes | None], as_of: AsOf) -> None:
        """Write changes, with the JSON of each row, in one batch with what they are as of.

        If that fails, all is as before.
        """
        for _ in self.writing(changes, rows, as_of):
            pass

    def writing(
        self, changes: Sequence[Change], rows: Sequence[bytes | None], as_of: AsOf
    ) -> Iterator[None]:
        """The same in parts, so that others have their turn between them: nothing is written before
        the last one, and nothing else may be until then."""
        batch, tally = WriteBatch(raw_mode=True), self._tally.copy()
        for run_id in ids.gone(changes, self.get):
            batch.delete(_RUN_ID + run_id.encode())
        for number, (change, row) in enumerate(zip(changes, rows, strict=True), 1):
            self._put(batch, tally, change, row)
            if number % _PART == 0:
                yield
        yield
        if self._terms is not None:
            index, gone = index_rows.changed(changes, self._terms, self.get)
            for key in gone:
                batch.delete(key)
            for key, value in index.items():
                batch.put(key, value)
        yield
        as_of = self._counting(as_of, tally)
        batch.put(_AS_OF, msgspec.msgpack.encode(as_of))
        self._commit(batch)
        self.as_of, self._tally = as_of, tally

    def _counting(self, as_of: AsOf, tally: Tally) -> AsOf:
        counts = [(*pair, count) for pair, count in tally.runs.items() if count]
        waiting = [(status, count) for status, count in tally.timers.items() if count]
        return msgspec.structs.replace(as_of, counts=counts, timers=waiting, index=self._indexed_by)

    def write_bare(self, rows: Mapping[bytes, bytes | None], as_of: AsOf) -> None:
        """Write rows alone, by their keys, in one batch with what they are as of; None for one that
        is gone. The table is `bare` then, and only rows are read from it, until `derive` is done.

        This is for a table that is filled from nothing: what is derived from a row that is replaced
        before the end is never made, and no row has to be read or understood for it.
        """
        batch = WriteBatch(raw_mode=True)
        for key, row in rows.items():
            if row is None:
                batch.delete(_ROW + key)
            else:
                batch.put(_ROW + key, row)
        as_of = msgspec.structs.replace(as_of, timers=[], bare=True)
        batch.put(_AS_OF, msgspec.msgpack.encode(as_of))
        self._commit(batch)
        self.as_of = as_of

    def derive(self) -> Iterator[int]:
        """Make what is derived from the rows, if the table is bare; yields how many rows it has
        looked at, time and again. Nothing may be written meanwhile."""
        if self.as_of is None or not self.as_of.bare:
            return
        tally = Tally()

        def derived(batch: WriteBatch, key: str, record: Record) -> None:
            tally.add(record, 1)
            head = row_key(record.kind, record.foreign_id)
            batch.put(_RUN_ID + record.run_id.encode(), head.encode())
            for timer in timers.keys(key, record):
                batch.put(timer, b"")
            if self._terms is not None:
                for row in rows_of(record, self._terms):
                    batch.put(*row)

        yield from self._made_anew((_RUN_ID, timers.PREFIX, *LETTERS), derived)
        self._note(msgspec.structs.replace(self._counting(self.as_of, tally), bare=False))
        self._tally = tally

    def _commit(self, batch: WriteBatch) -> None:
        self._failed = True
        self._db.write(batch, self._writing)
        self._failed = False

    def put(self, due: Iterable[Due]) -> None:
        """Add to the agenda what no row says."""
        batch = WriteBatch(raw_mode=True)
        for each in due:
            batch.put(timers.key(*each), b"")
        self._commit(batch)

    def delete(self, due: Iterable[Due]) -> None:
        """Take from the agenda what may still be in it."""
        batch = WriteBatch(raw_mode=True)
        for each in due:
            batch.delete(timers.key(*each))
        self._commit(batch)

    def _put(
        self,
        batch: WriteBatch,
        tally: Tally,
        change: Change,
        row: bytes | None,
    ) -> None:
        key, before, after = _ROW + change.key.encode(), change.before, change.after
        was: Collection[bytes] = ()
        if before is not None:
            was = timers.keys(change.key, before)
            tally.add(before, -1)
        waits: Collection[bytes] = ()
        if after is None or row is None:
            batch.delete(key)
        else:
            waits = timers.keys(change.key, after)
            tally.add(after, 1)
            batch.put(key, row)
            if before is None or before.run_id != after.run_id:
                head = row_key(after.kind, after.foreign_id)
                batch.put(_RUN_ID + after.run_id.encode(), head.encode())
        for timer in waits:
            if timer not in was:
                batch.put(timer, b"")
        for timer in was:
            if timer not in waits:
                batch.delete(timer)

    # ---- reading

    def get(self, key: str) -> Record | None:
        row = self._db.get(_ROW + key.encode())
        return None if row is None else decode_record(row)

    def head_of(self, run_id: str) -> str | None:
        found = self._db.get(_RUN_ID + run_id.encode())
        return None if found is None else found.decode()

    def due(
        self, start: datetime, end: datetime, limit: int, past: str = ""
    ) -> list[tuple[datetime, str]]:
        begin = timers.key(start, past)
        found = self._items(begin, timers.instant_key(end))
        return [timers.read(key) for key, _ in islice((i for i in found if i[0] > begin), limit)]

    def scan(
        self, start: str, stop: str = LAST_KEY, *, backwards: bool = False
    ) -> Iterator[tuple[str, Record]]:
        for key, row in self._items(_ROW + start.encode(), _ROW + stop.encode(), backwards):
            yield key[1:].decode(), decode_record(row)

    def rows(self) -> Iterable[tuple[str, bytes]]:
        """Every row as it is stored, in the order of the keys."""
        for key, row in self._items(_ROW, _ROW + LAST_KEY.encode()):
            yield key[1:].decode(), row

    @property
    def terms(self) -> Terms:
        assert self._terms is not None, "it is not indexed"
        return self._terms

    def between(
        self, start: bytes, stop: bytes, *, backwards: bool = False, limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        assert self._terms is not None, "it is not indexed"
        return islice(self._items(start, stop, backwards), limit)

    def _items(
        self, start: bytes, stop: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """What has keys in [start, stop), as it is when this is called."""
        # Bounds of RocksDB's own are not kept alive by the iterators that they are given to.
        if backwards:
            found = self._read(True, stop)
            return takewhile(
                lambda item: item[0] >= start, dropwhile(lambda i: i[0] >= stop, found)
            )
        return takewhile(lambda item: item[0] < stop, self._read(False, start))

    def _read(self, backwards: bool, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        return cast("Iterator[tuple[bytes, bytes]]", iter(self._db.items(backwards, key)))

    def counts(self) -> Mapping[tuple[str, str], int]:
        return self._tally.runs

    def timers(self) -> Mapping[str, int]:
        return self._tally.timers

    def _counted(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, record in self.scan(""):
            found[record.status] += timers_of(record)
        return found
