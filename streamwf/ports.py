"""The ports: what the core asks of its surroundings, stated as obligations."""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from .events import Event
from .record import LAST_KEY, Record, State, Trace

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


#: A header of a letter that has only the beginning of what was set aside.
CUT = "streamwf-cut"


class Letter(NamedTuple):
    """What came from outside and can't be used, for the dead letters, with the reason.

    source, partition, position: where it is there. headers: those that it had.
    settles: the id of the letter that this one is about, if it says what became of that.
    """

    key: bytes | None
    value: bytes | None
    reason: str
    source: str
    partition: str
    position: str
    headers: Sequence[tuple[str, bytes]] = ()
    settles: str = ""


class Filed(NamedTuple):
    """A letter as it lies among the dead letters.

    timestamp: of when it was set aside, in milliseconds since 1970.
    """

    partition: int
    offset: int
    timestamp: int
    letter: Letter


class LetterLog(Protocol):
    """The dead letters of workflows, which any process may look at.

    Each raises StoreUnreachable.
    """

    def since(self, workflow: str, positions: Mapping[int, int]) -> AsyncIterator[Sequence[Filed]]:
        """All that lie there now, in the order of each partition.

        positions: the next offset of each partition; others from their beginning.
        """

    async def read(self, workflow: str, partition: int, offset: int) -> Filed | None: ...

    async def settle(self, workflow: str, letter: Letter) -> None:
        """Return once a letter that settles another is among them."""


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


