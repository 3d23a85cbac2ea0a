"""Group commit: what is to be appended while an append is under way goes together with the next."""

import asyncio
from collections.abc import Sequence

from .ports import EventSender, Outgoing

#: Records that are appended at a time.
MANY = 2_000


class GroupingSender:
    """Implements `streamwf.ports.EventSender` by another, with fewer and larger appends."""

    def __init__(self, sender: EventSender) -> None:
        self._sender = sender
        self._waiting: list[tuple[Sequence[Outgoing], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def send(self, records: Sequence[Outgoing]) -> None:
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((records, sent))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        await sent

    async def _run(self) -> None:
        while self._waiting:
            group = self._take()
            try:
                await self._sender.send([record for records, _ in group for record in records])
            except BaseException as error:
                for _, sent in group:
                    if not sent.done():
                        sent.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for _, sent in group:
                    if not sent.done():
                        sent.set_result(None)

    def _take(self) -> list[tuple[Sequence[Outgoing], asyncio.Future[None]]]:
        """The next ones, in the order in which they came."""
        count = many = 0
        for records, _ in self._waiting:
            count, many = count + 1, many + len(records)
            if many >= MANY:
                break
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._sender.close()
