"""What the embedded host logs, and how lines say which run they are about."""

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import Enum
from typing import Annotated, Any

import pytest
import structlog
from pydantic import AfterValidator, BaseModel
from structlog.testing import capture_logs

from streamwf import Fatal, Masked, Repeat, Retry, Run, Workflow, embedded
from streamwf.adapters.loggers import RunFilter, add_run
from streamwf.embedded import EmbeddedHost
from streamwf.logs import fields_here
from streamwf.sources import Message, Start, from_iterator
from streamwf.testing import Engine, SteppedClock
from tests.embedded.kit import append
from tests.support import Lines, eventually

Status = Enum("Status", "NEW PAID SENT")
NEW, PAID, SENT = Status.NEW, Status.PAID, Status.SENT

SECRET, PLAIN = "4111-1111", "a plain note"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"

#: The fields of a line about a run that is there.
OF_RUN = {"workflow", "shard", "foreign_id", "run_id", "status", "state", "version", "role"}


def check(note: str) -> str:
    if note.endswith("!"):
        raise ValueError(f"{note} is too loud")
    return note


class Order(BaseModel):
    card: Annotated[str, Masked] = SECRET
    note: Annotated[str, AfterValidator(check)] = PLAIN


OrderRun = Run[Order, Status]
Orders = Workflow[Order, Status]


def orders(**options: Any) -> Orders:
    return Workflow("orders", Order, Status, start=NEW, **options)


@asynccontextmanager
async def logging_to(logger: Lines, workflow: Orders, **options: Any) -> AsyncIterator[Engine]:
    """An engine whose host logs there."""
    clock = SteppedClock()
    host = EmbeddedHost(workflow, clock=clock, logger=logger, **options)
    await host.start()
    try:
        yield Engine(host, clock, timedelta(seconds=5))
    finally:
        await host.stop(0.05)


def plain(workflow: Orders) -> Orders:
    """With steps that do what their statuses say."""

    @workflow.step(NEW, to=PAID)
    async def pay(run: OrderRun) -> Status:
        return PAID

    @workflow.step(PAID, to=SENT)
    def send(run: OrderRun) -> Status:
        return SENT

    return workflow


# ---- whose lines they are


async def test_all_goes_to_a_logger_that_is_given(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "streamwf.shard")
    logger, workflow = Lines(), plain(orders(debug=True))
    async with embedded(workflow, logger=logger) as app:
        run_id = await app.client.trigger(workflow, "o-1", Order())
        await app.client.await_(workflow, run_id, SENT)
        assert [each["type"] for each in logger.of("run_changed")] == ["trigger", "moved", "moved"]
    assert [line for line in caplog.records if line.name.startswith("streamwf")] == []


