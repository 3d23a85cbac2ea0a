"""What type checkers must not take. Each ignored error has to be there: strict mode says so."""

import sqlite3
from datetime import datetime, timedelta
from enum import Enum

import psycopg
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from streamwf import Client, Outbox, Run, SyncClient, Workflow
from streamwf.adapters.kafka import KafkaTopic
from streamwf.sources import Message, Start
from streamwf.testing import Engine, build_run
from streamwf.views import Filter


class Order(BaseModel):
    n: int = 0


class Other(BaseModel):
    n: int = 0


class Status(Enum):
    CREATED = "created"
    DONE = "done"


class Foreign(Enum):
    CREATED = "created"
    DONE = "done"


orders = Workflow("orders", Order, Status)


@orders.step(Status.CREATED, to=Status.DONE)  # type: ignore[arg-type]
async def returns_a_status_of_another_enum(run: Run[Order, Status]) -> Foreign:
    return Foreign.DONE


@orders.step(Status.CREATED, to=Status.DONE)  # type: ignore[arg-type]
def returns_one_from_a_plain_function(run: Run[Order, Status]) -> Foreign:
    return Foreign.DONE


@orders.step(Status.CREATED, to=Status.DONE)  # type: ignore[arg-type]
async def returns_no_status(run: Run[Order, Status]) -> str:
    return "done"


@orders.step(Status.CREATED, to=Status.DONE)  # type: ignore[arg-type]
async def returns_nothing(run: Run[Order, Status]) -> None: ...


@orders.step(Status.CREATED, to=Status.DONE)  # type: ignore[arg-type]
async def takes_another_object(run: Run[Other, Status]) -> Status:
    return Status.DONE


@orders.step(Status.CREATED, to=Status.DONE)  # type: ignore[arg-type]
async def takes_another_enum(run: Run[Order, Foreign]) -> Status:
    return Status.DONE


@orders.step(Status.CREATED, to=Status.DONE)  # type: ignore[arg-type]
async def takes_too_much(run: Run[Order, Status], more: int) -> Status:
    return Status.DONE


@orders.timeout(Status.CREATED, after=timedelta(1), to=Status.DONE)  # type: ignore[arg-type]
async def times_out_into_another_enum(run: Run[Order, Status]) -> Foreign:
    return Foreign.DONE


class Answer(BaseModel):
    yes: bool


@orders.callback(Status.CREATED, to=Status.DONE, payload=Answer)  # type: ignore[arg-type]
async def takes_another_payload(run: Run[Order, Status], answer: Other) -> Status:
    return Status.DONE


@orders.callback(Status.CREATED, to=Status.DONE, payload=str)  # type: ignore[arg-type]
def takes_bytes_for_text(run: Run[Order, Status], text: bytes) -> Status:
    return Status.DONE


@orders.callback(Status.CREATED, to=Status.DONE)  # type: ignore[arg-type]
async def takes_text_for_bytes(run: Run[Order, Status], text: str) -> Status:
    return Status.DONE


@orders.callback(Status.CREATED, to=Status.DONE, payload=Answer)  # type: ignore[arg-type]
async def takes_no_payload(run: Run[Order, Status]) -> Status:
    return Status.DONE


@orders.callback(Status.CREATED, to=Status.DONE, payload=Answer)  # type: ignore[arg-type]
async def answers_into_another_enum(run: Run[Order, Status], answer: Answer) -> Foreign:
    return Foreign.DONE


@orders.callback(Status.CREATED, to=Status.DONE, payload=Answer)  # type: ignore[arg-type]
def takes_a_run_of_another_workflow(run: Run[Other, Status], answer: Answer) -> Status:
    return Status.DONE


orders.callback(Foreign.CREATED, to=Status.DONE)  # type: ignore[call-overload]
orders.callback(Status.CREATED, to=Foreign.DONE)  # type: ignore[call-overload]
orders.callback(Status.CREATED)  # type: ignore[call-overload]
orders.callback(Status.CREATED, to=Status.DONE, correlate=7)  # type: ignore[call-overload]


