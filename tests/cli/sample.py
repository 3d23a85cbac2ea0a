"""The workflow that the commands are tried on."""

from datetime import timedelta
from enum import Enum

from pydantic import BaseModel

from streamwf import Pause, Retry, Run, Workflow


class Parcel(BaseModel):
    weight: int = 1
    fails: bool = False
    waits: bool = False


class Status(Enum):
    PACKED = 1
    SENT = 2
    THERE = 3


parcels = Workflow("parcels", Parcel, Status, example={"weight": 2}, search=("weight", "waits"))


@parcels.step(
    Status.PACKED, to=Status.SENT, retry=Retry(initial=timedelta(milliseconds=1), attempts=2)
)
async def send(run: Run[Parcel, Status]) -> Status | Pause:
    if run.object.fails:
        raise ValueError("too heavy\x1b[31m")
    if run.object.waits:
        run.object.waits = False
        return Pause("look at it")
    return Status.SENT


@parcels.step(Status.SENT, to=Status.THERE)
async def arrive(run: Run[Parcel, Status]) -> Status:
    return Status.THERE
