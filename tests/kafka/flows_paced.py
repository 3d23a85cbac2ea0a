"""A workflow whose steps are held back: by a rate, and while a service is down."""

import os
import time
from datetime import timedelta
from enum import Enum
from pathlib import Path

from pydantic import BaseModel

from streamwf import Breaker, Rate, Retry, Run, Workflow

#: The service is down until this file is there.
UP = Path(os.environ.get("SERVICE_UP", "up"))

#: Gets a line for each call, with the time.
CALLS = Path(os.environ.get("CALLS", "calls"))

RATE = Rate(8, timedelta(seconds=2))
BREAKER = Breaker(5, timedelta(seconds=3))
RARELY = Retry(timedelta(seconds=5), maximum=timedelta(seconds=5))


class Status(Enum):
    CREATED = 1
    CALLED = 2
    DONE = 3


class Order(BaseModel):
    item: str = ""


orders = Workflow("orders", Order, Status)


def note(run: Run[Order, Status]) -> None:
    with CALLS.open("a") as file:
        file.write(f"{run.status.name} {time.time()}\n")


@orders.step(Status.CREATED, to=Status.CALLED, breaker=BREAKER, parallel=1, retry=RARELY)
async def call(run: Run[Order, Status]) -> Status:
    note(run)
    if not UP.exists():
        raise OSError("refused")
    return Status.CALLED


@orders.step(Status.CALLED, to=Status.DONE, rate=RATE)
async def tell(run: Run[Order, Status]) -> Status:
    note(run)
    return Status.DONE
