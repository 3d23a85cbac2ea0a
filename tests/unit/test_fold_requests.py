"""What is requested of a run, in each state that it may meet."""

from datetime import datetime, timedelta

import msgspec
import pytest

from streamwf.errors import UnreadableRecord
from streamwf.events import (
    CANCEL,
    CHANGE,
    CHILD,
    CORRELATE,
    DELETE,
    FAILED,
    HOOK,
    HOOKED,
    MOVED,
    PAUSE,
    RELEASED,
    RESUME,
    RETAIN,
    RETRY,
    SKIPPED,
    STARTED,
    UNCORRELATE,
    Ended,
    Event,
    encode_event,
)
from streamwf.fold import Verdict, fold
from streamwf.record import (
    LIVE,
    MAX_CALLS,
    MAX_HELD,
    MAX_REQUESTS,
    NOTHING,
    SCHEDULE,
    Call,
    Child,
    DueHook,
    Failure,
    Record,
    State,
)
from tests.support import NOW, asked, callback, record, result, steer, trigger

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
THEN = NOW + MINUTE
LATER = NOW + HOUR
AT_WORK = (State.INITIATED, State.RUNNING)


def accepted(before: Record, *events: Event) -> Record:
    for event in events:
        after, verdict = fold(before, event, 9)
        assert verdict is Verdict.ACCEPTED
        assert after is not None
        before = after
    return before


def refused(before: Record | None, event: Event) -> Verdict:
    after, verdict = fold(before, event, 9)
    assert after is before
    return verdict


def same_but(before: Record, after: Record, **changed: object) -> bool:
    """Whether a request that no step needs to know of has changed that, and nothing else."""
    noted = {"version": before.version + 1, "lag": before.lag + 1, "updated_at": THEN}
    also = {"offsets": (*before.offsets, 9), **changed}
    return after == msgspec.structs.replace(before, **noted, **also)


# ---- callbacks


@pytest.mark.parametrize("state", State)
def test_a_callback_waits_at_a_run_in_progress(state: State) -> None:
    run = record(state, due_at=LATER, entered=True)
    if state not in LIVE:
        assert refused(run, callback()) is Verdict.STATE_FORBIDS
        return
    after = accepted(run, callback())
    call = Call("c-1", "signed", THEN, THEN, msgspec.Raw(b'{"by":"ann"}'))
    assert same_but(run, after, calls=(call,), requests=("c-1",))


@pytest.mark.parametrize("state", [State.INITIATED, State.PAUSED])
def test_only_a_callback_that_may_wait_does_so_for_a_start(state: State) -> None:
    unbegun = record(state, due_at=LATER, entered=False)
    for until in (None, NOW, THEN):
        assert refused(unbegun, callback(until=until)) is Verdict.STATE_FORBIDS
    assert len(accepted(unbegun, callback(until=LATER)).calls) == 1


@pytest.mark.parametrize("due_at", [NOW, THEN])
def test_a_callback_does_not_have_to_wait_for_a_start_that_is_due(due_at: datetime) -> None:
    assert len(accepted(record(due_at=due_at, entered=False), callback()).calls) == 1


def test_a_start_may_have_been_triggered_just_now_by_a_clock_that_is_ahead() -> None:
    ahead = record(due_at=LATER, created_at=LATER, entered=False)
    assert len(accepted(ahead, callback()).calls) == 1


def test_a_callback_of_bytes_that_may_wait_for_long() -> None:
    after = accepted(record(), callback(data=None, data_base64="aGk=", until=LATER))
    assert after.calls == (Call("c-1", "signed", THEN, LATER, NOTHING, "aGk="),)


def test_no_callback_goes_to_an_inner_run() -> None:
    inner = record(kind=SCHEDULE)
    assert refused(inner, callback(inner=SCHEDULE)) is Verdict.STATE_FORBIDS


def test_a_callback_without_a_run() -> None:
    assert refused(None, callback()) is Verdict.NO_SUCH_RUN
    assert refused(record(), callback(run_id="another")) is Verdict.NO_SUCH_RUN


def test_callbacks_wait_in_the_order_in_which_they_came() -> None:
    run = accepted(record(), callback("c-1"), callback("c-2"), callback("c-3", "paid"))
    assert [(call.id, call.name) for call in run.calls] == [
        ("c-1", "signed"),
        ("c-2", "signed"),
        ("c-3", "paid"),
    ]


def test_a_callback_that_is_read_twice_counts_once() -> None:
    run = accepted(record(), callback())
    assert refused(run, callback()) is Verdict.DUPLICATE


def test_a_callback_that_waits_counts_once_however_much_was_requested_since() -> None:
    run = accepted(record(), callback())
    for n in range(MAX_REQUESTS):
        run = accepted(run, steer(RESUME if run.state is State.PAUSED else PAUSE, f"r-{n}"))
    assert "c-1" not in run.requests
    assert refused(run, callback()) is Verdict.DUPLICATE


