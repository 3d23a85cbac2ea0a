"""The changelog: a compacted topic that holds the table of each shard, row by row.

A checkpoint is one transaction: its rows, then a marker with the position in the log that they
are as of. So whoever has read a changelog to its end has exactly the fold of the log up to the
marker, and goes on from there: no event is ever folded twice, and none is left out.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from streamwf.ports import Change, Checkpoint
from streamwf.record import Record, decode_record, encode_record
from streamwf.tables.runs import AsOf, RunsTable

#: Rows that are written to a bare table in one batch.
PILE = 10_000

#: No foreign id begins with a control character.
MARKER_KEY = b"\0position"


class Marker(msgspec.Struct, frozen=True):
    """The position that all rows before it are as of, and the incarnation they belong to."""

    table_id: str
    position: int


class ChangelogRecord(NamedTuple):
    """A record of the changelog. value: None for a row that is gone."""

    offset: int
    key: bytes
    value: bytes | None


_encode_marker = msgspec.json.Encoder().encode
_decode_marker = msgspec.json.Decoder(Marker).decode


def records_of(
    checkpoint: Checkpoint, table_id: str
) -> tuple[list[bytes | None], Iterator[tuple[bytes, bytes | None]]]:
    """The JSON of each row of a checkpoint, and its changelog's records, the marker last."""
    rows = [None if c.after is None else encode_record(c.after) for c in checkpoint.changes]

    def records() -> Iterator[tuple[bytes, bytes | None]]:
        for change, row in zip(checkpoint.changes, rows, strict=True):
            yield change.key.encode(), row
        yield MARKER_KEY, _encode_marker(Marker(table_id, checkpoint.position))

    return rows, records()


class StaleTable(Exception):
    """The table is the image of a changelog that exists no more."""


class Recovery:
    """Brings a table up to its changelog.

    Reading begins at the marker that the table holds last, or at the beginning. Rows are written
    only together with a marker that follows them.
    """

    def __init__(self, table: RunsTable, *, whole: bool = False) -> None:
        """whole: nobody looks at the table before it is finished, and derived if it is bare then.
        So one that is filled from nothing is filled faster."""
        table.mend()
        if table.bare and not whole:
            table.wipe()
        self.table = table
        self._bare = table.bare or (whole and table.as_of is None)
        self._pending: dict[bytes, bytes | None] = {}
        #: What a marker has followed, and is not written yet; and what it is as of.
        self._rows: dict[bytes, bytes | None] = {}
        self._as_of: AsOf | None = None
        self._expected = None if table.as_of is None else table.as_of.table_id

    @property
    def start(self) -> int:
        """The offset to read from."""
        return 0 if self.table.as_of is None else self.table.as_of.marker

    def apply(self, records: Sequence[ChangelogRecord]) -> None:
        """Take in the next records, in order.

        Raises StaleTable if they are of another incarnation than the table; wipe it then, and
        begin again.
        """
        for record in records:
            if record.key == MARKER_KEY and record.value is not None:
                self._mark(record.offset, _decode_marker(record.value))
            elif self.table.as_of is None or record.offset > self.table.as_of.marker:
                self._pending[record.key] = record.value
        if not self._bare or len(self._rows) >= PILE:
            self._write()

    def finish(self) -> None:
        """The end was reached. Raises StaleTable if the table's own marker was not met."""
        if self._expected is not None:
            raise StaleTable
        self._write()

    def _mark(self, offset: int, marker: Marker) -> None:
        if self._expected not in (None, marker.table_id):
            raise StaleTable
        self._expected, as_of = None, self.table.as_of
        if as_of is not None and offset <= as_of.marker:
            return
        self._rows |= self._pending
        self._pending = {}
        self._as_of = AsOf(table_id=marker.table_id, marker=offset, position=marker.position)

    def _write(self) -> None:
        if self._as_of is None:
            return
        if self._bare:
            self.table.write_bare(self._rows, self._as_of)
        else:
            changes = [self._change(key.decode(), row) for key, row in self._rows.items()]
            self.table.write(changes, list(self._rows.values()), self._as_of)
        self._rows, self._as_of = {}, None

    def _change(self, key: str, row: bytes | None) -> Change:
        after: Record | None = None if row is None else decode_record(row)
        return Change(key, self.table.get(key), after)
