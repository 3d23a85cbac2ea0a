"""Sources that connectors read, what they give, and what it may lead to. Pure."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from pydantic_core import from_json, to_json

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

Headers: TypeAlias = tuple[tuple[str, bytes], ...]

#: The longest position, and the longest name of a partition.
MAX_POSITION = 500
MAX_PARTITION = 200


@dataclass(frozen=True, slots=True)
class Message:
    """What a source gives.

    position: where it is in its partition. No other message of the partition has the same.
    key, value: as they came; None if there is none. A Kafka tombstone has no value.
    source: the name of the source.
    """

    position: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: datetime | None = None
    partition: str = ""
    source: str = ""

    def json(self) -> Any:
        """What the value says in JSON. Raises ValueError."""
        if self.value is None:
            raise ValueError("the message has no value")
        return from_json(self.value)


@runtime_checkable
class Source(Protocol):
    """Something that messages come from, in one or several partitions, each in its own order.

    A connector reads each partition once, however many workers there are.
    """

    @property
    def name(self) -> str:
        """What it is. Positions are kept for this name."""

    async def partitions(self) -> Sequence[str]:
        """The names of its partitions. New ones may be added, and none goes."""

    async def begin(self, partition: str) -> str | None:
        """The position after which a new connector begins; None for the beginning."""

    def open(self, partition: str, position: str | None) -> AsyncIterator[Message]:
        """The messages that come after a position, in their order, as they come.

        Raises whatever went wrong: it is opened again after a while, where the connector is. It
        may end when there is nothing at the moment; then too. What it holds it lets go of when it
        is closed or cancelled.
        """

    async def behind(self, positions: Mapping[str, str | None]) -> Mapping[str, int]:
        """How many messages come after a position, by partition. What can't be told is left out."""


@runtime_checkable
class OfWorker(Protocol):
    """A source that may lie where the worker's own topics do."""

    def of_worker(self, settings: Any) -> Source:
        """settings: the worker's own, `streamwf.Settings`."""


#: An iterator over (position, value) from after a position on; None for the beginning.
Iterate: TypeAlias = Callable[[str | None], AsyncIterator[tuple[str, Any]]]


@dataclass(frozen=True, slots=True)
class IteratorSource:
    """Made by `from_iterator`. Implements `Source`, with one partition."""

    iterate: Iterate
    name: str

    async def partitions(self) -> Sequence[str]:
        return ("0",)

    async def begin(self, partition: str) -> str | None:
        return None

    async def open(self, partition: str, position: str | None) -> AsyncIterator[Message]:
        messages = self.iterate(position)
        try:
            async for place, value in messages:
                yield Message(place, _bytes(value), partition=partition, source=self.name)
        finally:
            close = getattr(messages, "aclose", None)
            if close is not None:
                await close()

    async def behind(self, positions: Mapping[str, str | None]) -> Mapping[str, int]:
        return {}


def from_iterator(iterate: Iterate, *, name: str | None = None) -> IteratorSource:
    """A source from a function that iterates over anything: a file, a websocket, an API.

    iterate: called with the position of the last message that was used, or None for the
        beginning; gives an async iterator over what comes after it, as pairs of a position and a
        value. Each position is a text of its own. A value is bytes or text, or plain data, which
        becomes JSON. When it ends it is called again a second later; so one that asks an API may
        end after each answer, and sleep before that to be called less often.
    name: the function's name, unless given.
    """
    return IteratorSource(iterate, name or str(getattr(iterate, "__name__", "iterator")))


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else to_json(value)


# ---- what a message leads to


@dataclass(frozen=True, slots=True)
class Start(Generic[ObjectT, StatusT]):
    """A message starts a run.

    at: the status to start at, if not the workflow's start. start_at: when, if not now.
    """

    foreign_id: str
    object: ObjectT
    at: StatusT | None = None
    start_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A message calls back a run that waits for it.

    name: of the callback. payload: bytes, or what JSON can hold.
    foreign_id: of the run; the latest, unless run_id says which.
    correlation: the value by which the callback's run is known outside, instead of foreign_id.
    wait_for: how long it waits for its run to be there and to want it.
    """

    name: str
    payload: Any = None
    _: KW_ONLY
    foreign_id: str | None = None
    run_id: str | None = None
    correlation: str | None = None
    wait_for: timedelta = timedelta(hours=1)


#: What a connector's function may return.
Led: TypeAlias = Start[ObjectT, StatusT] | Call | Sequence[Start[ObjectT, StatusT] | Call] | None
