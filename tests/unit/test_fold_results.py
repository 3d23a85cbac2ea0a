"""What results make of callbacks, hooks, children, correlations and of runs that have ended."""

from typing import Any

import msgspec
import pytest

from streamwf.events import (
    CANCELLED,
    DECLINED,
    DELETED,
    EXPIRED,
    FAILED,
    FORGOTTEN,
    HOOKED,
    MOVED,
    PAUSED,
    POSTPONED,
    REPEATED,
    SKIPPED,
    STARTED,
    Event,
    Start,
    pack_correlations,
    pack_starts,
    pack_timers,
)
from streamwf.fold import Verdict, fold
from streamwf.record import (
    LIVE,
    NOTHING,
    Call,
    Child,
    DueHook,
    Failure,
    State,
    Timer,
)
from tests.support import LATER, NOW, callback, record, result, steer
from tests.unit.folding import accepted, refused

CALL = Call("c-1", "signed", NOW, LATER, msgspec.Raw(b"1"))
OTHER = Call("c-2", "signed", NOW, NOW, msgspec.Raw(b"2"))
AT_WORK = (State.INITIATED, State.RUNNING)


# ---- the answers to callbacks

ANSWERS = {
    MOVED: None,
    PAUSED: State.PAUSED,
    CANCELLED: State.CANCELLED,
    SKIPPED: None,
    DECLINED: None,
    POSTPONED: None,
}
STAYS = (SKIPPED, DECLINED, POSTPONED)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", ANSWERS)
def test_a_callback_is_answered_at_a_run_at_work(kind: str, state: State) -> None:
    run = record(state, calls=(CALL, OTHER), entered=True)
    event = result(kind, 3, call="c-1", state=ANSWERS[kind])
    if state not in AT_WORK:
        assert refused(run, event) is Verdict.STATE_FORBIDS
        return
    after = accepted(run, event)
    left = () if kind == CANCELLED else ("c-2",)
    assert tuple(call.id for call in after.calls) == left
    assert after.state is (ANSWERS[kind] or State.RUNNING)
    assert after.version == 4
    assert after.lag == (1 if kind in STAYS else 0)


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_callback_is_answered_once(kind: str) -> None:
    run = accepted(record(calls=(CALL, OTHER)), result(DECLINED, 3, call="c-1"))
    assert refused(run, result(kind, 3, call="c-1", state=ANSWERS[kind])) is Verdict.STALE
    assert refused(run, result(kind, 4, call="c-9", state=ANSWERS[kind])) is Verdict.STALE


@pytest.mark.parametrize("kind", STAYS)
def test_a_callback_that_moves_nothing_leaves_all_else(kind: str) -> None:
    timers = (Timer("nag", LATER),)
    run = record(
        calls=(CALL,), due_at=LATER, attempt=2, error=Failure("E", "m"), timers=timers, since=2
    )
    event = result(kind, 3, call="c-1")
    after = accepted(run, event)
    kept = msgspec.structs.replace(
        run, version=4, lag=1, calls=(), updated_at=event.time, offsets=(1, 2, 3, 9)
    )
    assert after == kept


def test_a_callback_that_is_wanted_later_is_due_again() -> None:
    run = record(calls=(CALL, OTHER))
    after = accepted(run, result(POSTPONED, 3, call="c-1", dueat=LATER, attempt=2))
    again = msgspec.structs.replace(CALL, due_at=LATER, attempt=2)
    assert after.calls == (OTHER, again)


def test_a_callback_that_waits_is_looked_at_again_at_each_status() -> None:
    waiting = msgspec.structs.replace(CALL, due_at=LATER)
    run = record(calls=(waiting, OTHER))
    event = result(MOVED, 3, status="PICKED")
    assert [call.due_at for call in accepted(run, event).calls] == [event.time, event.time]
    for kind in (REPEATED, FAILED, SKIPPED, STARTED):
        assert accepted(run, result(kind, 3)).calls == run.calls


