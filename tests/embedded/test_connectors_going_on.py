"""Connectors go on where they were: after crashes, errors, pauses, and changes of the code."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf import Retry, Run, connecting, partition_reader
from streamwf.adapters.kafka import KafkaTopic
from streamwf.embedded import MemoryLog
from streamwf.errors import ConnectorNotFound, InvalidDefinition
from streamwf.events import REPEATED, TRIGGER, Event
from streamwf.record import State
from streamwf.sources import Call, Message, Start, from_iterator
from streamwf.testing import engine
from tests.embedded.app import CREATED, DONE, App, Gate, Order, Orders, Status, orders, running
from tests.embedded.feeds import Feed, inner, inner_until, letters, one_step, place, used
from tests.support import eventually, examples

_decode = msgspec.json.Decoder(Event).decode


def reading(feed: Feed, **options: Any) -> Orders:
    """A workflow that starts a run for each message, named by its value."""
    workflow = one_step(**options)

    @workflow.connector(feed, name="feed")
    async def start(message: Message) -> Start[Order, Status]:
        return Start(message.json(), Order())

    return workflow


async def names(app: App, count: int) -> list[str]:
    """The foreign ids of all runs, once there are so many."""
    await eventually(lambda: sum(next(iter(app.host.shards("orders"))).counts().values()) >= count)
    await app.idle()
    return [run.foreign_id async for run in app.client.list(app.workflow)]


def of_feed(app: App, kind: str) -> list[Event]:
    """The events of the partition's inner run."""
    events = [_decode(record.value or b"") for record in app.log.records]
    return [event for event in events if event.kind and event.type == kind and "/" in event.subject]


def without_positions(log: MemoryLog) -> MemoryLog:
    """The log that a crash leaves before any position is in it."""
    kept = [
        record
        for record in log.records
        if not ((event := _decode(record.value or b"")).kind and event.type == REPEATED)
    ]
    return MemoryLog(
        [
            type(record)(offset, record.key, record.value, record.timestamp)
            for offset, record in enumerate(kept)
        ]
    )


# ---- crashes


async def test_a_host_goes_on_after_the_last_message() -> None:
    feed = Feed()
    async with running(reading(feed)) as app:
        await feed.put("a", "b")
        await used(app, 2)
        log = app.log
    async with running(reading(feed), logs={"orders": log}) as app:
        await feed.put("c")
        assert await names(app, 3) == ["a", "b", "c"]
    assert feed.opened == [("0", None), ("0", "1")]


async def test_the_same_position_never_starts_a_second_run() -> None:
    feed = Feed()
    async with running(reading(feed)) as app:
        await feed.put("a", "b", b"\xff", "a")
        await used(app, 4)
        # All have ended, so that nothing but their ids could refuse them.
        assert await names(app, 3) == ["a", "a", "b"]
        started = {event.runid for event in of_runs(app)}
        log = without_positions(app.log)
    assert len(started) == 3
    async with running(reading(feed), logs={"orders": log}) as app:
        await feed.put("c")
        await used(app, 5)
        assert await names(app, 4) == ["a", "a", "b", "c"]
        assert {event.runid for event in of_runs(app)} > started
        assert len({event.runid for event in of_runs(app)}) == 4
    assert feed.opened == [("0", None), ("0", None)]


def of_runs(app: App) -> list[Event]:
    events = [_decode(record.value or b"") for record in app.log.records]
    return [event for event in events if event.type == TRIGGER and not event.kind]


async def test_a_function_that_changes_its_mind_starts_no_second_run() -> None:
    """The id of a run is that of the message and the foreign id, whatever else it leads to."""
    feed = Feed()
    answers = [["a", "b"], ["b", "c"]]

    def fickle(answer: list[str]) -> Orders:
        workflow = one_step()

        @workflow.connector(feed, name="feed")
        async def start(message: Message) -> list[Start[Order, Status]]:
            return [Start(name, Order()) for name in answer]

        return workflow

    async with running(fickle(answers[0])) as app:
        await feed.put(0)
        await used(app, 1)
        log = without_positions(app.log)
    async with running(fickle(answers[1]), logs={"orders": log}) as app:
        await used(app, 1)
        assert await names(app, 3) == ["a", "b", "c"]


