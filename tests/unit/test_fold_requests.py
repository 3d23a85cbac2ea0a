"""What is requested of a run, in each state that it may meet."""

from datetime import datetime

import msgspec
import pytest

from streamwf.events import (
    CANCEL,
    CHANGE,
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
    Event,
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
    DueHook,
    Failure,
    Record,
    State,
)
from tests.support import LATER, NOW, THEN, asked, callback, record, result, steer, trigger
from tests.unit.folding import CHILD_1, accepted, ended, refused, same_but

AT_WORK = (State.INITIATED, State.RUNNING)


# ---- versions


@pytest.mark.parametrize("kind", [PAUSE, CANCEL])
def test_a_request_may_be_for_one_version_only(kind: str) -> None:
    run = record()
    for other in (-1, 0, run.version - 1, run.version + 1):
        assert refused(run, asked(kind, ifversion=other)) is Verdict.OTHER_VERSION
    after = accepted(run, asked(kind, ifversion=run.version))
    assert refused(after, asked(kind, ifversion=run.version)) is Verdict.DUPLICATE


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
    assert (after.due_at, after.updated_at) == (event.time, event.time)
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


@pytest.mark.parametrize("due_at", [NOW, THEN])
def test_a_retry_of_what_is_being_tried_does_not_undo_that(due_at: datetime) -> None:
    trying = record(attempt=1, due_at=due_at, error=Failure("E", "m"))
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
    run = record(state, kind=SCHEDULE, attempt=2, error=Failure("E", "m"), lag=1)
    event = asked(CHANGE, data=b'{"cron":"@daily"}', inner=SCHEDULE)
    if state not in LIVE:
        assert refused(run, event) is Verdict.STATE_FORBIDS
        return
    after = accepted(run, event)
    assert bytes(after.object) == b'{"cron":"@daily"}'
    assert (after.state, after.due_at, after.updated_at) == (state, THEN, THEN)
    assert (after.version, after.lag) == (4, 0)
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
