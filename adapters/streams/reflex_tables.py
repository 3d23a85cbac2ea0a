"""Tables as luno/reflex has them, and how a workflow's events lie in them.

A stream is one table of events, and its ids are the offsets of the stream's only partition. The
columns, under the names that reflex has by default:

| column | of an event of a workflow |
| --- | --- |
| `id` | counted up by the database |
| `foreign_id` | the foreign id, as reflex means it: what the event is about |
| `timestamp` | when it was appended, in UTC |
| `type` | the number of the event's kind, see TYPES: reflex filters by numbers |
| `metadata` | the whole event, CloudEvents JSON, byte for byte as in every other log |
| `trace` | trace and span of its `traceparent`, as reflex encodes them; may be missing |

The event lies in `metadata` whole, though the foreign id is told twice: what is folded has to be
one and the same in every log, and whoever reads it elsewhere needs no code of ours, but a reader
of CloudEvents. A row with foreign id 0 and type 0 is a noop, with which reflex fills gaps.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    func,
    not_,
    type_coerce,
)
from sqlalchemy.dialects import mysql

from streamwf import events

#: The number of each kind of event; part of what is stored, so none is ever given to another.
TYPES = {
    events.TRIGGER: 1,
    events.CALLBACK: 2,
    events.PAUSE: 3,
    events.RESUME: 4,
    events.CANCEL: 5,
    events.RETRY: 6,
    events.DELETE: 7,
    events.CHANGE: 8,
    events.CHILD: 9,
    events.HOOK: 10,
    events.RETAIN: 11,
    events.CORRELATE: 12,
    events.UNCORRELATE: 13,
    events.RELEASED: 14,
    events.STARTED: 101,
    events.MOVED: 102,
    events.REPEATED: 103,
    events.SKIPPED: 104,
    events.FAILED: 105,
    events.PAUSED: 106,
    events.CANCELLED: 107,
    events.RESUMED: 108,
    events.REJECTED: 109,
    events.EXPIRED: 110,
    events.DECLINED: 111,
    events.POSTPONED: 112,
    events.HOOKED: 113,
    events.DELETED: 114,
    events.FORGOTTEN: 115,
}

#: The number of what is no event of a workflow.
OTHER = 1000

NOOP_TYPE, NOOP_FOREIGN_ID = 0, "0"

_id = BigInteger().with_variant(Integer(), "sqlite")
_name = String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql", "mariadb")
_foreign_id = String(events.MAX_FOREIGN_ID).with_variant(
    mysql.VARCHAR(events.MAX_FOREIGN_ID, collation="utf8mb4_bin"), "mysql", "mariadb"
)
_bytes = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_text = Text().with_variant(mysql.TEXT(collation="utf8mb4_bin"), "mysql", "mariadb")
_instant = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


class ReflexRecord(NamedTuple):
    """An event as it was read. type: its number. value: its metadata; None if it has none."""

    offset: int
    key: bytes
    value: bytes | None
    timestamp: int
    type: int


class _Head(msgspec.Struct):
    """What the columns tell of an event."""

    type: str = ""
    traceparent: str = ""


_decode_head = msgspec.json.Decoder(_Head).decode


def name_of(stream: str) -> str:
    """The table of a stream: a name that needs no quotes, as reflex sets none."""
    plain = re.sub(r"[^a-z0-9_]", "_", stream)[:36]
    if plain != stream:
        plain += "_" + hashlib.sha256(stream.encode()).hexdigest()[:8]
    return f"streamwf_{plain}_events"


def events_table(name: str, *, trace: bool = True) -> Table:
    traces = [Column("trace", _bytes, nullable=True)] if trace else []
    return Table(
        name,
        MetaData(),
        Column("id", _id, primary_key=True, autoincrement=True),
        Column("foreign_id", _foreign_id, nullable=False),
        Column("timestamp", _instant, nullable=False),
        Column("type", Integer, nullable=False),
        Column("metadata", _bytes, nullable=True),
        *traces,
        sqlite_autoincrement=True,
    )


def cursors_table(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("id", _name, primary_key=True),
        Column("last_event_id", BigInteger, nullable=False),
        Column("updated_at", _instant, nullable=False),
    )


def errors_table(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("id", _id, primary_key=True, autoincrement=True),
        Column("consumer", _name, nullable=False),
        Column("event_id", BigInteger, nullable=False),
        Column("error_msg", _text, nullable=False),
        Column("created_at", _instant, nullable=False),
        Column("updated_at", _instant, nullable=False),
        Column("error_status", Integer, nullable=False),
        UniqueConstraint("consumer", "event_id"),
        sqlite_autoincrement=True,
    )


#: Whoever appends to a table holds its row here.
turns = Table("streamwf_turns", MetaData(), Column("name", _name, primary_key=True))


def now(dialect: str) -> ColumnElement[datetime]:
    """The database's time, in UTC."""
    if dialect == "postgresql":
        return func.clock_timestamp(type_=_instant)
    if dialect == "sqlite":
        return type_coerce(func.strftime("%Y-%m-%d %H:%M:%f", "now"), _instant)
    return func.utc_timestamp(6, type_=_instant)


def is_event(table: Table) -> ColumnElement[bool]:
    """Whether a row is an event, not a noop."""
    columns = table.c
    return not_(and_(columns.type == NOOP_TYPE, columns.foreign_id == NOOP_FOREIGN_ID))


def row_of(table: Table, key: bytes, value: bytes, at: datetime) -> dict[str, Any]:
    """The columns of an event that is appended."""
    try:
        head = _decode_head(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        head = _Head()
    row = {
        "foreign_id": key.decode(),
        "timestamp": at,
        "type": TYPES.get(head.type, OTHER),
        "metadata": value,
    }
    if "trace" in table.c:
        row["trace"] = _trace(head.traceparent)
    return row


def record_of(row: Any) -> ReflexRecord:
    moment: datetime = row.timestamp
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    milliseconds = int(moment.timestamp() * 1000)
    return ReflexRecord(row.id, row.foreign_id.encode(), row.metadata, milliseconds, row.type)


def is_noop(row: Any) -> bool:
    return bool(row.type == NOOP_TYPE and row.foreign_id == NOOP_FOREIGN_ID)


def _trace(traceparent: str) -> bytes | None:
    """A span as reflex has it: a message of protobuf with the ids as texts, numbered 1 and 2."""
    match = re.fullmatch(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", traceparent)
    if match is None:
        return None
    trace, span = match[1].encode(), match[2].encode()
    return bytes([1 << 3 | 2, len(trace)]) + trace + bytes([2 << 3 | 2, len(span)]) + span
