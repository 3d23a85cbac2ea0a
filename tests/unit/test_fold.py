"""The fold: each kind of event, in each state that it may meet."""

from datetime import timedelta

import msgspec
import pytest

from streamwf.errors import UnreadableRecord
from streamwf.events import (
    CANCEL,
    CANCELLED,
    DELETE,
    EXPIRED,
    FAILED,
    MOVED,
    PAUSE,
    PAUSED,
    REJECTED,
    REPEATED,
    RESUME,
    RESUMED,
    RETRY,
    SKIPPED,
    STARTED,
    pack_timers,
)
from streamwf.fold import Verdict, fold
from streamwf.record import (
    LIVE,
    MAX_OFFSETS,
    MAX_REASON,
    MAX_REQUESTS,
    SCHEDULE,
    TRANSITIONS,
    Failure,
    State,
    Timer,
)
from tests.support import NOW, THEN, record, result, steer, trigger

HOUR = timedelta(hours=1)
LATER = NOW + HOUR

#: What each kind of result leads to, and the state that its event states.
RESULTS = {
    STARTED: None,
    MOVED: None,
    REPEATED: None,
    SKIPPED: None,
    FAILED: None,
    PAUSED: State.PAUSED,
    CANCELLED: State.CANCELLED,
    REJECTED: State.CANCELLED,
}


def accepted(before, event, offset=9):
    after, verdict = fold(before, event, offset)
    assert verdict is Verdict.ACCEPTED
    return after


def refused(before, event):
    after, verdict = fold(before, event, 9)
    assert after is before
    return verdict


NAG, GIVE_UP = Timer("nag", NOW), Timer("give-up", LATER)


def expired(version: int, timer: Timer = NAG, again: Timer | None = None, **fields):
    timers = pack_timers((again,)) if again else ""
    return result(EXPIRED, version, timer=timer.name, dueat=timer.due_at, timers=timers, **fields)


# ---- triggers


def test_trigger_starts_a_run() -> None:
    run = accepted(None, trigger(), 7)
    assert run.foreign_id == "o-1"
    assert run.run_id == "run-1"
    assert run.status == "CREATED"
    assert run.state is State.INITIATED
    assert run.version == 1
    assert bytes(run.object) == b'{"n":1}'
    assert (run.created_at, run.updated_at, run.due_at) == (NOW, NOW, NOW)
    assert run.offsets == (7,)
    assert not run.entered


def test_trigger_with_a_start_waits_for_it() -> None:
    assert accepted(None, trigger(start_at=LATER)).due_at == LATER


def test_trigger_without_an_object_carries_null() -> None:
    assert bytes(accepted(None, trigger(data=None)).object) == b"null"


@pytest.mark.parametrize("state", State)
def test_second_trigger(state: State) -> None:
    run = record(state)
    second = trigger(run_id="run-2", event_id="t-2")
    if state in LIVE:
        assert refused(run, second) is Verdict.RUN_IN_PROGRESS
    else:
        assert accepted(run, second).run_id == "run-2"


@pytest.mark.parametrize("state", State)
def test_trigger_read_twice_is_a_duplicate_whatever_became_of_the_run(state: State) -> None:
    assert refused(record(state), trigger(event_id="another")) is Verdict.DUPLICATE


def test_trigger_of_an_inner_run() -> None:
    event = msgspec.structs.replace(trigger(), kind=SCHEDULE)
    assert accepted(None, event).kind == SCHEDULE


@pytest.mark.parametrize("state", [None, *State])
def test_trigger_that_is_to_have_another_foreign_id_goes_there(state: State | None) -> None:
    """A run that is known under the first one is not started again under the other."""
    run = None if state is None else record(state)
    other = msgspec.structs.replace(trigger(run_id="run-2"), instead="o-2")
    assert refused(run, other) is Verdict.HANDED_ON
    known = msgspec.structs.replace(trigger(), instead="o-2")
    if run is not None:
        assert refused(run, known) is Verdict.DUPLICATE


