"""What the runs of this suite carry, unless a row is about just that."""

from enum import Enum
from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Run
from tests.acceptance.signs import Signs


class Thing(BaseModel):
    """folder: where steps leave notes for the test, and find its signs. trail: what has passed."""

    folder: str = ""
    trail: list[str] = []

    @property
    def signs(self) -> Signs:
        return Signs(self.folder)


class Status(Enum):
    NEW = 1
    WAITING = 2
    MORE = 3
    DONE = 4
    FAILED = 5
    EXPIRED = 6


NEW, WAITING, MORE = Status.NEW, Status.WAITING, Status.MORE
DONE, FAILED, EXPIRED = Status.DONE, Status.FAILED, Status.EXPIRED

ThingRun: TypeAlias = Run[Thing, Status]
