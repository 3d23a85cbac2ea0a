"""A workflow that does all that a workflow can, and a recorder of what is called of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum, auto
from typing import Any

from pydantic import BaseModel

from streamwf import Cancel, Pause, Repeat, Retry, Run, Skip, Workflow
from tests.proof.story import Executed

NAME = "shop"


class Status(StrEnum):
    NEW = auto()
    OFFERED = auto()
    PAID = auto()
    ASKING = auto()
    PACKED = auto()
    SENT = auto()
    LAPSED = auto()
    BROKEN = auto()


class Order(BaseModel):
    """clumsy: tries of the first step that fail. first: what it does once instead of moving.
    slips: tries of the step after the payment that fail.

    asks: the questions that are put to others, as runs of the same workflow.
    """

    email: str = ""
    clumsy: int = 0
    first: str = ""
    slips: int = 0
    asks: list[str] = []
    paid: int = 0
    secret: str = "nothing to hide"


class Clumsy(Exception):
    """A step has slipped."""


@dataclass
class Recorder:
    """now: the time. worker: who calls."""

    now: Callable[[], datetime]
    worker: str = "w1"
    made: list[Executed] = field(default_factory=list)

    @contextmanager
    def call(self, kind: Any, run: Run[Any, Any], name: str = "") -> Iterator[list[str]]:
        """Gives a list for what the call leads to."""
        began, led_to = self.now(), [""]
        status, attempt, key = run.status.name, run.attempt, run.idempotency_key
        try:
            yield led_to
        except BaseException as error:
            led_to[0] = f"!{type(error).__name__}"
            raise
        finally:
            self.made.append(
                Executed(
                    kind=kind,
                    worker=self.worker,
                    run_id=run.run_id,
                    foreign_id=run.foreign_id,
                    status=status,
                    version=run.version,
                    attempt=attempt,
                    idempotency_key=key,
                    began=began,
                    name=name,
                    ended=self.now(),
                    outcome=led_to[0],
                )
            )


Shop = Workflow[Order, Status]


def a_shop(recorder: Recorder, name: str = NAME, **options: Any) -> Shop:
    """options: further ones of the workflow."""
    shop = Workflow(name, Order, Status, **options)
    _steps(shop, recorder)
    _answers(shop, recorder)
    for on in ("pause", "resume", "cancel", "complete", "data_deleted"):
        _hook(shop, recorder, on)
    return shop


def _steps(shop: Shop, recorder: Recorder) -> None:
    soon = Retry(initial=timedelta(seconds=1), jitter=0, attempts=3)

    @shop.step(Status.NEW, to=Status.OFFERED, retry=soon, on_error=Status.BROKEN)
    async def offer(run: Run[Order, Status]) -> Status | Pause | Cancel | Repeat | Skip:
        with recorder.call("step", run) as led_to:
            if run.attempt <= run.object.clumsy:
                raise Clumsy(f"{run.object.secret}, try {run.attempt}")
            first, run.object.first = run.object.first, ""
            if first == "pause":
                return Pause("a look")
            if first == "cancel":
                return Cancel("enough")
            if first == "skip":
                return Skip()
            if first == "repeat":
                return Repeat(after=timedelta(minutes=1))
            led_to[0] = "OFFERED"
            return Status.OFFERED

    @shop.step(Status.PAID, to=[Status.ASKING, Status.PACKED], retry=soon, pause_after=2)
    async def ask(run: Run[Order, Status]) -> Status:
        with recorder.call("step", run) as led_to:
            if run.object.slips >= run.attempt:
                raise Clumsy(run.object.secret)
            for question in run.object.asks:
                order = Order(secret=question)
                run.start(shop, f"{run.foreign_id}/{question}", order, cancel_with_parent=True)
            led_to[0] = "ASKING" if run.object.asks else "PACKED"
            return Status[led_to[0]]

    @shop.step(Status.ASKING, to=Status.PACKED, children="all")
    async def hear(run: Run[Order, Status]) -> Status:
        with recorder.call("step", run) as led_to:
            led_to[0] = "PACKED"
            return Status.PACKED

    @shop.step(Status.PACKED, to=Status.SENT, lag=timedelta(hours=1))
    async def send(run: Run[Order, Status]) -> Status:
        with recorder.call("step", run) as led_to:
            led_to[0] = "SENT"
            return Status.SENT


def _answers(shop: Shop, recorder: Recorder) -> None:
    @shop.callback(
        Status.OFFERED,
        to=Status.PAID,
        payload=int,
        correlate=lambda order: order.email or None,
    )
    async def pay(run: Run[Order, Status], amount: int) -> Status | Skip:
        with recorder.call("callback", run, "pay") as led_to:
            _slip(run)
            if amount <= 0:
                return Skip()
            run.object.paid += amount
            led_to[0] = "PAID"
            return Status.PAID

    @shop.timeout(Status.OFFERED, after=timedelta(hours=2), to=Status.LAPSED)
    async def remind(run: Run[Order, Status]) -> Skip:
        with recorder.call("timeout", run, "remind"):
            _slip(run)
            return Skip()

    @shop.timeout(Status.OFFERED, after=timedelta(hours=5), to=Status.LAPSED)
    async def nag(run: Run[Order, Status]) -> Repeat:
        with recorder.call("timeout", run, "nag"):
            return Repeat(after=timedelta(hours=20))

    @shop.timeout(Status.OFFERED, after=timedelta(days=3), to=Status.LAPSED)
    async def lapse(run: Run[Order, Status]) -> Status:
        with recorder.call("timeout", run, "lapse") as led_to:
            led_to[0] = "LAPSED"
            return Status.LAPSED


def _slip(run: Run[Order, Status]) -> None:
    """The first try of whatever is beside the steps of those that are called clumsy."""
    if run.foreign_id.startswith("clumsy") and run.attempt == 1:
        raise Clumsy(run.foreign_id)


def _hook(shop: Shop, recorder: Recorder, on: str) -> None:
    async def told(run: Run[Order, Status]) -> None:
        with recorder.call("hook", run, on):
            _slip(run)

    getattr(shop, f"on_{on}")(told)
