"""What a run waits for, as a function of its record."""

from datetime import timedelta

import pytest

from streamwf.agenda import Entry, Kind, entries
from streamwf.record import LIVE, MAILBOX, NOTHING, Call, DueHook, Record, State, Timer
from tests.support import NOW, record

LATER = NOW + timedelta(hours=1)
SOON = NOW + timedelta(seconds=1)
TIMERS = (Timer("nag", LATER), Timer("give-up", LATER))
CALLS = (Call("c-1", "", SOON, LATER, NOTHING), Call("c-2", "", NOW, LATER, NOTHING))
HOOKS = (DueHook("pause", SOON), DueHook("resume", NOW))

HOOKED = (Entry(SOON, Kind.HOOK, "pause"), Entry(NOW, Kind.HOOK, "resume"))

ENDED = [State.COMPLETED, State.CANCELLED, State.DATA_DELETION_REQUESTED, State.DATA_DELETED]


def full(state: State, **fields: object) -> Record:
    """A run that has all that an agenda can hold."""
    held = {
        "due_at": NOW,
        "entered": True,
        "timers": TIMERS,
        "calls": CALLS,
        "hooks": HOOKS,
        "resume_at": LATER,
        "forget_at": None if state in LIVE else LATER,
    }
    return record(state, **{**held, **fields})


@pytest.mark.parametrize("state", [State.INITIATED, State.RUNNING])
def test_a_run_at_work_waits_for_its_step_and_all_that_is_beside_it(state: State) -> None:
    assert entries(full(state)) == (
        Entry(NOW, Kind.STEP),
        Entry(LATER, Kind.TIMER, "nag"),
        Entry(LATER, Kind.TIMER, "give-up"),
        Entry(SOON, Kind.CALL, "c-1"),
        Entry(NOW, Kind.CALL, "c-2"),
        *HOOKED,
    )


@pytest.mark.parametrize("beside", ["timers", "calls", "hooks"])
def test_a_run_that_waits_for_an_answer_has_only_what_is_beside_it(beside: str) -> None:
    nothing = {"timers": (), "calls": (), "hooks": ()}
    held = getattr(full(State.RUNNING), beside)
    found = entries(full(State.RUNNING, due_at=None, **{**nothing, beside: held}))
    kind = {"timers": Kind.TIMER, "calls": Kind.CALL, "hooks": Kind.HOOK}[beside]
    assert [entry.kind for entry in found] == [kind, kind]


def test_a_run_with_nothing_beside_its_step() -> None:
    assert entries(record(due_at=NOW)) == (Entry(NOW, Kind.STEP),)
    assert entries(record()) == ()


def test_callbacks_wait_until_the_run_begins() -> None:
    calls = CALLS[1:]
    not_yet = {"entered": False, "timers": (), "hooks": (), "calls": calls}
    begins_later = full(State.INITIATED, due_at=SOON, **not_yet)
    assert entries(begins_later) == (Entry(SOON, Kind.STEP),)
    has_skipped = full(State.RUNNING, due_at=None, **not_yet)
    assert entries(has_skipped) == ()
    about_to_begin = full(State.INITIATED, due_at=NOW, **not_yet)
    assert entries(about_to_begin) == (Entry(NOW, Kind.STEP), Entry(NOW, Kind.CALL, "c-2"))
    by_a_clock_that_is_ahead = full(State.INITIATED, due_at=SOON, created_at=SOON, **not_yet)
    assert entries(by_a_clock_that_is_ahead) == (
        Entry(SOON, Kind.STEP),
        Entry(NOW, Kind.CALL, "c-2"),
    )


def test_a_paused_run_waits_for_its_resumption_and_its_hooks() -> None:
    assert entries(full(State.PAUSED)) == (Entry(LATER, Kind.RESUME), *HOOKED)
    assert entries(full(State.PAUSED, hooks=())) == (Entry(LATER, Kind.RESUME),)
    assert entries(full(State.PAUSED, hooks=(), resume_at=None)) == ()


@pytest.mark.parametrize("state", ENDED)
def test_a_run_that_has_ended_waits_for_its_hooks_before_all_else(state: State) -> None:
    deleting = state is State.DATA_DELETION_REQUESTED
    delete = (Entry(NOW, Kind.DELETE),) if deleting else ()
    forget = () if deleting else (Entry(LATER, Kind.FORGET),)
    assert entries(full(state)) == HOOKED
    assert entries(full(state, hooks=())) == (*delete, *forget)
    assert entries(full(state, hooks=(), forget_at=None)) == delete
    assert entries(full(state, forget_at=None)) == HOOKED


def test_each_hook_is_tried_once_before_the_data_are_deleted() -> None:
    failed = DueHook("cancel", LATER, 1)
    again, delete = Entry(LATER, Kind.HOOK, "cancel"), Entry(NOW, Kind.DELETE)
    waiting = full(State.DATA_DELETION_REQUESTED, hooks=(failed, HOOKS[0]))
    assert entries(waiting) == (again, HOOKED[0])
    tried = full(State.DATA_DELETION_REQUESTED, hooks=(failed,))
    assert entries(tried) == (delete, again)


@pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELLED, State.DATA_DELETED])
def test_a_run_that_has_ended_and_of_which_nothing_is_asked_waits_for_nothing(
    state: State,
) -> None:
    assert entries(full(state, hooks=(), forget_at=None)) == ()


def test_a_mailbox_waits_until_what_it_keeps_has_waited_for_too_long() -> None:
    mailbox = record(kind=MAILBOX, status="", entered=True, calls=CALLS)
    assert entries(mailbox) == (Entry(SOON, Kind.CALL, "c-1"), Entry(NOW, Kind.CALL, "c-2"))
