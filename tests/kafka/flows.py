"""The workflow that the workers of these tests run, told by the environment how to behave."""

import asyncio
import os
from datetime import timedelta
from enum import Enum

from pydantic import BaseModel

from streamwf import Retry, Run, Workflow

SECONDS = float(os.environ.get("STEP_SECONDS", "0"))
RECORD = os.environ.get("STEP_RECORD")
CLUMSY = "CLUMSY" in os.environ


class Status(Enum):
    CREATED = 1
    PICKED = 2
    PACKED = 3
    SHIPPED = 4


class Order(BaseModel):
    item: str = "book"
    trail: list[str] = []


orders = Workflow("orders", Order, Status, search=("item",))


async def work(run: Run[Order, Status]) -> None:
    """What a step does: it takes its time, and leaves a line that outlives the process."""
    if SECONDS:
        await asyncio.sleep(SECONDS)
    if RECORD:
        line = f"{run.run_id} {run.status.name} {os.getpid()}\n".encode()
        file = os.open(RECORD, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(file, line)
        os.close(file)
    run.object.trail.append(run.status.name)


@orders.step(Status.CREATED, to=Status.PICKED, parallel=50)
async def pick(run: Run[Order, Status]) -> Status:
    await work(run)
    return Status.PICKED


@orders.step(Status.PICKED, to=Status.PACKED, retry=Retry(initial=timedelta(milliseconds=200)))
async def pack(run: Run[Order, Status]) -> Status:
    if CLUMSY or run.object.item == "broken":
        raise ValueError("it slipped")
    await work(run)
    return Status.PACKED


@orders.step(Status.PACKED, to=Status.SHIPPED)
async def ship(run: Run[Order, Status]) -> Status:
    await work(run)
    return Status.SHIPPED
