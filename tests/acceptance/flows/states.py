"""3: runs in every state, and what a workflow may say about how they end."""

from datetime import timedelta

from streamwf import Workflow
from tests.acceptance.flows.carried import DONE, NEW, WAITING, Status, Thing, ThingRun

#: How long a run that was paused by errors waits.
RESUMES = timedelta(seconds=1)

#: How long a run that has ended is kept.
KEPT = timedelta(seconds=1)


def _in_place_of(thing: Thing) -> Thing:
    return Thing(trail=["deleted"])


states = Workflow("states", Thing, Status, start=NEW)
passing = Workflow("passing", Thing, Status, start=NEW, auto_resume=RESUMES, retention=KEPT)
lasting = Workflow(
    "lasting", Thing, Status, start=NEW, auto_resume=None, custom_delete=_in_place_of
)
sealed = Workflow("sealed", Thing, Status, start=NEW, encrypt=True)


async def work(run: ThingRun) -> Status:
    """Waits for the test if it says so, and fails if it says so."""
    signs = run.object.signs
    signs.note(f"begins {run.attempt}")
    if signs.is_up("hold"):
        await signs.wait_for("go on")
    if signs.is_up("broken"):
        raise OSError("it slipped")
    run.object.trail.append("worked")
    return WAITING


async def end(run: ThingRun, data: bytes) -> Status:
    run.object.trail.append(data.decode())
    return DONE


for workflow in (states, passing, lasting, sealed):
    workflow.step(NEW, to=WAITING, pause_after=1)(work)
    workflow.callback(WAITING, to=DONE)(end)
del workflow
