"""A workflow with a slot every other second, each of which has a run of its own."""

import os
from datetime import datetime
from enum import Enum

from pydantic import BaseModel

from streamwf import Run, Workflow


class Status(Enum):
    CREATED = 1
    DONE = 2


class Tick(BaseModel):
    pid: int


orders = Workflow("orders", Tick, Status)


@orders.step(Status.CREATED, to=Status.DONE)
async def end(run: Run[Tick, Status]) -> Status:
    return Status.DONE


@orders.schedule(
    "ticking", os.environ.get("CRON", "@every 2s"), foreign_id="tick", overlap="start", catch_up=100
)
async def ticking(slot: datetime) -> Tick:
    return Tick(pid=os.getpid())
