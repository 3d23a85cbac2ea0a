"""The workflow that is measured, and a status before it in which runs wait: for a callback, or
until the instant that their object says."""

from datetime import UTC, datetime
from enum import Enum

from benchmarks.order_flow import Order
from streamwf import Run, Workflow

#: Later than any benchmark ends.
FAR = datetime(2200, 1, 1, tzinfo=UTC)


class Status(Enum):
    WAITING = 0
    CREATED = 1
    PICKED = 2
    PACKED = 3
    SHIPPED = 4
    LOST = 5


class Waiting(Order):
    due: datetime = FAR


orders = Workflow("orders", Waiting, Status)


@orders.callback(Status.WAITING, to=Status.CREATED)
async def tell(run: Run[Waiting, Status], payload: bytes) -> Status:
    return Status.CREATED


@orders.timeout(Status.WAITING, after=lambda run: run.object.due, to=Status.LOST)
async def lose(run: Run[Waiting, Status]) -> Status:
    return Status.LOST


@orders.step(Status.CREATED, to=Status.PICKED)
async def pick(run: Run[Waiting, Status]) -> Status:
    return Status.PICKED


@orders.step(Status.PICKED, to=Status.PACKED)
async def pack(run: Run[Waiting, Status]) -> Status:
    return Status.PACKED


@orders.step(Status.PACKED, to=Status.SHIPPED)
async def ship(run: Run[Waiting, Status]) -> Status:
    return Status.SHIPPED
