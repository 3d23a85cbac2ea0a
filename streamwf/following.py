"""Following a workflow's stream for those of its shards that are here."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from .errors import StoreUnreachable, StreamwfError
from .ports import EventReceiver, LogRecord, Received
from .shard import Shard
from .stored_log import StoredLog

logger = structlog.get_logger("streamwf.log")

#: Seconds until a store that could not be reached is asked again.
AGAIN = 1.0

#: The name by which it is read. Where to begin is said each time, and nothing is committed.
NAME = "streamwf"


class Following:
    """Folds the stream of a workflow into shards.

    failed: called with an error after which this process can't go on.
    """

    def __init__(
        self, log: StoredLog, workflow: str, failed: Callable[[StreamwfError], None]
    ) -> None:
        self._log = log
        self._stream = workflow
        self._failed = failed
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        #: The offset after the last record that was read, of each partition.
        self.ends: dict[int, int] = {}

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
                        # Others on the loop want their turn, too.
                        await asyncio.sleep(0)
                finally:
                    await receiver.close()
            except StoreUnreachable as error:
                if not away and not self._log.explains(error):
                    logger.warning("log_unreachable", stream=self._stream, error=str(error))
                away = True
                await asyncio.sleep(AGAIN)
            except StreamwfError as error:
                self._failed(error)
                return

    async def _receiver(self, shards: Mapping[int, Shard]) -> EventReceiver:
        since: dict[int, int] = {}
        for number, shard in shards.items():
            partition = self._log.layout.partition_of(number)
            since[partition] = min(shard.position, since.get(partition, shard.position))
        return await self._log.streamer.receiver(self._stream, NAME, since=since, only=[*since])

    def _fold(self, shards: Mapping[int, Shard], received: Sequence[Received]) -> None:
        layout, ends = self._log.layout, dict[int, int]()
        piles: dict[int, list[LogRecord]] = {}
        for partition, record in received:
            piles.setdefault(layout.shard_at(partition, record.key), []).append(record)
            ends[partition] = record.offset + 1
        self.ends |= ends
        for number, shard in shards.items():
            if number in piles:
                shard.fold(piles[number])
            end = ends.get(layout.partition_of(number))
            if end is not None:
                shard.passed(end)
