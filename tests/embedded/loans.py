"""Loans: a workflow that waits for answers from outside."""

from datetime import timedelta
from enum import StrEnum, auto
from typing import Any

from pydantic import BaseModel

from streamwf import Run, Skip, Workflow
from streamwf.declared import StepResult
from streamwf.testing import Engine
from tests.embedded.app import Gate


class Loan(BaseModel):
    email: str | None = None
    notes: list[str] = []


class Decision(BaseModel):
    yes: bool
    note: str = ""


class Status(StrEnum):
    ASKED = auto()
    REVIEW = auto()
    GRANTED = auto()
    PAID = auto()
    REFUSED = auto()


ASKED, REVIEW, GRANTED = Status.ASKED, Status.REVIEW, Status.GRANTED
PAID, REFUSED = Status.PAID, Status.REFUSED

Loans = Workflow[Loan, Status]
LoanRun = Run[Loan, Status]

HOUR = timedelta(hours=1)


def bare(gate: Gate | None = None, **options: Any) -> Loans:
    """Goes to REVIEW by itself, where something has to be declared that moves it on.

    gate: holds it up on its way there.
    """
    workflow = Workflow("loans", Loan, Status, start=ASKED, **options)

    @workflow.step(ASKED, to=REVIEW)
    async def ask(run: LoanRun) -> Status:
        if gate is not None:
            await gate.wait()
        return REVIEW

    return workflow


def answered_by(function: Any, **options: Any) -> Loans:
    """At REVIEW it waits for one callback. options: of that callback."""
    workflow = bare()
    workflow.callback(REVIEW, to=[GRANTED, REFUSED, REVIEW], **options)(function)
    finished(workflow)
    return workflow


def finished(workflow: Loans) -> None:
    """What is granted waits to be paid."""

    @workflow.callback(GRANTED, to=PAID, payload=int)
    async def pay(run: LoanRun, amount: int) -> Status:
        run.object.notes.append(f"paid {amount}")
        return PAID


def loans(gate: Gate | None = None, **options: Any) -> Loans:
    """At REVIEW it waits for one of several callbacks; `decide` is known by the e-mail address."""
    workflow = bare(gate, **options)

    @workflow.callback(
        REVIEW, to=[GRANTED, REFUSED], payload=Decision, correlate=lambda loan: loan.email
    )
    async def decide(run: LoanRun, decision: Decision) -> StepResult[Status]:
        if decision.note == "later":
            return Skip()
        run.object.notes.append(decision.note)
        return GRANTED if decision.yes else REFUSED

    @workflow.callback(REVIEW, to=REVIEW, payload=str, correlate=lambda loan: loan.email)
    async def remark(run: LoanRun, text: str) -> Status:
        run.object.notes.append(text)
        return REVIEW

    @workflow.callback(REVIEW, to=GRANTED)
    def scan(run: LoanRun, picture: bytes) -> Status:
        run.object.notes.append(picture.decode())
        return GRANTED

    finished(workflow)
    return workflow


async def waiting(app: Engine, workflow: Loans, foreign_id: str = "l-1", **loan: Any) -> str:
    """The id of a run that waits at REVIEW."""
    run = await app.trigger(workflow, foreign_id, Loan(**loan))
    await app.await_status(run, REVIEW)
    return run.run_id


YES = Decision(yes=True, note="fine")
NO = Decision(yes=False, note="too much")
