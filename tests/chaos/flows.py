"""The workflow that the tormented workers run: a bit of everything, and slow enough to be hit."""

import asyncio
from datetime import timedelta
from enum import Enum
from threading import Event

from pydantic import BaseModel

from streamwf import Retry, Run, Skip, Workflow
from tests.chaos.recorder import recorded

#: Seconds that an offer stands.
STANDS = 8.0

SOON = Retry(initial=timedelta(milliseconds=200), maximum=timedelta(seconds=2))


class Status(Enum):
    PLACED = 1
    PRICED = 2
    OFFERED = 3
    PAID = 4
    PACKED = 5
    SHIPPED = 6
    EXPIRED = 7


class Order(BaseModel):
    """clumsy: how many tries of its first step fail. slow: seconds that its steps take."""

    clumsy: int = 0
    slow: float = 0.0
    paid: int = 0
    trail: list[str] = []


class Clumsy(Exception):
    """A step slipped."""


orders = Workflow("orders", Order, Status)


@orders.step(Status.PLACED, to=Status.PRICED, retry=SOON)
@recorded("step")
async def price(run: Run[Order, Status]) -> Status:
    await asyncio.sleep(run.object.slow)
    if run.attempt <= run.object.clumsy:
        raise Clumsy
    run.object.trail.append("priced")
    return Status.PRICED


@orders.step(Status.PRICED, to=Status.OFFERED, retry=SOON)
@recorded("step")
def offer(run: Run[Order, Status]) -> Status:
    # In a thread. Python's own sleep fails under libfaketime.
    Event().wait(run.object.slow)
    run.object.trail.append("offered")
    return Status.OFFERED


@orders.callback(Status.OFFERED, to=Status.PAID, payload=int, retry=SOON)
@recorded("callback")
async def pay(run: Run[Order, Status], amount: int) -> Status:
    run.object.paid += amount
    run.object.trail.append("paid")
    return Status.PAID


@orders.timeout(Status.OFFERED, after=timedelta(seconds=STANDS / 2), to=Status.EXPIRED)
@recorded("timeout")
async def remind(run: Run[Order, Status]) -> Skip:
    return Skip()


@orders.timeout(Status.OFFERED, after=timedelta(seconds=STANDS), to=Status.EXPIRED, retry=SOON)
@recorded("timeout")
async def expire(run: Run[Order, Status]) -> Status:
    run.object.trail.append("expired")
    return Status.EXPIRED


@orders.step(Status.PAID, to=Status.PACKED, retry=SOON)
@recorded("step")
async def pack(run: Run[Order, Status]) -> Status:
    await asyncio.sleep(run.object.slow)
    run.object.trail.append("packed")
    return Status.PACKED


@orders.step(Status.PACKED, to=Status.SHIPPED, retry=SOON)
@recorded("step")
async def ship(run: Run[Order, Status]) -> Status:
    run.object.trail.append("shipped")
    return Status.SHIPPED


@orders.on_complete
@recorded("hook")
async def complete(run: Run[Order, Status]) -> None: ...


@orders.on_cancel
@recorded("hook")
async def cancel(run: Run[Order, Status]) -> None: ...


@orders.on_pause
@recorded("hook")
async def pause(run: Run[Order, Status]) -> None: ...
