"""What the contract of event streamers needs, and other tests on streams may use."""

import asyncio
import itertools
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from streamwf.ports import EventReceiver, EventStreamer, Outgoing, Received

#: Opens a streamer, and closes it at the end of the block.
OpenStreamer = Callable[[], AbstractAsyncContextManager[EventStreamer]]

#: Seconds that anything here may take.
PATIENCE = 60

#: Foreign ids of every kind that there is.
FOREIGN_IDS = [
    "0",
    "an order",
    "'single' \"double\" `back` \\slash %s :name {x}",
    "Zoë-注文-🛒",
    "o-1",
    "O-1",
    "x" * 500,
    "注" * 500,
]

#: Names of workflows that a database or a broker might mistake for one another, or for its own.
STREAMS = ["orders", "a-b", "a.b", "9lives", "select", "w" * 100, "w" * 99 + "x"]


def outgoing(key: str, *values: str) -> list[Outgoing]:
    return [Outgoing(key.encode(), value.encode()) for value in values]


def values(received: Iterable[Received]) -> list[str]:
    return [(item.record.value or b"").decode() for item in received]


async def recv(receiver: EventReceiver, count: int) -> list[Received]:
    """As many records as are to come; more than that is a failure."""
    received: list[Received] = []
    async with asyncio.timeout(PATIENCE):
        while len(received) < count:
            received += await receiver.recv()
    assert len(received) == count
    return received


async def cancelled(receiving: Coroutine[Any, Any, Sequence[Received]], turn: int) -> Any:
    """Receive, but be cancelled where that waits for the turn-th time, counted from 0."""
    return await _cancel_at(receiving, turn)


@types.coroutine
def _cancel_at(
    receiving: Coroutine[Any, Any, Sequence[Received]], turn: int
) -> Generator[Any, None, Sequence[Received]]:
    error: BaseException | None = None
    for waited in itertools.count():
        try:
            waits = receiving.send(None) if error is None else receiving.throw(error)
        except StopIteration as end:
            received: Sequence[Received] = end.value
            return received
        if waited == turn and (task := asyncio.current_task()):
            task.cancel()
        error = None
        try:
            yield waits
        except BaseException as raised:
            error = raised
    raise AssertionError


async def settled() -> None:
    """Let what was started come to where it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def closing(streamer: EventStreamer) -> AsyncIterator[EventStreamer]:
    """A streamer that is closed at the end of the block, whatever happens in it."""
    try:
        yield streamer
    finally:
        await streamer.close()