async def test_lines_about_a_run_say_which() -> None:
    logger, workflow = Lines(), plain(orders(debug=True))
    async with logging_to(logger, workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.settle()
    for _, _, fields in logger.said:
        assert fields.keys() >= OF_RUN
        assert (fields["workflow"], fields["foreign_id"]) == ("orders", "o-1")
        assert fields["run_id"] == run.run_id
    begun = [(f["status"], f["version"], f["role"]) for f in logger.of("job_begun")]
    assert begun == [
        ("NEW", 1, "orders-new-consumer-1-of-1"),
        ("PAID", 2, "orders-paid-consumer-1-of-1"),
    ]


async def test_a_timeout_has_a_role_of_its_own() -> None:
    logger, workflow = Lines(), orders(debug=True)

    @workflow.timeout(NEW, after=timedelta(hours=1), to=SENT)
    async def late(run: OrderRun) -> Status:
        return SENT

    async with logging_to(logger, workflow) as app:
        await app.trigger(workflow, "o-1", Order())
        await app.advance(timedelta(hours=1))
    assert [f["role"] for f in logger.of("job_begun") if f["job"] == "timer"] == [
        "orders-new-timeout-consumer-1-of-1"
    ]


async def test_the_trace_of_an_event_is_told() -> None:
    logger, workflow = Lines(), plain(orders(debug=True))
    async with logging_to(logger, workflow) as app:
        for trace in (TRACEPARENT, "00-x"):
            event = {"type": "trigger", "subject": trace, "traceparent": trace}
            append(app, workflow, **event, data={})
        append(app, workflow, type="pause", subject="nobody", traceparent=TRACEPARENT)
        await app.settle()
    triggered = [f for f in logger.of("run_changed") if f["type"] == "trigger"]
    assert [f.get("trace_id") for f in triggered] == [TRACE, None]
    assert [f["trace_id"] for f in logger.of("event_refused")] == [TRACE]


# ---- what they never tell


async def test_no_line_tells_what_a_run_carries() -> None:
    logger, workflow = Lines(), orders(debug=True)

    def priority(run: OrderRun) -> int:
        raise ValueError(run.object.note)

    @workflow.step(NEW, to=PAID, priority=priority)
    async def pay(run: OrderRun) -> Status:
        raise Fatal(f"{run.object.note} {run.object.card}")

    async def messages(position: str | None) -> AsyncIterator[tuple[str, bytes]]:
        if position is None:
            yield "1", PLAIN.encode()

    @workflow.connector(from_iterator(messages))
    async def read(message: Message) -> Start[Order, Status]:
        raise Fatal(str(message.value))

    async with logging_to(logger, workflow) as app:
        await app.trigger(workflow, "o-1", Order())
        append(app, workflow, type="trigger", subject="o-2", data={"note": f"{PLAIN}!"})
        append(app, workflow, type="nonsense", subject="o-3", data={"note": PLAIN})
        await app.settle()
        log = app.host.logs["orders"]
        await eventually(lambda: len(log.dead_letters) == 3)
    assert sum(PLAIN in reason for _, reason in log.dead_letters) == 2
    assert logger.of("priority_failed")[0]["error"] == "ValueError"
    assert logger.of("job_failed")[0]["error"] == "Fatal"
    assert len(logger.of("dead_letter")) == 3
    assert PLAIN not in str(logger.said)
    assert SECRET not in str(logger.said)


async def test_objects_are_told_if_that_is_asked_for_and_what_is_masked_is_not() -> None:
    logger, workflow = Lines(), plain(orders(debug=True))
    async with logging_to(logger, workflow, log_objects=True) as app:
        await app.trigger(workflow, "o-1", Order())
        await app.settle()
    told = [f["object"] for f in logger.of("run_changed")]
    assert told == [{"card": "•••", "note": PLAIN}] * 3
    assert SECRET not in str(logger.said)


async def test_objects_of_a_workflow_that_is_not_debugged_or_encrypts_are_not_told() -> None:
    for options in ({}, {"debug": True, "encrypt": True}):
        logger, workflow = Lines(), plain(orders(**options))
        async with logging_to(logger, workflow, log_objects=True) as app:
            await app.trigger(workflow, "o-1", Order())
            await app.settle()
        assert not [fields for _, _, fields in logger.said if "object" in fields]


# ---- steps that fail


async def test_a_step_that_fails_is_told_of_once_a_minute() -> None:
    logger, workflow = Lines(), orders()

    @workflow.step(NEW, to=PAID, retry=Retry(jitter=0))
    async def pay(run: OrderRun) -> Status:
        raise OSError("refused")

    async with logging_to(logger, workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.trigger(workflow, "o-2", Order())
        await app.settle()
        [first] = logger.of("job_failed")
        assert (first["run_id"], first["status"]) == (run.run_id, "NEW")
        assert (first["error"], first["attempt"], first["job"]) == ("OSError", 1, "step")
        await app.advance(timedelta(minutes=2))
        assert len(logger.of("job_failed")) in (2, 3)


# ---- what steps log themselves


class Shop:
    """Keeps what lines logged here are about."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def log(self, what: str) -> None:
        self.seen.append((what, fields_here()))


async def test_lines_in_steps_know_their_run_on_the_loop_in_threads_and_in_tasks() -> None:
    shop, workflow = Shop(), orders()

    @workflow.step(NEW, to=PAID)
    async def pay(run: OrderRun) -> Status:
        shop.log("async")
        await asyncio.sleep(0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(shop.log, "task"))
        return PAID

    @workflow.step(PAID, to=SENT)
    def send(run: OrderRun) -> Status:
        shop.log("thread")
        return SENT

    async with logging_to(Lines(), workflow) as app:
        runs = [await app.trigger(workflow, f"o-{n}", Order()) for n in range(20)]
        await app.settle()
    assert fields_here() == {}
    assert len(shop.seen) == 60
    for what, fields in shop.seen:
        assert fields.keys() == OF_RUN
        status = "PAID" if what == "thread" else "NEW"
        assert (fields["status"], fields["version"]) == (status, 2 if what == "thread" else 1)
    for what in ("async", "task", "thread"):
        told = {fields["run_id"] for each, fields in shop.seen if each == what}
        assert told == {run.run_id for run in runs}


async def test_what_a_step_has_started_and_left_still_says_whose_it_is() -> None:
    shop, workflow, gate = Shop(), orders(), asyncio.Event()
    left: list[asyncio.Task[None]] = []

    async def later() -> None:
        await gate.wait()
        shop.log("later")

    @workflow.step(NEW, to=PAID)
    async def pay(run: OrderRun) -> Status | Repeat:
        left.append(asyncio.create_task(later()))
        return PAID

    async with logging_to(Lines(), workflow) as app:
        runs = [await app.trigger(workflow, f"o-{n}", Order()) for n in range(2)]
        await app.settle()
        gate.set()
        await asyncio.gather(*left)
    assert {fields["run_id"] for _, fields in shop.seen} == {run.run_id for run in runs}


async def test_structlog_and_the_standard_library_can_tell(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workflow = orders()
    caplog.handler.addFilter(filtering := RunFilter())

    @workflow.step(NEW, to=PAID)
    async def pay(run: OrderRun) -> Status:
        structlog.get_logger().info("charged", version="mine")
        logging.getLogger("shop").warning("charged", extra={"shard": "mine"})
        return PAID

    try:
        with capture_logs(processors=[add_run]) as lines:
            async with logging_to(Lines(), workflow) as app:
                run = await app.trigger(workflow, "o-1", Order())
                await app.settle()
                structlog.get_logger().info("elsewhere")
                logging.getLogger("shop").warning("elsewhere")
    finally:
        caplog.handler.removeFilter(filtering)
    charged, elsewhere = lines
    assert (charged["run_id"], charged["version"]) == (run.run_id, "mine")
    assert elsewhere == {"event": "elsewhere", "log_level": "info"}
    first, second = (vars(line) for line in caplog.records if line.name == "shop")
    assert (first["run_id"], first["shard"]) == (run.run_id, "mine")
    assert "run_id" not in second


async def test_a_thread_of_ones_own_knows_of_no_run() -> None:
    shop, workflow = Shop(), orders()

    @workflow.step(NEW, to=PAID)
    async def pay(run: OrderRun) -> Status:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(shop.log, "pool")
        return PAID

    async with logging_to(Lines(), workflow) as app:
        await app.trigger(workflow, "o-1", Order())
        await eventually(lambda: shop.seen)
    assert shop.seen == [("pool", {})]
