"""Runs that runs have started: what is kept of them, and what waits for them."""

import msgspec
import pytest

from streamwf.errors import UnreadableRecord
from streamwf.events import (
    CHILD,
    EXPIRED,
    FAILED,
    MOVED,
    PAUSE,
    PAUSED,
    POSTPONED,
    REPEATED,
    RESUME,
    SKIPPED,
    STARTED,
    Start,
    pack_starts,
)
from streamwf.fold import Verdict, fold
from streamwf.record import MAX_HELD, NOTHING, Call, Child, State, Timer
from tests.support import (
    LATER,
    NOW,
    THEN,
    asked,
    callback,
    record,
    result,
    steer,
)
from tests.unit.folding import (
    CHILD_1,
    CHILD_2,
    accepted,
    ended,
    refused,
    same_but,
)


@pytest.mark.parametrize("state", State)
def test_the_end_of_a_child_is_kept_with_its_parent(state: State) -> None:
    run = record(state, children=(CHILD_1, CHILD_2), due_at=LATER)
    after = accepted(run, ended(reason="enough"))
    whole = msgspec.structs.replace(
        CHILD_1,
        state="COMPLETED",
        status="SENT",
        reason="enough",
        object=msgspec.Raw(b'{"kg":2}'),
    )
    bare = msgspec.structs.replace(CHILD_1, state="COMPLETED", status="SENT")
    deleted = state in (State.DATA_DELETION_REQUESTED, State.DATA_DELETED)
    assert same_but(run, after, children=(bare if deleted else whole, CHILD_2))


def test_a_child_ends_once() -> None:
    run = accepted(record(children=(CHILD_1,)), ended())
    again = ended(event_id="another", state=State.CANCELLED)
    assert refused(run, again) is Verdict.DUPLICATE
    assert refused(run, ended("child-9")) is Verdict.DUPLICATE
    assert refused(record(), ended()) is Verdict.DUPLICATE


def test_children_end_in_any_order() -> None:
    run = accepted(record(children=(CHILD_1, CHILD_2)), ended("child-2"))
    assert [child.state for child in run.children] == ["", "COMPLETED"]


def test_the_ends_of_children_leave_the_ids_of_other_requests_as_they_were() -> None:
    run = accepted(record(children=(CHILD_1, CHILD_2)), callback())
    assert accepted(run, ended(), ended("child-2")).requests == ("c-1",)
    waiting = record(children=(CHILD_1, CHILD_2), waits="all", requests=("c-1",))
    assert accepted(waiting, ended(), ended("child-2")).requests == ("c-1",)


@pytest.mark.parametrize(
    ("waits", "due_after"), [("all", [False, True]), ("any", [True, True]), ("each", [True, True])]
)
def test_a_step_that_waits_for_children_is_woken(waits: str, due_after: list[bool]) -> None:
    run = record(children=(CHILD_1, CHILD_2), waits=waits)
    seen = []
    for event in (ended(), ended("child-2")):
        run = accepted(run, event)
        assert (run.lag, run.updated_at) == (0, THEN)
        assert run.version == len(run.offsets)
        seen.append(run.due_at == event.time)
    assert seen == due_after


def test_each_child_wakes_a_step_that_has_gone_back_to_waiting() -> None:
    run = record(children=(CHILD_1, CHILD_2), waits="each")
    run = accepted(run, ended())
    run = accepted(run, result(SKIPPED, run.version))
    assert run.due_at is None
    assert accepted(run, ended("child-2")).due_at == THEN


def test_what_a_step_makes_of_fewer_children_does_not_count() -> None:
    run = accepted(record(children=(CHILD_1, CHILD_2), waits="each"), ended())
    more = accepted(run, ended("child-2"))
    assert refused(more, result(SKIPPED, run.version)) is Verdict.STALE


def test_a_step_that_waits_for_its_next_try_is_not_hurried_by_a_child() -> None:
    run = record(children=(CHILD_1,), waits="all", due_at=LATER, attempt=1)
    assert accepted(run, ended()).due_at == LATER


