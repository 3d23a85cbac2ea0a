"""1 validation: a workflow with every mistake that there is. It is none of `WORKFLOWS`."""

from datetime import timedelta
from typing import Any

from streamwf import Workflow
from tests.acceptance.flows.carried import DONE, EXPIRED, MORE, NEW, WAITING, Status, Thing
from tests.acceptance.flows.typed import Text

mistaken = Workflow("mistaken", Thing, Status, start=NEW)


async def nothing(run: Any) -> Any:
    """It never runs."""


mistaken.step(NEW, to=WAITING)(nothing)
mistaken.step(NEW, to=MORE)(nothing)
mistaken.step(WAITING, to=Text.ENDED)(nothing)
mistaken.step(MORE, to=DONE, parallel=0)(nothing)
mistaken.step(DONE, to=[])(nothing)
mistaken.timeout(MORE, after=timedelta(0), to=DONE, name="late")(nothing)
mistaken.timeout(MORE, after=timedelta(0), to=DONE, name="late")(nothing)
mistaken.step(EXPIRED, to=DONE)(nothing)
