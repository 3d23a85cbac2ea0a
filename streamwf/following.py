"""Following a workflow's stream for those of its shards that are here."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from .errors import StoreUnreachable, StreamwfError
from .ports import EventReceiver, EventStreamer, LogRecord, Received
from .shard import Shard

logger = structlog.get_logger("streamwf.log")

#: Seconds until a store that could not be reached is asked again.
AGAIN = 1.0

#: Seconds until shards that were busy are looked at again.
BUSY = 0.02

#: The name by which it is read. Where to begin is said each time, and nothing is committed.
NAME = "streamwf"


class Following:
    """Folds a stream into shards.

    shard_of: the number of the shard that a key is of. failed: called with an error after which
    this process can't go on.
    """

    def __init__(
        self,
        streamer: EventStreamer,
        stream: str,
        shard_of: Callable[[str], int],
        failed: Callable[[StreamwfError], None],
    ) -> None:
        self._streamer = streamer
        self._stream = stream
        self._shard_of = shard_of
        self._failed = failed
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        #: The offset after the last record that was read; None before the first.
        self.end: int | None = None

    async def follow(self, shards: Mapping[int, Shard]) -> None:
        """Follow it for these shards and no others, from where they are."""
        async with self._turn:
            await self.close()
            if shards:
                self._task = asyncio.create_task(self._run(shards))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self, shards: Mapping[int, Shard]) -> None:
        away = False
        while True:
            try:
                receiver = await self._receiver(shards)
                try:
                    while True:
                        received = await receiver.recv()
                        if away:
                            logger.info("log_reachable_again", stream=self._stream)
                            away = False
                        self._fold(shards, received)
                        await _not_busy(shards)
                finally:
                    await receiver.close()
            except StoreUnreachable as error:
                if not away:
                    logger.warning("log_unreachable", stream=self._stream, error=str(error))
                away = True
                await asyncio.sleep(AGAIN)
            except StreamwfError as error:
                self._failed(error)
                return

    async def _receiver(self, shards: Mapping[int, Shard]) -> EventReceiver:
        since = min(shard.position for shard in shards.values())
        return await self._streamer.receiver(self._stream, NAME, since={0: since})

    def _fold(self, shards: Mapping[int, Shard], received: Sequence[Received]) -> None:
        piles: dict[int, list[LogRecord]] = {}
        for _, record in received:
            number = self._shard_of((record.key or b"").decode(errors="replace"))
            piles.setdefault(number, []).append(record)
        position = self.end = received[-1].record.offset + 1
        for number, shard in shards.items():
            if number in piles:
                shard.fold(piles[number])
            shard.passed(position)


async def _not_busy(shards: Mapping[int, Shard]) -> None:
    # Others on the loop want their turn, too.
    await asyncio.sleep(0)
    while any(shard.busy for shard in shards.values()):
        await asyncio.sleep(BUSY)
