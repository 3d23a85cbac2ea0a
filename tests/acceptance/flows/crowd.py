"""Under strain: as many runs as you like, whose timeouts are due at the same instant."""

from datetime import datetime
from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Run, Workflow
from tests.acceptance.flows.carried import EXPIRED, WAITING, Status


class One(BaseModel):
    at: datetime
    times: int = 0


OneRun: TypeAlias = Run[One, Status]

crowd = Workflow("crowd", One, Status, start=WAITING)


def _at(run: OneRun) -> datetime:
    return run.object.at


@crowd.timeout(WAITING, after=_at, to=EXPIRED)
async def expire(run: OneRun) -> Status:
    run.object.times += 1
    return EXPIRED
