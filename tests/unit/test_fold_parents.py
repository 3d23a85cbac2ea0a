"""What parents and children tell each other."""

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from streamwf.emit import refused as refusal
from streamwf.errors import UnreadableRecord
from streamwf.events import (
    CANCEL,
    CANCELLED,
    CHILD,
    DELETE,
    DELETED,
    EXPIRED,
    MOVED,
    PAUSE,
    PAUSED,
    REPEATED,
    RESUMED,
    SKIPPED,
    TRIGGER,
    Ended,
    Event,
    Start,
    pack_starts,
    parent_of,
    unpack_ended,
)
from streamwf.record import Child, State, Timer
from tests.support import LATER, NOW, WORKFLOW, record, result, steer, trigger
from tests.unit.folding import COMPLETES, ENDS, emitted, kinds


def start(run_id: str, **fields: Any) -> Start:
    told = {"workflow": "parcels", "status": "PACKED", "data": msgspec.Raw(b'{"kg":1}'), **fields}
    return Start(foreign_id=f"of/{run_id}", run_id=run_id, **told)


STARTS = pack_starts([start("p", start_at=LATER), start("q", workflow="letters")])


@pytest.mark.parametrize("kind", [MOVED, REPEATED, SKIPPED, PAUSED])
def test_what_a_step_has_started_is_triggered(kind: str) -> None:
    state = State.PAUSED if kind == PAUSED else None
    run = record(run_id="run/1", foreign_id="o/1")
    event = result(kind, 3, run_id="run/1", subject="o/1", state=state, starts=STARTS)
    first, second = emitted(run, event)
    assert (first.workflow, second.workflow) == ("parcels", "letters")
    child = first.event
    assert (child.type, child.subject, child.runid) == (TRIGGER, "of/p", "p")
    assert (child.source, child.status) == ("/workflows/parcels", "PACKED")
    assert (child.startat, child.time) == (LATER, event.time)
    assert bytes(child.data) == b'{"kg":1}'
    assert parent_of(child.parent) == (WORKFLOW, "run/1", "o/1")
    assert child.parent == f"{WORKFLOW}/{quote('run/1', safe='')}/o/1"


def test_what_a_timeout_has_started_beside_a_step_is_triggered_too() -> None:
    run = record(timers=(Timer("nag", NOW),))
    event = result(EXPIRED, 3, timer="nag", dueat=NOW, starts=STARTS)
    assert kinds(emitted(run, event)) == [TRIGGER, TRIGGER]


def test_the_ids_of_children_are_their_own_so_that_each_starts_once() -> None:
    run = record()
    once = emitted(run, result(MOVED, 3, starts=STARTS))
    other = emitted(record(run_id="run-2"), result(MOVED, 3, run_id="run-2", starts=STARTS))
    assert [e.event.id for e in once] == [e.event.id for e in other]
    known = msgspec.structs.replace(run, children=(Child("parcels", "of/p", "p"),))
    assert [e.event.runid for e in emitted(known, result(REPEATED, 3, starts=STARTS))] == ["q"]


@pytest.mark.parametrize(
    ("state", "event"), [(State.PAUSED, RESUMED), (State.DATA_DELETION_REQUESTED, DELETED)]
)
def test_what_can_start_nothing_starts_nothing(state: State, event: str) -> None:
    run = record(state, children=(Child("parcels", "of/p", "p"),))
    assert emitted(run, result(event, 3, starts="no JSON")) == []


@pytest.mark.parametrize(("event", "state"), ENDS, ids=str)
def test_a_run_that_has_ended_tells_its_parent(event: Event, state: State) -> None:
    run = record(parent="trips/run%2Ft/t/1", object=msgspec.Raw(b'{"n":7}'))
    [emission] = emitted(run, event)
    told = emission.event
    assert emission.workflow == "trips"
    assert (told.type, told.source, told.subject) == (CHILD, "/workflows/trips", "t/1")
    assert told.runid == "run/t"
    status = "DONE" if state is State.COMPLETED else "CREATED"
    assert unpack_ended(told) == Ended(
        workflow=WORKFLOW,
        foreign_id="o-1",
        run_id="run-1",
        state=state,
        status=status,
        reason="" if state is State.COMPLETED else "enough",
        object=msgspec.Raw(b'{"n":7}'),
    )


def test_a_parent_is_told_once() -> None:
    run = record(State.CANCELLED, parent="trips/run-t/t-1")
    assert emitted(run, steer(DELETE, "r")) == []
    deleting = msgspec.structs.replace(run, state=State.DATA_DELETION_REQUESTED)
    assert emitted(deleting, result(DELETED, 3)) == []
    paused = record(parent="trips/run-t/t-1")
    assert emitted(paused, steer(PAUSE, "r")) == []


def test_every_end_of_a_run_has_the_same_id() -> None:
    run = record(parent="trips/run-t/t-1")
    ids = {e.event.id for event, _ in ENDS for e in emitted(run, event)}
    asks = msgspec.structs.replace(trigger(), parent="trips/run-t/t-1")
    assert ids == {refusal(WORKFLOW, asks, "busy").event.id}


def test_the_parent_of_a_run_that_was_refused_hears_why() -> None:
    asks = msgspec.structs.replace(trigger(), parent="trips/run-t/t-1")
    told = refusal(WORKFLOW, asks, "'o-1' has a run in progress")
    assert (told.workflow, told.event.type, told.event.runid) == ("trips", CHILD, "run-t")
    ended = unpack_ended(told.event)
    assert (ended.run_id, ended.state, ended.reason) == (
        "run-1",
        State.CANCELLED,
        "'o-1' has a run in progress",
    )


@pytest.mark.parametrize("parent", ["x", "trips/run-t", "trips/run-t/", "a/b/\x00"])
def test_no_such_parent(parent: str) -> None:
    with pytest.raises(UnreadableRecord, match=r"its parent .* is none"):
        parent_of(parent)


CHILDREN = (
    Child("parcels", "p-1", "p", cascade=True),
    Child("parcels", "p-2", "done", "COMPLETED", cascade=True),
    Child("parcels", "p-3", "loose"),
    Child("letters", "p-4", "q", cascade=True),
)


@pytest.mark.parametrize(
    "event", [steer(CANCEL, "r"), result(CANCELLED, 3, state=State.CANCELLED)], ids=str
)
def test_a_run_that_is_cancelled_takes_its_children_along_if_asked(event: Event) -> None:
    first, second = emitted(record(children=CHILDREN), event)
    assert (first.workflow, first.event.type, first.event.subject) == ("parcels", CANCEL, "p-1")
    assert (first.event.runid, second.event.runid) == ("p", "q")
    assert second.workflow == "letters"
    assert first.event.reason == "its parent run-1 was cancelled"


@pytest.mark.parametrize("event", [COMPLETES, steer(PAUSE, "r")], ids=str)
def test_nothing_else_does(event: Event) -> None:
    assert emitted(record(children=CHILDREN), event) == []
