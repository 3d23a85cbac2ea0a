"""A workflow whose runs do what their item says, until a gate is opened."""

import asyncio
import os
from datetime import timedelta
from enum import Enum
from pathlib import Path

from pydantic import BaseModel

from streamwf import Pause, Retry, Run, Workflow

#: It is open when this file is there.
GATE = Path(os.environ.get("GATE", "gate"))


class Status(Enum):
    CREATED = 1
    WAITING = 2
    DONE = 3


class Order(BaseModel):
    item: str = "quick"
    told: int = 0
    note: str = ""


orders = Workflow("orders", Order, Status)


@orders.step(
    Status.CREATED,
    to=[Status.WAITING, Status.DONE],
    parallel=20,
    retry=Retry(initial=timedelta(milliseconds=100)),
    pause_after=2,
)
async def look(run: Run[Order, Status]) -> Status | Pause:
    if run.object.item == "waiting":
        return Status.WAITING
    while run.object.item == "slow" and not GATE.exists():
        await asyncio.sleep(0.05)
    if run.object.item == "paused" and not GATE.exists():
        return Pause("look at it")
    if run.object.item == "huge" and not GATE.exists():
        run.object.item = "x" * 2_000_000
    return Status.DONE


@orders.callback(Status.WAITING, to=[Status.WAITING, Status.DONE], payload=int)
async def tell(run: Run[Order, Status], number: int) -> Status:
    run.object.told += 1
    return Status.WAITING if number else Status.DONE
