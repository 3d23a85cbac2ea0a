"""Which slots of a schedule are due, whatever the clock does and however late it is looked at."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamwf.schedules import ON_TIME, Plan, Spec, changed, due_of
from tests.support import NOW, examples

HOUR = timedelta(hours=1)

CRONS = st.sampled_from(["*/7 * * * *", "@hourly", "30 2 * * *", "@every 40s", "0 0 30 2 *"])
CATCH_UPS: st.SearchStrategy[Any] = st.sampled_from(["none", "latest", 1, 3, 50])
STEPS = st.lists(
    st.tuples(
        st.integers(-7_200, 20_000).map(lambda seconds: timedelta(seconds=seconds)),
        st.booleans(),
    ),
    max_size=30,
)


def plan(cron: str = "@hourly", **spec: Any) -> Plan:
    return Plan(spec=Spec(cron=cron, foreign_id="f", timezone="Europe/Berlin", **spec))


@given(CRONS, CATCH_UPS, STEPS)
@examples(200)
def test_no_slot_is_fired_twice_and_none_before_its_time(
    text: str, catch_up: Any, steps: list[tuple[timedelta, bool]]
) -> None:
    """The clock goes on or is set back, and some looks fail."""
    current, position, now = plan(text, catch_up=catch_up), NOW, NOW
    cron, latest = current.spec.parse(), NOW
    fired: list[datetime] = []
    for step, fails in steps:
        now += step
        latest = max(latest, now)
        due = due_of(current, position, cron, now)
        slots = cron.slots(due.after, due.until, 10_000)
        assert all(position < slot <= latest for slot in slots)
        if fails:
            position = due.after
            current = msgspec.structs.replace(current, owed=due.until)
            continue
        fired += slots
        position = slots[-1] if slots else due.after
        current = msgspec.structs.replace(current, owed=None)
    assert fired == sorted(set(fired))


@given(CRONS, CATCH_UPS, st.integers(0, 59))
@examples(50)
def test_what_is_on_time_is_always_fired(text: str, catch_up: Any, late: int) -> None:
    current = plan(text, catch_up=catch_up)
    cron = current.spec.parse()
    slot = cron.next_after(NOW + 5 * HOUR)
    if slot is None:
        return
    due = due_of(current, NOW, cron, slot + timedelta(seconds=late))
    assert due.after < slot <= due.until


def test_a_slot_is_missed_after_a_minute() -> None:
    current = plan(catch_up="none")
    cron = current.spec.parse()
    slot = cron.next_after(NOW)
    assert slot is not None
    for late, slots in [(timedelta(0), 1), (ON_TIME - timedelta(microseconds=1), 1), (ON_TIME, 0)]:
        due = due_of(current, NOW, cron, slot + late)
        assert len(cron.slots(due.after, due.until, 10)) == slots


def test_a_change_of_name_counts_for_the_slots_after_it() -> None:
    first = plan(overlap="start")
    now = NOW + timedelta(minutes=5)
    after = changed(first, NOW, Spec(cron="@daily", foreign_id="g"), now)
    assert after.position == now
    assert after.naming(now) == ("f", "start")
    assert after.naming(now + HOUR) == ("g", "skip")
    again = changed(after, now, Spec(cron="@hourly", foreign_id="g"), now + HOUR)
    assert again.naming(now) == ("f", "start")


def test_a_change_while_the_clock_is_behind_keeps_the_position() -> None:
    after = changed(plan(), NOW, Spec(cron="@daily", foreign_id="f"), NOW - HOUR)
    assert after.position == NOW


def test_what_was_due_at_a_change_is_missed_from_then_on() -> None:
    first = plan("@daily")
    day = first.spec.parse().next_after(NOW)
    assert day is not None
    after = changed(first, NOW, Spec(cron="@hourly", foreign_id="f"), day + HOUR)
    assert after.position is not None
    cron = after.spec.parse()
    assert cron.slots(after.position, day + HOUR, 100) == [day, day + HOUR]


def test_what_is_owed_is_owed_by_the_slots_that_it_was_owed_for() -> None:
    owing = msgspec.structs.replace(plan("@monthly"), owed=NOW + 40 * 24 * HOUR)
    now = NOW + 41 * 24 * HOUR
    named = changed(
        owing, NOW, Spec(cron="@monthly", foreign_id="g", timezone="Europe/Berlin"), now
    )
    assert named.owed == owing.owed
    for spec in (
        Spec(cron="@every 1s", foreign_id="f", timezone="Europe/Berlin"),
        Spec(cron="@monthly", foreign_id="f"),
    ):
        assert changed(owing, NOW, spec, now).owed is None
