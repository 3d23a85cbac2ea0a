"""2 breaker=, and rate and priority: what holds back the steps of many runs."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from streamwf import Breaker, Rate, Retry, Run, Workflow
from tests.acceptance.flows.carried import DONE, EXPIRED, MORE, NEW, WAITING, Status, Thing

#: After so many failures the service counts as down, for so long.
BREAKER = Breaker(failures=3, rest=timedelta(seconds=2))

#: So many runs in so long, over all shards.
RATE = Rate(4, timedelta(seconds=2))


class Call(Thing):
    """begun: when its step began, by the machine's clock."""

    rank: int = 0
    begun: datetime | None = None


CallRun: TypeAlias = Run[Call, Status]

paced = Workflow("pacing", Call, Status, start=NEW)


@paced.step(
    NEW,
    to=[MORE, WAITING, EXPIRED, DONE],
    breaker=BREAKER,
    retry=Retry(timedelta(milliseconds=100), jitter=0),
)
async def call(run: CallRun) -> Status:
    run.object.signs.note(run.foreign_id)
    if run.object.signs.is_up("down"):
        raise ConnectionError("refused")
    return DONE


@paced.step(MORE, to=DONE)
async def other(run: CallRun) -> Status:
    return DONE


@paced.step(EXPIRED, to=DONE, rate=RATE)
async def rated(run: CallRun) -> Status:
    run.object.begun = datetime.now(UTC)
    run.object.signs.note(run.foreign_id)
    return DONE


@paced.step(WAITING, to=DONE, parallel=1, priority=lambda run: run.object.rank)
async def ranked(run: CallRun) -> Status:
    run.object.signs.note(run.foreign_id)
    await run.object.signs.wait_for("go on")
    return DONE
