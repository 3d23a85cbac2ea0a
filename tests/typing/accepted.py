"""What type checkers have to take, and what they have to infer. Checked, never run."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from typing import Any, assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

from streamwf import (
    Cancel,
    Client,
    Pause,
    Repeat,
    Retry,
    Run,
    RunInfo,
    Skip,
    State,
    Workflow,
    embedded,
)
from streamwf.outcome import Outcome
from streamwf.testing import build_run, engine
from streamwf.views import Filter, Query, Refusal


class Order(BaseModel):
    n: int = 0
    email: str | None = None


class Status(Enum):
    CREATED = "created"
    PICKED = "picked"
    DONE = "done"


orders = Workflow("orders", Order, Status, start=Status.CREATED, example={"n": 1})
assert_type(orders, Workflow[Order, Status])


@orders.step(Status.CREATED, to=[Status.PICKED, Status.DONE], retry=Retry(attempts=3))
async def pick(run: Run[Order, Status]) -> Status:
    assert_type(run.object, Order)
    assert_type(run.object.n, int)
    assert_type(run.status, Status)
    assert_type(run.foreign_id, str)
    assert_type(run.idempotency_key, str)
    return Status.PICKED


@orders.step(Status.PICKED, to=Status.DONE, on_error=Status.DONE, timeout=timedelta(seconds=1))
def finish(run: Run[Order, Status]) -> Status | Outcome:
    return Status.DONE


@orders.timeout(Status.PICKED, after=lambda run: timedelta(days=run.object.n), to=Status.DONE)
async def late(run: Run[Order, Status]) -> Skip | Repeat | Pause | Cancel | Status:
    return Skip()


def deadline(run: Run[Order, Status]) -> datetime | None:
    return run.created_at


@orders.timeout(Status.PICKED, after=deadline, to={Status.DONE})
def later(run: Run[Order, Status]) -> Cancel:
    return Cancel("nobody came")


# The decorator hands the function back as it was: it can be called in a test of its own.
assert_type(
    pick,
    Callable[[Run[Order, Status]], Coroutine[Any, Any, Status | Skip | Repeat | Pause | Cancel]],
)
assert_type(finish, Callable[[Run[Order, Status]], Status | Skip | Repeat | Pause | Cancel])


async def called_by_hand(run: Run[Order, Status]) -> None:
    assert_type(await pick(run), Status | Skip | Repeat | Pause | Cancel)
    assert_type(finish(run), Status | Skip | Repeat | Pause | Cancel)


async def used(client: Client) -> None:
    run_id = await client.trigger(orders, "o-1", Order(n=1), at=Status.PICKED, wait=True)
    assert_type(run_id, str)
    run = await client.get(orders, run_id)
    assert_type(run, RunInfo[Order, Status])
    assert_type(run.object, Order)
    assert_type(run.status, Status)
    latest = await client.latest(orders, "o-1")
    assert_type(latest, RunInfo[Order, Status] | None)
    ended = await client.await_(orders, run_id, Status.DONE, timeout=timedelta(seconds=1))
    assert_type(ended.object.email, str | None)
    async for each in client.list(orders, status=Status.PICKED, search={"email": "a@b.c"}):
        assert_type(each, RunInfo[Order, Status])
    async for each in client.list(orders, status=[Status.PICKED], state=State.PAUSED):
        assert_type(each.status, Status)
    assert_type(await client.count(Filter(status=["PICKED"])), int)
    async for part in client.bulk("pause", Query(prefix="o-"), "stop"):
        assert_type(part.refused, list[Refusal])


async def embedded_hosts() -> None:
    async with embedded(orders, numbers) as app:
        assert_type(app.client, Client)


async def tested() -> None:
    assert_type(build_run(orders, Order(), status=Status.PICKED, attempt=2), Run[Order, Status])
    async with engine(orders, numbers) as app:
        run = await app.trigger(orders, "o-1", Order(n=1), at=Status.PICKED)
        assert_type(run, RunInfo[Order, Status])
        assert_type(await app.get(run), RunInfo[Order, Status])
        assert_type(await app.await_status(run, Status.DONE), RunInfo[Order, Status])
        await app.expect_object(run, Order(n=1))
        found = await app.expect_object(run, lambda order: order.email is None)
        assert_type(found.object, Order)
        assert_type((await app.expect_timeout(run, "late")).due_at, datetime)


# ---- objects and statuses of every kind


class Number(IntEnum):
    ZERO = 0
    ONE = 1


class Text(StrEnum):
    A = "a"
    B = "b"


@dataclass
class Plain:
    n: int


class Typed(TypedDict):
    n: int


numbers = Workflow("numbers", dict[str, int], Number)
texts = Workflow("texts", Plain, Text)
typed = Workflow("typed", Typed, Text)


@numbers.step(Number.ZERO, to=Number.ONE)
async def count(run: Run[dict[str, int], Number]) -> Number:
    assert_type(run.object["x"], int)
    return Number.ONE


@texts.step(Text.A, to=Text.B)
def read(run: Run[Plain, Text]) -> Text:
    assert_type(run.object.n, int)
    return Text.B


@typed.step(Text.A, to=(Text.B,))
async def look(run: Run[Typed, Text]) -> Text:
    assert_type(run.object["n"], int)
    return Text.B


async def used_too(client: Client) -> None:
    async for each in client.list(texts, status=Text.A, order="-updated"):
        assert_type(each, RunInfo[Plain, Text])
    assert_type((await client.get(numbers, "r")).object, dict[str, int])
    assert_type((await client.get(typed, "r")).object, Typed)
    await client.trigger(typed, "t-1", Typed(n=1))
    await client.trigger(numbers, "n-1", {"x": 1})
