"""A small workflow for tests that need one and do not care which."""

from enum import Enum

from pydantic import BaseModel

from streamwf import Run, Workflow


class Order(BaseModel):
    n: int = 0


class Status(Enum):
    CREATED = 1
    PICKED = 2
    DONE = 3


def orders() -> Workflow[Order, Status]:
    workflow = Workflow("orders", Order, Status)

    @workflow.step(Status.CREATED, to=Status.PICKED)
    async def pick(run: Run[Order, Status]) -> Status:
        run.object.n += 1
        return Status.PICKED

    @workflow.step(Status.PICKED, to=Status.DONE)
    async def finish(run: Run[Order, Status]) -> Status:
        return Status.DONE

    return workflow
