"""A worker's data directory: one store for each shard, and a lock for the whole."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from streamwf.errors import DataDirInUse
from streamwf.ports import Terms
from streamwf.tables.runs import Memory, RunsTable

#: A shard: workflow and partition.
Held = tuple[str, int]


class DataDir:
    """The tables in a directory. It belongs to one worker at a time.

    terms: those by which the runs of each workflow are indexed.
    """

    def __init__(self, path: Path, terms: Mapping[str, Terms]) -> None:
        self.path = path
        self._terms = terms
        self.memory = Memory()
        self._tables: dict[Held, RunsTable] = {}
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Raises DataDirInUse if another worker has it."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise DataDirInUse(path=self.path) from None
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def table(self, held: Held) -> RunsTable:
        """The table of a shard, opened if it is not yet."""
        if held not in self._tables:
            terms = self._terms[held[0]]
            self._tables[held] = RunsTable(self._path(held), self.memory, terms)
        return self._tables[held]

    def kept(self, held: Held) -> bool:
        """Whether there is a table of a shard already: a standby's, or from when it was here."""
        return held in self._tables or self._path(held).exists()

    def keep(self, shards: Iterable[Held]) -> None:
        """Close the tables of all other shards. They stay on disk, for when the shard returns."""
        for held in set(self._tables) - set(shards):
            self._tables.pop(held).close()

    def wipe(self, held: Held) -> None:
        """Remove a shard's table, open or not."""
        if held in self._tables:
            self._tables.pop(held).close()
        shutil.rmtree(self._path(held), ignore_errors=True)

    def close(self) -> None:
        self.keep(())
        if self._lock is not None:
            self._lock.close()

    def _path(self, held: Held) -> Path:
        name, partition = held
        return self.path / "tables" / name / str(partition)
