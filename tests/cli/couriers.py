"""A workflow whose step needs something outside: a file that stands for a courier's service."""

import os
from datetime import timedelta
from enum import Enum
from pathlib import Path

from pydantic import BaseModel

from streamwf import Retry, Run, Workflow


class Letter(BaseModel):
    to: str = ""


class Status(Enum):
    WRITTEN = 1
    COLLECTED = 2


letters = Workflow("letters", Letter, Status)


@letters.step(
    Status.WRITTEN,
    to=Status.COLLECTED,
    retry=Retry(initial=timedelta(milliseconds=10), attempts=3),
)
async def collect(run: Run[Letter, Status]) -> Status:
    if run.foreign_id.startswith("abroad") and not Path(os.environ["COURIER"]).exists():
        raise ConnectionError("no answer from the courier")
    return Status.COLLECTED
