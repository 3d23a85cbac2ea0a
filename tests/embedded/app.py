"""A workflow on the embedded host, as tests drive it: a stepped clock and no sleeping."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

import msgspec
from pydantic import BaseModel

from streamwf import Client, RunInfo, Workflow
from streamwf.embedded import EmbeddedHost, MemoryLog
from streamwf.events import Event
from streamwf.gateway import LocalGateway
from streamwf.operations import Operations
from tests.support import SteppedClock, eventually


class Status(Enum):
    CREATED = "created"
    PICKED = "picked"
    PACKED = "packed"
    DONE = "done"
    FAILED = "failed"


CREATED, PICKED, PACKED = Status.CREATED, Status.PICKED, Status.PACKED
DONE, FAILED = Status.DONE, Status.FAILED


class Order(BaseModel):
    n: int = 0
    notes: list[str] = []


Orders = Workflow[Order, Status]
Info = RunInfo[Order, Status]


def orders(**options: Any) -> Orders:
    return Workflow("orders", Order, Status, **options)


@dataclass
class App:
    workflow: Orders
    host: EmbeddedHost
    client: Client
    clock: SteppedClock

    async def start(self, foreign_id: str = "o-1", order: Order | None = None, **how: Any) -> str:
        """The id of a run that was accepted."""
        return await self.client.trigger(
            self.workflow, foreign_id, order or Order(), wait=True, **how
        )

    async def get(self, run_id: str) -> Info:
        return await self.client.get(self.workflow, run_id)

    async def until(self, run_id: str, **wanted: Any) -> Info:
        """The run, once its fields are as wanted."""

        async def look() -> Info | None:
            run = await self.get(run_id)
            fits = all(getattr(run, name) == value for name, value in wanted.items())
            return run if fits else None

        found = await eventually(look)
        assert found is not None
        return found

    async def idle(self) -> None:
        """Until all that is due now was done and folded."""

        def look() -> bool:
            [shard] = self.host.shards("orders")
            folded = shard.position == len(self.log.records)
            return folded and not shard.dispatcher.running and not shard.dispatcher.queued

        for _ in range(3):
            await eventually(look)
            await asyncio.sleep(0)

    def step(self, **by: float) -> None:
        """Step the clock, and dispatch what has come due."""
        self.clock.step(timedelta(**by))
        self.host.run_due()

    @property
    def log(self) -> MemoryLog:
        return self.host.logs["orders"]

    def append(self, value: bytes | dict[str, Any] | None, key: bytes | None = None) -> int:
        """Write a record into the log past all checks, as anyone may who can reach the topic."""
        raw = msgspec.json.encode(value) if isinstance(value, dict) else value
        stamp = int(self.clock.now().timestamp() * 1_000)
        return self.log.append(key, raw, stamp)

    def events(self, run_id: str) -> list[Event]:
        """All events of a run that are in the log, whether they were accepted or not."""
        decode = msgspec.json.Decoder(Event).decode
        events = [decode(record.value) for record in self.log.records if record.value]
        return [event for event in events if event.runid == run_id]

    def types(self, run_id: str) -> list[str]:
        return [event.type for event in self.events(run_id)]


@asynccontextmanager
async def running(
    workflow: Orders, *others: Workflow[Any, Any], **options: Any
) -> AsyncIterator[App]:
    """The workflow on a host whose log, folded anew, gives the same rows in the end."""
    clock = SteppedClock()
    host = EmbeddedHost(workflow, *others, clock=clock, **options)
    await host.start()
    try:
        yield App(workflow, host, Client(LocalGateway(Operations(host, patience=5.0))), clock)
        assert host.verify(workflow.name) == []
    finally:
        await host.stop(grace=0.02)


class Gate:
    """Holds up whoever waits at it, and counts them."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self.waiting = 0
        self.most = 0

    async def wait(self) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self._opened.wait()
        finally:
            self.waiting -= 1

    def open(self) -> None:
        self._opened.set()
