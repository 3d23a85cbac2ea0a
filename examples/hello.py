from enum import Enum

from streamwf import Run, Workflow

Status = Enum("Status", "NEW GREETED")
hello = Workflow("hello", dict[str, str], Status, example={"name": "world"})


@hello.step(Status.NEW, to=Status.GREETED)
async def greet(run: Run[dict[str, str], Status]) -> Status:
    run.object["greeting"] = f"Hello, {run.object['name']}!"
    return Status.GREETED
