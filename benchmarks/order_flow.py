"""The workflow that is measured: three steps that do nothing, an object of about 200 bytes."""

from enum import Enum

from pydantic import BaseModel

from streamwf import Run, Workflow


class Status(Enum):
    CREATED = 1
    PICKED = 2
    PACKED = 3
    SHIPPED = 4


class Order(BaseModel):
    customer: str
    street: str
    item: str
    quantity: int
    note: str


orders = Workflow("orders", Order, Status)

OBJECT = {
    "customer": "customer-000000001",
    "street": "12 Long Street, 8001 Cape Town, South Africa",
    "item": "a book on workflows, second edition",
    "quantity": 1,
    "note": "please leave it with the neighbours if nobody is at home",
}


@orders.step(Status.CREATED, to=Status.PICKED)
async def pick(run: Run[Order, Status]) -> Status:
    return Status.PICKED


@orders.step(Status.PICKED, to=Status.PACKED)
async def pack(run: Run[Order, Status]) -> Status:
    return Status.PACKED


@orders.step(Status.PACKED, to=Status.SHIPPED)
async def ship(run: Run[Order, Status]) -> Status:
    return Status.SHIPPED
