"""Stores in RocksDB: a directory that one process has, with a table for each shard.

What is stored is on the disk when a call returns. A checkpoint is one batch.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streamwf.errors import (
    StoreFull,
    StoreInUse,
    StoreReadOnly,
    StoreUnreachable,
    StreamwfError,
)
from streamwf.ports import Checkpoint, Due, ShardId
from streamwf.record import encode_record
from streamwf.tables.runs import AsOf, Memory, RunsTable
from streamwf.tables.stores import TableStore

# What the system says of a file, by what that means here.
_FAILURES = {
    "No space left": StoreFull,
    "Read-only file system": StoreReadOnly,
    "Permission denied": StoreReadOnly,
    "IO error: While lock file": StoreInUse,
    "IO error: lock hold by current process": StoreInUse,
}


class RocksStore(TableStore[RunsTable]):
    """Lists look at every row: they are for thousands of runs, not for millions."""

    def __init__(self, path: Path, setting: str) -> None:
        """setting: the name of the one that has the path, for what errors say.

        Nothing is opened yet: another process may have the directory until this one is to use it.
        """
        super().__init__()
        self._path = path
        self._setting = setting
        self._memory = Memory()

    def close(self) -> None:
        for shard in list(self._tables):
            self._close(shard)

    def _close(self, shard: ShardId) -> None:
        self._tables.pop(shard).close()

    def _new_table(self, shard: ShardId) -> RunsTable:
        path = self._path / shard.workflow / str(shard.number)
        with self._failing():
            return RunsTable(path, self._memory, sync=True)

    def _tables_of(self, workflow: str) -> Iterator[RunsTable]:
        for found in self._path.glob("*/*/"):
            if workflow in ("", found.parent.name):
                self._table(ShardId(found.parent.name, int(found.name)))
        return super()._tables_of(workflow)

    def _write(self, table: RunsTable, checkpoint: Checkpoint) -> None:
        rows = [None if c.after is None else encode_record(c.after) for c in checkpoint.changes]
        table.write(checkpoint.changes, rows, AsOf("", 0, checkpoint.position))

    async def store(self, shard: ShardId, checkpoint: Checkpoint, token: int) -> None:
        with self._writing(shard):
            await super().store(shard, checkpoint, token)

    async def put(self, shard: ShardId, due: Iterable[Due]) -> None:
        with self._writing(shard):
            await super().put(shard, due)

    async def delete(self, shard: ShardId, due: Iterable[Due]) -> None:
        with self._writing(shard):
            await super().delete(shard, due)

    @contextmanager
    def _writing(self, shard: ShardId) -> Iterator[None]:
        """After a failure RocksDB writes nothing more: the table is opened anew when it is used."""
        try:
            with self._failing():
                yield
        except StoreUnreachable:
            self._close(shard)
            raise

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except StreamwfError:
            raise
        except Exception as error:
            # RocksDB has no other class for what went wrong beneath it.
            if not isinstance(error, OSError) and not str(error).startswith("IO error"):
                raise
            kinds = (kind for text, kind in _FAILURES.items() if text in str(error))
            kind, store = next(kinds, StoreUnreachable), f"The directory {self._path}"
            raise kind(store=store, cause=error, setting=self._setting) from None
