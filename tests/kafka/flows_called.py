"""A workflow whose runs hear of payments, and remember in which order."""

from enum import Enum

from pydantic import BaseModel

from streamwf import Run, Workflow


class Status(Enum):
    CREATED = 1
    OPEN = 2
    CLOSED = 3


class Account(BaseModel):
    heard: list[int] = []


orders = Workflow("orders", Account, Status)


@orders.step(Status.CREATED, to=Status.OPEN)
async def open_it(run: Run[Account, Status]) -> Status:
    return Status.OPEN


@orders.callback(Status.OPEN, to=[Status.OPEN, Status.CLOSED], payload=int)
async def paid(run: Run[Account, Status], number: int) -> Status:
    run.object.heard.append(number)
    return Status.OPEN


@orders.callback(Status.OPEN, to=Status.CLOSED)
async def close_it(run: Run[Account, Status], _: object) -> Status:
    return Status.CLOSED
