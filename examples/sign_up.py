"""Signing up: an e-mail with a link that is clicked, sent again, or expires.

The web site that serves the link knows the token in it, and neither run ids nor foreign ids:

    await client.callback(sign_up, "confirm", correlation=token)
"""

from datetime import timedelta
from enum import StrEnum, auto
from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Run, Workflow


class Account(BaseModel):
    """Somebody who wants an account. mails: what was sent, for want of a mail server."""

    email: str
    token: str = ""
    mails: list[str] = []


class Status(StrEnum):
    REQUESTED = auto()
    AWAITING_CLICK = auto()
    CONFIRMED = auto()
    EXPIRED = auto()


AccountRun: TypeAlias = Run[Account, Status]

#: How long the link is good for.
EXPIRY = timedelta(days=3)

sign_up = Workflow(
    "sign-up",
    Account,
    Status,
    example=Account(email="ann@example.org"),
    # Who never clicked has not asked us to keep anything.
    retention=timedelta(days=30),
)


@sign_up.step(Status.REQUESTED, to=Status.AWAITING_CLICK)
async def send_link(run: AccountRun) -> Status:
    # The same for every attempt: a link that was sent before a crash stays good.
    run.object.token = run.idempotency_key
    run.object.mails.append(f"Welcome! Click https://example.org/confirm/{run.object.token}")
    return Status.AWAITING_CLICK


@sign_up.callback(
    Status.AWAITING_CLICK, to=Status.CONFIRMED, correlate=lambda account: account.token
)
async def confirm(run: AccountRun, payload: bytes) -> Status:
    return Status.CONFIRMED


@sign_up.callback(Status.AWAITING_CLICK, to=Status.AWAITING_CLICK, payload=str)
async def resend(run: AccountRun, address: str) -> Status:
    """They can't find the mail, or have mistyped their address."""
    run.object.email = address or run.object.email
    run.object.mails.append(f"Again: https://example.org/confirm/{run.object.token}")
    # They stay where they are, and the time begins anew.
    return Status.AWAITING_CLICK


@sign_up.timeout(Status.AWAITING_CLICK, after=EXPIRY, to=Status.EXPIRED)
async def expire(run: AccountRun) -> Status:
    return Status.EXPIRED