@orders.on_pause  # type: ignore[arg-type]
async def is_told_of_another_workflow(run: Run[Other, Status]) -> None: ...


@orders.on_cancel  # type: ignore[arg-type]
def wants_to_move_the_run(run: Run[Order, Status]) -> Status:
    return Status.DONE


@orders.on_complete  # type: ignore[arg-type]
def wants_to_know_why(run: Run[Order, Status], why: str) -> None: ...


@orders.connector(KafkaTopic("payments"))  # type: ignore[arg-type]
async def starts_with_another_object(message: Message) -> Start[Other, Status]:
    return Start("o-1", Other())


@orders.connector(KafkaTopic("payments"))  # type: ignore[arg-type]
def starts_at_another_enum(message: Message) -> list[Start[Order, Foreign]]:
    return [Start("o-1", Order(), at=Foreign.CREATED)]


@orders.connector(KafkaTopic("payments"))  # type: ignore[arg-type]
def leads_to_no_such_thing(message: Message) -> str:
    return "o-1"


@orders.connector(KafkaTopic("payments"))
def says_one_and_returns_another(message: Message) -> Start[Order, Status]:
    return Start("o-1", Other())  # type: ignore[arg-type]


orders.connector("payments")  # type: ignore[arg-type]
KafkaTopic("payments", start="newest")  # type: ignore[arg-type]
orders.step(Foreign.CREATED, to=Status.DONE)  # type: ignore[arg-type]
orders.step(Status.CREATED, to=Foreign.DONE)  # type: ignore[arg-type]
orders.step(Status.CREATED, to=[Status.DONE, Foreign.DONE])  # type: ignore[list-item]
orders.step(Status.CREATED, to=Status.DONE, on_error=Foreign.DONE)  # type: ignore[arg-type]
orders.step(Status.CREATED, to=Status.DONE, retries=3)  # type: ignore[call-arg]
orders.step(Status.CREATED)  # type: ignore[call-arg]
orders.timeout(Status.CREATED, after=3600, to=Status.DONE)  # type: ignore[arg-type]
orders.timeout(Status.CREATED, after=lambda run: run.object.nope, to=Status.DONE)  # type: ignore[attr-defined]


@orders.schedule("other", "@daily")  # type: ignore[arg-type]
def makes_another_object(slot: datetime) -> Other:
    return Other()


@orders.schedule("other", "@daily")  # type: ignore[arg-type]
async def makes_another_object_later(slot: datetime) -> Other | None:
    return Other()


@orders.schedule("text", "@daily")  # type: ignore[arg-type]
def takes_a_text(slot: str) -> Order:
    return Order()


orders.schedule("x", "@daily", at=Foreign.CREATED)  # type: ignore[arg-type]
orders.schedule("x", "@daily", overlap="queue")  # type: ignore[arg-type]
orders.schedule("x", "@daily", catch_up="all")  # type: ignore[arg-type]
orders.schedule("x")  # type: ignore[call-arg]

told: Workflow[Order, Status] = Workflow("x", Order, Status, start=Foreign.CREATED)  # type: ignore[arg-type]


@orders.step(Status.CREATED, to=Status.DONE)
async def reads_what_is_not_there(run: Run[Order, Status]) -> Status:
    print(run.object.nope)  # type: ignore[attr-defined]
    return Status.DONE


@orders.step(Status.CREATED, to=Status.DONE)
async def starts_what_can_not_be(run: Run[Order, Status]) -> Status:
    run.start(orders, "o-2", Other())  # type: ignore[misc]
    run.start(orders, "o-2", Order(), at=Foreign.DONE)  # type: ignore[misc]
    run.start("orders", "o-2", Order())  # type: ignore[arg-type]
    run.start(orders, "o-2")  # type: ignore[call-arg]
    return Status.DONE


orders.step(Status.CREATED, to=Status.DONE, children="some")  # type: ignore[arg-type]
Workflow("x", Order, Status, custom_delete=repr)  # type: ignore[arg-type]
Workflow("x", Order, Status, retention=30)  # type: ignore[arg-type]


