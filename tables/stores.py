"""The rows and the agenda of all shards, over tables that only this process has.

Tokens count as long as it lives: nobody else can have the tables meanwhile.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from sys import maxsize
from typing import Generic, Protocol, TypeVar

from streamwf.errors import Fenced
from streamwf.ports import Change, Checkpoint, Due, RecordQuery, ShardId, ShardTable
from streamwf.record import SEPARATOR, Record
from streamwf.tables import queries
from streamwf.tables.memory import MemoryTable

_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Table(ShardTable, Protocol):
    """The table of a shard, to whose agenda more can be added than its rows say."""

    def put(self, due: Iterable[Due]) -> None: ...

    def delete(self, due: Iterable[Due]) -> None: ...


TableT = TypeVar("TableT", bound=Table)


class TableStore(Generic[TableT]):
    """Implements `streamwf.ports.RecordStore` and `TimeoutStore`."""

    def __init__(self) -> None:
        self._tables: dict[ShardId, TableT] = {}
        self._tokens: dict[ShardId, int] = {}

    def _new_table(self, shard: ShardId) -> TableT:
        raise NotImplementedError

    def _write(self, table: TableT, checkpoint: Checkpoint) -> None:
        """Write all of it, or nothing. Each change has the row as the table has it."""
        raise NotImplementedError

    def _table(self, shard: ShardId) -> TableT:
        if shard not in self._tables:
            self._tables[shard] = self._new_table(shard)
        return self._tables[shard]

    # ---- rows

    async def open(self, shard: ShardId, token: int | None) -> int | None:
        if token is not None:
            self._check(shard, token)
            self._tokens[shard] = token
        return self._table(shard).position

    def _check(self, shard: ShardId, token: int) -> None:
        if token < self._tokens.get(shard, token):
            raise Fenced(workflow=shard.workflow, shard=shard.number)

    async def rows(self, shard: ShardId) -> AsyncIterator[tuple[str, Record]]:
        for key, record in self._table(shard).scan(""):
            yield key, record

    async def store(self, shard: ShardId, checkpoint: Checkpoint, token: int) -> None:
        self._check(shard, token)
        table = self._table(shard)
        changes = [Change(c.key, table.get(c.key), c.after) for c in checkpoint.changes]
        self._write(table, Checkpoint(changes, checkpoint.position))

    async def lookup(self, workflow: str, run_id: str) -> Record | None:
        found = (_lookup(table, run_id) for table in self._tables_of(workflow))
        return next((record for record in found if record is not None), None)

    async def latest(self, workflow: str, foreign_id: str) -> Record | None:
        found = (table.get(foreign_id) for table in self._tables_of(workflow))
        return next((record for record in found if record is not None), None)

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        rows = (row for table in self._tables_of(query.workflow) for _, row in table.scan(""))
        return queries.select(rows, query)

    def _tables_of(self, workflow: str) -> Iterator[TableT]:
        """Those of a workflow, or all of them."""
        for shard, table in self._tables.items():
            if workflow in ("", shard.workflow):
                yield table

    # ---- the agenda

    async def put(self, shard: ShardId, due: Iterable[Due]) -> None:
        self._table(shard).put(due)

    async def delete(self, shard: ShardId, due: Iterable[Due]) -> None:
        self._table(shard).delete(due)

    async def due(self, shard: ShardId, until: datetime, limit: int) -> Sequence[Due]:
        table = self._table(shard)
        found = table.due(_FIRST, until, limit)
        if len(found) == limit:
            at, key = found[-1]
            found += table.due(at, at + _MICROSECOND, maxsize, past=key)
        return [Due(*each) for each in found]

    async def next_due(self, shard: ShardId) -> datetime | None:
        first = self._table(shard).due(_FIRST, _LAST, 1)
        return first[0][0] if first else None


def _lookup(table: Table, run_id: str) -> Record | None:
    head = table.head_of(run_id)
    if head is None:
        return None
    found = (table.get(key) for key in (head, f"{head}{SEPARATOR}{run_id}"))
    return next((record for record in found if record and record.run_id == run_id), None)


class MemoryStore(TableStore[MemoryTable]):
    """All is lost with the process."""

    def _new_table(self, shard: ShardId) -> MemoryTable:
        return MemoryTable()

    def _write(self, table: MemoryTable, checkpoint: Checkpoint) -> None:
        for change in checkpoint.changes:
            # What no store could write is refused before anything is written.
            change.key.encode()
        table.write(checkpoint)
