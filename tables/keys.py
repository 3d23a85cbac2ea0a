"""The keys of runs: a table in memory, read from records as they lie in a topic of keys.

A record's key is `foreign id, NUL, run id, NUL, key id`, and its value the secret. A record without
a key id is a mark: the run's keys are destroyed, those before it and those after it. Such a key
that still has its record is stray: a tombstone is to take it away. The mark itself may go once
nothing can be under way any more that would be sealed for the run.
"""

import os
from itertools import takewhile

from streamwf.errors import KeyDestroyed
from streamwf.ports import Key

#: Bytes of a secret, and of the id of a key.
SECRET = 32
ID = 8

#: The value of a mark.
DESTROYED = b"destroyed"

_SEPARATOR = b"\0"


def fresh_key() -> Key:
    return Key(os.urandom(ID).hex(), os.urandom(SECRET))


def record_key(foreign_id: str, run_id: str, key_id: str = "") -> bytes:
    """key_id: empty for a mark."""
    return _SEPARATOR.join((foreign_id.encode(), run_id.encode(), key_id.encode()))


class KeyTable:
    """The keys of one shard, as the records that it was given say."""

    def __init__(self) -> None:
        # Of each run its ids and secrets, one after the other: there may be millions.
        self._keys: dict[bytes, tuple[bytes, ...]] = {}
        self._marks: dict[bytes, int] = {}
        self.stray: set[bytes] = set()

    def apply(self, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
        """The next record of the topic. What says nothing of a key is passed over."""
        run, _, key_id = key.rpartition(_SEPARATOR)
        if not key_id:
            self._mark(run, value, timestamp_ms)
        elif value is None:
            self.stray.discard(key)
            self._remove(run, key_id)
        elif len(value) != SECRET:
            return
        elif run in self._marks:
            self.stray.add(key)
        elif key_id + value not in self._keys.get(run, ()):
            self._keys[run] = (*self._keys.get(run, ()), key_id + value)

    def _mark(self, run: bytes, value: bytes | None, timestamp_ms: int) -> None:
        if value is None:
            self._marks.pop(run, None)
        else:
            self.stray |= {
                run + _SEPARATOR + packed[:-SECRET] for packed in self._keys.pop(run, ())
            }
            self._marks[run] = timestamp_ms

    def _remove(self, run: bytes, key_id: bytes) -> None:
        left = tuple(packed for packed in self._keys.pop(run, ()) if packed[:-SECRET] != key_id)
        if left:
            self._keys[run] = left

    def first(self, foreign_id: str, run_id: str) -> Key | None:
        """The key of a run to seal with; None if it has none yet. Raises KeyDestroyed."""
        if self.destroyed(foreign_id, run_id):
            raise KeyDestroyed(run_id=run_id)
        known = self._keys.get(_run(foreign_id, run_id))
        return _key(known[0]) if known else None

    def get(self, foreign_id: str, run_id: str, key_id: str) -> Key | None:
        known = self._keys.get(_run(foreign_id, run_id), ())
        return next((key for key in map(_key, known) if key.id == key_id), None)

    def destroyed(self, foreign_id: str, run_id: str) -> bool:
        return _run(foreign_id, run_id) in self._marks

    def old_marks(self, before_ms: int) -> list[bytes]:
        """The keys of the marks that were set before an instant, the oldest first."""
        old = takewhile(lambda mark: mark[1] < before_ms, self._marks.items())
        return [run + _SEPARATOR for run, _ in old]

    def __len__(self) -> int:
        """How many runs it knows of."""
        return len(self._keys) + len(self._marks)


def _run(foreign_id: str, run_id: str) -> bytes:
    return foreign_id.encode() + _SEPARATOR + run_id.encode()


def _key(packed: bytes) -> Key:
    return Key(packed[:-SECRET].decode(), packed[-SECRET:])


class MemoryKeys:
    """Implements `streamwf.ports.KeyProvider`, for as long as this process lives."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str], Key | None] = {}

    async def obtain(self, workflow: str, foreign_id: str, run_id: str) -> Key:
        key = self._keys.setdefault((workflow, foreign_id, run_id), fresh_key())
        if key is None:
            raise KeyDestroyed(run_id=run_id)
        return key

    async def get(self, workflow: str, foreign_id: str, run_id: str, key_id: str) -> Key | None:
        key = self._keys.get((workflow, foreign_id, run_id))
        return key if key is not None and key.id == key_id else None

    async def destroy(self, workflow: str, foreign_id: str, run_id: str) -> None:
        self._keys[workflow, foreign_id, run_id] = None
