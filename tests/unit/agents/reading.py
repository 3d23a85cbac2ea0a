"""A reader of changelogs in place of the one on Kafka."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition

from streamwf.settings import Settings

Deliver = Callable[[TopicPartition, Sequence[Any], int], Awaitable[None]]


class Reader:
    """Delivers what a test gives it. As the one on Kafka does, it delivers what it has read before
    it follows others, and here the test says when that is: while `free` is set.

    followed: the positions of each time that it was told what to follow.
    """

    def __init__(self, settings: Settings, deliver: Deliver, **_: Any) -> None:
        self.deliver = deliver
        self.free = asyncio.Event()
        self.free.set()
        self.followed: list[dict[TopicPartition, int]] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def follow(self, positions: Mapping[TopicPartition, Callable[[], int]]) -> None:
        await self.free.wait()
        self.followed.append({at: position() for at, position in positions.items()})