class Terms(Protocol):
    """The terms of a run: what its object is searched by. A pure function, quick to call.

    name: tells apart those who find other terms; empty if none are ever found.
    """

    @property
    def name(self) -> str: ...
    def __call__(self, record: Record) -> Collection[bytes]: ...


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

    def due(
        self, start: datetime, end: datetime, limit: int, past: str = ""
    ) -> list[tuple[datetime, str]]:
        """(due time, key of the row) of what is due in [start, end), in order; at most `limit`, as
        any number may be due at one instant. past: leaves out what is due at `start` of rows with
        keys up to this one."""

    def scan(
        self, start: str, stop: str = LAST_KEY, *, backwards: bool = False
    ) -> Iterator[tuple[str, Record]]:
        """Rows with keys in [start, stop), in the order of their keys or against it."""

    @property
    def terms(self) -> Terms:
        """Those by which the runs are indexed."""

    def between(
        self, start: bytes, stop: bytes, *, backwards: bool = False, limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """At most `limit` index rows (`indexing.py`) with keys in [start, stop), in the order of
        their keys or against it: as they are when this is called, whatever is written later."""

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


class Outgoing(NamedTuple):
    """A record to be appended to a stream. key: the foreign id; one key keeps its order."""

    key: bytes
    value: bytes


class Received(NamedTuple):
    """A record that was received. partition: the part of its stream in which its offset counts."""

    partition: int
    record: LogRecord


class EventSender(Protocol):
    """Appends to one stream."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Return once all of them are durable, those of one key in their order.

        After an error, or a crash, some may be there: who sends them again sends them twice.
        Raises StoreUnreachable, StreamClosed, and what the adapter says of itself.
        """

    async def close(self) -> None: ...


class EventReceiver(Protocol):
    """Follows one stream, in order, for one name."""

    async def recv(self) -> Sequence[Received]:
        """The next records, at least one; waits for them. Who is cancelled has received nothing.

        Raises StoreUnreachable, after which it may be called again, and StreamClosed.
        """

    async def ack(self) -> None:
        """Commit what was received: a later receiver of this name begins after it.

        What was received and never acknowledged is received again.
        """

    async def lag(self) -> int:
        """How many records of the stream are there and were not received yet."""

    async def close(self) -> None: ...


class EventStreamer(Protocol):
    """The log: streams of records, each kept for ever, to be read again from any place.

    An offset is greater than that of every record before it in its partition; there may be gaps.
    """

    async def sender(self, stream: str) -> EventSender: ...

    async def receiver(
        self,
        stream: str,
        name: str,
        *,
        since: Mapping[int, int] | None = None,
        only: Collection[int] | None = None,
        from_latest: bool = False,
    ) -> EventReceiver:
        """Begin where the receiver of this name has committed; if it never has, at the beginning.

        since: the next offset of each partition, instead; others from their beginning.
        only: partitions that are followed, and no others; all of them, unless given.
        from_latest: if it never has committed, see only what is sent from now on.
        """

    async def ends(self, stream: str) -> Mapping[int, int]:
        """The offset after the last record, of each partition; receivers get all before it."""

    async def read(self, stream: str, partition: int, offsets: Sequence[int]) -> list[LogRecord]:
        """The records at these ascending offsets; where there is none, none. Raises
        StoreUnreachable."""

    async def close(self) -> None:
        """Close it, with its senders and receivers."""


class ShardId(NamedTuple):
    """One shard of one workflow. number: counted from 0."""

    workflow: str
    number: int


class Due(NamedTuple):
    """When something of a row is due. key: the row's."""

    due_at: datetime
    key: str


class RecordQuery(NamedTuple):
    """Which rows are wanted, and in which order. Empty means all; several are alternatives.

    created_after, created_before: bounds, the first included, the second not.
    newest_first: by when they were created, or the other way round.
    """

    workflow: str = ""
    foreign_id: str = ""
    states: Sequence[State] = ()
    statuses: Sequence[str] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    newest_first: bool = False
    offset: int = 0
    limit: int = 100


class RecordStore(Protocol):
    """The rows of all shards, in the image of their folds. Names are of any characters."""

    async def open(self, shard: ShardId, token: int | None) -> int | None:
        """The position that the rows of a shard are as of; None if nothing was ever stored.

        token: that of the role which owns the shard. Once this returns nothing is stored any more
        with a lesser one. Raises Fenced if the shard was opened with a greater one. Without a
        token the shard is only looked at.
        """

    def rows(self, shard: ShardId) -> AsyncIterator[tuple[str, Record]]:
        """All rows of a shard by their keys, in no order."""

    async def store(self, shard: ShardId, checkpoint: Checkpoint, token: int) -> None:
        """Store a whole checkpoint, or nothing of it. What is due of its rows is as they say then.

        Raises Fenced if the shard was opened with a greater token; RowsLost if something is gone
        that was stored since it was opened: it has to be opened anew; and StoreUnreachable: then it
        may or may not be stored, and may be stored again, by itself or with what came since.
        """

    async def lookup(self, workflow: str, run_id: str) -> Record | None: ...

    async def latest(self, workflow: str, foreign_id: str) -> Record | None: ...

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        """Rows of runs, but for inner runs. Those created at the same time come by run id, in the
        same direction."""


class TimeoutStore(Protocol):
    """The agenda of all shards: what is due when."""

    async def put(self, shard: ShardId, due: Iterable[Due]) -> None:
        """What is there already stays, once."""

    async def delete(self, shard: ShardId, due: Iterable[Due]) -> None:
        """What is not there need not be."""

    async def due(self, shard: ShardId, until: datetime, limit: int) -> Sequence[Due]:
        """What is due before an instant, in order of time. If there are more than `limit`, it
        stops after the last one that is due at the same instant."""

    async def next_due(self, shard: ShardId) -> datetime | None:
        """When the first of all is due."""


class Hold(Protocol):
    """A role that is held.

    token: greater than that of everyone who has held the role before.
    """

    @property
    def token(self) -> int: ...

    @property
    def held(self) -> bool:
        """Whether it is beyond doubt that nobody else holds the role."""

    async def lost(self) -> None:
        """Return once the role is lost, before another can get it; never while it is held.

        Leave the block then: another may wait for it, who is to have a share of the roles.
        """


class RoleScheduler(Protocol):
    """Who does what: each role has one holder at a time, here or in another process."""

    def hold(self, role: str) -> AbstractAsyncContextManager[Hold]:
        """Wait for a role, and hold it until the block ends, or is cancelled, or it is lost.

        Raises RolesClosed once the scheduler is closed.
        """

    async def close(self) -> None:
        """All roles that are held through it are lost, and free for others. Repeating is harmless.

        Close it once all that holds roles has stopped.
        """


class OutboxRow(NamedTuple):
    """A request on its way to the log. event: as it was written. timestamp: of then, in
    milliseconds since 1970."""

    id: int
    event: bytes
    timestamp: int


class Backlog(NamedTuple):
    """What is left in the outbox of one workflow. refused: rows that can't be appended; they are
    not among those that wait. oldest: since when the oldest of those waits."""

    waiting: int = 0
    refused: int = 0
    oldest: datetime | None = None


class OutboxStore(Protocol):
    """The requests of committed transactions. Each raises StoreUnreachable."""

    def turn(self) -> AbstractAsyncContextManager[bool]:
        """Whether it is this relay's turn until the block ends, as far as can be known.

        Others may have it too after a connection was lost.
        """

    async def take(self, workflow: str, limit: int) -> Sequence[OutboxRow]:
        """The first rows of a workflow that were not refused; they stay. Ids are in the order of
        transactions of which one began after the other had ended."""

    async def delete(self, ids: Sequence[int]) -> None:
        """What is not there need not be."""

    async def refuse(self, id: int, why: str) -> None:
        """Leave a row to people."""

    async def backlog(self) -> Mapping[str, Backlog]:
        """What is left, by workflow."""

    async def grown(self) -> None:
        """Return once there may be more than there was, be it only that some time has passed."""

    async def close(self) -> None: ...
