"""Workflows with masked fields, whose functions tell all they know whenever they fail."""

from datetime import timedelta
from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel

from streamwf import Cancel, Fatal, Masked, Pause, Repeat, Retry, Run, Workflow

Secret = Annotated[str, Masked]

#: The values of masked fields, as they are at the beginning.
CARD, PIN, ADDRESS, TOKEN = "4111-1111-2222", 98765431, "Elm Street 7\n", "token-abc"

#: What functions and callbacks bring.
NEW_CARD, CODE = "5500-0000-1111", "code-xyz-1"

SECRETS = (CARD, str(PIN), ADDRESS.strip(), TOKEN, NEW_CARD, CODE)

SOON = Retry(initial=timedelta(milliseconds=1), factor=1, jitter=0, attempts=2)


class Holder(BaseModel):
    name: str = "ann"
    address: Secret = ADDRESS


class Payment(BaseModel):
    """do: what the step at NEW does."""

    amount: int = 1
    do: str = "go"
    card: Secret = CARD
    pin: Annotated[int | None, Masked] = PIN
    holder: Holder = Holder()
    tokens: list[Secret] = [TOKEN]


class Receipt(BaseModel):
    card: Secret
    amount: int = 1


class Answer(BaseModel):
    """do: what the callback does."""

    code: Secret
    do: str = "go"


class Status(Enum):
    NEW = 1
    ASKED = 2
    PAID = 3
    FAILED = 4


def secret() -> dict[str, Any]:
    """The object of a payment as plain data."""
    return Payment().model_dump(mode="json")


def told(error: type[BaseException], run: Run[Payment, Status]) -> BaseException:
    """An error that tells all."""
    try:
        raise KeyError(repr(run.object), run.object.model_dump_json())
    except KeyError as cause:
        made = error(f"{run.object}, that is {run.object.card} of {run.object.holder.address!r}")
        made.__cause__ = cause
        made.add_note(f"the pin is {run.object.pin}")
        return made


def receipts() -> Workflow[Receipt, Status]:
    workflow: Workflow[Receipt, Status] = Workflow("receipts", Receipt, Status, debug=True)

    @workflow.step(Status.NEW, to=Status.PAID)
    async def print_it(run: Run[Receipt, Status]) -> Cancel:
        return Cancel(f"no paper for {run.object.card}")

    return workflow


def payments(**options: Any) -> Workflow[Payment, Status]:
    workflow: Workflow[Payment, Status] = Workflow(
        "payments", Payment, Status, search=("holder.name",), debug=True, **options
    )
    printed = receipts()

    @workflow.step(Status.NEW, to=Status.ASKED, retry=SOON, on_error=Status.FAILED)
    def charge(run: Run[Payment, Status]) -> Any:
        payment = run.object
        match payment.do:
            case "fail":
                raise told(ValueError, run)
            case "change and fail":
                payment.card, payment.tokens = NEW_CARD, [CODE]
                raise told(ValueError, run)
            case "validate":
                Payment.model_validate({"card": [payment.card * 9], "pin": payment.card})
            case "undeclared":
                return payment.card
            case "pause":
                return Pause(f"{payment.card} is suspicious")
            case "cancel":
                return Cancel(f"{payment!r} is no good")
            case "repeat":
                payment.do = "go"
                return Repeat()
            case "unwritable":
                payment.tokens = [object()]  # type: ignore[list-item]
            case "misfit":
                payment.amount = payment.card  # type: ignore[assignment]
            case "child":
                run.start(printed, f"{run.foreign_id}-receipt", Receipt(card=payment.card))
        return Status.ASKED

    @workflow.timeout(
        Status.ASKED, after=timedelta(hours=1), to=Status.FAILED, retry=Retry(attempts=1)
    )
    async def expire(run: Run[Payment, Status]) -> Status:
        raise told(TimeoutError, run)

    @workflow.callback(
        Status.ASKED, to=Status.PAID, payload=Answer, retry=SOON, correlate=lambda it: it.card
    )
    async def answer(run: Run[Payment, Status], given: Answer) -> Any:
        if given.do == "fail":
            raise ValueError(f"{given!r} is not the code of {run.object!r}")
        if given.do == "pause":
            return Pause(f"{given.code} is suspicious")
        run.object.tokens.append(given.code)
        return Status.PAID

    @workflow.callback(Status.ASKED, to=Status.PAID, payload=dict)
    async def anything(run: Run[Payment, Status], given: dict[str, Any]) -> Any:
        raise Fatal(f"{given}: {run.object!r}")

    @workflow.on_cancel
    async def cancelled(run: Run[Payment, Status]) -> None:
        raise Fatal(f"can't cancel {run.object}")

    @workflow.on_complete
    async def completed(run: Run[Payment, Status]) -> None:
        raise Fatal(f"can't complete {run.object}")

    return workflow