async def answered(client: Client) -> None:
    await client.callback("orders", "decide", foreign_id="o-1")  # type: ignore[arg-type]
    await client.callback(orders, "decide", Answer(yes=True), "o-1")  # type: ignore[call-arg]
    await client.callback(orders, "decide", correlation=7)  # type: ignore[arg-type]
    await client.callback(orders, "decide", foreign_id="o-1", wait_for=60)  # type: ignore[arg-type]
    handle = client.run(orders, "o-1")
    await handle.await_(Foreign.DONE)  # type: ignore[arg-type]
    print((await handle.get()).object.nope)  # type: ignore[attr-defined]
    await client.fork("run", "1")  # type: ignore[arg-type]
    client.watch(orders, status=Foreign.DONE)  # type: ignore[misc]
    client.watch("orders")  # type: ignore[arg-type]


async def misused(client: Client) -> None:
    await client.trigger(orders, "o-1", Other())  # type: ignore[misc]
    await client.trigger(orders, "o-1", {"n": 1})  # type: ignore[misc]
    await client.trigger(orders, "o-1")  # type: ignore[call-arg]
    await client.trigger(orders, "o-1", Order(), at=Foreign.CREATED)  # type: ignore[misc]
    await client.await_(orders, "run", Foreign.DONE)  # type: ignore[misc]
    await client.schedule(orders, "s", "@daily", object=Other())  # type: ignore[misc]
    await client.schedule(orders, "s", "@daily")  # type: ignore[call-arg]
    print((await client.get(orders, "run")).object.nope)  # type: ignore[attr-defined]
    client.list(orders, status=Foreign.DONE)  # type: ignore[misc]
    client.list(orders, order="size")  # type: ignore[arg-type]
    client.bulk("explode", Filter())  # type: ignore[arg-type]
    client.bulk("pause", orders)  # type: ignore[arg-type]


def misused_without_await(client: SyncClient) -> None:
    client.trigger(orders, "o-1", Other())  # type: ignore[misc]
    client.trigger(orders, "o-1")  # type: ignore[call-arg]
    client.await_(orders, "run", Foreign.DONE)  # type: ignore[misc]
    client.list(orders, status=Foreign.DONE)  # type: ignore[misc]
    print(client.get(orders, "run").object.nope)  # type: ignore[attr-defined]
    print(client.run(orders, "o-1").get().object.nope)  # type: ignore[attr-defined]
    client.run(orders, "o-1").await_(Foreign.DONE)  # type: ignore[arg-type]


async def commits_what_can_not_be(
    client: Client, outbox: Outbox, session: AsyncSession, waiting: psycopg.AsyncConnection[object]
) -> None:
    order = Order()
    await client.trigger(orders, "o-1", order, connection="postgresql://there")  # type: ignore[arg-type]
    await client.trigger(orders, "o-1", Other(), connection=session)  # type: ignore[misc]
    await outbox.trigger(orders, "o-1", order)  # type: ignore[call-arg]
    await outbox.trigger(orders, "o-1", Other(), connection=session)  # type: ignore[misc]
    await outbox.trigger(orders, "o-1", order, connection=sqlite3.connect(""))  # type: ignore[arg-type]
    outbox.trigger_sync(orders, "o-1", order, connection=session)  # type: ignore[arg-type]
    outbox.trigger_sync(orders, "o-1", order, connection=waiting)  # type: ignore[arg-type]
    await client.callback(orders, "decide", foreign_id="o-1", connection=object())  # type: ignore[arg-type]
    outbox.callback_sync(orders, "decide", foreign_id="o-1", connection=session)  # type: ignore[arg-type]


async def expects_what_can_not_be(app: Engine) -> None:
    build_run(orders, Other())  # type: ignore[misc]
    build_run(orders, Order(), status=Foreign.CREATED)  # type: ignore[misc]
    run = await app.trigger(orders, "o-1", Order())
    await app.await_status(run, Foreign.DONE)  # type: ignore[misc]
    await app.expect_object(run, Other())  # type: ignore[arg-type]
    await app.callback_when(run, Foreign.DONE, "decide")  # type: ignore[misc]
    await app.expect_object(run, lambda order: order.nope)  # type: ignore[attr-defined]
