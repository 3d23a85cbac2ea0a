"""A workflow that is debugged, and whose steps log lines of their own."""

import logging
from datetime import timedelta
from enum import Enum

import structlog

from streamwf import Retry, Run, Workflow


class Status(Enum):
    CREATED = 1
    PICKED = 2
    SHIPPED = 3


Order = dict[str, str]

orders = Workflow("orders", Order, Status, debug=True)


@orders.step(Status.CREATED, to=Status.PICKED)
async def pick(run: Run[Order, Status]) -> Status:
    structlog.get_logger("shop").info("picked", item=run.object["item"])
    return Status.PICKED


@orders.step(Status.PICKED, to=Status.SHIPPED, retry=Retry(initial=timedelta(minutes=5)))
def ship(run: Run[Order, Status]) -> Status:
    logging.getLogger("shop").info("shipping")
    if run.object["item"] == "broken":
        raise ValueError("it slipped")
    return Status.SHIPPED
