"""1 schedule: one that is declared, and whatever tests make at run time."""

from datetime import datetime
from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Run, Workflow
from tests.acceptance.flows.carried import DONE, NEW, WAITING, Status


class Report(BaseModel):
    """long: whether its run stays until it is ended."""

    day: str = ""
    long: bool = False


ReportRun: TypeAlias = Run[Report, Status]

reports = Workflow("reports", Report, Status, start=NEW)


@reports.schedule("half-past-two", "30 2 * * *", timezone="Europe/Berlin", overlap="start")
def daily(slot: datetime) -> Report | None:
    """A report of each day but Fridays."""
    return None if slot.isoweekday() == 5 else Report(day=slot.isoformat())


@reports.step(NEW, to=[WAITING, DONE])
async def write(run: ReportRun) -> Status:
    return WAITING if run.object.long else DONE


@reports.callback(WAITING, to=DONE)
async def end(run: ReportRun, data: bytes) -> Status:
    return DONE
