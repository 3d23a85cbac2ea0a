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
    only together with the marker that follows them.
    """

    def __init__(self, table: RunsTable) -> None:
        self._table = table
        self._pending: dict[str, bytes | None] = {}
        self._expected = None if table.as_of is None else table.as_of.table_id

    @property
    def start(self) -> int:
        """The offset to read from."""
        return 0 if self._table.as_of is None else self._table.as_of.marker

    def apply(self, records: Sequence[ChangelogRecord]) -> None:
        """Take in the next records, in order.

        Raises StaleTable if they are of another incarnation than the table; wipe it then, and
        begin again.
        """
        for record in records:
            if record.key == MARKER_KEY and record.value is not None:
                self._mark(record.offset, _decode_marker(record.value))
            elif self._table.as_of is None or record.offset > self._table.as_of.marker:
                self._pending[record.key.decode()] = record.value

    def finish(self) -> None:
        """The end was reached. Raises StaleTable if the table's own marker was not met."""
        if self._expected is not None:
            raise StaleTable

    def _mark(self, offset: int, marker: Marker) -> None:
        if self._expected not in (None, marker.table_id):
            raise StaleTable
        self._expected, as_of = None, self._table.as_of
        if as_of is not None and offset <= as_of.marker:
            return
        changes = [self._change(key, row) for key, row in self._pending.items()]
        self._table.write(
            changes,
            list(self._pending.values()),
            AsOf(table_id=marker.table_id, marker=offset, position=marker.position),
        )
        self._pending = {}

    def _change(self, key: str, row: bytes | None) -> Change:
        after: Record | None = None if row is None else decode_record(row)
        return Change(key, self._table.get(key), after)
