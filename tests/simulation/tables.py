"""A worker's disk: tables in memory with what a RocksDB table promises, that outlive their worker.

What was written last may be gone when the machine went down with it, as it is not synced; never
what was written before that, and never a part of a batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from streamwf.agents.data_dir import Held
from streamwf.ports import Change, Checkpoint, Terms
from streamwf.record import decode_record, encode_record
from streamwf.tables.memory import MemoryTable
from streamwf.tables.runs import AsOf, Memory, RunsTable


class DiskFailed(OSError):
    """The disk has written nothing of what it was to write."""


class SimTable(MemoryTable):
    """Stands for `streamwf.tables.runs.RunsTable`."""

    def __init__(self, terms: Terms | None = None) -> None:
        super().__init__(terms)
        self.as_of: AsOf | None = None
        #: How many of the next writes fail.
        self.failing = 0
        self._batches: list[tuple[list[tuple[str, bytes | None]], AsOf]] = []

    def write(  # type: ignore[override]
        self, changes: Sequence[Change], rows: Sequence[bytes | None], as_of: AsOf
    ) -> None:
        self._write([(change.key, row) for change, row in zip(changes, rows, strict=True)], as_of)

    def writing(
        self, changes: Sequence[Change], rows: Sequence[bytes | None], as_of: AsOf
    ) -> Iterator[None]:
        for _ in changes:
            yield
        yield
        self.write(changes, rows, as_of)

    def write_bare(self, rows: Mapping[bytes, bytes | None], as_of: AsOf) -> None:
        bare = msgspec.structs.replace(as_of, bare=True)
        self._write([(key.decode(), row) for key, row in rows.items()], bare)

    @property
    def bare(self) -> bool:
        return self.as_of is not None and self.as_of.bare

    def derive(self) -> Iterator[int]:
        if self.as_of is not None and self.bare:
            yield 0
            self._write([], msgspec.structs.replace(self.as_of, bare=False))

    def _write(self, batch: list[tuple[str, bytes | None]], as_of: AsOf) -> None:
        if self.failing:
            self.failing -= 1
            raise DiskFailed("no space left on device")
        self._batches.append((batch, as_of))
        self._apply(batch, as_of)

    def _apply(self, batch: list[tuple[str, bytes | None]], as_of: AsOf) -> None:
        changes = [
            Change(key, self.get(key), None if row is None else decode_record(row))
            for key, row in batch
        ]
        super().write(Checkpoint(changes, as_of.position))
        self.as_of = as_of

    def roll_back(self, batches: int) -> None:
        """The machine goes down: so many of the last batches are gone."""
        kept = self._batches[: max(len(self._batches) - batches, 0)]
        self.wipe()
        self._write_again(kept)

    def as_before(self, chance: Random) -> "SimTable":
        """A copy, as it was after any of its batches."""
        copy = SimTable(self._terms)
        copy._write_again(self._batches[: chance.randint(0, len(self._batches))])
        return copy

    def _write_again(self, batches: list[tuple[list[tuple[str, bytes | None]], AsOf]]) -> None:
        for batch, as_of in batches:
            self._batches.append((batch, as_of))
            self._apply(batch, as_of)

    def wipe(self) -> None:
        failing = self.failing
        self.__init__(self._terms)  # type: ignore[misc]
        self.failing = failing

    def mend(self) -> None:
        """It takes again whatever is written."""

    def close(self) -> None:
        pass

    def rows(self) -> Iterable[tuple[str, bytes]]:
        for key, record in self.scan(""):
            yield key, encode_record(record)


class SimDisk:
    """Stands for `streamwf.agents.data_dir.DataDir`, and outlives each worker that has it."""

    def __init__(self, terms: Mapping[str, Terms]) -> None:
        self._terms = terms
        self.tables: dict[Held, Any] = {}

    def lock(self) -> None:
        pass

    def table(self, held: Held) -> Any:
        if held not in self.tables:
            self.tables[held] = SimTable(self._terms[held[0]])
        return self.tables[held]

    def kept(self, held: Held) -> bool:
        return held in self.tables

    def keep(self, shards: Iterable[Held]) -> None:
        pass

    def wipe(self, held: Held) -> None:
        self.tables.pop(held, None)

    def close(self) -> None:
        pass

    # ---- what becomes of it

    def wipe_all(self) -> None:
        for held in list(self.tables):
            self.wipe(held)

    def roll_back(self, batches: int) -> None:
        for table in self.tables.values():
            table.roll_back(batches)

    def fail(self, writes: int) -> None:
        for table in self.tables.values():
            table.failing = writes


class RocksDisk(SimDisk):
    """The same with real tables. They lose nothing, and do not fail."""

    def __init__(self, terms: Mapping[str, Terms], directory: Path) -> None:
        super().__init__(terms)
        self._directory = directory
        self._memory = Memory()

    def table(self, held: Held) -> Any:
        if held not in self.tables:
            path = self._directory / held[0] / str(held[1])
            self.tables[held] = RunsTable(path, self._memory, self._terms[held[0]])
        return self.tables[held]

    def wipe(self, held: Held) -> None:
        self.tables[held].wipe()

    def roll_back(self, batches: int) -> None:
        pass

    def fail(self, writes: int) -> None:
        pass


def a_disk(terms: Mapping[str, Terms], directory: Path | None, number: int) -> SimDisk:
    return SimDisk(terms) if directory is None else RocksDisk(terms, directory / str(number))
