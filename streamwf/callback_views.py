"""What is asked and told about callbacks: over HTTP, by the client, on the command line."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError, to_json

from .errors import InvalidPayload
from .views import ErrorView, ForeignId, Request, RunView, View

#: Seconds that a callback may wait: a year.
LONGEST_WAIT = 366 * 86_400.0

Outcome = Literal["moved", "skipped", "paused", "cancelled", "kept", "duplicate"]


class CallbackRequest(Request):
    """An answer to a run that waits for it.

    name: of the callback; the only one of the run's status, unless given.
    foreign_id, run_id, correlation: which run: one of them; or the first two of the same run; or
        all three, for a run that was found by the last.
    payload: as JSON. payload_base64: instead, for bytes.
    key: makes a repeat harmless.
    wait_for: how many seconds it may wait until it is wanted.
    """

    name: str = ""
    foreign_id: ForeignId | None = None
    run_id: str | None = None
    correlation: str | None = None
    payload: Any = None
    payload_base64: str | None = None
    key: str | None = None
    wait_for: float = Field(default=0.0, ge=0, le=LONGEST_WAIT)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        known = [self.foreign_id is not None, self.run_id is not None]
        if not any(known) if self.correlation is None else any(known) is not all(known):
            raise _unclear("say which run: its foreign_id, its run_id, or a correlation")
        if self.payload is not None and self.payload_base64 is not None:
            raise _unclear("give payload or payload_base64, not both")
        return self

    def to(self, run: "Correlated") -> Self:
        """The same, to a run that is known by now."""
        return self.model_copy(update={"foreign_id": run.foreign_id, "run_id": run.run_id})


def _unclear(why: str) -> PydanticCustomError:
    return PydanticCustomError("unclear", "{why}", {"why": why})


class CallbackView(View):
    """What came of a callback.

    outcome: the run has moved on; the callback has answered `skip`; the run was paused or
        cancelled by it; it is kept until it is wanted, the run is resumed, or it is tried again;
        or it was a duplicate of one that was answered before.
    run: as it is then; None while it waits for a run to come.
    error: why it is tried again.
    """

    outcome: Outcome
    run: RunView | None = None
    error: ErrorView | None = None


class Correlated(View):
    """The run that a correlation value leads to; none while there is none."""

    foreign_id: str | None = None
    run_id: str | None = None


def payload_json(callback: str, payload: object) -> bytes:
    """What a callback is told, as JSON. Raises InvalidPayload if there is no JSON for it."""
    try:
        return to_json(payload, inf_nan_mode="null")
    except (ValueError, RecursionError) as error:
        fields = [{"field": "payload", "message": str(error)}]
        raise InvalidPayload(name=callback, detail=str(error), errors=fields) from None
