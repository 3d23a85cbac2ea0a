"""A shard whose log and rows lie in stores: opened, checkpointed, closed.

Opening fences the former owner. Then the rows are read into memory, and the log is folded from
the position that they are as of.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from .ports import Change, Checkpoint, Hold, RecordStore, ShardId, Terms
from .shard import Aside, Shard
from .tables.memory import MemoryTable

#: Rows that are taken into memory at a time.
PILE = 1_000

#: Seconds after which a position is stored though no row has changed: others of the workflow have.
IDLE = 10.0

#: Sends what a shard has for other places, and returns once it is durable.
Send = Callable[[Sequence[Aside]], Awaitable[None]]


async def table_of(
    records: RecordStore, shard: ShardId, position: int | None, terms: Terms | None = None
) -> MemoryTable:
    """The rows of a shard, in memory. terms: those by which they are indexed, if they are.

    Raises StoreUnreachable.
    """
    table, pile = MemoryTable(terms), list[Change]()
    async for key, record in records.rows(shard):
        pile.append(Change(key, None, record))
        if len(pile) == PILE:
            table.write(Checkpoint(pile, 0))
            pile = []
    if position is not None:
        table.write(Checkpoint(pile, position))
    return table


@dataclass(eq=False)
class StoredShard:
    """A shard while this process owns it.

    table: its rows as the store has them. token: that of the role by which it is owned.
    send: appends what it has for other places.
    """

    id: ShardId
    shard: Shard
    table: MemoryTable
    records: RecordStore
    token: int
    send: Send
    _stored_at: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _given_up: asyncio.Event = field(default_factory=asyncio.Event)

    def give_up(self) -> None:
        """It is nothing to go on with: whoever is to have it opens it anew."""
        self._given_up.set()

    async def until_given_up(self, hold: Hold) -> None:
        """Return once the role is lost, or the shard was given up."""
        ends = [asyncio.ensure_future(hold.lost()), asyncio.ensure_future(self._given_up.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def send_asides(self) -> None:
        """Raises StoreUnreachable; the next checkpoint tries again."""
        async with self._turn:
            await self._send(self.shard.take_asides())

    async def checkpoint(self) -> bool:
        """Make what has changed durable: first what it has for other places, then its rows.

        Returns whether there were any. Raises StoreUnreachable: it is tried again with the next
        one. Raises Fenced and RowsLost.
        """
        async with self._turn:
            # Both at once: what is set aside from now on belongs to the next checkpoint.
            asides, checkpoint = self.shard.take_asides(), self._due_checkpoint()
            try:
                await self._send(asides)
                if checkpoint is not None:
                    await self.records.store(self.id, checkpoint, self.token)
            except BaseException:
                if checkpoint is not None:
                    self.shard.failed(checkpoint)
                raise
            if checkpoint is not None:
                self.table.write(checkpoint)
                self.shard.committed(checkpoint)
                self._stored_at = monotonic()
            return checkpoint is not None

    def _due_checkpoint(self) -> Checkpoint | None:
        if not self.shard.changed and monotonic() < self._stored_at + IDLE:
            return None
        return self.shard.checkpoint()

    async def _send(self, asides: Sequence[Aside]) -> None:
        if asides:
            try:
                await self.send(asides)
            except BaseException:
                self.shard.return_asides(list(asides))
                raise
