"""1 sensitive fields: a card number that is in the object, and in whatever goes wrong."""

import logging
from typing import Annotated, TypeAlias

from streamwf import Fatal, Masked, Run, Workflow
from tests.acceptance.flows.carried import DONE, NEW, Status, Thing


class Payment(Thing):
    card: Annotated[str, Masked] = ""


PaymentRun: TypeAlias = Run[Payment, Status]

payments = Workflow("payments", Payment, Status, start=NEW, debug=True)


@payments.step(NEW, to=DONE)
async def charge(run: PaymentRun) -> Status:
    run.object.signs.note(run.object.card)
    if run.object.signs.is_up("refused"):
        raise Fatal(f"the bank refused {run.object.card}")
    logging.getLogger("shop").info("charged for %s", run.foreign_id)
    return DONE
