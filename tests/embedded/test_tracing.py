"""Traces on the embedded host: from whoever triggers a run to its end, over all it waits for."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamwf import Fatal, Retry, Run, Workflow
from streamwf.errors import DeadlineExceeded
from streamwf.events import Event
from streamwf.record import Record, encode_record
from streamwf.sources import Message, Start
from streamwf.testing import START, Engine
from tests.embedded.feeds import Feed
from tests.embedded.kit import append, started, types
from tests.embedded.trips import (
    DAY,
    LEFT,
    STAYING,
    Room,
    Trip,
    rooms,
    trips,
)
from tests.support import eventually
from tests.tracing import Json, Spans, collecting, told

MINUTE = timedelta(minutes=1)

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLERS = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with collecting() as collected:
        yield collected


def caller(name: str = "shop") -> Any:
    """A span of who asks for something."""
    return trace.get_tracer("tests").start_as_current_span(name)


def events(app: Engine, workflow: Workflow[Any, Any]) -> list[Event]:
    decode = msgspec.json.Decoder(Event).decode
    return [decode(record.value or b"") for record in app.host.logs[workflow.name].records]


def record(app: Engine, workflow: Workflow[Any, Any], foreign_id: str) -> Record:
    found = app.host.shards(workflow.name)[0].latest(foreign_id)  # type: ignore[index]
    assert found is not None
    return found


def trace_ids(*found: Json) -> set[str]:
    return {span["context"]["trace_id"] for span in found}


# ---- the trace of a run


async def test_a_run_is_followed_from_its_trigger_to_its_completion(spans: Spans) -> None:
    workflow, children = trips(room := rooms()), room
    async with started(workflow, children) as app:
        with caller("shop"):
            run = await app.trigger(workflow, "ann", Trip())
        await app.advance(timedelta(hours=5))
        with caller("reception"):
            await app.client.callback(workflow, "arrive", b"", foreign_id="ann")
        await app.advance(3 * DAY)
        await app.await_status(run, LEFT)
    assert spans.shown(note=told) == (
        "shop\n"
        "  trigger trips\n"
        "    step trips.PAYING (failed: ConnectionError)\n"
        "      bank transfer\n"
        "    step trips.PAYING #2 (moved BOOKING)\n"
        "      bank transfer\n"
        "      step rooms.ASKED (moved BOOKED)\n"
        "        step trips.BOOKING (moved ARRIVING)\n"
        "reception\n"
        "  call trips.arrive\n"
        "    callback trips.arrive (moved STAYING) <- step trips.BOOKING (moved ARRIVING)\n"
        "timeout trips.leave (moved LEFT) <- callback trips.arrive (moved STAYING)\n"
        "  hook trips.on_complete (hooked)\n"
    )


async def test_spans_say_of_which_run_they_are(spans: Spans) -> None:
    workflow, children = trips(room := rooms()), room
    async with started(workflow, children) as app:
        run = await app.trigger(workflow, "ann", Trip())
        await app.settle()
    of_run = {
        "streamwf.workflow": "trips",
        "streamwf.foreign_id": "ann",
        "streamwf.run_id": run.run_id,
        "streamwf.status": "PAYING",
    }
    asked, tried = spans.one("trigger trips"), spans.one("step trips.PAYING")
    assert asked["attributes"] == of_run
    assert tried["attributes"] == {
        **of_run,
        "streamwf.attempt": 1,
        "streamwf.outcome": "failed",
        "error.type": "ConnectionError",
    }
    assert tried["status"] == {
        "status_code": "ERROR",
        "description": "ConnectionError: the bank is closed",
    }
    [error] = tried["events"]
    assert error["attributes"]["exception.message"] == "the bank is closed"
    assert "in pay" in error["attributes"]["exception.stacktrace"]
    assert (asked["kind"], tried["kind"]) == ("SpanKind.PRODUCER", "SpanKind.CONSUMER")


async def test_every_event_of_a_run_says_its_trace(spans: Spans) -> None:
    workflow, children = trips(room := rooms()), room
    async with started(workflow, children) as app:
        run = await app.trigger(workflow, "ann", Trip())
        await app.advance(MINUTE)
        ids = {event.traceparent[3:35] for event in [*events(app, workflow), *events(app, room)]}
        assert await types(app, run.run_id) == ["trigger", "failed", "moved", "child", "moved"]
    assert {f"0x{each}" for each in ids} == trace_ids(*spans.all())


async def test_a_request_that_nobody_judges_is_an_error(spans: Spans) -> None:
    workflow, children = trips(room := rooms()), room
    async with started(workflow, children) as app:
        app.host.logs["trips"].append = lambda *_: 0  # type: ignore[method-assign]
        app.client._gateway._operations.patience = 0.01  # type: ignore[attr-defined]
        with pytest.raises(DeadlineExceeded):
            await app.trigger(workflow, "ann", Trip())
    assert told(spans.one("trigger trips")) == "trigger trips (: DeadlineExceeded)"


# ---- what lasts, and what is waited for


async def test_a_wait_begins_a_trace_that_is_linked_to_what_came_before(spans: Spans) -> None:
    """The room takes an hour. What it wakes is in its trace, and linked to what had started it."""
    workflow, children = trips(room := rooms(lag=timedelta(hours=1))), room
    async with started(workflow, children) as app:
        await app.trigger(workflow, "ann", Trip(trouble=0))
        await app.advance(2 * timedelta(hours=1))
    assert spans.shown(note=told, without="bank") == (
        "trigger trips\n"
        "  step trips.PAYING (moved BOOKING)\n"
        "    enter rooms.ASKED (started ASKED)\n"
        "step rooms.ASKED (moved BOOKED) <- enter rooms.ASKED (started ASKED)\n"
        "  step trips.BOOKING (moved ARRIVING) <- step trips.PAYING (moved BOOKING)\n"
    )


async def test_a_start_in_the_future_is_linked_to_its_trigger(spans: Spans) -> None:
    workflow, children = trips(room := rooms()), room
    async with started(workflow, children) as app:
        await app.trigger(room, "r-1", {}, start_at=START + DAY)
        await app.advance(2 * DAY)
    assert spans.shown(note=told) == (
        "trigger rooms\nstep rooms.ASKED (moved BOOKED) <- trigger rooms\n"
    )


async def test_attempts_lie_side_by_side_and_late_ones_are_traces_of_their_own(
    spans: Spans,
) -> None:
    """However often a step is tried, no trace grows for more than a minute of it."""
    workflow: Workflow[dict[str, Any], Room] = Workflow("rooms", dict[str, Any], Room)

    @workflow.step(
        Room.ASKED, to=Room.BOOKED, retry=Retry(initial=timedelta(seconds=25), factor=1, jitter=0)
    )
    async def book(run: Run[dict[str, Any], Room]) -> Room:
        if run.attempt < 6:
            raise ValueError("no room")
        return Room.BOOKED

    async with started(workflow) as app:
        await app.trigger(workflow, "r-1", {})
        await app.advance(5 * MINUTE)
    assert spans.shown(note=told) == (
        "trigger rooms\n"
        "  step rooms.ASKED (failed: ValueError)\n"
        "  step rooms.ASKED #2 (failed: ValueError)\n"
        "  step rooms.ASKED #3 (failed: ValueError)\n"
        "step rooms.ASKED #4 (failed: ValueError) <- trigger rooms\n"
        "step rooms.ASKED #5 (failed: ValueError) <- trigger rooms\n"
        "step rooms.ASKED #6 (moved BOOKED) <- trigger rooms\n"
    )


async def test_what_a_person_sets_going_is_in_their_trace_and_linked_to_the_run(
    spans: Spans,
) -> None:
    workflow: Workflow[dict[str, Any], Room] = Workflow("rooms", dict[str, Any], Room)

    @workflow.step(Room.ASKED, to=Room.BOOKED)
    async def book(run: Run[dict[str, Any], Room]) -> Room:
        if run.version < 3:
            raise Fatal("no room")
        return Room.BOOKED

    @workflow.on_resume
    async def resumed(run: Run[dict[str, Any], Room]) -> None: ...

    async with started(workflow) as app:
        run = await app.trigger(workflow, "r-1", {})
        await app.settle()
        with caller("person"):
            await app.client.resume(run.run_id)
        await app.settle()
    assert spans.shown(note=told) == (
        "trigger rooms\n"
        "  step rooms.ASKED (paused: Fatal)\n"
        "person\n"
        "  resume rooms\n"
        "    step rooms.ASKED (moved BOOKED) <- step rooms.ASKED (paused: Fatal)\n"
        "    hook rooms.on_resume (hooked)\n"
    )


async def test_a_callback_that_came_early_is_linked_to_its_caller(spans: Spans) -> None:
    """It has waited in a mailbox for an hour, with its trace."""
    workflow, children = trips(room := rooms()), room
    async with started(workflow, children) as app:
        with caller("reception"):
            await app.client.callback(
                workflow, "arrive", b"", foreign_id="ann", wait_for=timedelta(hours=5)
            )
        await app.advance(timedelta(hours=1))
        run = await app.trigger(workflow, "ann", Trip(trouble=0))
        await app.await_status(run, STAYING)
    [arrived] = spans.named("callback trips.arrive")[-1:]
    linked = {link["context"]["span_id"] for link in arrived["links"]}
    assert arrived["parent_id"] == spans.one("call trips.arrive")["context"]["span_id"]
    assert linked == {spans.one("step trips.BOOKING")["context"]["span_id"]}


async def test_a_fork_is_linked_to_what_it_was_forked_from(spans: Spans) -> None:
    workflow, children = trips(room := rooms()), room
    async with started(workflow, children) as app:
        run = await app.trigger(workflow, "ann", Trip(trouble=0))
        await app.settle()
        with caller("person"):
            await app.client.fork(run.run_id, 1, foreign_id="ben")
        await app.settle()
    last = "step trips.BOOKING (moved ARRIVING)"
    assert f"person\n  trigger trips <- {last}\n    step trips.PAYING" in spans.shown(note=told)


# ---- what nobody asks for at the moment


async def test_each_slot_of_a_schedule_begins_a_trace(spans: Spans) -> None:
    """Even if the host was started within a span."""
    room = rooms()
    room.schedule("daily", "@daily", foreign_id="r-1")(lambda slot: {})
    with caller("process"):
        async with started(room) as app:
            await app.advance(2 * DAY)
    trace = "trigger rooms\n  step rooms.ASKED (moved BOOKED)\n"
    assert spans.shown(note=told) == f"process\n{trace}{trace}"


async def connected(feed: Feed) -> str:
    """Let a connector lead a message on to a run, and return the traceparent of its trigger."""
    room = rooms()

    @room.connector(feed, name="feed")
    async def start(message: Message) -> Start[dict[str, Any], Room]:
        return Start(message.json()["id"], {})

    async with started(room) as app:
        headers = (("traceparent", CALLERS.encode()),)
        feed.messages["0"] = [Message("0", b'{"id":"r-1"}', headers=headers, source=feed.name)]
        await feed.stir()
        await eventually(lambda: app.host.shards("rooms")[0].latest("r-1"))  # type: ignore[index]
        await app.settle()
        return next(event.traceparent for event in events(app, room) if event.subject == "r-1")


async def test_a_message_of_a_connector_leads_its_trace_on(spans: Spans) -> None:
    await connected(Feed())
    assert spans.shown(note=told) == ("connector rooms.feed\n  step rooms.ASKED (moved BOOKED)\n")
    read = spans.one("connector rooms.feed")
    assert trace_ids(*spans.all()) == {f"0x{TRACE_ID}"}
    assert read["parent_id"] == "0xb7ad6b7169203331"


async def test_a_record_of_any_producer_leads_its_trace_on(spans: Spans) -> None:
    room = rooms()
    async with started(room) as app:
        append(app, room, type="trigger", subject="r-1", data={}, traceparent=CALLERS)
        await app.settle()
    assert spans.one("step rooms.ASKED")["parent_id"] == "0xb7ad6b7169203331"


async def test_what_is_no_trace_is_not_kept() -> None:
    room = rooms()
    async with started(room) as app:
        for n, nonsense in enumerate(
            ("00-x", "x" * 9_999, CALLERS.upper(), f"{CALLERS}-{CALLERS}")
        ):
            append(app, room, type="trigger", subject=f"r-{n}", data={}, traceparent=nonsense)
            await app.settle()
            assert record(app, room, f"r-{n}").trace is None


# ---- what is kept


async def test_without_a_collector_the_trace_of_the_caller_is_kept_for_those_who_have_one() -> None:
    """Nobody collects spans here. Whoever comes later, or elsewhere, goes on with the trace."""
    workflow, children = trips(room := rooms()), room
    token = context.attach(TraceContextTextMapPropagator().extract({"traceparent": CALLERS}))
    async with started(workflow, children) as app:
        try:
            await app.trigger(workflow, "ann", Trip(trouble=0))
        finally:
            context.detach(token)
        await app.settle()
        assert {event.traceparent for event in events(app, workflow)} == {CALLERS, ""}
        [trigger, *_] = events(app, room)
        assert (trigger.type, trigger.traceparent) == ("trigger", CALLERS)
        kept = record(app, room, "room of ann").trace
        assert kept is not None
        assert kept.parent == CALLERS


async def test_what_has_no_trace_keeps_nothing_of_it() -> None:
    workflow, children = trips(room := rooms()), room
    async with started(workflow, children) as app:
        await app.trigger(workflow, "ann", Trip(trouble=0))
        await app.settle()
        assert b"trace" not in encode_record(record(app, workflow, "ann"))
        records = app.host.logs["trips"].records
        assert not [each for each in records if b"traceparent" in (each.value or b"")]


async def test_connectors_hand_a_trace_on_without_a_collector() -> None:
    assert await connected(Feed()) == CALLERS


async def test_what_just_fits_goes_without_its_trace(spans: Spans) -> None:
    """An event may not be refused, or lost, because somebody looks on."""
    room = rooms()
    async with started(room) as app:
        await app.trigger(room, "r-1", {})
        await app.settle()
        trigger, moved = events(app, room)
        bare = [msgspec.structs.replace(each, traceparent="") for each in (trigger, moved)]
        largest = max(len(msgspec.json.encode(each)) for each in bare)
        spare = app.host.max_record_bytes - largest
        # The foreign id, and so the event, is as long as before.
        run = await app.trigger(room, "r-2", {"fill": "x" * (spare - len('"fill":""'))})
        assert (await app.get(run)).status is Room.BOOKED
        assert [each.traceparent[:3] for each in events(app, room)].count("") == 2
