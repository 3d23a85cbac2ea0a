"""What runs are found by without looking at all of them: the keys of index rows.

They are derived from the rows of runs, lie beside them and are written with them; inner runs have
none. What a key is made of, by its first byte:

- `c`: when the run was created
- `u`: its status and state, and when it was last changed; the value is when it was created
- `f`: a term, which is something that its object is searched by, and when the run was created

Each ends with a reference to the run, wherever its row lies.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from .ports import Terms
from .record import SEPARATOR, Record

#: What the keys begin with. Another layout gets another version, so that tables are indexed anew.
LETTERS = (b"c", b"u", b"f")
VERSION = "1"

CREATED = b"c"

#: After all that begins alike: no instant begins with this.
END = b"\xff"

INSTANT = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BEFORE_1970 = 1 << 62
_NUL = SEPARATOR.encode()


class Entry(NamedTuple):
    """A run in an index. at: the instant that it is ordered by. created: when it was created."""

    at: bytes
    ref: bytes
    created: bytes


class NoTerms:
    """For runs that are not searched by what they carry."""

    name = ""

    def __call__(self, record: Record) -> Collection[bytes]:
        return ()


#: Whole numbers as bytes that order alike, for a third of what `int.to_bytes` takes.
pack = Struct(">Q").pack


def microseconds(at: datetime) -> int:
    """Since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def instant_key(at: datetime) -> bytes:
    """An instant to the microsecond, as bytes that order alike."""
    return pack((at - _EPOCH) // _MICROSECOND + _BEFORE_1970)


def read_instant(key: bytes) -> datetime:
    return _EPOCH + (int.from_bytes(key, "big") - _BEFORE_1970) * _MICROSECOND


def ref_of(foreign_id: str, run_id: str) -> bytes:
    """A reference to a run; references order by foreign id, and then by run id."""
    return foreign_id.encode() + _NUL + run_id.encode()


def read_ref(ref: bytes) -> tuple[str, str]:
    """Foreign id and run id."""
    foreign_id, _, run_id = ref.partition(_NUL)
    return foreign_id.decode(), run_id.decode()


@lru_cache(4_096)
def standing_prefix(status: str, state: str) -> bytes:
    """What the keys of all runs at a status and in a state begin with."""
    encoded = status.encode()
    return b"u" + len(encoded).to_bytes(4, "big") + encoded + state.encode() + _NUL


def term_prefix(term: bytes) -> bytes:
    """What the keys of all runs with a term begin with. All terms are of one length."""
    return b"f" + term


def read_entry(prefix: bytes, key: bytes, value: bytes) -> Entry:
    """prefix: of the index that the key is of."""
    begin = len(prefix)
    end = begin + INSTANT
    at = key[begin:end]
    return Entry(at, key[end:], value or at)


def index_rows(record: Record, terms: Terms) -> Iterator[tuple[bytes, bytes]]:
    """All index rows of a run."""
    if record.kind:
        return
    ref, created = ref_of(record.foreign_id, record.run_id), instant_key(record.created_at)
    yield CREATED + created + ref, b""
    yield _standing_row(record, ref, created)
    for term in terms(record):
        yield term_prefix(term) + created + ref, b""


def _standing_row(record: Record, ref: bytes, created: bytes) -> tuple[bytes, bytes]:
    prefix = standing_prefix(record.status, record.state)
    return prefix + instant_key(record.updated_at) + ref, created


def moved_rows(
    before: Record, after: Record, terms: Terms
) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """Of a run that has changed: the index rows that it had, and those that it has now, but for
    those that can't have changed."""
    if before.run_id != after.run_id or before.created_at != after.created_at or after.kind:
        return [*index_rows(before, terms)], [*index_rows(after, terms)]
    ref, created = ref_of(after.foreign_id, after.run_id), instant_key(after.created_at)
    had, has = [_standing_row(before, ref, created)], [_standing_row(after, ref, created)]
    if before.object != after.object:
        had += [(term_prefix(term) + created + ref, b"") for term in terms(before)]
        has += [(term_prefix(term) + created + ref, b"") for term in terms(after)]
    return had, has
