"""4: orders, which are picked, packed and shipped."""

from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Run, Workflow
from tests.acceptance.flows.carried import (
    DONE,
    EXPIRED,
    FAILED,
    MORE,
    NEW,
    WAITING,
    Status,
    Thing,
)


class Address(BaseModel):
    city: str = ""


class Order(Thing):
    customer: str = ""
    address: Address = Address()
    items: list[str] = []
    price: int = 0


OrderRun: TypeAlias = Run[Order, Status]

orders = Workflow(
    "orders", Order, Status, start=NEW, search=("customer", "address.city", "items", "price")
)


@orders.step(NEW, to=WAITING)
async def pick(run: OrderRun) -> Status:
    if run.object.signs.is_up("broken"):
        raise OSError("it slipped")
    run.object.trail.append("picked")
    return WAITING


@orders.callback(WAITING, to=[MORE, FAILED], payload=str)
async def pay(run: OrderRun, how: str) -> Status:
    run.object.trail.append(how)
    return FAILED if how == "never" else MORE


@orders.step(MORE, to=DONE)
async def ship(run: OrderRun) -> Status:
    run.object.trail.append("shipped")
    return DONE


@orders.timeout(WAITING, after=lambda run: None, to=EXPIRED)
async def expire(run: OrderRun) -> Status:
    return EXPIRED
