"""1 hooks: told of each change of a run's state once it is durable."""

from streamwf import Cancel, Workflow
from streamwf.declared import StepResult
from tests.acceptance.flows.carried import DONE, NEW, WAITING, Status, Thing, ThingRun

hooks = Workflow("hooks", Thing, Status)


@hooks.step(NEW, to=WAITING)
async def begin(run: ThingRun) -> StepResult[Status]:
    return Cancel("from within") if run.object.signs.is_up("cancel") else WAITING


@hooks.callback(WAITING, to=DONE)
async def end(run: ThingRun, data: bytes) -> Status:
    return DONE


def _told(run: ThingRun, what: str) -> None:
    """Notes what was told; fails as long as the test says so, and changes what it may not."""
    signs = run.object.signs
    signs.note(f"{what} {run.state} {run.reason} {run.attempt}")
    if signs.is_up("broken"):
        raise OSError("nobody listens")
    run.object.trail.append(what)


@hooks.on_pause
async def paused(run: ThingRun) -> None:
    _told(run, "pause")


@hooks.on_resume
def resumed(run: ThingRun) -> None:
    _told(run, "resume")


@hooks.on_cancel
async def cancelled(run: ThingRun) -> None:
    _told(run, "cancel")


@hooks.on_complete
async def completed(run: ThingRun) -> None:
    _told(run, "complete")


@hooks.on_data_deleted
async def deleted(run: ThingRun) -> None:
    # Of the object nothing is left, but its folder, which custom_delete keeps.
    _told(run, f"deleted {run.object.trail}")


def _folder_alone(thing: Thing) -> Thing:
    return Thing(folder=thing.folder)


hooks.custom_delete = _folder_alone