def test_children_that_end_while_their_parent_is_paused_wake_its_step_afterwards() -> None:
    run = accepted(record(children=(CHILD_1,), waits="all"), steer(PAUSE, "r-1"), ended())
    assert run.state is State.PAUSED
    assert accepted(run, steer(RESUME, "r-2")).due_at == THEN


def test_a_parent_that_has_ended_is_not_woken() -> None:
    run = record(State.CANCELLED, children=(CHILD_1,), waits="all")
    assert accepted(run, ended()).due_at is None


def test_children_carry_no_more_than_their_parent_can_hold() -> None:
    large = msgspec.Raw(b'"' + b"x" * (MAX_HELD - 100) + b'"')
    run = accepted(record(children=(CHILD_1, CHILD_2)), ended(object=large, reason="r"))
    assert run.children[0].object == large
    run = accepted(run, ended("child-2", object=msgspec.Raw(b'"' + b"y" * 200 + b'"'), reason="r"))
    assert run.children[1].state == "COMPLETED"
    assert (run.children[1].object, run.children[1].reason) == (NOTHING, "")


def test_the_reasons_of_children_take_room_too() -> None:
    long = "x" * MAX_HELD
    run = accepted(record(children=(CHILD_1, CHILD_2)), ended(reason=long), ended("child-2"))
    assert [len(child.reason) for child in run.children] == [MAX_HELD, 0]
    assert run.children[1].object == NOTHING


def test_one_child_may_carry_more_than_that() -> None:
    huge = msgspec.Raw(b'"' + b"x" * MAX_HELD + b'"')
    run = accepted(record(children=(CHILD_1, CHILD_2)), ended(object=huge))
    assert run.children[0].object == huge
    assert accepted(run, ended("child-2", reason="r")).children[1].reason == ""


@pytest.mark.parametrize("data", [None, b"7", b'{"run_id":"child-1"}'])
def test_an_end_that_can_not_be_read(data: bytes | None) -> None:
    with pytest.raises(UnreadableRecord, match="the end of a child can't be read"):
        fold(record(children=(CHILD_1,)), asked(CHILD, data=data), 9)


# ---- what a result starts, and waits for


def start(run_id: str, *, cascade: bool = False) -> Start:
    return Start(
        workflow="parcels",
        foreign_id=f"of-{run_id}",
        run_id=run_id,
        status="PACKED",
        data=msgspec.Raw(b"{}"),
        cascade=cascade,
    )


CALL = Call("c-1", "signed", NOW, LATER, NOTHING)
STARTS = pack_starts([start("p"), start("q", cascade=True)])
P, Q = Child("parcels", "of-p", "p"), Child("parcels", "of-q", "q", cascade=True)
P_ENDED = msgspec.structs.replace(P, state="COMPLETED")


@pytest.mark.parametrize("kind", [MOVED, STARTED, REPEATED, PAUSED, SKIPPED])
def test_what_a_step_has_started_is_kept_with_the_run(kind: str) -> None:
    state = State.PAUSED if kind == PAUSED else None
    earlier = Child("parcels", "of-o", "o")
    after = accepted(record(children=(earlier,)), result(kind, 3, state=state, starts=STARTS))
    assert after.children == (earlier, P, Q)


def test_what_a_timeout_or_a_callback_has_started_is_kept_too() -> None:
    run = record(calls=(CALL,), timers=(Timer("nag", NOW),), due_at=LATER)
    for event in (
        result(EXPIRED, 3, timer="nag", dueat=NOW, starts=STARTS),
        result(POSTPONED, 3, call="c-1", dueat=LATER, starts=STARTS),
        result(SKIPPED, 3, call="c-1", starts=STARTS),
    ):
        after = accepted(run, event)
        assert (after.children, after.lag, after.due_at) == ((P, Q), 1, LATER)


def test_a_child_that_is_started_again_is_the_same_one() -> None:
    run = record(children=(P_ENDED,))
    assert accepted(run, result(REPEATED, 3, starts=STARTS)).children == (P_ENDED, Q)


