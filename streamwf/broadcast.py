"""Telling whoever watches what the shards of this process fold.

A shard hands a whole batch over, at a cost that does not depend on how many watch; they get it when
the shard is done. Each has a bounded inbox, so that one who is slow costs nobody anything.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import ReadsTooSlowly
from .moves import Batch, Gap
from .ports import ShardId

#: Moves that wait for one who watches.
ROOM = 10_000


class Inbox:
    """What waits for one who watches. room: how many moves, at most.

    following: the shards of this process that are listened to.
    """

    def __init__(self, room: int) -> None:
        self.following: set[ShardId] = set()
        self.room = room
        self._batches: deque[Batch | Gap] = deque()
        self._taken = 0
        self._some = asyncio.Event()
        self._less = asyncio.Event()
        self._overrun = False
        #: Called once, when who reads turns out to be too slow.
        self.at_overrun: Callable[[], None] = nothing

    def hear(self, batch: Batch) -> None:
        """From a shard of this process."""
        if batch.shard in self.following:
            self.put(batch)

    def put(self, batch: Batch | Gap) -> None:
        """Without waiting. Once there is no room, all that waits is given up."""
        self._taken += _weight(batch)
        if self._taken > self.room:
            self.give_up()
        if not self._overrun:
            self._batches.append(batch)
        self._some.set()

    def give_up(self) -> None:
        """Who reads is too slow."""
        if not self._overrun:
            self._overrun = True
            self.at_overrun()
        self._batches.clear()
        self._some.set()
        self._less.set()

    async def put_when_there_is_room(self, batch: Batch | Gap) -> None:
        while self._taken > self.room // 2 and not self._overrun:
            self._less.clear()
            await self._less.wait()
        self.put(batch)

    async def wait(self, seconds: float) -> None:
        """Until there is something, but no longer than that."""
        try:
            async with asyncio.timeout(seconds):
                await self._some.wait()
        except TimeoutError:
            return

    def take(self) -> list[Batch | Gap]:
        """All that waits. Raises ReadsTooSlowly once something was given up."""
        if self._overrun:
            raise ReadsTooSlowly(room=self.room)
        batches = [*self._batches]
        self._batches.clear()
        self._taken = 0
        self._some.clear()
        self._less.set()
        return batches


def nothing() -> None:
    """Nobody has to be told."""


def _weight(batch: Batch | Gap) -> int:
    return len(batch.moves) + 1 if isinstance(batch, Batch) else 1


class Broadcast:
    """Where the shards of one process tell, and others listen."""

    def __init__(self) -> None:
        self._inboxes: set[Inbox] = set()
        self._told: list[Batch] = []

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._inboxes)

    @contextmanager
    def listening(self, inbox: Inbox) -> Iterator[None]:
        self._inboxes.add(inbox)
        try:
            yield
        finally:
            self._inboxes.discard(inbox)

    def tell(self, batch: Batch) -> None:
        if not self._told:
            asyncio.get_running_loop().call_soon(self._hand_out)
        self._told.append(batch)

    def _hand_out(self) -> None:
        told, self._told = self._told, []
        for inbox in self._inboxes:
            for batch in told:
                inbox.hear(batch)
