"""1 callback: outside answers to a run that waits for them."""

from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Run, Skip, Workflow
from streamwf.declared import StepResult
from tests.acceptance.flows.carried import DONE, FAILED, NEW, WAITING, Status, Thing


class Application(Thing):
    email: str = ""


ApplicationRun: TypeAlias = Run[Application, Status]


class Answer(BaseModel):
    approved: bool
    by: str = "nobody"


callbacks = Workflow("callbacks", Application, Status)


@callbacks.step(NEW, to=WAITING)
async def ask(run: ApplicationRun) -> Status:
    # Until the test says so, if it says that there is something to wait for.
    if run.object.signs.is_up("slow"):
        await run.object.signs.wait_for("asked")
    return WAITING


@callbacks.callback(
    WAITING, to=[DONE, FAILED], payload=Answer, correlate=lambda application: application.email
)
async def decide(run: ApplicationRun, answer: Answer) -> StepResult[Status]:
    run.object.signs.note("decide")
    if answer.by == "nobody":
        return Skip()
    run.object.trail.append(f"{answer.by}: {answer.approved}")
    return DONE if answer.approved else FAILED


@callbacks.callback(WAITING, to=WAITING, payload=str)
async def remark(run: ApplicationRun, text: str) -> Status:
    run.object.signs.note("remark")
    run.object.trail.append(text)
    return WAITING


@callbacks.callback(WAITING, to=DONE)
def scan(run: ApplicationRun, picture: bytes) -> Status:
    run.object.trail.append(picture.hex())
    return DONE
