"""A workflow with a slot every other second, each of which has a run of its own.

DIE: a folder. Where it has a file `before` or `after`, the worker that is about to request the run
of a slot, or has just done so, deletes the file and kills itself.
"""

import os
import signal
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from streamwf import Run, Workflow
from streamwf.agents.host import KafkaHost


class Status(Enum):
    CREATED = 1
    DONE = 2


class Tick(BaseModel):
    pid: int


orders = Workflow("orders", Tick, Status)


@orders.step(Status.CREATED, to=Status.DONE)
async def end(run: Run[Tick, Status]) -> Status:
    return Status.DONE


@orders.schedule(
    "ticking", os.environ.get("CRON", "@every 2s"), foreign_id="tick", overlap="start", catch_up=100
)
async def ticking(slot: datetime) -> Tick:
    return Tick(pid=os.getpid())


def die_if_told(when: str) -> None:
    flag = Path(os.environ["DIE"]) / when
    if flag.exists():
        flag.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


if "DIE" in os.environ:
    append = KafkaHost.append

    async def append_or_die(self: KafkaHost, *given: Any) -> None:
        die_if_told("before")
        await append(self, *given)
        die_if_told("after")

    KafkaHost.append = append_or_die  # type: ignore[method-assign]
