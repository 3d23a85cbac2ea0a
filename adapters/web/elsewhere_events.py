"""The moves that other workers tell, for one who watches here."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import hdrs, web

from streamwf.adapters.sse import (
    CONTENT_TYPE,
    LAST_EVENT_ID,
    LAST_EVENT_ID_PARAMETER,
    Message,
    messages,
    tidings_of,
)
from streamwf.adapters.web.forwarding import Forwarder, Question
from streamwf.errors import InvalidQuery
from streamwf.moves import Batch, Dropped, Gap, Move, Shards, read_place
from streamwf.ports import ShardId
from streamwf.watching import KEEPALIVE_AMONG, TICK, Watch

#: Seconds after which a worker that was lost is asked again.
AGAIN = 0.2

#: Seconds after which a worker that says nothing counts as lost.
SILENCE = 3 * KEEPALIVE_AMONG

#: What a stream that was lost, or is none, ends with.
_LOST = (
    *(aiohttp.ClientError, TimeoutError, ConnectionError),
    *(ValueError, msgspec.MsgspecError, InvalidQuery),
)


class BehindIt(ConnectionError):
    """A worker tells of a shard from a later place on than what was told here: it has to be asked
    again, from that place."""


class ElsewhereEvents:
    """Brings what other workers tell into a watch. request: of who watches."""

    def __init__(self, forwarder: Forwarder, watch: Watch, request: web.Request) -> None:
        self._forwarder = forwarder
        self._watch = watch
        url = request.rel_url.without_query_params(LAST_EVENT_ID_PARAMETER)
        self._question = Question.of(request, url=url)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def followed(self, wanted: bool) -> AsyncIterator[None]:
        """Follow all the others until the block ends, if that is wanted."""
        following = asyncio.create_task(self._follow()) if wanted else None
        try:
            yield
        finally:
            ending = [*self._tasks.values(), *([following] if following else [])]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def _follow(self) -> None:
        """Follow those that there are."""
        while True:
            others = set(self._forwarder.peers.others())
            for worker in self._tasks.keys() - others:
                self._tasks.pop(worker).cancel()
            for worker in others - self._tasks.keys():
                self._tasks[worker] = asyncio.create_task(self._hear(worker))
            await asyncio.sleep(TICK)

    async def _hear(self, worker: str) -> None:
        """What one worker tells, whenever it is there."""
        while True:
            try:
                async with self._forwarder.stream(self._asked(), worker, SILENCE) as response:
                    if response.status == 200 and response.content_type == CONTENT_TYPE:
                        async for message in messages(response.content):
                            await self._take(worker, message)
            except _LOST:
                pass
            finally:
                self._watch.elsewhere.pop(worker, None)
            await asyncio.sleep(AGAIN)

    def _asked(self) -> Question:
        place = self._watch.place
        headers: Mapping[str, str] = {
            name: value
            for name, value in self._question.headers.items()
            if name.lower() != LAST_EVENT_ID.lower()
        }
        told = {} if place is None else {LAST_EVENT_ID: place}
        return Question("GET", self._question.path, {**headers, **told, hdrs.ACCEPT: CONTENT_TYPE})

    async def _take(self, worker: str, message: Message) -> None:
        """Raises BehindIt, and InvalidQuery and ValueError for what is no message."""
        inbox = self._watch.inbox
        tidings = tidings_of(message)
        if isinstance(tidings, Shards):
            self._now_tells_of(worker, tidings)
        elif isinstance(tidings, Gap):
            await inbox.put_when_there_is_room(tidings)
        elif isinstance(tidings, Dropped):
            # It could not send because nobody read here.
            inbox.give_up()
        elif message.id is not None:
            for shard, position in read_place(message.id).items():
                moves = [(position, tidings)] if isinstance(tidings, Move) else []
                await inbox.put_when_there_is_room(Batch(shard, 0, position, moves))

    def _now_tells_of(self, worker: str, told: Shards) -> None:
        known = self._watch.elsewhere.get(worker, set())
        here = {
            ShardId(name, number): position
            for name, numbers in told.shards.items()
            for number, position in numbers.items()
        }
        for shard in here.keys() - known:
            if here[shard] > self._watch.positions.setdefault(shard, here[shard]):
                raise BehindIt(worker)
        self._watch.elsewhere[worker] = set(here)