def test_only_so_many_callbacks_wait_at_a_run() -> None:
    run = accepted(record(), *(callback(f"c-{n}") for n in range(MAX_CALLS)))
    assert len(run.calls) == MAX_CALLS
    assert refused(run, callback("one-more")) is Verdict.FULL
    assert refused(run, callback("c-0")) is Verdict.DUPLICATE
    answered = accepted(run, result(SKIPPED, run.version, call="c-0"))
    assert len(accepted(answered, callback("one-more")).calls) == MAX_CALLS


@pytest.mark.parametrize("kind", ["payload", "bytes", "name"])
def test_callbacks_that_wait_have_room_together(kind: str) -> None:
    """A row that is too large could never be written, and would hold up all others."""

    def large(event_id: str, size: int) -> Event:
        if kind == "payload":
            return callback(event_id, data=b'"' + b"x" * (size - 8) + b'"', name="")
        if kind == "bytes":
            return callback(event_id, data=None, data_base64="x" * (size - 4), name="")
        return callback(event_id, data=None, name="x" * (size // 4 - 1))

    half = MAX_HELD // 2
    run = accepted(record(), large("c-1", half), large("c-2", half - 12))
    assert refused(run, large("c-3", 100)) is Verdict.FULL
    alone = accepted(record(), large("c-1", 2 * MAX_HELD))
    assert refused(alone, callback("c-2")) is Verdict.FULL


def test_a_callback_waits_through_a_pause_and_is_gone_at_the_end() -> None:
    run = accepted(record(), callback(), steer(PAUSE, "r-1"), steer(RESUME, "r-2"))
    assert [call.id for call in run.calls] == ["c-1"]
    assert accepted(run, steer(CANCEL, "r-3")).calls == ()
    done = accepted(run, result(MOVED, run.version, status="DONE", state=State.COMPLETED))
    assert done.calls == ()


# ---- retry


@pytest.mark.parametrize("state", State)
def test_a_retry_ends_the_wait_after_errors(state: State) -> None:
    failing = record(state, attempt=3, error=Failure("E", "m"), due_at=LATER)
    event = steer(RETRY, "r-1", reason="mended")
    if state not in LIVE:
        assert refused(failing, event) is Verdict.STATE_FORBIDS
        return
    after = accepted(failing, event)
    assert after.due_at == event.time
    assert (after.lag, after.version, after.reason) == (0, 4, "mended")
    assert after.requests == ("r-1",)
    if state is State.PAUSED:
        assert (after.state, after.attempt, after.error) == (State.RUNNING, 0, None)
    else:
        assert (after.state, after.attempt, after.error) == (state, 3, failing.error)


def test_a_retry_wakes_a_paused_run_whose_step_never_failed_only_as_a_resumption_does() -> None:
    paused = record(State.PAUSED, due_at=LATER)
    after = accepted(paused, steer(RETRY, "r-1"))
    assert (after.state, after.due_at) == (State.RUNNING, LATER)


@pytest.mark.parametrize("run", [record(due_at=LATER), record(attempt=1)], ids=["well", "none due"])
def test_there_is_nothing_to_retry(run: Record) -> None:
    assert refused(run, steer(RETRY, "r-1")) is Verdict.STATE_FORBIDS


def test_a_retry_of_what_is_being_tried_does_not_undo_that() -> None:
    trying = record(attempt=1, due_at=NOW, error=Failure("E", "m"))
    after = accepted(trying, steer(RETRY, "r-1"))
    assert same_but(trying, after, requests=("r-1",))
    assert accepted(after, result(MOVED, 3, status="PICKED")).status == "PICKED"


# ---- deletion of data


def test_deletion_waits_for_nothing_but_itself() -> None:
    hooks = (DueHook("complete", NOW),)
    done = record(State.COMPLETED, hooks=hooks, forget_at=LATER, children=(CHILD_1,))
    after = accepted(done, steer(DELETE, "r-1", reason="asked to"))
    assert after.state is State.DATA_DELETION_REQUESTED
    assert (after.reason, after.hooks, after.forget_at) == ("asked to", hooks, None)
    assert after.object is done.object


# ---- children

CHILD_1 = Child("parcels", "p-1", "child-1")
CHILD_2 = Child("parcels", "p-2", "child-2")


def ended(run_id: str = "child-1", event_id: str = "", **fields: object) -> Event:
    told = {
        "workflow": "parcels",
        "foreign_id": "p-1",
        "run_id": run_id,
        "state": State.COMPLETED,
        "status": "SENT",
        "object": msgspec.Raw(b'{"kg":2}'),
        **fields,
    }
    return asked(CHILD, event_id or f"end-of-{run_id}", data=encode_event(Ended(**told)))


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
        assert run.lag == 0
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


def test_one_child_may_carry_more_than_that() -> None:
    huge = msgspec.Raw(b'"' + b"x" * MAX_HELD + b'"')
    run = accepted(record(children=(CHILD_1, CHILD_2)), ended(object=huge))
    assert run.children[0].object == huge
    assert accepted(run, ended("child-2", reason="r")).children[1].reason == ""


@pytest.mark.parametrize("data", [None, b"7", b'{"run_id":"child-1"}'])
def test_an_end_that_can_not_be_read(data: bytes | None) -> None:
    with pytest.raises(UnreadableRecord, match="the end of a child can't be read"):
        fold(record(children=(CHILD_1,)), asked(CHILD, data=data), 9)


# ---- hooks and retention


@pytest.mark.parametrize("state", State)
def test_a_hook_is_asked_of_a_run_in_any_state(state: State) -> None:
    run = record(state, due_at=LATER, hooks=(DueHook("pause", NOW),))
    after = accepted(run, asked(HOOK, hook="resume"))
    hooks = (DueHook("pause", NOW), DueHook("resume", THEN, id="r-1"))
    assert same_but(run, after, hooks=hooks, requests=("r-1",))
    assert refused(after, asked(HOOK, hook="resume")) is Verdict.DUPLICATE


@pytest.mark.parametrize("state", State)
def test_only_a_run_that_has_ended_is_retained_for_a_time(state: State) -> None:
    run = record(state)
    event = asked(RETAIN, forgetat=LATER)
    if state in LIVE:
        assert refused(run, event) is Verdict.STATE_FORBIDS
    else:
        assert same_but(run, accepted(run, event), forget_at=LATER, requests=("r-1",))


# ---- what is for others


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", [CORRELATE, UNCORRELATE, RELEASED])
def test_what_is_for_mailboxes_changes_no_run(kind: str, state: State) -> None:
    assert refused(record(state), asked(kind)) is Verdict.STATE_FORBIDS


@pytest.mark.parametrize("state", State)
def test_only_an_inner_run_in_progress_is_changed(state: State) -> None:
    run = record(state, kind=SCHEDULE, attempt=2, error=Failure("E", "m"))
    event = asked(CHANGE, data=b'{"cron":"@daily"}', inner=SCHEDULE)
    if state not in LIVE:
        assert refused(run, event) is Verdict.STATE_FORBIDS
        return
    after = accepted(run, event)
    assert bytes(after.object) == b'{"cron":"@daily"}'
    assert (after.state, after.due_at, after.lag) == (state, THEN, 0)
    assert (after.attempt, after.error, after.requests) == (0, None, ("r-1",))


def test_no_run_of_a_workflow_is_changed_and_none_to_nothing() -> None:
    assert refused(record(), asked(CHANGE, data=b"{}")) is Verdict.STATE_FORBIDS
    inner = record(kind=SCHEDULE)
    assert refused(inner, asked(CHANGE, inner=SCHEDULE)) is Verdict.STATE_FORBIDS


# ---- what is in flight meanwhile


@pytest.mark.parametrize(
    "event",
    [
        callback(),
        ended(),
        asked(HOOK, hook="pause"),
        result(HOOKED, 3, hook="resume"),
        steer(RETRY, "r-1"),
    ],
    ids=lambda event: event.type,
)
@pytest.mark.parametrize("kind", [MOVED, FAILED, SKIPPED, STARTED])
def test_what_a_step_in_flight_need_not_know(event: Event, kind: str) -> None:
    run = record(
        children=(CHILD_1,), hooks=(DueHook("resume", NOW),), attempt=1, due_at=NOW, waits=""
    )
    after = accepted(run, event)
    assert after.lag == 1
    assert accepted(after, result(kind, 3)).version == 5


@pytest.mark.parametrize(
    "event",
    [steer(PAUSE, "r-1"), steer(CANCEL, "r-1"), steer(RETRY, "r-1"), ended()],
    ids=lambda event: event.type,
)
def test_what_a_step_in_flight_has_to_know(event: Event) -> None:
    run = record(children=(CHILD_1,), waits="all", attempt=1, due_at=LATER)
    after = accepted(accepted(run, callback()), event)
    assert after.lag == 0
    assert refused(after, result(MOVED, 3, status="PICKED")) is Verdict.STALE
    assert refused(after, result(MOVED, 4, status="PICKED")) is Verdict.STALE


@pytest.mark.parametrize(
    "event",
    [
        callback(),
        steer(PAUSE, "r-1"),
        asked(HOOK, hook="pause"),
        steer(DELETE, "r-1"),
        asked(RETAIN, forgetat=LATER),
    ],
    ids=lambda event: event.type,
)
def test_no_request_is_judged_without_a_run(event: Event) -> None:
    assert refused(None, event) is Verdict.NO_SUCH_RUN


def test_a_new_run_has_its_parent_and_its_origin_and_nothing_of_the_one_before() -> None:
    former = record(
        State.COMPLETED,
        hooks=(DueHook("complete", NOW),),
        forget_at=LATER,
        children=(CHILD_1,),
        waits="all",
        calls=(Call("c-1", "", NOW, NOW, NOTHING),),
        correlations="by=x",
        lag=2,
    )
    event = msgspec.structs.replace(
        trigger(run_id="run-2"), parent="trips/run-t/t-1", origin="run-1@3"
    )
    after, verdict = fold(former, event, 9)
    assert verdict is Verdict.ACCEPTED
    assert after == fold(None, event, 9)[0]
    assert (after.parent, after.origin) == ("trips/run-t/t-1", "run-1@3")