def test_an_answer_that_saves_the_object_makes_stale_what_works_on_the_old_one() -> None:
    event = result(POSTPONED, 3, call="c-1", dueat=LATER, data=b'{"n":2}')
    after = accepted(record(calls=(CALL,)), event)
    assert (bytes(after.object), after.lag) == (b'{"n":2}', 0)
    assert refused(after, result(MOVED, 3, status="PICKED")) is Verdict.STALE


def test_the_error_of_a_callback_is_told_until_it_is_answered() -> None:
    run = record(calls=(CALL,))
    failed = accepted(run, result(POSTPONED, 3, call="c-1", dueat=LATER, attempt=1, errortype="E"))
    assert (failed.error, failed.attempt) == (Failure("E", ""), 0)
    assert accepted(failed, result(SKIPPED, 4, call="c-1")).error is None
    assert accepted(failed, result(DECLINED, 4, call="c-1", errortype="E")).error is None


@pytest.mark.parametrize(
    ("failed", "attempt", "left"), [(0, 0, True), (0, 1, True), (1, 1, True), (1, 0, False)]
)
def test_an_error_goes_with_what_has_failed_unless_the_step_has(
    failed: int, attempt: int, left: bool
) -> None:
    error = Failure("E", "m")
    call = msgspec.structs.replace(CALL, attempt=failed)
    timer = Timer("nag", NOW, failed)
    run = record(calls=(call,), timers=(timer,), attempt=attempt, error=error)
    for event in (
        result(SKIPPED, 3, call="c-1"),
        result(EXPIRED, 3, timer="nag", dueat=NOW),
    ):
        assert accepted(run, event).error == (error if left else None)


@pytest.mark.parametrize("kind", [SKIPPED, DECLINED])
def test_only_a_callback_that_was_postponed_is_due_again(kind: str) -> None:
    run = record(calls=(CALL,))
    assert accepted(run, result(kind, 3, call="c-1", dueat=LATER)).calls == ()


def test_what_was_declined_is_no_error_of_the_run() -> None:
    own = Failure("E", "m")
    run = record(calls=(CALL,), attempt=1, error=own)
    assert accepted(run, result(DECLINED, 3, call="c-1", errortype="Refused")).error == own


@pytest.mark.parametrize("kind", [DECLINED, SKIPPED, POSTPONED])
def test_what_was_declined_may_be_asked_again_under_its_key(kind: str) -> None:
    asked = accepted(record(), callback("c-1"), callback("c-2"))
    run = accepted(asked, result(kind, 3, call="c-1"))
    assert run.requests == (("c-2",) if kind == DECLINED else ("c-1", "c-2"))
    if kind == DECLINED:
        assert len(accepted(run, callback("c-1")).calls) == 2
    else:
        assert refused(run, callback("c-1")) is Verdict.DUPLICATE


def test_of_a_callback_a_timeout_and_a_cancel_the_first_in_the_log_wins() -> None:
    run = record(calls=(CALL,), timers=(Timer("late", NOW),))
    answer = result(MOVED, 3, status="SIGNED", call="c-1")
    timeout = result(MOVED, 3, status="LATE", timer="late")
    cancel = steer("cancel", "r-1")

    signed = accepted(run, answer)
    assert (signed.status, signed.calls, signed.timers) == ("SIGNED", (), ())
    assert refused(signed, timeout) is Verdict.STALE
    assert accepted(signed, cancel).state is State.CANCELLED

    late = accepted(run, timeout)
    assert (late.status, [call.id for call in late.calls]) == ("LATE", ["c-1"])
    assert refused(late, answer) is Verdict.STALE

    cancelled = accepted(run, cancel)
    assert (cancelled.calls, cancelled.timers) == ((), ())
    for too_late in (answer, timeout):
        assert refused(cancelled, too_late) is Verdict.STALE


