"""The orders of a shop, from the first click to the door.

What happens to an order follows from the order itself, so that every run of the example ends in
the same way: a slow bank is asked three times, a refused card cancels, an order over 1,000 waits
for a person, one that is out of stock is refunded, and nobody waits for a courier for ever.
"""

import asyncio
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum, auto
from typing import TypeAlias

from pydantic import BaseModel, Field

from streamwf import Fatal, Pause, Retry, Run, Workflow


class Order(BaseModel):
    """An order, and what has become of it so far."""

    order_id: str
    customer_id: str
    item: str
    price: Decimal = Field(gt=0, decimal_places=2)
    quantity: int = Field(gt=0)
    bank: str
    address: str = ""
    payment_id: str = ""
    payment_attempts: int = 0
    review: str = ""
    courier: str = ""

    @property
    def total(self) -> Decimal:
        return self.price * self.quantity


class Status(StrEnum):
    CREATED = auto()
    PAID = auto()
    PICKED = auto()
    SHIPPED = auto()
    DELIVERED = auto()
    CANCELLED = auto()
    REFUNDED = auto()


OrderRun: TypeAlias = Run[Order, Status]

#: Above this total a person looks at an order.
REVIEW_ABOVE = Decimal(1000)

#: How many of one item the shop has.
STOCK = 40

#: How long a courier may take until the shop sends one of its own.
COURIER = timedelta(seconds=1)

example = Order(
    order_id="order-0000",
    customer_id="customer-1",
    item="teapot",
    price=Decimal("24.90"),
    quantity=2,
    bank="slow",
    address="1 Harbour Street",
)

orders = Workflow("orders", Order, Status, example=example)


@orders.step(
    Status.CREATED,
    to=[Status.PAID, Status.CANCELLED],
    retry=Retry(initial=timedelta(milliseconds=200), attempts=5),
    timeout=timedelta(seconds=5),
)
async def pay(run: OrderRun) -> Status | Pause:
    order = run.object
    if order.total > REVIEW_ABOVE and not order.review:
        order.review = "asked for"
        return Pause(f"{order.total} is over {REVIEW_ABOVE}: look at it, then resume")
    if order.review:
        order.review = "passed"
    order.payment_attempts = run.attempt
    await asyncio.sleep(0.02)
    if order.bank == "slow" and run.attempt < 3:
        raise ConnectionError("the bank does not answer")
    if order.bank == "refusing":
        return Status.CANCELLED
    # A bank that gets the same key twice takes the money once.
    order.payment_id = f"payment-{run.idempotency_key}"
    return Status.PAID


@orders.step(
    Status.PAID, to=[Status.PICKED, Status.REFUNDED], on_error=Status.REFUNDED, parallel=50
)
async def pick(run: OrderRun) -> Status:
    await asyncio.sleep(0.02)
    if run.object.quantity > STOCK:
        return Status.REFUNDED
    if not run.object.address:
        raise Fatal("nobody knows where to send it")
    return Status.PICKED


@orders.timeout(Status.PICKED, after=COURIER, to=Status.SHIPPED)
async def send_our_own(run: OrderRun) -> Status:
    run.object.courier = "our own"
    return Status.SHIPPED


@orders.step(Status.SHIPPED, to=Status.DELIVERED)
def deliver(run: OrderRun) -> Status:
    # A plain function: it runs in a thread, where it may block.
    return Status.DELIVERED