async def test_a_callback_that_is_read_twice_counts_once() -> None:
    feed, calls = Feed(), list[int]()

    def waiting() -> Orders:
        workflow = orders()

        @workflow.callback(CREATED, to=DONE, name="note", payload=int)
        async def note(run: Run[Order, Status], number: int) -> Status:
            calls.append(number)
            return DONE

        @workflow.connector(feed, name="feed")
        async def call(message: Message) -> Call:
            return Call("note", message.json(), foreign_id="o-1")

        return workflow

    async with running(waiting()) as app:
        run_id = await app.start("o-1")
        await feed.put(5)
        await app.until(run_id, status=DONE)
        await used(app, 1)
        log = without_positions(app.log)
    async with running(waiting(), logs={"orders": log}) as app:
        await used(app, 1)
        again = await app.start("o-1")
        await app.idle()
        assert (await app.get(again)).status is CREATED
    assert calls == [5]


@examples(50)
@given(
    messages=st.lists(st.sampled_from(["good", "bad", "wrong", "nothing"]), max_size=30),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)
def test_each_message_leads_to_what_it_should_whatever_is_lost_of_the_log(
    messages: list[str], cuts: list[int]
) -> None:
    asyncio.run(play(messages, cuts))


async def play(messages: list[str], cuts: list[int]) -> None:
    feed = Feed()

    def deciding() -> Orders:
        workflow = one_step()

        @workflow.connector(feed, name="feed", retry=Retry(attempts=1))
        async def start(message: Message) -> Start[Order, Status] | None:
            match message.json():
                case "good":
                    return Start(f"o-{message.position}", Order())
                case "bad":
                    raise ValueError(message.position)
                case "wrong":
                    return Start("", Order())
            return None

        return workflow

    log, buried = MemoryLog(), set[str]()
    await feed.put(*messages)
    for cut in (*cuts, 0):
        async with running(deciding(), logs={"orders": log}) as app:
            await used(app, len(messages))
            await app.idle()
            found = Counter(event.subject for event in of_runs(app))
            buried |= {letter.position for letter, _ in app.log.dead_letters}
            runs = [run.foreign_id async for run in app.client.list(app.workflow)]
            # A position is in the log after all that it stands for: so whatever is lost is its end.
            log = MemoryLog(app.log.records[: max(len(app.log.records) - cut, 0)])
    wanted = {f"o-{number}" for number, each in enumerate(messages) if each == "good"}
    assert sorted(runs) == sorted(wanted)
    assert set(found) == wanted
    unusable = {str(n) for n, each in enumerate(messages) if each in ("bad", "wrong")}
    assert buried == unusable


# ---- errors of the source


async def test_a_source_that_fails_is_opened_again_where_it_was() -> None:
    feed = Feed()
    async with running(reading(feed)) as app:
        await feed.put("a")
        await used(app, 1)
        feed.errors += [ConnectionError("gone"), ConnectionError("still gone")]
        await feed.stir()
        failed = await inner_until(app, "feed/0", lambda record: record.attempt == 1)
        assert failed.error is not None
        assert (failed.error.type, failed.error.message) == ("ConnectionError", "gone")
        app.step(seconds=1)
        await inner_until(app, "feed/0", lambda record: record.attempt == 2)
        await feed.put("b")
        app.step(seconds=1)
        assert await names(app, 1) == ["a"]
        app.step(seconds=1)
        assert await names(app, 2) == ["a", "b"]
        well = await used(app, 2)
        assert (well.attempt, well.error) == (0, None)
    assert feed.opened == [("0", None), ("0", "0"), ("0", "0")]


async def test_what_came_before_a_failure_is_durable() -> None:
    feed = Feed()
    async with running(reading(feed)) as app:
        await feed.put("a")
        await used(app, 1)
        feed.errors.append(ConnectionError("gone"))
        feed.errors_after = 1
        await feed.put("b")
        failed = await inner_until(app, "feed/0", lambda record: record.error is not None)
        assert place(failed)["position"] == "1"


async def test_a_source_that_is_well_again_says_so_without_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_reader, "WELL", 0.01)
    feed = Feed()
    feed.errors.append(ConnectionError("gone"))
    async with running(reading(feed)) as app:
        await inner_until(app, "feed/0", lambda record: record.attempt == 1)
        app.step(seconds=1)
        await inner_until(app, "feed/0", lambda record: record.error is None)