@pytest.mark.parametrize(
    ("waits", "children", "due"),
    [
        ("all", (), True),
        ("all", (P_ENDED,), True),
        ("all", (P_ENDED, Q), False),
        ("any", (), True),
        ("any", (P_ENDED, Q), True),
        ("any", (P, Q), False),
        ("each", (), True),
        ("each", (P_ENDED, Q), True),
        ("each", (P, Q), False),
    ],
)
@pytest.mark.parametrize("kind", [MOVED, STARTED])
def test_a_step_that_waits_for_children_is_due_if_those_have_ended(
    kind: str, waits: str, children: tuple[Child, ...], due: bool
) -> None:
    event = result(kind, 3, status="SHIPPING", waits=waits)
    after = accepted(record(children=children), event)
    assert after.due_at == (event.time if due else None)
    assert after.waits == waits


def test_a_step_waits_for_what_its_result_has_started_too() -> None:
    event = result(MOVED, 3, status="SHIPPING", waits="all", starts=STARTS)
    assert accepted(record(children=(P_ENDED,)), event).due_at is None


def test_children_that_a_step_has_waited_for_are_gone_when_it_moves() -> None:
    run = record(children=(P_ENDED, Q), waits="any", due_at=NOW)
    after = accepted(run, result(MOVED, 3, status="PICKED"))
    assert (after.children, after.waits) == ((Q,), "")


@pytest.mark.parametrize("kind", [REPEATED, FAILED, SKIPPED])
def test_a_step_that_stays_keeps_its_children_and_waits_on(kind: str) -> None:
    run = record(children=(P_ENDED, Q), waits="each", due_at=NOW)
    after = accepted(run, result(kind, 3))
    assert (after.children, after.waits, after.due_at) == (run.children, "each", None)


def test_a_step_that_starts_more_while_it_waits() -> None:
    run = record(children=(P_ENDED,), waits="all", due_at=NOW)
    after = accepted(run, result(SKIPPED, 3, starts=STARTS))
    assert (after.children, after.waits, after.due_at) == ((P_ENDED, Q), "all", None)


def test_children_that_were_waited_for_in_vain_are_there_for_who_sees_to_it() -> None:
    timers = (Timer("late", NOW),)
    run = record(children=(P_ENDED, Q), waits="all", timers=timers, calls=(CALL,))
    for event in (
        result(MOVED, 3, status="LATE", timer="late"),
        result(MOVED, 3, status="STOPPED", call="c-1"),
    ):
        after = accepted(run, event)
        assert (after.children, after.waits) == ((P_ENDED, Q), "")


def test_children_of_a_status_that_nobody_waits_at_stay() -> None:
    after = accepted(record(children=(P_ENDED,)), result(MOVED, 3, status="PICKED"))
    assert after.children == (P_ENDED,)


def test_a_run_that_has_ended_waits_for_no_children() -> None:
    event = result(MOVED, 3, state=State.COMPLETED, waits="all", starts=STARTS)
    after = accepted(record(), event)
    assert (after.due_at, after.children) == (None, (P, Q))
    bare = result(MOVED, 3, state=State.COMPLETED, waits="all")
    assert accepted(record(), bare).due_at is None


def test_only_a_step_that_waits_for_children_is_due_because_of_them() -> None:
    event = result(MOVED, 3, status="PICKED", correlations="by=x")
    assert accepted(record(children=(P_ENDED,)), event).due_at is None
    again = result(REPEATED, 3, dueat=LATER, starts=STARTS)
    assert accepted(record(children=(P_ENDED,), waits="any"), again).due_at == LATER


def test_starts_that_can_not_be_read() -> None:
    for event in (
        result(MOVED, 3, starts="no JSON"),
        result(EXPIRED, 3, timer="nag", dueat=NOW, starts='[{"workflow":1}]'),
    ):
        with pytest.raises(UnreadableRecord, match="its starts can't be read"):
            fold(record(timers=(Timer("nag", NOW),)), event, 9)