def test_a_timeout_that_was_computed_before_a_callback_came_still_moves_the_run() -> None:
    run = accepted(record(timers=(Timer("late", NOW),)), callback())
    late = accepted(run, result(MOVED, 3, status="LATE", timer="late"))
    assert (late.status, [call.id for call in late.calls]) == ("LATE", ["c-1"])
    assert refused(late, result(MOVED, 4, status="SIGNED", call="c-1")) is Verdict.STALE


# ---- hooks


PAUSE_1, PAUSE_2 = DueHook("pause", NOW, id="h-1"), DueHook("pause", LATER, id="h-2")


def hooked(version: int, hook: DueHook = PAUSE_1, **fields: Any) -> Event:
    return result(HOOKED, version, hook=hook.on, call=hook.id, **fields)


@pytest.mark.parametrize("version", [1, 3, 4])
@pytest.mark.parametrize("state", State)
def test_a_hook_that_has_run_is_gone_whatever_became_of_the_run(state: State, version: int) -> None:
    run = record(state, hooks=(PAUSE_1, DueHook("cancel", NOW)), due_at=LATER, lag=1)
    event = hooked(version, errortype="E")
    after = accepted(run, event)
    kept = msgspec.structs.replace(
        run,
        version=4,
        lag=2,
        hooks=(DueHook("cancel", NOW),),
        updated_at=event.time,
        offsets=(1, 2, 3, 9),
    )
    assert after == kept


def test_a_hook_that_has_failed_is_due_again() -> None:
    run = record(hooks=(PAUSE_1, DueHook("resume", NOW)))
    after = accepted(run, hooked(3, dueat=LATER, attempt=1))
    again = DueHook("pause", LATER, 1, id="h-1")
    assert after.hooks == (again, DueHook("resume", NOW))


def test_of_two_hooks_for_the_same_change_the_one_that_has_run_is_gone() -> None:
    run = record(hooks=(PAUSE_1, PAUSE_2))
    assert accepted(run, hooked(3)).hooks == (PAUSE_2,)
    assert accepted(run, hooked(3, PAUSE_2)).hooks == (PAUSE_1,)


def test_a_hook_that_is_not_due_is_answered_by_nobody() -> None:
    run = record(hooks=(PAUSE_1,))
    for other in (PAUSE_2, DueHook("resume", NOW, id="h-1")):
        assert refused(run, hooked(3, other)) is Verdict.STALE
    answered = accepted(run, hooked(3))
    assert refused(answered, hooked(3)) is Verdict.STALE
    assert refused(answered, hooked(4)) is Verdict.STALE


# ---- deletion, and forgetting


@pytest.mark.parametrize("state", State)
def test_data_are_deleted_if_that_was_requested(state: State) -> None:
    child = Child("parcels", "p-1", "c", "COMPLETED", "SENT", "enough", msgspec.Raw(b"1"))
    run = record(
        state,
        error=Failure("E", "m"),
        reason="because",
        children=(child,),
        forget_at=LATER,
        hooks=(DueHook("complete", NOW),),
        lag=1,
    )
    event = result(DELETED, 3)
    if state is not State.DATA_DELETION_REQUESTED:
        assert refused(run, event) is Verdict.STATE_FORBIDS
        return
    after = accepted(run, event)
    assert after.state is State.DATA_DELETED
    assert (after.object, after.error, after.reason) == (NOTHING, None, "")
    assert after.children == (Child("parcels", "p-1", "c", "COMPLETED", "SENT"),)
    assert (after.hooks, after.forget_at, after.updated_at) == (run.hooks, None, event.time)
    assert (after.version, after.lag) == (4, 0)


def test_what_is_left_of_an_object_is_what_the_deletion_says() -> None:
    run = record(State.DATA_DELETION_REQUESTED)
    assert bytes(accepted(run, result(DELETED, 3, data=b'{"n":0}')).object) == b'{"n":0}'


