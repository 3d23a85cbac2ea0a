"""Orders that wait for answers, and those who ask over HTTP."""

from typing import Any

from pydantic import BaseModel

from streamwf import Fatal, Run, Skip, Workflow
from streamwf.declared import StepResult
from tests.web.harness import Order, Reply, Status, Worker

CALLBACKS = "/api/v1/workflows/orders/callbacks"
OrderRun = Run[Order, Status]


class Verdict(BaseModel):
    price: int
    note: str = ""


def answers(workflow: Workflow[Order, Status]) -> None:
    """At PICKED a run waits for these too, while its step waits for the gate."""

    async def decide(run: OrderRun, verdict: Verdict) -> StepResult[Status]:
        run.object.price = verdict.price
        if verdict.note == "fatal":
            raise Fatal("never")
        if verdict.note == "error":
            raise OSError("not now")
        return Skip() if verdict.note == "skip" else Status.SHIPPED

    for name in ("a-decide", "b-decide"):
        workflow.callback(
            Status.PICKED,
            to=[Status.SHIPPED, Status.PICKED],
            payload=Verdict,
            name=name,
            correlate=lambda order: order.note or None,
        )(decide)

    @workflow.callback(Status.PICKED, to=Status.SHIPPED)
    def scan(run: OrderRun, picture: bytes) -> Status:
        run.object.note = picture.hex()
        return Status.SHIPPED

    @workflow.callback(Status.LOST, to=Status.SHIPPED)
    def found(run: OrderRun, data: bytes) -> Status:
        return Status.SHIPPED


async def waiting(worker: Worker, foreign_id: str, note: str = "") -> str:
    """The id of a run that waits for its answers."""
    run_id = await worker.trigger(foreign_id, object={"price": 1, "note": note})
    assert (await worker.reached(run_id, "PICKED")).status == 200
    return run_id


async def ask(worker: Worker, **asked: Any) -> Reply:
    return await worker.post(CALLBACKS, {"name": "b-decide", "payload": {"price": 7}, **asked})


def told(reply: Reply) -> tuple[int, str, str]:
    run = reply.json.get("run") or {}
    return reply.status, reply.json.get("outcome"), run.get("status")


def problem(reply: Reply) -> tuple[int, str]:
    assert reply.headers["Content-Type"] == "application/problem+json", reply.body
    return reply.status, reply.json["type"].rpartition(":")[2]