async def test_a_source_that_gives_no_partitions_is_asked_again() -> None:
    feed = Feed()
    answers = iter([ConnectionError("no broker"), ["0"]])

    async def partitions() -> list[str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    feed.partitions = partitions  # type: ignore[method-assign]
    await feed.put("a")
    async with running(reading(feed)) as app:
        failed = await inner_until(app, "feed", lambda record: record.error is not None)
        assert failed.attempt == 1
        app.step(seconds=1)
        assert await names(app, 1) == ["a"]
        assert inner(app, "feed").error is None  # type: ignore[union-attr]


async def test_two_messages_of_one_position_are_an_error_that_is_seen() -> None:
    feed = Feed()
    async with running(reading(feed)) as app:
        feed.messages["0"] += [Message("0", b'"a"'), Message("0", b'"b"')]
        await feed.stir()
        failed = await inner_until(app, "feed/0", lambda record: record.error is not None)
        assert failed.error is not None
        assert failed.error.type == "InvalidPosition"
        assert place(failed)["position"] == "0"


# ---- partitions


async def test_each_partition_is_read_and_so_is_one_that_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connecting, "LOOK", 0.01)
    feed = Feed("0", "1")
    feed.begins = "0"
    await feed.put("old", "a", partition="0")
    await feed.put("old", "b", partition="1")
    async with running(reading(feed)) as app:
        assert await names(app, 2) == ["a", "b"]
        await feed.put("c", partition="2")
        assert await names(app, 3) == ["a", "b", "c"]
    assert sorted(feed.opened, key=str) == [("0", "0"), ("1", "0"), ("2", None)]


async def test_where_a_new_connector_begins_is_settled_before_it_waits() -> None:
    feed = Feed()
    await feed.put("old")
    feed.begins = "0"
    async with running(reading(feed)) as app:
        await inner_until(app, "feed/0", lambda record: place(record).get("begun"))
        log = app.log
    await feed.put("meanwhile")
    feed.begins = "1"
    async with running(reading(feed), logs={"orders": log}) as app:
        assert await names(app, 1) == ["meanwhile"]


# ---- what is durable


async def test_positions_are_not_made_durable_one_by_one() -> None:
    feed = Feed()
    async with running(reading(feed)) as app:
        await feed.put(*(f"o-{number}" for number in range(1_000)))
        await used(app, 1_000)
        assert len(of_feed(app, REPEATED)) <= 4


async def test_after_so_many_messages_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_reader, "INTERVAL", 3_600.0)
    monkeypatch.setattr(partition_reader, "UNCOMMITTED", 3)
    feed = Feed()
    async with running(reading(feed)) as app:
        await feed.put("first")
        await used(app, 1)
        await feed.put("a", "b")
        assert await names(app, 3) == ["a", "b", "first"]
        assert place(await used(app, 1))["messages"] == 1
        await feed.put("c")
        await used(app, 4)


async def test_after_a_callback_they_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_reader, "INTERVAL", 3_600.0)
    feed, workflow = Feed(), orders()

    @workflow.callback(CREATED, to=DONE, name="note")
    async def note(run: Run[Order, Status], payload: bytes) -> Status:
        return DONE

    @workflow.connector(feed, name="feed")
    async def call(message: Message) -> Call:
        return Call("note", b"", foreign_id=message.json())

    async with running(workflow) as app:
        for number in range(1, 4):
            await feed.put(f"o-{number}")
            await used(app, number)


async def test_nothing_is_written_while_nothing_comes() -> None:
    feed = Feed()
    async with engine(reading(feed)) as app:
        await feed.put("a")
        await app.settle()
        await eventually(lambda: len(app.host.logs["orders"].records) >= 6)
        await app.settle()
        size = len(app.host.logs["orders"].records)
        await app.advance(timedelta(days=30))
        assert len(app.host.logs["orders"].records) == size


async def test_who_waits_for_messages_holds_up_no_stop_and_no_settling() -> None:
    opened, closed = asyncio.Event(), asyncio.Event()

    async def silent(position: str | None) -> Any:
        opened.set()
        try:
            await asyncio.Event().wait()
            yield "0", ""
        finally:
            closed.set()

    workflow = one_step()

    @workflow.connector(from_iterator(silent))
    async def never(message: Message) -> None: ...

    async with running(workflow) as app:
        await opened.wait()
        await app.idle()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await app.host.stop(grace=60)
        assert loop.time() - begun < 30
        assert closed.is_set()


# ---- changes of the code


async def test_a_connector_that_is_not_declared_waits_until_it_is_again() -> None:
    feed = Feed()
    async with running(reading(feed)) as app:
        await feed.put("a")
        await used(app, 1)
        log = app.log
    async with running(one_step(), logs={"orders": log}) as app:
        gone = await inner_until(app, "feed/0", lambda record: record.error is not None)
        assert gone.error is not None
        assert gone.error.type == "ConnectorNotDeclared"
        app.step(hours=1)
        await app.idle()
        assert inner(app, "feed/0") == gone
        log = app.log
    await feed.put("b")
    async with running(reading(feed), logs={"orders": log}) as app:
        app.step(hours=2)
        assert await names(app, 2) == ["a", "b"]


