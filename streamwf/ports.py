"""The ports: what the core asks of its surroundings, stated as obligations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from .record import Record


class Clock(Protocol):
    """The time, in UTC. Real, or stepped by tests."""

    def now(self) -> datetime: ...


class LogRecord(Protocol):
    """A record of the log as it was read. timestamp: milliseconds since 1970."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int: ...


class Change(NamedTuple):
    """A row as the table has it, and as it is to be. An absent row is None."""

    key: str
    before: Record | None
    after: Record | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Changes of a shard that belong together, and the position in the log that they are as of.

    position: the offset of the next event to fold.
    """

    changes: Sequence[Change]
    position: int


class ShardTable(Protocol):
    """The rows, the agenda and the position of one shard.

    Whatever writes it writes a whole checkpoint or nothing, and never one that the shard's
    owner has not made durable. Keys order as their UTF-8 bytes do.
    """

    @property
    def position(self) -> int | None:
        """The position that the rows are as of; None in a fresh table."""

    def get(self, key: str) -> Record | None: ...

    def foreign_id_of(self, run_id: str) -> str | None: ...

    def due(self, start: datetime, end: datetime, limit: int) -> list[tuple[datetime, str]]:
        """(due time, foreign id) of what is due in [start, end), in order. If there are more
        than `limit`, it stops after the last one that is due at the same instant."""

    def scan(self, start: str) -> Iterable[tuple[str, Record]]:
        """Rows in the order of their keys, from `start` on."""

    def counts(self) -> Mapping[tuple[str, str], int]:
        """How many runs there are by (status, state)."""
