"""A workflow whose runs carry a secret, and lose it in every place that there is."""

from datetime import timedelta
from enum import Enum

from pydantic import BaseModel

from streamwf import Pause, Retry, Run, Workflow

AT_ONCE = Retry(initial=timedelta(milliseconds=50))


class Status(Enum):
    CREATED = 1
    SENT = 2
    ASKED = 3
    DONE = 4
    ASIDE = 5
    TOLD = 6


class Person(BaseModel):
    secret: str = ""
    trail: list[str] = []


orders = Workflow("orders", Person, Status, encrypt=True, search=("secret",), start=Status.CREATED)


@orders.step(Status.CREATED, to=[Status.SENT, Status.ASIDE], retry=AT_ONCE)
async def create(run: Run[Person, Status]) -> Status:
    """It fails with the secret in its error, and starts a run that carries it, too."""
    if run.attempt == 1:
        raise ValueError(f"no answer from {run.object.secret}")
    child = Person(secret=run.object.secret)
    run.start(orders, f"{run.foreign_id}-child", child, at=Status.ASIDE)
    return Status.SENT


@orders.step(Status.SENT, to=Status.ASKED, children="all")
async def hear(run: Run[Person, Status]) -> Status:
    run.object.trail += [f"heard {child.object['secret']}" for child in run.children]
    return Status.ASKED


@orders.callback(Status.ASKED, to=Status.DONE, payload=str, correlate=lambda person: person.secret)
async def answer(run: Run[Person, Status], payload: str) -> Status | Pause:
    run.object.trail.append(f"answered {payload}")
    return Status.DONE


@orders.step(Status.ASIDE, to=Status.TOLD)
async def tell(run: Run[Person, Status]) -> Status:
    return Status.TOLD
