"""The workflow of the soak: a step on the loop, one in a thread that a timeout waits beside, and
one that fails now and then. Ended runs soon leave the tables."""

import os
from datetime import timedelta
from enum import Enum
from pathlib import Path

from benchmarks import population
from benchmarks.order_flow import Order
from streamwf import Retry, Run, Workflow

RETENTION = timedelta(seconds=float(os.environ.get("RETENTION_SECONDS", "20")))

if "POPULATION" in os.environ:
    population.note(Path(os.environ["POPULATION"]))


class Status(Enum):
    CREATED = 1
    PICKED = 2
    PACKED = 3
    SHIPPED = 4
    LOST = 5


orders = Workflow("orders", Order, Status, retention=RETENTION)


@orders.step(Status.CREATED, to=Status.PICKED)
async def pick(run: Run[Order, Status]) -> Status:
    return Status.PICKED


@orders.step(Status.PICKED, to=Status.PACKED)
def pack(run: Run[Order, Status]) -> Status:
    return Status.PACKED


@orders.timeout(Status.PICKED, after=timedelta(hours=1), to=Status.LOST)
async def lose(run: Run[Order, Status]) -> Status:
    return Status.LOST


@orders.step(Status.PACKED, to=Status.SHIPPED, retry=Retry(initial=timedelta(milliseconds=50)))
async def ship(run: Run[Order, Status]) -> Status:
    if run.attempt == 1 and run.foreign_id.endswith("00"):
        raise ConnectionError("the courier does not answer")
    return Status.SHIPPED
