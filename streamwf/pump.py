"""A pump: reads a source ahead, so that messages are taken in batches, and no read is cut off."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from .ports import Letter
from .sources import Message

#: How many messages, and how many bytes of them, are read ahead.
AHEAD = 1_000
AHEAD_BYTES = 4 << 20

#: Seconds that a source gets to let go of what it holds.
GOODBYE = 5.0


def size_of(message: Message | Letter) -> int:
    """Bytes of its key, value and headers."""
    headers = sum(len(name) + len(value) for name, value in message.headers)
    return len(message.key or b"") + len(message.value or b"") + headers


class Pump:
    """Reads while the block lasts.

    check: called with each message; what it raises ends the reading.
    ended: whether there is nothing more. error: what it ended with, unless by itself.
    """

    def __init__(self, messages: AsyncIterator[Message], check: Callable[[Message], None]) -> None:
        self._messages = messages
        self._check = check
        self._ahead: deque[Message] = deque()
        self._bytes = 0
        self._moved = asyncio.Event()
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.ended = False
        self.error: Exception | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=GOODBYE)

    async def _run(self) -> None:
        try:
            async for message in self._messages:
                self._check(message)
                self._ahead.append(message)
                self._bytes += size_of(message)
                self._moved.set()
                while len(self._ahead) >= AHEAD or self._bytes >= AHEAD_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            self.error = error
        finally:
            self.ended = True
            self._moved.set()
            close = getattr(self._messages, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()

    async def moved(self) -> None:
        """Return once there is something to take, or nothing more comes."""
        await self._moved.wait()

    def take(self, limit: int) -> list[Message]:
        """The next messages, which have been read already."""
        taken = [self._ahead.popleft() for _ in range(min(limit, len(self._ahead)))]
        self._bytes -= sum(map(size_of, taken))
        self._room.set()
        if not self._ahead and not self.ended:
            self._moved.clear()
        return taken
