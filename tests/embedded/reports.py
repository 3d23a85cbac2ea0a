"""A workflow whose runs are started by a schedule, and what tests of it share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import msgspec
from pydantic import BaseModel

from streamwf import Pause, Run, Workflow
from streamwf.embedded import MemoryLog
from streamwf.schedule_views import ScheduleView
from streamwf.testing import Engine, SteppedClock, engine

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

BERLIN = "Europe/Berlin"


class Status(Enum):
    CREATED = 1
    SENT = 2
    DONE = 3


class Report(BaseModel):
    day: str = ""
    stays: bool = False


Reports = Workflow[Report, Status]
Made = Callable[[datetime], Report | None]


def reports(made: Made | None = None, **schedule: Any) -> Reports:
    """A workflow whose runs end at once, or pause if they are told to stay."""
    encrypt = schedule.pop("encrypt", False)
    workflow = Workflow("reports", Report, Status, encrypt=encrypt)

    @workflow.step(Status.CREATED, to=Status.SENT)
    async def write(run: Run[Report, Status]) -> Status | Pause:
        return Pause() if run.object.stays else Status.SENT

    @workflow.step(Status.SENT, to=Status.DONE)
    async def send(run: Run[Report, Status]) -> Status:
        return Status.DONE

    if schedule:
        options = {"foreign_id": "report", **schedule}
        cron = options.pop("cron")
        workflow.schedule("nightly", cron, **options)(made or dated)
    return workflow


def dated(slot: datetime) -> Report:
    return Report(day=f"{slot:%Y-%m-%d %H:%M %Z}")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def clock_at(text: str) -> SteppedClock:
    return SteppedClock(at(text))


async def started(app: Engine, workflow: Reports, **asked: Any) -> list[str]:
    """When runs were started, in UTC."""
    await app.settle()
    runs = [run async for run in app.client.list(workflow, order="created", **asked)]
    return [f"{run.created_at:%d %H:%M}" for run in runs]


async def days(app: Engine, workflow: Reports) -> list[str]:
    """What the runs carry, in the order in which they were started."""
    await app.settle()
    return [run.object.day async for run in app.client.list(workflow, order="created")]


async def nightly(app: Engine, workflow: Reports) -> ScheduleView:
    await app.settle()
    return await app.client.get_schedule(workflow, "nightly")


@asynccontextmanager
async def after_a_stop(former: Engine, workflow: Reports, down: timedelta) -> AsyncIterator[Engine]:
    """An engine that goes on after nobody worked for so long."""
    clock = SteppedClock(former.clock.now() + down)
    async with engine(workflow, clock=clock, former=former) as app:
        yield app


def cut(former: Engine, events: int) -> None:
    """What a worker that died then has left: the last events never got into the log."""
    records = former.host.logs["reports"].records
    del records[len(records) - events :]


def types(app: Engine) -> list[str]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    return [decode(record.value)["type"] for record in app.host.logs["reports"].records]


def request_to(log: MemoryLog, **event: Any) -> None:
    stamp = int(at("2030-01-01T00:00").timestamp() * 1_000)
    value = msgspec.json.encode({"type": "trigger", "subject": "s", "kind": "schedule", **event})
    log.append(None, value, stamp)
