"""Payments that a bank writes to a Kafka topic: each is booked once, whoever dies meanwhile.

A message that is no payment goes to the dead letters, and the rest go on. A payment to an account
that nobody has is given back.
"""

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum, auto
from typing import TypeAlias

from pydantic import BaseModel, Field

from streamwf import Fatal, Retry, Run, Workflow
from streamwf.adapters.kafka import KafkaTopic
from streamwf.sources import Message, Start


class Payment(BaseModel):
    """A payment, as the bank tells it."""

    payment_id: str
    account: str
    amount: Decimal = Field(gt=0)
    note: str = ""


class Status(StrEnum):
    RECEIVED = auto()
    BOOKED = auto()
    TO_GIVE_BACK = auto()
    GIVEN_BACK = auto()


PaymentRun: TypeAlias = Run[Payment, Status]

TOPIC = "bank.payments"

payments = Workflow(
    "payments",
    Payment,
    Status,
    start=Status.RECEIVED,
    example=Payment(payment_id="p-1", account="ann", amount=Decimal("12.50")),
)


@payments.connector(KafkaTopic(TOPIC), name="bank")
def received(message: Message) -> Start[Payment, Status]:
    # What raises here is set aside, with the error and the message's place in the topic.
    payment = Payment.model_validate_json(message.value or b"")
    return Start(payment.payment_id, payment)


@payments.step(
    Status.RECEIVED,
    to=[Status.BOOKED, Status.TO_GIVE_BACK],
    on_error=Status.TO_GIVE_BACK,
    retry=Retry(initial=timedelta(milliseconds=200), attempts=8),
)
async def book(run: PaymentRun) -> Status:
    if run.object.account.startswith("nobody"):
        raise Fatal(f"there is no account {run.object.account!r}")
    return Status.BOOKED


@payments.step(Status.TO_GIVE_BACK, to=Status.GIVEN_BACK)
async def give_back(run: PaymentRun) -> Status:
    # The bank gives back once what it is told twice under the same key.
    run.object.note = f"given back as {run.idempotency_key}"
    return Status.GIVEN_BACK
