"""1 callback: outside answers to a run that waits for them."""

from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Run, Skip, Workflow
from streamwf.declared import StepResult
from tests.acceptance.flows.carried import DONE, FAILED, MORE, NEW, WAITING, Status, Thing


class Application(Thing):
    email: str = ""


ApplicationRun: TypeAlias = Run[Application, Status]


class Answer(BaseModel):
    approved: bool
    by: str = "nobody"


callbacks = Workflow("callbacks", Application, Status)


@callbacks.step(NEW, to=[MORE, WAITING])
async def receive(run: ApplicationRun) -> Status:
    return MORE if run.object.signs.is_up("slow") else WAITING


@callbacks.step(MORE, to=WAITING)
async def look_closer(run: ApplicationRun) -> Status:
    await run.object.signs.wait_for("looked")
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
