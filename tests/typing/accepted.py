"""What type checkers have to take, and what they have to infer. Checked, never run."""

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any, TypeAlias, assert_type

import psycopg
from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session
from typing_extensions import TypedDict

from streamwf import (
    Cancel,
    Client,
    Outbox,
    Pause,
    Repeat,
    Retry,
    Run,
    RunInfo,
    RunMove,
    Skip,
    State,
    SyncClient,
    Workflow,
    embedded,
)
from streamwf.adapters.kafka import KafkaTopic
from streamwf.adapters.sql.transactions import AsyncpgConnection
from streamwf.blocking import SyncHandle
from streamwf.callback_views import CallbackView
from streamwf.client import Handle
from streamwf.connector_views import ConnectorView
from streamwf.declared import ChildRun
from streamwf.outcome import Outcome
from streamwf.schedule_views import ScheduleView
from streamwf.sources import Call, Led, Message, Start, from_iterator
from streamwf.testing import Replayed, ReplayProblem, build_run, engine, replay
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


class Answer(BaseModel):
    yes: bool


@orders.callback(Status.PICKED, to=[Status.DONE], payload=Answer, correlate=lambda o: o.email)
async def decide(run: Run[Order, Status], answer: Answer) -> Status | Skip:
    assert_type(run.object, Order)
    assert_type(answer.yes, bool)
    run.start(texts, "t-1", Plain(1), at=Text.A, cancel_with_parent=True)
    assert_type(run.start(numbers, "n-1", {"x": 1}, start_at=run.created_at), str)
    return Status.DONE if answer.yes else Skip()


@orders.callback(Status.PICKED, to=Status.DONE, payload=str)
def remark(run: Run[Order, Status], text: str) -> Status:
    return Status.DONE


@orders.callback(Status.PICKED, to=Status.DONE)
async def scan(run: Run[Order, Status], picture: bytes) -> Cancel:
    return Cancel("it can't be read")


@orders.callback(Status.PICKED, to=Status.DONE, payload=bytes)
def scan_too(run: Run[Order, Status], picture: bytes) -> Repeat:
    return Repeat()


# What a callback is given may be taken as something wider.
@orders.callback(Status.PICKED, to=Status.DONE, payload=Answer)
async def model(run: Run[Order, Status], answer: BaseModel) -> Status:
    return Status.DONE


Moved: TypeAlias = Status | Skip | Repeat | Pause | Cancel
assert_type(decide, Callable[[Run[Order, Status], Answer], Coroutine[Any, Any, Moved]])
assert_type(remark, Callable[[Run[Order, Status], str], Moved])
assert_type(scan, Callable[[Run[Order, Status], bytes], Coroutine[Any, Any, Moved]])


@orders.on_pause
async def paused(run: Run[Order, Status]) -> None:
    assert_type(run.object.n, int)
    assert_type(run.state, State)
    for child in run.children:
        assert_type(child, ChildRun)
        assert_type(child.state, State | None)


@orders.on_data_deleted
def deleted(run: Run[Order, Status]) -> None: ...


orders.on_complete(lambda run: print(run.object.email))
assert_type(paused, Callable[[Run[Order, Status]], Coroutine[Any, Any, None]])
assert_type(deleted, Callable[[Run[Order, Status]], None])


def forget(order: Order) -> Order:
    return Order(n=order.n)


kept = Workflow(
    "kept",
    Order,
    Status,
    retention=timedelta(days=1),
    custom_delete=forget,
    renamed={"NEW": Status.DONE},
)
assert_type(kept, Workflow[Order, Status])


@kept.step(Status.CREATED, to=Status.DONE, children="all")
async def join(run: Run[Order, Status]) -> Status:
    return Status.DONE


@orders.schedule("nightly", "0 3 * * *", timezone="Europe/Berlin", foreign_id="report")
async def nightly(slot: datetime) -> Order | None:
    return Order(n=slot.day)


@orders.schedule("hourly", "@hourly", at=Status.PICKED, overlap="start", catch_up=5)
def hourly(slot: datetime) -> Order:
    return Order(n=slot.hour)


assert_type(nightly, Callable[[datetime], Coroutine[Any, Any, Order | None]])
assert_type(hourly(datetime.max), Order | None)


@orders.connector(KafkaTopic("payments", start="latest"))
async def paid(message: Message) -> Start[Order, Status]:
    return Start("o-1", Order(), at=Status.PICKED)


@orders.connector(KafkaTopic("shop", "broker:9092"), name="shop", retry=Retry(attempts=1))
def several(message: Message) -> list[Start[Order, Status] | Call] | None:
    assert_type(message.value, bytes | None)
    return [Start("o-1", Order()), Call("paid", message.value, foreign_id="o-1")]


async def lines(position: str | None) -> AsyncIterator[tuple[str, bytes]]:
    yield "1", b""


@orders.connector(from_iterator(lines), timeout=timedelta(seconds=1))
async def nothing(message: Message) -> None: ...


assert_type(paid, Callable[[Message], Coroutine[Any, Any, Led[Order, Status]]])
assert_type(several, Callable[[Message], Led[Order, Status]])


# The decorator hands the function back as it was: it can be called in a test of its own.
assert_type(
    pick,
    Callable[[Run[Order, Status]], Coroutine[Any, Any, Status | Skip | Repeat | Pause | Cancel]],
)
assert_type(finish, Callable[[Run[Order, Status]], Status | Skip | Repeat | Pause | Cancel])


async def called_by_hand(run: Run[Order, Status]) -> None:
    assert_type(await pick(run), Status | Skip | Repeat | Pause | Cancel)
    assert_type(finish(run), Status | Skip | Repeat | Pause | Cancel)
    assert_type(await decide(run, Answer(yes=True)), Moved)
    assert_type(remark(run, "fine"), Moved)
    await paused(run)
    deleted(run)