async def test_another_source_needs_another_name() -> None:
    async with running(reading(Feed())) as app:
        await inner_until(app, "feed/0", lambda record: record.version >= 1)
        log = app.log
    async with running(reading(Feed(name="other")), logs={"orders": log}) as app:
        failed = await inner_until(app, "feed/0", lambda record: record.error is not None)
        assert failed.error is not None
        assert failed.error.type == "SourceChanged"
        assert "'feed' has read feed up to now, and is to read other" in failed.error.message


def test_what_is_wrong_with_a_connector_is_said() -> None:
    workflow = one_step()
    for name in ("twice", "twice", "a/b"):
        workflow.connector(KafkaTopic("payments"), name=name)(lambda message: None)
    workflow.connector("payments", name="no-source")(lambda message: None)  # type: ignore[arg-type]
    workflow.connector(KafkaTopic("x"), name="retry", retry=Retry(attempts=0))(lambda message: None)
    with pytest.raises(InvalidDefinition) as error:
        workflow.validate()
    for said in (
        "two connectors called 'twice'",
        "connector 'a/b': its name has up to 100 letters",
        "connector 'no-source': 'payments' is no source: use KafkaTopic",
        "connector 'retry': retry needs attempts >= 1",
    ):
        assert said in str(error.value)


# ---- pausing


async def test_a_paused_connector_uses_nothing_and_goes_on_where_it_was() -> None:
    feed = Feed()
    workflow = reading(feed)

    @workflow.on_pause
    @workflow.on_resume
    async def hook(run: Run[Order, Status]) -> None:
        raise AssertionError("a connector is no run of the workflow")

    async with running(workflow) as app:
        await feed.put("a")
        await used(app, 1)
        paused = await app.client.pause_connector(workflow, "feed", "too much")
        assert (paused.state, paused.partitions[0].reason) == ("paused", "too much")
        await feed.put("b", b"\xff")
        await app.idle()
        assert await names(app, 1) == ["a"]
        [told] = await app.client.connectors(workflow)
        [partition] = told.partitions
        assert (partition.state, partition.messages, partition.behind) == (State.PAUSED, 1, 2)
        assert inner(app, "feed/0").hooks == ()  # type: ignore[union-attr]
        # To do so again changes nothing.
        await app.client.pause_connector(workflow, "feed")
        resumed = await app.client.resume_connector(workflow, "feed")
        assert resumed.state == "running"
        assert await names(app, 2) == ["a", "b"]
        await used(app, 3)
        [told] = await app.client.connectors(workflow)
        [partition] = told.partitions
        assert (partition.messages, partition.set_aside, partition.behind) == (3, 1, 0)
        assert (partition.position, told.source, told.declared) == ("2", "feed", True)
        assert len(letters(app)) == 1


async def test_a_pause_in_the_middle_loses_nothing() -> None:
    feed, gate, seen = Feed(), Gate(), list[str]()
    workflow = one_step()

    @workflow.connector(feed, name="feed")
    async def start(message: Message) -> Start[Order, Status]:
        seen.append(message.position)
        if message.position == "1" and seen.count("1") == 1:
            await gate.wait()
        return Start(f"o-{message.position}", Order())

    async with running(workflow) as app:
        await feed.put(0, 1, 2)
        await eventually(lambda: gate.waiting)
        await app.client.pause_connector(workflow, "feed")
        gate.open()
        await app.idle()
        assert "2" not in seen
        await app.client.resume_connector(workflow, "feed")
        assert await names(app, 3) == ["o-0", "o-1", "o-2"]
        assert len({event.runid for event in of_runs(app)}) == 3


async def test_there_is_no_such_connector() -> None:
    async with running(reading(Feed())) as app:
        with pytest.raises(ConnectorNotFound, match="it has: feed"):
            await app.client.pause_connector(app.workflow, "other")


async def test_a_workflow_that_encrypts_reads_as_well() -> None:
    feed = Feed()
    async with running(reading(feed, encrypt=True)) as app:
        await feed.put("a", "b")
        assert place(await used(app, 2))["position"] == "1"
        assert await names(app, 2) == ["a", "b"]
        assert all(b"notes" not in (record.value or b"") for record in app.log.records)
