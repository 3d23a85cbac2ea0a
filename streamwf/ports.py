"""The ports: what the core asks of its surroundings, stated as obligations."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from .events import Event
from .record import Record, Trace

KindT = TypeVar("KindT", bound=str)


class Clock(Protocol):
    """The time, in UTC. Real, or stepped by tests."""

    def now(self) -> datetime: ...


class Logger(Protocol):
    """Takes the lines that a host logs: the name of what happened, and what is known of it.

    Called on the event loop, in the midst of work: it must neither wait for anything nor raise.
    `exc_info`, if it is among the fields, is an exception whose traceback belongs to the line.
    structlog's loggers are of this kind.
    """

    def debug(self, event: str, /, **fields: Any) -> None: ...
    def info(self, event: str, /, **fields: Any) -> None: ...
    def warning(self, event: str, /, **fields: Any) -> None: ...
    def error(self, event: str, /, **fields: Any) -> None: ...


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


class Letter(NamedTuple):
    """What came from outside and can't be used, for the dead letters, with the reason.

    source, partition, position: where it is there. headers: those that it had.
    """

    key: bytes | None
    value: bytes | None
    reason: str
    source: str
    partition: str
    position: str
    headers: Sequence[tuple[str, bytes]] = ()


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

    def head_of(self, run_id: str) -> str | None:
        """The key under which the run of that id lies while it is the latest of its foreign id."""

    def due(self, start: datetime, end: datetime, limit: int) -> list[tuple[datetime, str]]:
        """(due time, key of the row) of what is due in [start, end), in order. If there are more
        than `limit`, it stops after the last one that is due at the same instant."""

    def scan(self, start: str) -> Iterable[tuple[str, Record]]:
        """Rows in the order of their keys, from `start` on."""

    def counts(self) -> Mapping[tuple[str, str], int]:
        """How many runs there are by (status, state)."""

    def timers(self) -> Mapping[str, int]:
        """How many timeouts wait to be answered, by the status of their runs."""


class Tracing(Protocol):
    """Makes spans of what is done, in the traces that events carry on.

    While nobody collects spans it makes none, and hands on the traces of others.
    """

    def request(
        self, workflow: str, event: Event, *, cause: str | None = None, after: Trace | None = None
    ) -> AbstractContextManager[Event]:
        """The span of a request while it is made. Gives the event, as a part of it.

        cause: the traceparent of what it comes of; that of the caller, unless given. after: what
            it is linked to.
        """

    def message(
        self, workflow: str, connector: str, headers: Sequence[tuple[str, bytes]]
    ) -> AbstractContextManager[str]:
        """The span of a message while it is looked at. Gives the traceparent of what it leads to.

        headers: those that it came with.
        """

    def watching(
        self,
        run_job: Callable[[Record, KindT, str], Awaitable[Event]],
        workflow: str,
        current: Callable[[str], str],
    ) -> Callable[[Record, KindT, str], Awaitable[Event]]:
        """Does jobs as `run_job` does, each with its span, which its result is a part of.

        current: the present name of a status.
        """

    def append(
        self, workflow: str, topic: str, partition: int | None, traceparents: Iterable[str]
    ) -> AbstractContextManager[None]:
        """The spans of events while they are appended to a log.

        partition: None for several. traceparents: those of the events; empty if they have none.
        """


@dataclass(frozen=True, slots=True)
class Key:
    """A key that payloads of a run are sealed under.

    id: tells the keys of a run apart; letters, digits, `-` and `_`. secret: 32 bytes.
    """

    id: str
    secret: bytes = field(repr=False)


class KeyProvider(Protocol):
    """The keys of runs, for workflows that encrypt.

    A run mostly has one key. It has several if several processes had to seal something for it
    before they knew of each other's. Each sealed payload names its key, so all of them count.
    """

    async def obtain(self, workflow: str, foreign_id: str, run_id: str) -> Key:
        """A key to seal with: one that the run has, or else a new one.

        It is durable before this returns, so that nothing is ever sealed under a key that can
        be lost. Raises KeyDestroyed once this process can know that the run's keys were
        destroyed. A process that can't know may add one still: it opens nothing, and is
        destroyed too.
        """

    async def get(self, workflow: str, foreign_id: str, run_id: str, key_id: str) -> Key | None:
        """The key of that id, whichever process has made it; None if there is none any more."""

    async def destroy(self, workflow: str, foreign_id: str, run_id: str) -> None:
        """Destroy all keys that the run has, and any that it will be given.

        Durable once it returns, and harmless to repeat.
        """