async def called_back(client: Client) -> None:
    told = await client.callback(orders, "decide", Answer(yes=True), foreign_id="o-1", key="k")
    assert_type(told, CallbackView)
    await client.callback(orders, "scan", b"picture", run_id="r", wait_for=timedelta(hours=1))
    await client.callback(orders, "remark", "fine", correlation="a@b.c")
    handle = client.run(orders, "o-1")
    assert_type(handle, Handle[Order, Status])
    assert_type(await handle.get(), RunInfo[Order, Status])
    assert_type((await handle.await_(Status.DONE)).object, Order)
    assert_type(await handle.callback("decide", {"yes": True}), CallbackView)
    assert_type((await handle.pause(if_version=2)).version, int)
    assert_type((await handle.delete_data("they asked")).run_id, str)
    assert_type(await client.fork("r", 3, foreign_id="o-2"), str)


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
    async for move in client.watch(orders, status=[Status.PICKED], after="place", notice=print):
        assert_type(move, RunMove[Status])
        assert_type(move.status, Status)
        assert_type(move.previous, Status | None)
        break
    async for part in client.bulk("pause", Query(prefix="o-"), "stop"):
        assert_type(part.refused, list[Refusal])


def used_without_await(client: SyncClient) -> None:
    assert_type(Client.over_http("http://a").sync(), SyncClient)
    assert_type(Client.over_kafka("a:9092", orders, texts).sync().within(timedelta(1)), SyncClient)
    run_id = client.trigger(orders, "o-1", Order(n=1), at=Status.PICKED, wait=True)
    assert_type(run_id, str)
    assert_type(client.get(orders, run_id), RunInfo[Order, Status])
    assert_type(client.get(orders, run_id=run_id).object, Order)
    assert_type(client.latest(texts, "t-1"), RunInfo[Plain, Text] | None)
    assert_type(client.await_(orders, run_id, Status.DONE).status, Status)
    for run in client.list(orders, status=Status.PICKED):
        assert_type(run, RunInfo[Order, Status])
    for part in client.bulk("pause", Query(prefix="o-"), "stop"):
        assert_type(part.refused, list[Refusal])
    assert_type(client.count(Filter(status=["PICKED"])), int)
    assert_type(client.schedules(orders), list[ScheduleView])
    handle = client.run(orders, "o-1")
    assert_type(handle, SyncHandle[Order, Status])
    assert_type(handle.get().object, Order)
    assert_type(handle.await_(Status.DONE, timeout=timedelta(seconds=1)).status, Status)
    assert_type(handle.callback("decide", {"yes": True}), CallbackView)
    with client as same:
        assert_type(same, SyncClient)


async def committed(
    client: Client,
    outbox: Outbox,
    connection: AsyncConnection,
    session: AsyncSession,
    plain: Connection,
    plain_session: Session,
    waiting: psycopg.AsyncConnection[Any],
    blocking: psycopg.Connection[tuple[int, str]],
    asyncpg: AsyncpgConnection,
) -> None:
    order = Order(n=1)
    assert_type(await client.trigger(orders, "o-1", order, connection=connection), str)
    assert_type(await client.trigger(orders, "o-1", order, connection=asyncpg, key="k"), str)
    assert_type(
        await client.callback(orders, "decide", Answer(yes=True), foreign_id="o-1"), CallbackView
    )
    kept = await client.callback(orders, "decide", foreign_id="o-1", connection=session)
    assert_type(kept, CallbackView)
    assert_type(await outbox.trigger(orders, "o-1", order, connection=session), str)
    assert_type(await outbox.trigger(orders, "o-1", order, connection=waiting), str)
    assert_type(await outbox.trigger(orders, "o-1", order, connection=plain_session), str)
    assert_type(outbox.trigger_sync(orders, "o-1", order, connection=plain), str)
    at = Status.PICKED
    assert_type(outbox.trigger_sync(orders, "o", order, connection=blocking, at=at), str)
    await outbox.callback(orders, "decide", foreign_id="o-1", connection=asyncpg)
    outbox.callback_sync(orders, "decide", foreign_id="o-1", connection=plain_session)


async def connected(client: Client) -> None:
    assert_type(await client.connectors(orders), list[ConnectorView])
    assert_type(await client.pause_connector(orders, "shop", "full"), ConnectorView)


async def scheduled(client: Client) -> None:
    made = await client.schedule(
        orders, "daily", "@daily", object=Order(), at=Status.PICKED, catch_up="none"
    )
    assert_type(made, ScheduleView)
    assert_type(made.next_slots, list[datetime])
    assert_type(await client.schedules(orders), list[ScheduleView])
    assert_type(await client.pause_schedule(orders, "daily", "later"), ScheduleView)
    filled = await client.backfill(orders, "daily", datetime.min, datetime.max, limit=5)
    assert_type(filled.cursor, datetime | None)


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
        moved = await app.callback_when(run, Status.PICKED, "decide", Answer(yes=True), key="k")
        assert_type(moved, RunInfo[Order, Status])


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
    assert_type((await client.get(texts, "r", version=2)).object, Plain)
    replayed = replay(texts, await client.export("r"), moves=False)
    assert_type(replayed, Replayed[Plain, Text])
    assert_type(replayed.object, Plain | None)
    assert_type(replayed.status, Text)
    assert_type(replay(numbers, Path("history.json")).warnings, tuple[ReplayProblem, ...])
    assert_type((await client.get(typed, "r")).object, Typed)
    await client.trigger(typed, "t-1", Typed(n=1))
    await client.trigger(numbers, "n-1", {"x": 1})
