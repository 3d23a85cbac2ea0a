"""Connectors: each message leads to what its function says, once, whatever happens meanwhile."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from streamwf import Fatal, Retry, Run, partition_reader
from streamwf.events import TRIGGER, Event
from streamwf.record import State
from streamwf.sources import Call, Message, Start, from_iterator
from tests.embedded.app import (
    CREATED,
    DONE,
    PICKED,
    App,
    Order,
    Orders,
    Status,
    orders,
    running,
)
from tests.embedded.feeds import Feed, inner_until, letters, one_step, place, used
from tests.support import NOW, eventually

_decode = msgspec.json.Decoder(Event).decode


def reading(feed: Feed, workflow: Orders | None = None, **options: Any) -> Orders:
    """A workflow with a connector that starts a run for each message: `{"id": …, "n": …}`."""
    workflow = workflow or one_step()

    @workflow.connector(feed, name="feed", **options)
    async def start(message: Message) -> Start[Order, Status]:
        told = message.json()
        return Start(told["id"], Order(n=told["n"]))

    return workflow


async def runs(app: App, count: int) -> dict[str, int]:
    """What the runs carry, by foreign id, once there are so many."""
    await eventually(lambda: sum(app.host.shards("orders")[0].counts().values()) >= count)
    return {run.foreign_id: run.object.n async for run in app.client.list(app.workflow)}


def triggers(app: App) -> list[Event]:
    """The triggers in the log that messages have led to."""
    found = [_decode(record.value or b"") for record in app.log.records]
    return [event for event in found if event.type == TRIGGER and not event.kind]


# ---- what messages lead to


async def test_each_message_starts_a_run() -> None:
    feed = Feed()
    async with running(reading(feed)) as app:
        await feed.put(*({"id": f"o-{n}", "n": n} for n in range(3)))
        assert await runs(app, 3) == {"o-0": 0, "o-1": 1, "o-2": 2}
        found = await app.client.latest(app.workflow, "o-1")
        assert found is not None
        history = await app.client.history(found.run_id)
        assert history.events[0].reason == "connector feed, partition 0, position 1"


async def test_an_iterator_gets_the_position_of_the_last_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_reader, "AGAIN", 0.01)
    asked: list[str | None] = []

    async def lines(position: str | None) -> AsyncIterator[tuple[str, Any]]:
        asked.append(position)
        first = 0 if position is None else int(position) + 1
        for number in range(first, min(first + 2, 5)):
            yield str(number), {"id": f"o-{number}", "n": number}

    workflow = one_step()

    @workflow.connector(from_iterator(lines))
    def read(message: Message) -> Start[Order, Status]:
        assert (message.source, message.partition, message.key) == ("lines", "0", None)
        return Start(message.json()["id"], Order(n=message.json()["n"]))

    async with running(workflow) as app:
        assert await runs(app, 5) == {f"o-{n}": n for n in range(5)}
        await used(app, 5, "read/0")
    assert asked[:3] == [None, "1", "3"]


async def test_a_start_says_where_and_when() -> None:
    feed, workflow = Feed(), orders()
    later = NOW + timedelta(hours=1)

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: Run[Order, Status]) -> Status:
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def finish(run: Run[Order, Status]) -> Status:
        return DONE

    @workflow.connector(feed, name="feed")
    async def start(message: Message) -> list[Start[Order, Status]]:
        return [Start("there", Order(), at=PICKED), Start("later", Order(), start_at=later)]

    async with running(workflow) as app:
        await feed.put(b"")
        await used(app, 1)
        await app.idle()
        there = await app.client.latest(workflow, "there")
        waits = await app.client.latest(workflow, "later")
        assert there is not None
        assert waits is not None
        assert (there.status, waits.due_at, waits.state) == (DONE, later, State.INITIATED)
        app.step(hours=1)
        await app.until(waits.run_id, status=DONE)


def calling(feed: Feed) -> Orders:
    """A workflow that waits to be called, and whose connector does so as the message says."""
    workflow = orders()

    @workflow.callback(
        CREATED, to=DONE, name="paid", payload=int, correlate=lambda order: f"c-{order.n}"
    )
    async def paid(run: Run[Order, Status], amount: int) -> Status:
        run.object.notes.append(str(amount))
        return DONE

    @workflow.connector(feed, name="feed")
    async def call(message: Message) -> Call | None:
        told = message.json()
        return Call(**told) if told else None

    return workflow


@pytest.mark.parametrize("way", ["foreign_id", "run_id", "correlation"])
async def test_a_message_calls_back(way: str) -> None:
    feed = Feed()
    async with running(calling(feed)) as app:
        run_id = await app.start("o-1", Order(n=7))
        known = {
            "foreign_id": {"foreign_id": "o-1"},
            "run_id": {"foreign_id": "o-1", "run_id": run_id},
            "correlation": {"correlation": "c-7"},
        }
        await feed.put(None, {}, {"name": "paid", "payload": 12, **known[way]})
        ended = await app.until(run_id, status=DONE)
        assert ended.object.notes == ["12"]


async def test_a_callback_waits_for_its_run() -> None:
    feed = Feed()
    async with running(calling(feed)) as app:
        await feed.put({"name": "paid", "payload": 3, "foreign_id": "o-1"})
        await used(app, 1)
        run_id = await app.start("o-1")
        assert (await app.until(run_id, status=DONE)).object.notes == ["3"]
        assert not app.log.dead_letters


async def test_a_callback_that_nobody_came_for_is_set_aside() -> None:
    feed = Feed()
    async with running(calling(feed)) as app:
        await feed.put({"name": "paid", "payload": 3, "foreign_id": "o-1"})
        await used(app, 1)
        app.step(hours=2)
        [(value, reason)] = await eventually(lambda: letters(app))
        assert "in time" in reason
        assert msgspec.json.decode(value)["data"] == 3


async def test_a_key_and_a_value_may_be_missing() -> None:
    feed, seen = Feed(), list[tuple[bytes | None, bytes | None]]()
    workflow = one_step()

    @workflow.connector(feed, name="feed")
    def look(message: Message) -> None:
        seen.append((message.key, message.value))

    async with running(workflow) as app:
        await feed.put(None)
        await feed.put(None, b"\xff", key=b"\x00\xfe")
        await used(app, 3)
        assert seen == [(None, None), (b"\x00\xfe", None), (b"\x00\xfe", b"\xff")]
        assert not app.log.dead_letters


# ---- what can't be used


async def test_poison_is_set_aside_after_three_tries_and_the_rest_goes_on() -> None:
    feed, tries = Feed(), Counter[str]()
    workflow = one_step()

    @workflow.connector(feed, name="feed")
    async def start(message: Message) -> Start[Order, Status]:
        tries[message.position] += 1
        return Start(message.json()["id"], Order())

    async with running(workflow) as app:
        await feed.put({"id": "o-0"}, b"\xffpoison", None, {"id": "o-3"})
        assert list(await runs(app, 2)) == ["o-0", "o-3"]
        record = await used(app, 4)
        assert (place(record)["position"], place(record)["set_aside"]) == ("3", 2)
        [(first, _), (second, _)] = app.log.dead_letters
        assert (first.value, first.source, first.partition, first.position) == (
            b"\xffpoison",
            "feed",
            "0",
            "1",
        )
        assert first.reason.startswith("ValueError: ")
        assert (second.value, second.reason) == (None, "ValueError: the message has no value")
        assert tries == {"0": 1, "1": 3, "2": 3, "3": 1}


LEADS: dict[str, Any] = {
    "InvalidObject": Start("o-1", {"n": "many"}),
    "InvalidForeignId": Start("o\n1", Order()),
    "TerminalStart": Start("o-1", Order(), at=DONE),
    "UnknownCallback": Call("nope", foreign_id="o-1"),
    "InvalidPayload": Call("paid", "much", foreign_id="o-1"),
    "InvalidQuery": Call("paid", 1),
    "ConnectorReturned": "o-1",
    "RecordTooLarge": Start("o-1", Order(notes=["x" * 10_000])),
}


@pytest.mark.parametrize("error", LEADS)
async def test_what_a_message_can_not_lead_to_is_set_aside(error: str) -> None:
    feed, tries = Feed(), list[str]()
    workflow = calling(Feed(name="other"))
    del workflow.connectors["feed"]

    @workflow.connector(feed, name="feed")
    async def start(message: Message) -> Any:
        tries.append(message.position)
        return LEADS[error] if message.position == "0" else Start("good", Order())

    async with running(workflow, max_record_bytes=5_000) as app:
        await feed.put(b"bad", b"good")
        await used(app, 2)
        [(value, reason)] = letters(app)
        assert (value, tries) == (b"bad", ["0", "1"])
        assert reason.startswith(f"{error}: ")
        assert list(await runs(app, 1)) == ["good"]


async def test_nothing_of_a_message_counts_if_a_part_of_it_can_not_be_used() -> None:
    feed, workflow = Feed(), one_step()

    @workflow.connector(feed, name="feed")
    async def start(message: Message) -> list[Start[Order, Status]]:
        return [Start("o-1", Order()), Start("", Order())]

    async with running(workflow) as app:
        await feed.put(b"bad")
        await used(app, 1)
        assert len(letters(app)) == 1
        assert not triggers(app)


async def test_fatal_is_not_tried_again_and_what_passes_is() -> None:
    feed, tries = Feed(), Counter[str]()
    workflow = one_step()

    @workflow.connector(feed, name="feed")
    def start(message: Message) -> Start[Order, Status]:
        tries[message.position] += 1
        if message.position == "0":
            raise Fatal("of no use")
        if tries[message.position] < 3:
            raise ConnectionError("not now")
        return Start("o-1", Order())

    async with running(workflow) as app:
        await feed.put(b"", b"")
        await runs(app, 1)
        assert tries == {"0": 1, "1": 3}
        assert letters(app) == [(b"", "Fatal: of no use")]


async def test_a_message_that_is_too_large_is_cut_off_and_never_shown_to_the_function() -> None:
    feed, shown, workflow = Feed(), list[int](), one_step()

    @workflow.connector(feed, name="feed")
    async def look(message: Message) -> None:
        shown.append(len(message.value or b""))

    async with running(workflow, max_record_bytes=1_000) as app:
        await feed.put(b"x" * 1_001, key=b"k")
        await feed.put(b"x" * 1_000)
        await used(app, 2)
        [(value, reason)] = letters(app)
        assert (value, shown) == (b"x" * 500, [1_000])
        assert reason.startswith("RecordTooLarge: The message has 1002 bytes and the limit is 1000")


async def test_a_long_wait_for_the_next_try_is_to_be_seen_and_outlives_the_host() -> None:
    feed, tries, workflow = Feed(), list[int](), one_step()
    retry = Retry(initial=timedelta(minutes=1), factor=1, jitter=0, attempts=3)

    @workflow.connector(feed, name="feed", retry=retry)
    async def start(message: Message) -> Start[Order, Status]:
        if message.position == "1":
            tries.append(len(tries))
            raise ConnectionError("not there")
        return Start(f"o-{message.position}", Order())

    async with running(workflow) as app:
        await feed.put(b"", b"", b"")
        failed = await inner_until(app, "feed/0", lambda record: record.error is not None)
        assert failed.error is not None
        assert failed.error.message == "not there"
        assert (failed.attempt, place(failed)["tried"], place(failed)["position"]) == (1, 1, "0")
        assert failed.due_at == NOW + timedelta(minutes=1)
        assert list(await runs(app, 1)) == ["o-0"]
        app.step(minutes=1)
        await inner_until(app, "feed/0", lambda record: place(record).get("tried") == 2)
        log = app.log
    async with running(workflow, logs={"orders": log}) as app:
        app.step(minutes=2)
        assert list(await runs(app, 2)) == ["o-0", "o-2"]
        done = await used(app, 3)
        assert (len(tries), len(letters(app)), done.attempt, done.error) == (3, 1, 0, None)


# ---- what is refused later


async def test_a_start_that_is_refused_is_set_aside() -> None:
    feed = Feed()
    async with running(reading(feed, orders_that_wait())) as app:
        await feed.put({"id": "o-1", "n": 1}, {"id": "o-1", "n": 2}, {"id": "o-2", "n": 3})
        assert await runs(app, 2) == {"o-1": 1, "o-2": 3}
        [(value, reason)] = await eventually(lambda: letters(app))
        assert reason == "trigger of a connector refused: run_in_progress"
        assert msgspec.json.decode(value)["data"]["n"] == 2


def orders_that_wait() -> Orders:
    workflow = orders()

    @workflow.callback(CREATED, to=DONE, name="go")
    async def go(run: Run[Order, Status], payload: bytes) -> Status:
        return DONE

    return workflow
