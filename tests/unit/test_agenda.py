"""What a run waits for, as a function of its record."""

from datetime import timedelta

import pytest

from streamwf.agenda import Entry, Kind, entries
from streamwf.record import State, Timer
from tests.support import NOW, record

LATER = NOW + timedelta(hours=1)
TIMERS = (Timer("nag", LATER), Timer("give-up", LATER))


@pytest.mark.parametrize("state", [State.INITIATED, State.RUNNING])
def test_a_run_at_work_waits_for_its_step_and_its_timers(state: State) -> None:
    assert entries(record(state, due_at=NOW, timers=TIMERS)) == (
        Entry(NOW, Kind.STEP),
        Entry(LATER, Kind.TIMER, "nag"),
        Entry(LATER, Kind.TIMER, "give-up"),
    )


def test_a_run_that_waits_for_an_answer_has_only_its_timers() -> None:
    assert [entry.kind for entry in entries(record(timers=TIMERS))] == [Kind.TIMER, Kind.TIMER]
    assert entries(record()) == ()


def test_a_paused_run_waits_for_its_resumption_alone() -> None:
    paused = record(State.PAUSED, due_at=NOW, timers=TIMERS, resume_at=LATER)
    assert entries(paused) == (Entry(LATER, Kind.RESUME),)
    assert entries(record(State.PAUSED, due_at=NOW, timers=TIMERS)) == ()


@pytest.mark.parametrize("state", [State.COMPLETED, State.CANCELLED])
def test_a_run_that_has_ended_waits_for_nothing(state: State) -> None:
    assert entries(record(state, due_at=NOW, timers=TIMERS, resume_at=LATER)) == ()
