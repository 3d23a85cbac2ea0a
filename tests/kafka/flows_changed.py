"""The workflow of `flows`, after its code has changed: a status has another name, one is new, and
a step leads elsewhere."""

from enum import Enum

from pydantic import BaseModel

from streamwf import Run, Workflow


class Status(Enum):
    CREATED = 1
    COLLECTED = 2
    CHECKED = 5
    PACKED = 3
    SHIPPED = 4


class Order(BaseModel):
    item: str = "book"
    trail: list[str] = []
    checked: bool = False


orders = Workflow(
    "orders", Order, Status, renamed={"PICKED": Status.COLLECTED}, version="with-a-check"
)


@orders.step(Status.CREATED, to=Status.COLLECTED)
async def collect(run: Run[Order, Status]) -> Status:
    run.object.trail.append(run.status.name)
    return Status.COLLECTED


@orders.step(Status.COLLECTED, to=Status.CHECKED)
async def bring(run: Run[Order, Status]) -> Status:
    run.object.trail.append(run.status.name)
    return Status.CHECKED


@orders.step(Status.CHECKED, to=[Status.PACKED, Status.SHIPPED])
async def check(run: Run[Order, Status]) -> Status:
    run.object.trail.append(run.status.name)
    run.object.checked = True
    return Status.PACKED


@orders.step(Status.PACKED, to=Status.SHIPPED)
async def ship(run: Run[Order, Status]) -> Status:
    run.object.trail.append(run.status.name)
    return Status.SHIPPED