@pytest.mark.parametrize("state", State)
def test_a_run_that_has_ended_is_forgotten(state: State) -> None:
    run = record(state)
    if state in LIVE:
        assert refused(run, result(FORGOTTEN, 3)) is Verdict.STATE_FORBIDS
    else:
        assert fold(run, result(FORGOTTEN, 3), 9) == (None, Verdict.ACCEPTED)


@pytest.mark.parametrize("kind", [DELETED, FORGOTTEN])
def test_what_is_done_for_a_run_that_has_ended_counts_for_one_version(kind: str) -> None:
    run = record(State.DATA_DELETION_REQUESTED)
    for version in (2, 4):
        assert refused(run, result(kind, version)) is Verdict.STALE


def test_a_run_whose_data_are_to_be_deleted_is_not_forgotten_first() -> None:
    done = record(State.COMPLETED, forget_at=NOW)
    asked = accepted(done, steer("delete", "r-1"))
    assert refused(asked, result(FORGOTTEN, 3)) is Verdict.STALE


# ---- correlations

START = Start(
    workflow="parcels",
    foreign_id="p-1",
    run_id="child-1",
    status="PACKED",
    data=msgspec.Raw(b"{}"),
)
BY_X, BY_Y = pack_correlations(["by=x"]), pack_correlations(["by=y"])


@pytest.mark.parametrize("kind", [MOVED, STARTED])
def test_the_values_of_a_status_are_those_that_it_was_entered_with(kind: str) -> None:
    run = record(correlations=BY_X)
    assert accepted(run, result(kind, 3, correlations=BY_Y)).correlations == BY_Y
    assert accepted(run, result(kind, 3)).correlations == ""
    assert accepted(record(), result(kind, 3, correlations=BY_Y)).correlations == BY_Y


@pytest.mark.parametrize("kind", [REPEATED, SKIPPED, FAILED, PAUSED])
def test_they_stay_as_long_as_the_run_does(kind: str) -> None:
    run = record(correlations=BY_X)
    state = State.PAUSED if kind == PAUSED else None
    assert accepted(run, result(kind, 3, state=state)).correlations == BY_X
    assert accepted(run, steer("pause", "r-1")).correlations == BY_X
    starts = pack_starts([START])
    assert accepted(run, result(kind, 3, state=state, starts=starts)).correlations == BY_X


def test_they_lead_to_no_run_that_has_ended() -> None:
    run = record(correlations=BY_X)
    done = result(MOVED, 3, state=State.COMPLETED, correlations=BY_Y)
    for event in (done, result(CANCELLED, 3, state=State.CANCELLED), steer("cancel", "r-1")):
        assert accepted(run, event).correlations == ""


# ---- the stay


def test_a_stay_goes_on_whatever_is_repeated_in_it() -> None:
    run = record(since=2)
    again = accepted(run, result(REPEATED, 3))
    assert (again.since, again.stay) == (4, 2)
    again = accepted(again, result(REPEATED, 4))
    assert (again.since, again.stay) == (5, 2)
    failed = accepted(again, result(FAILED, 5, attempt=1))
    assert (failed.since, failed.stay) == (5, 2)
    moved = accepted(failed, result(MOVED, 6, status="PICKED"))
    assert (moved.since, moved.stay) == (7, None)


# ---- the end


def test_nothing_waits_at_a_run_that_has_completed() -> None:
    run = record(
        calls=(CALL,),
        timers=(Timer("nag", NOW),),
        correlations=BY_X,
        due_at=NOW,
        hooks=(DueHook("resume", NOW),),
    )
    event = result(
        MOVED,
        3,
        status="DONE",
        state=State.COMPLETED,
        timers=pack_timers((Timer("x", NOW),)),
        forgetat=LATER,
    )
    after = accepted(run, event)
    assert (after.calls, after.timers, after.correlations, after.due_at) == ((), (), "", None)
    assert after.hooks == run.hooks
    assert after.forget_at is None, "that is asked of it once its hooks are known"