@pytest.mark.parametrize("state", [None, *State])
def test_trigger_is_judged_as_any_other_under_the_foreign_id_that_it_is_to_have(
    state: State | None,
) -> None:
    run = None if state is None else record(state)
    event = msgspec.structs.replace(trigger(run_id="run-2"), instead="o-1")
    if run is not None and run.state in LIVE:
        assert refused(run, event) is Verdict.RUN_IN_PROGRESS
    else:
        assert accepted(run, event).run_id == "run-2"


def test_new_run_keeps_nothing_of_the_one_before() -> None:
    before = record(
        State.CANCELLED, requests=("x",), error=Failure("E", "m"), reason="enough", attempt=4
    )
    assert accepted(before, trigger(run_id="run-2")) == accepted(None, trigger(run_id="run-2"))


# ---- requests

STATE_OF = {
    PAUSE: State.PAUSED,
    RESUME: State.RUNNING,
    CANCEL: State.CANCELLED,
    DELETE: State.DATA_DELETION_REQUESTED,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", STATE_OF)
def test_requests_ask_the_table_of_the_life_cycle(kind: str, state: State) -> None:
    run = record(state)
    allowed = STATE_OF[kind] in TRANSITIONS[state]
    if kind == RESUME:
        allowed = state is State.PAUSED
    if not allowed:
        assert refused(run, steer(kind, "r-1")) is Verdict.STATE_FORBIDS
        return
    after = accepted(run, steer(kind, "r-1", reason="because"))
    assert after.state is STATE_OF[kind]
    assert after.version == run.version + 1
    assert after.updated_at == THEN
    assert after.reason == "because"
    assert after.status == run.status
    assert after.object is run.object
    assert after.offsets == (1, 2, 3, 9)
    assert after.requests == ("r-1",)


def test_a_reason_is_kept_in_part() -> None:
    long = "x" * (MAX_REASON + 1)
    assert accepted(record(), steer(PAUSE, "r-1", reason=long)).reason == "x" * MAX_REASON
    failing = record(attempt=1, due_at=LATER)
    assert accepted(failing, steer(RETRY, "r-1", reason=long)).reason == "x" * MAX_REASON


def test_requests_are_judged_by_the_state_whatever_version_they_name() -> None:
    event = msgspec.structs.replace(steer(PAUSE, "r-1"), version=77)
    assert accepted(record(), event).state is State.PAUSED


@pytest.mark.parametrize("kind", STATE_OF)
def test_request_without_a_run(kind: str) -> None:
    assert refused(None, steer(kind, "r-1")) is Verdict.NO_SUCH_RUN


@pytest.mark.parametrize("kind", STATE_OF)
def test_request_for_another_run(kind: str) -> None:
    run = record(State.PAUSED)
    assert refused(run, steer(kind, "r-1", run_id="another")) is Verdict.NO_SUCH_RUN


def test_request_by_foreign_id_alone_means_the_latest_run() -> None:
    assert accepted(record(), steer(CANCEL, "r-1", run_id="")).state is State.CANCELLED


def test_request_read_twice_counts_once() -> None:
    paused = accepted(record(), steer(PAUSE, "r-1"))
    resumed = accepted(paused, steer(RESUME, "r-2"))
    assert refused(resumed, steer(PAUSE, "r-1")) is Verdict.DUPLICATE
    assert accepted(resumed, steer(PAUSE, "r-3")).state is State.PAUSED


def test_requests_are_remembered_through_results_and_only_so_many() -> None:
    run = record()
    for n in range(MAX_REQUESTS):
        kind = RESUME if run.state is State.PAUSED else PAUSE
        run = accepted(run, steer(kind, f"r-{n}"))
    run = accepted(run, result(SKIPPED, run.version))
    assert refused(run, steer(PAUSE, "r-0")) is Verdict.DUPLICATE
    run = accepted(run, steer(PAUSE, "one-more"))
    assert len(run.requests) == MAX_REQUESTS
    assert accepted(run, steer(RESUME, "r-0")).state is State.RUNNING


def test_pause_keeps_deadlines_and_cancel_drops_them() -> None:
    run = record(timers=(Timer("nag", LATER),), due_at=LATER)
    paused = accepted(run, steer(PAUSE, "r-1"))
    assert paused.timers == run.timers
    resumed = accepted(paused, steer(RESUME, "r-2"))
    assert (resumed.timers, resumed.due_at) == (run.timers, LATER)
    cancelled = accepted(run, steer(CANCEL, "r-1"))
    assert (cancelled.timers, cancelled.due_at) == ((), None)


def test_resume_after_errors_clears_the_count_and_tries_at_once() -> None:
    failed = record(State.PAUSED, attempt=5, error=Failure("E", "m"), due_at=LATER, resume_at=LATER)
    event = steer(RESUME, "r-1")
    after = accepted(failed, event)
    assert (after.attempt, after.error, after.resume_at) == (0, None, None)
    assert after.due_at == event.time


def test_pause_keeps_the_error_and_the_count() -> None:
    failing = record(attempt=2, error=Failure("E", "m"), due_at=LATER)
    after = accepted(failing, steer(PAUSE, "r-1"))
    assert (after.attempt, after.error, after.due_at) == (2, failing.error, LATER)


def test_resume_wakes_a_run_whose_step_skipped() -> None:
    skipped = accepted(record(due_at=NOW), result(SKIPPED, 3))
    assert skipped.due_at is None
    event = steer(RESUME, "r-2")
    woken = accepted(accepted(skipped, steer(PAUSE, "r-1")), event)
    assert (woken.due_at, woken.skipped) == (event.time, False)


def test_resume_wakes_a_step_that_skipped_though_a_timer_was_answered_since() -> None:
    run = accepted(record(due_at=NOW, timers=(NAG,)), result(SKIPPED, 3))
    run = accepted(run, expired(4))
    run = accepted(accepted(run, steer(PAUSE, "r-1")), steer(RESUME, "r-2"))
    assert run.due_at is not None


def test_a_skip_is_remembered_through_what_is_not_the_step() -> None:
    run = accepted(record(due_at=NOW, timers=(NAG,)), result(SKIPPED, 3))
    paused = accepted(run, result(PAUSED, 4, state=State.PAUSED, timer="nag"))
    resumed = accepted(paused, result(RESUMED, 5))
    assert resumed.due_at == result(RESUMED, 5).time


@pytest.mark.parametrize("kind", [REPEATED, FAILED])
def test_a_step_that_has_not_skipped_is_not_woken(kind: str) -> None:
    run = accepted(record(), result(kind, 3, dueat=LATER))
    run = accepted(accepted(run, steer(PAUSE, "r-1")), steer(RESUME, "r-2"))
    assert run.due_at == LATER


def test_resume_wakes_no_step_where_there_is_none_or_the_run_has_moved_on() -> None:
    for run in (record(), accepted(accepted(record(), result(SKIPPED, 3)), result(MOVED, 4))):
        resumed = accepted(accepted(run, steer(PAUSE, "r-1")), steer(RESUME, "r-2"))
        assert resumed.due_at is None


# ---- results


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", RESULTS)
def test_results_fold_only_onto_a_run_at_work(kind: str, state: State) -> None:
    run = record(state)
    event = result(kind, run.version, state=RESULTS[kind])
    if state in (State.INITIATED, State.RUNNING):
        after = accepted(run, event)
        assert after.state is (RESULTS[kind] or State.RUNNING)
        assert after.version == run.version + 1
        assert after.updated_at == event.time
        assert after.created_at == run.created_at
        assert after.offsets == (1, 2, 3, 9)
    else:
        assert refused(run, event) is Verdict.STATE_FORBIDS


@pytest.mark.parametrize("state", State)
def test_expired_folds_only_onto_a_run_at_work(state: State) -> None:
    run = record(state, timers=(NAG,))
    if state in (State.INITIATED, State.RUNNING):
        assert accepted(run, expired(3)).state is State.RUNNING
    else:
        assert refused(run, expired(3)) is Verdict.STATE_FORBIDS


@pytest.mark.parametrize("kind", [*RESULTS, RESUMED])
@pytest.mark.parametrize("version", [0, 1, 2, 4, 99])
def test_result_computed_from_another_version_is_stale(kind: str, version: int) -> None:
    state = State.PAUSED if kind == RESUMED else State.RUNNING
    assert refused(record(state), result(kind, version)) is Verdict.STALE


@pytest.mark.parametrize("kind", [*RESULTS, RESUMED])
def test_result_of_another_run(kind: str) -> None:
    assert refused(record(), result(kind, 3, run_id="run-0")) is Verdict.NO_SUCH_RUN
    assert refused(None, result(kind, 3)) is Verdict.NO_SUCH_RUN


def test_two_workers_ran_the_same_step_and_the_first_result_counts() -> None:
    run = record()
    first = accepted(run, result(MOVED, 3, status="PICKED", data=b'{"n":2}'))
    assert refused(first, result(MOVED, 3, status="FAILED", data=b'{"n":3}')) is Verdict.STALE


def test_result_that_arrives_after_a_pause_is_refused_and_the_step_is_due_after_resume() -> None:
    run = record(due_at=NOW)
    paused = accepted(run, steer(PAUSE, "r-1"))
    assert refused(paused, result(MOVED, 3, status="PICKED")) is Verdict.STALE
    resumed = accepted(paused, steer(RESUME, "r-2"))
    assert (resumed.status, resumed.due_at) == ("CREATED", NOW)


@pytest.mark.parametrize("stated", [State.INITIATED])
def test_result_may_not_state_what_does_not_follow_work(stated: State) -> None:
    assert refused(record(), result(MOVED, 3, state=stated)) is Verdict.STATE_FORBIDS


def test_moved_enters_a_status_with_its_timers() -> None:
    run = record(timers=(Timer("old", LATER),), attempt=2, error=Failure("E", "m"), reason="x")
    timers = (Timer("nag", LATER), Timer("give-up", LATER + HOUR))
    event = result(
        MOVED, 3, status="PICKED", data=b'{"n":2}', dueat=NOW, timers=pack_timers(timers)
    )
    after = accepted(run, event)
    assert (after.status, after.timers, after.entered, after.due_at) == (
        "PICKED",
        timers,
        True,
        NOW,
    )
    assert bytes(after.object) == b'{"n":2}'
    assert (after.attempt, after.error, after.reason) == (0, None, "")


def test_moved_to_the_end_leaves_nothing_to_do() -> None:
    run = record(timers=(Timer("nag", LATER),))
    event = result(MOVED, 3, status="DONE", state=State.COMPLETED, timers=f"nag={LATER}")
    event = msgspec.structs.replace(event, timers=pack_timers((Timer("nag", LATER),)))
    after = accepted(run, event)
    assert (after.state, after.timers) == (State.COMPLETED, ())


@pytest.mark.parametrize("kind", [REPEATED, SKIPPED, FAILED, PAUSED])
def test_results_that_stay_keep_the_timers_of_the_stay(kind: str) -> None:
    run = record(timers=(Timer("nag", LATER),), entered=True)
    after = accepted(run, result(kind, 3, state=RESULTS[kind]))
    assert (after.timers, after.status, after.entered) == (run.timers, "CREATED", True)


@pytest.mark.parametrize("kind", [PAUSED])
def test_result_that_answers_a_timer_takes_it_away(kind: str) -> None:
    other = Timer("give-up", LATER)
    run = record(timers=(Timer("nag", NOW), other))
    after = accepted(run, result(kind, 3, state=RESULTS[kind], timer="nag"))
    assert after.timers == (other,)


def test_expired_takes_its_timer_away_or_sets_it_anew() -> None:
    run = record(timers=(NAG, GIVE_UP), due_at=LATER, attempt=2, error=Failure("E", "m"))
    after = accepted(run, expired(3))
    assert after.timers == (GIVE_UP,)
    assert (after.due_at, after.attempt, after.error) == (LATER, 2, run.error)
    assert after.version == 4
    again = Timer("nag", LATER + HOUR, 3)
    assert accepted(run, expired(3, again=again)).timers == (GIVE_UP, again)


@pytest.mark.parametrize("timer", [Timer("other", NOW), Timer("nag", LATER), Timer("", NOW)])
def test_expired_answers_only_a_timer_that_waits_and_since_then(timer: Timer) -> None:
    assert refused(record(timers=(NAG, GIVE_UP)), expired(3, timer)) is Verdict.STALE


@pytest.mark.parametrize("kind", [EXPIRED, MOVED, PAUSED, CANCELLED])
def test_a_timer_that_two_workers_ran_is_answered_once(kind: str) -> None:
    once = accepted(record(timers=(NAG, GIVE_UP)), expired(3))
    again = result(kind, 3, timer="nag", dueat=NOW, state=RESULTS.get(kind))
    assert refused(once, again) is Verdict.STALE
    anew = accepted(record(timers=(NAG, GIVE_UP)), expired(3, again=Timer("nag", LATER)))
    assert refused(anew, expired(3)) is Verdict.STALE


def test_what_is_in_flight_still_counts_after_a_timer_was_answered() -> None:
    run = record(timers=(NAG, GIVE_UP, Timer("third", NOW)))
    run = accepted(run, expired(3))
    run = accepted(run, expired(3, GIVE_UP, Timer("give-up", LATER + HOUR)))
    assert (run.version, run.lag) == (5, 2)
    assert refused(run, result(MOVED, 2)) is Verdict.STALE
    assert refused(run, result(MOVED, 6)) is Verdict.STALE
    for version in (3, 4, 5):
        moved = accepted(run, result(MOVED, version, status="PICKED"))
        assert (moved.version, moved.lag) == (6, 0)
        for late in (3, 4, 5):
            assert refused(moved, result(MOVED, late, status="FAILED")) is Verdict.STALE


@pytest.mark.parametrize("kind", [PAUSE, CANCEL])
def test_nothing_in_flight_counts_after_a_request(kind: str) -> None:
    run = accepted(accepted(record(timers=(NAG,)), expired(3)), steer(kind, "r-1"))
    assert run.lag == 0
    assert refused(run, result(MOVED, 3)) is Verdict.STALE
    assert refused(run, result(MOVED, 4)) is Verdict.STALE


def test_a_timer_that_saved_the_object_makes_stale_what_works_on_the_old_one() -> None:
    run = accepted(record(timers=(NAG,)), expired(3, data=b'{"n":2}'))
    assert (bytes(run.object), run.lag) == (b'{"n":2}', 0)
    assert refused(run, result(MOVED, 3)) is Verdict.STALE


def test_the_error_of_a_timer_is_told_and_counts_for_no_step() -> None:
    failed = Timer("nag", LATER, 1)
    run = accepted(record(timers=(NAG,)), expired(3, again=failed, errortype="E"))
    assert (run.error, run.attempt, run.timers) == (Failure("E", ""), 0, (failed,))
    resumed = accepted(accepted(run, steer(PAUSE, "r-1")), steer(RESUME, "r-2"))
    assert resumed.due_at is None, "no step has failed that would have to be tried"
    assert accepted(run, expired(4, failed)).error is None


def test_a_run_that_was_paused_by_errors_resumes_by_itself() -> None:
    paused = accepted(record(), result(PAUSED, 3, state=State.PAUSED, resumeat=LATER))
    assert paused.resume_at == LATER
    assert accepted(paused, result(RESUMED, 4)).resume_at is None


def test_failed_keeps_the_object_and_tells_the_error() -> None:
    event = result(
        FAILED, 3, attempt=1, dueat=LATER, errortype="E", errormessage="m", errortrace="t"
    )
    after = accepted(record(), event)
    assert (after.attempt, after.due_at) == (1, LATER)
    assert after.error == Failure("E", "m", "t")
    assert bytes(after.object) == b'{"n":1}'


def test_the_next_result_ends_the_count_of_errors() -> None:
    failing = record(attempt=4, error=Failure("E", "m"))
    after = accepted(failing, result(REPEATED, 3, data=b"{}"))
    assert (after.attempt, after.error) == (0, None)


def test_first_result_of_a_run_says_that_its_status_was_entered() -> None:
    run = accepted(None, trigger())
    assert not accepted(run, result(FAILED, 1)).entered
    assert accepted(run, result(STARTED, 1)).entered


@pytest.mark.parametrize("state", State)
def test_auto_resume_meets_only_a_paused_run(state: State) -> None:
    run = record(state, error=Failure("E", "m"), attempt=3, due_at=NOW, resume_at=NOW)
    event = result(RESUMED, 3)
    if state is State.PAUSED:
        after = accepted(run, event)
        assert (after.state, after.attempt, after.error) == (State.RUNNING, 0, None)
        assert (after.due_at, after.resume_at) == (event.time, None)
    else:
        assert refused(run, event) is Verdict.STATE_FORBIDS


def test_unreadable_timers_are_an_error_with_a_reason() -> None:
    with pytest.raises(UnreadableRecord, match="timer 'nag=soon' can't be read"):
        fold(
            record(timers=(NAG,)), result(EXPIRED, 3, timer="nag", dueat=NOW, timers="nag=soon"), 9
        )


def test_only_the_latest_offsets_are_kept() -> None:
    run = record(offsets=tuple(range(MAX_OFFSETS)))
    after = accepted(run, result(SKIPPED, 3), 5_000)
    assert len(after.offsets) == MAX_OFFSETS
    assert after.offsets[0] == 1
    assert after.offsets[-1] == 5_000


# ---- the tries of a step


@pytest.mark.parametrize(
    "between",
    [
        [result(FAILED, 3, attempt=1)],
        [steer(PAUSE, "r-1"), steer(RESUME, "r-2")],
        [result(PAUSED, 3, attempt=1, errortype="E", state=State.PAUSED), result(RESUMED, 4)],
        [result(EXPIRED, 3, timer="nag", dueat=NOW)],
        [result(SKIPPED, 3)],
    ],
    ids=["failure", "pause", "pause by errors", "timer", "skip"],
)
def test_tries_of_a_step_share_what_they_count_from(between: list) -> None:
    run = before = record(timers=(Timer("nag", NOW),))
    for event in between:
        run = accepted(run, event)
    assert run.since == before.since


@pytest.mark.parametrize("kind", [MOVED, REPEATED])
def test_a_step_that_was_saved_begins_a_new_try(kind: str) -> None:
    assert accepted(record(), result(kind, 3, data=b"{}")).since == 4


def test_life_cycle() -> None:
    told = {str(state): {str(to) for to in following} for state, following in TRANSITIONS.items()}
    assert told == {
        "INITIATED": {"RUNNING", "PAUSED", "CANCELLED"},
        "RUNNING": {"COMPLETED", "PAUSED", "CANCELLED"},
        "PAUSED": {"RUNNING", "CANCELLED"},
        "COMPLETED": {"DATA_DELETION_REQUESTED"},
        "CANCELLED": {"DATA_DELETION_REQUESTED"},
        "DATA_DELETION_REQUESTED": {"DATA_DELETED"},
        "DATA_DELETED": {"DATA_DELETION_REQUESTED"},
    }


def test_life_cycle_table_is_closed() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(TRANSITIONS[state] for state in State)
    # A run that has ended never runs again.
    assert all(not TRANSITIONS[state] & LIVE for state in set(State) - LIVE)
