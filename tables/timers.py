"""The timer table: what is due when, as keys that order by time.

It is derived from the runs table, lies in the same store and is written in the same batches. It
is read by windows of due time, so that a scan costs what is due and never what waits.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from streamwf.agenda import entries
from streamwf.indexing import microseconds, pack
from streamwf.record import Record

PREFIX = b"d"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INSTANT = slice(len(PREFIX), len(PREFIX) + 8)


def instant_key(due_at: datetime) -> bytes:
    """Where entries that are due at an instant begin. Whole microseconds, big endian."""
    since = microseconds(due_at)
    return PREFIX + pack(since if since > 0 else 0)


def key(due_at: datetime, row: str) -> bytes:
    """The key of what is due of a row. row: the key of it."""
    return instant_key(due_at) + row.encode()


def keys(row: str, record: Record) -> Collection[bytes]:
    """The keys of a run's agenda. row: the key of its row."""
    waiting = entries(record)
    if not waiting:
        return ()
    encoded = row.encode()
    if len(waiting) == 1:
        # Of most runs it is the step alone.
        return (instant_key(waiting[0].due_at) + encoded,)
    return {instant_key(entry.due_at) + encoded for entry in waiting}


def read(key: bytes) -> tuple[datetime, str]:
    """(due time, key of the row) of a key."""
    due_at = _EPOCH + int.from_bytes(key[_INSTANT], "big") * _MICROSECOND
    return due_at, key[_INSTANT.stop :].decode()
