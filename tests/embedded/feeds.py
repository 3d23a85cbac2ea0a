"""A source that tests fill, and a workflow that reads it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from streamwf import Run
from streamwf.embedded import MemoryRecord
from streamwf.record import CONNECTOR, Record, row_key
from streamwf.sources import Message
from tests.embedded.app import CREATED, DONE, App, Order, Orders, Status, orders
from tests.support import eventually


class Feed:
    """Implements `streamwf.sources.Source`. A message's position is its number.

    opened: the partition and the position of each time that it was opened.
    errors: what it fails with next; after so many messages more, if `errors_after` says so.
    begins: the position after which a new connector begins.
    """

    def __init__(self, *partitions: str, name: str = "feed") -> None:
        self.name = name
        self.messages: dict[str, list[Message]] = {each: [] for each in partitions or ("0",)}
        self.opened: list[tuple[str, str | None]] = []
        self.errors: list[Exception] = []
        self.errors_after = 0
        self.begins: str | None = None
        self._grown = asyncio.Condition()

    async def put(self, *values: Any, partition: str = "0", key: bytes | None = None) -> None:
        """Plain data becomes JSON; bytes and None stay as they are."""
        known = self.messages.setdefault(partition, [])
        for value in values:
            data = (
                value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
            )
            place = str(len(known))
            known.append(Message(place, data, key, partition=partition, source=self.name))
        await self.stir()

    async def stir(self) -> None:
        """Let those who wait look again."""
        async with self._grown:
            self._grown.notify_all()

    async def partitions(self) -> Sequence[str]:
        return list(self.messages)

    async def begin(self, partition: str) -> str | None:
        return self.begins

    async def open(self, partition: str, position: str | None) -> AsyncIterator[Message]:
        self.opened.append((partition, position))
        number = 0 if position is None else int(position) + 1
        while True:
            messages = self.messages[partition]
            while number < len(messages) and not self._fails:
                yield messages[number]
                number += 1
                self.errors_after -= bool(self.errors_after)
            if self._fails:
                raise self.errors.pop(0)
            async with self._grown:
                if number >= len(messages) and not self._fails:
                    await self._grown.wait()

    @property
    def _fails(self) -> bool:
        return bool(self.errors) and not self.errors_after

    async def behind(self, positions: Mapping[str, str | None]) -> Mapping[str, int]:
        return {
            partition: len(self.messages[partition]) - 1 - int(position or -1)
            for partition, position in positions.items()
        }


def one_step(**options: Any) -> Orders:
    """A workflow whose runs end at once."""
    workflow = orders(**options)

    @workflow.step(CREATED, to=DONE)
    async def finish(run: Run[Order, Status]) -> Status:
        return DONE

    return workflow


def inner(app: App, subject: str) -> Record | None:
    """The inner run of a connector, or of one of its partitions."""
    [shard] = app.host.shards("orders")
    return shard.rows.get(row_key(CONNECTOR, subject))


async def inner_until(app: App, subject: str, fits: Callable[[Record], object]) -> Record:
    """The inner run, once it is as wanted."""

    def look() -> Record | None:
        record = inner(app, subject)
        return record if record is not None and fits(record) else None

    found = await eventually(look)
    assert found is not None
    return found


def place(record: Record) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.json.decode(record.object)
    return told


async def used(app: App, count: int, subject: str = "feed/0") -> Record:
    """The inner run of a partition, once so many messages are durably used."""
    return await inner_until(app, subject, lambda record: place(record).get("messages", 0) >= count)


def letters(app: App) -> list[tuple[Any, str]]:
    """What was set aside, and why."""
    return [(letter.value, reason) for letter, reason in app.log.dead_letters]


def crashed(app: App, lost: int) -> list[MemoryRecord]:
    """The log as a host leaves it that dies before its last records reach it."""
    return app.log.records[: len(app.log.records) - lost]
