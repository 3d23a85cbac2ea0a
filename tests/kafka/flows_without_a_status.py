"""The workflow of `flows`, after somebody has removed a status."""

from enum import Enum

from pydantic import BaseModel

from streamwf import Run, Workflow


class Status(Enum):
    CREATED = 1
    SHIPPED = 4


class Order(BaseModel):
    item: str = "book"
    trail: list[str] = []


orders = Workflow("orders", Order, Status)


@orders.step(Status.CREATED, to=Status.SHIPPED)
async def ship(run: Run[Order, Status]) -> Status:
    return Status.SHIPPED
