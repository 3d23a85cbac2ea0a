"""A nightly report: at three in the morning in Berlin, whatever the clocks do there.

The report of a night is made once, even if a worker dies at three. After an outage the last night
is made up for, and no other. Saturdays and Sundays are left out.
"""

from datetime import date, datetime, timedelta
from enum import StrEnum, auto
from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Retry, Run, Workflow


class Report(BaseModel):
    """The sales of a day."""

    day: date
    sales: int = 0
    sent_to: list[str] = []


class Status(StrEnum):
    DUE = auto()
    COUNTED = auto()
    SENT = auto()


ReportRun: TypeAlias = Run[Report, Status]

reports = Workflow("reports", Report, Status, example=Report(day=date(2030, 1, 1)))


@reports.schedule(
    "nightly", "0 3 * * *", timezone="Europe/Berlin", overlap="start", catch_up="latest"
)
def nightly(slot: datetime) -> Report | None:
    """The report of the day before; none of a weekend."""
    day = (slot - timedelta(days=1)).date()
    return None if day.isoweekday() > 5 else Report(day=day)


@reports.step(
    Status.DUE, to=Status.COUNTED, retry=Retry(initial=timedelta(minutes=1)), pause_after=10
)
def count(run: ReportRun) -> Status:
    run.object.sales = run.object.day.day * 100
    return Status.COUNTED


@reports.step(Status.COUNTED, to=Status.SENT, timeout=timedelta(minutes=5))
async def send(run: ReportRun) -> Status:
    run.object.sent_to = ["sales@example.org"]
    return Status.SENT
