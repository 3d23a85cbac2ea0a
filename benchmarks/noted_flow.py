"""The workflow that is measured, with steps that leave a line which outlives their process."""

import os
import time
from enum import Enum

from streamwf import Run, Workflow

NOTES = os.open(os.environ["NOTES"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)


class Status(Enum):
    CREATED = 1
    PICKED = 2
    PACKED = 3
    SHIPPED = 4


orders: Workflow[dict[str, object], Status] = Workflow("orders", dict, Status)


def note(run: Run[dict[str, object], Status]) -> None:
    os.write(NOTES, f"{time.time()} {os.getpid()} {run.foreign_id}\n".encode())


@orders.step(Status.CREATED, to=Status.PICKED)
async def pick(run: Run[dict[str, object], Status]) -> Status:
    note(run)
    return Status.PICKED


@orders.step(Status.PICKED, to=Status.PACKED)
async def pack(run: Run[dict[str, object], Status]) -> Status:
    note(run)
    return Status.PACKED


@orders.step(Status.PACKED, to=Status.SHIPPED)
async def ship(run: Run[dict[str, object], Status]) -> Status:
    note(run)
    return Status.SHIPPED
