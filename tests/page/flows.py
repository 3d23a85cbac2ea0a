"""The workflows that the page is tested with, and each way in which a run can wait."""

import asyncio
from datetime import datetime, timedelta
from enum import StrEnum, auto

from pydantic import BaseModel

from streamwf import Fatal, Pause, Retry, Run, Skip, Workflow
from streamwf.declared import StepResult
from streamwf.pacing import Breaker

HOURLY = Retry(initial=timedelta(hours=1), maximum=timedelta(hours=2), jitter=0)


class Address(BaseModel):
    city: str = "Bremen"


class Order(BaseModel):
    """trouble: what is to happen to the order."""

    customer: str = "ann"
    price: int = 10
    trouble: str = ""
    address: Address = Address()
    payment: str = ""
    note: str = ""


class Status(StrEnum):
    CREATED = auto()
    PAID = auto()
    PICKED = auto()
    AWAITING_PICKUP = auto()
    SHIPPED = auto()
    DELIVERED = auto()
    REFUNDED = auto()


OrderRun = Run[Order, Status]
Orders = Workflow[Order, Status]


def orders() -> Orders:
    workflow = Workflow("orders", Order, Status, search=("customer", "address.city"))

    @workflow.step(
        Status.CREATED,
        to=[Status.PAID, Status.REFUNDED],
        retry=HOURLY,
    )
    async def pay(run: OrderRun) -> StepResult[Status]:
        trouble = run.object.trouble
        if trouble == "bank" and run.attempt < 2:
            raise ConnectionError("the bank does not answer")
        if trouble == "fraud":
            raise Fatal("card number 4 is on the list: ask a person")
        if trouble == "review" and run.object.note != "seen":
            run.object.note = "seen"
            return Pause("over 1,000: look at it, then resume")
        if trouble == "gone":
            return Skip()
        run.object.payment = f"payment-{run.foreign_id}"
        return Status.PAID

    @workflow.step(Status.PAID, to=Status.PICKED)
    async def pick(run: OrderRun) -> Status:
        return Status.PICKED

    @workflow.step(Status.PICKED, to=[Status.AWAITING_PICKUP, Status.SHIPPED])
    async def ship(run: OrderRun) -> StepResult[Status]:
        if run.object.trouble == "slow":
            await asyncio.sleep(3600)
        return Status.AWAITING_PICKUP if run.object.trouble == "pickup" else Status.SHIPPED

    @workflow.timeout(Status.AWAITING_PICKUP, after=timedelta(days=3), to=Status.REFUNDED)
    async def nobody_came(run: OrderRun) -> Status:
        return Status.REFUNDED

    @workflow.callback(Status.AWAITING_PICKUP, to=Status.DELIVERED)
    async def picked_up(run: OrderRun, payload: str) -> Status:
        return Status.DELIVERED

    @workflow.step(Status.SHIPPED, to=Status.DELIVERED)
    async def deliver(run: OrderRun) -> Status:
        return Status.DELIVERED

    return workflow


class Report(BaseModel):
    day: str = ""


class Stage(StrEnum):
    DUE = auto()
    SENT = auto()


def reports() -> Workflow[Report, Stage]:
    workflow = Workflow("reports", Report, Stage)

    @workflow.step(Stage.DUE, to=Stage.SENT, breaker=Breaker(3), retry=HOURLY)
    async def send(run: Run[Report, Stage]) -> Stage:
        if run.object.day == "broken":
            raise OSError("the mail server is full")
        return Stage.SENT

    @workflow.schedule("nightly", "0 3 * * *", timezone="Europe/Berlin", foreign_id="report")
    def nightly(slot: datetime) -> Report:
        return Report(day=f"{slot:%Y-%m-%d}")

    return workflow
