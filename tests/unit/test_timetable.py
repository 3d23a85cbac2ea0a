"""The near part of the agenda: nothing is left out, and only what holds is given out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf import timetable as module
from streamwf.agenda import Kind, entries
from streamwf.ports import Change, Checkpoint
from streamwf.record import Record, State, Timer
from streamwf.tables.memory import MemoryTable
from streamwf.timetable import WINDOW, Timetable
from tests.support import NOW, examples, record

SECOND = timedelta(seconds=1)


class Rows:
    """The rows of a shard: those that a checkpoint has written, and fresh ones."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.fresh: dict[str, Record] = {}
        self.timetable = Timetable(self.table, self.latest)

    def latest(self, foreign_id: str) -> Record | None:
        return self.fresh.get(foreign_id) or self.table.get(foreign_id)

    def fold(self, row: Record, now: datetime) -> None:
        """A row has changed, as the shard tells the timetable of it."""
        self.fresh[row.foreign_id] = row
        for entry in entries(row):
            if entry.due_at > now:
                self.timetable.add(row.foreign_id, entry)

    def checkpoint(self, *, fails: bool = False, at: datetime | None = None) -> None:
        """at: the time at which the agenda is looked at while the checkpoint is under way."""
        self.timetable.writing()
        if at is not None:
            self.timetable.scan(at)
        if fails:
            self.timetable.not_written()
            return
        changes = [Change(key, self.table.get(key), row) for key, row in self.fresh.items()]
        self.table.write(Checkpoint(changes, 1))
        self.fresh = {}
        self.timetable.written()

    def due(self, now: datetime) -> list[tuple[str, Kind, str]]:
        self.timetable.scan(now)
        return [(row.foreign_id, kind, name) for row, kind, name in self.timetable.due(now)]


def run(foreign_id: str = "o-1", **fields: object) -> Record:
    return record(foreign_id=foreign_id, **fields)


@pytest.fixture
def rows() -> Rows:
    rows = Rows()
    rows.timetable.scan(NOW)
    return rows


STEP = ("o-1", Kind.STEP, "")


@pytest.mark.parametrize("ahead", [SECOND, WINDOW, WINDOW + SECOND, timedelta(days=400)])
@pytest.mark.parametrize("written", ["before", "after", "failed", "never"])
def test_each_entry_comes_due_once_and_in_time(rows: Rows, ahead: timedelta, written: str) -> None:
    due_at = NOW + ahead
    rows.fold(run(due_at=due_at), NOW)
    if written in ("before", "failed"):
        rows.checkpoint(fails=written == "failed")
    assert rows.due(due_at - timedelta(microseconds=1)) == []
    if written == "after":
        rows.checkpoint()
    assert set(rows.due(due_at)) == {STEP}
    rows.fold(run(due_at=None), due_at)
    assert rows.due(due_at + WINDOW) == []


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_checkpoint_is_writing_is_seen_while_it_is_under_way(
    rows: Rows, fails: bool
) -> None:
    at = NOW + timedelta(days=1)
    rows.fold(run(due_at=at), NOW)
    rows.checkpoint(fails=fails, at=at)
    assert set(rows.due(at)) == {STEP}


def test_what_is_in_the_table_at_the_start_comes_due() -> None:
    rows = Rows()
    rows.fold(run("past", due_at=NOW - timedelta(days=9)), NOW)
    rows.fold(run("1969", due_at=datetime(1969, 7, 20, tzinfo=UTC)), NOW)
    rows.fold(run("year-one", due_at=datetime(1, 1, 1, tzinfo=UTC)), NOW)
    rows.fold(run("soon", due_at=NOW + SECOND), NOW)
    rows.checkpoint()
    later = Timetable(rows.table, rows.latest)
    later.scan(NOW)
    *first, last = [row.foreign_id for row, _, _ in later.due(NOW)]
    assert (set(first), last) == ({"year-one", "1969"}, "past")
    assert [row.foreign_id for row, _, _ in later.due(NOW + SECOND)] == ["soon"]


def test_what_holds_no_more_is_left_out(rows: Rows) -> None:
    at = NOW + SECOND
    rows.fold(run("moved", due_at=at), NOW)
    rows.fold(run("paused", due_at=at), NOW)
    rows.fold(run("gone", due_at=at), NOW)
    rows.fold(run("same", due_at=at), NOW)
    rows.fold(run("moved", due_at=at + SECOND), NOW)
    rows.fold(run("paused", due_at=at, state=State.PAUSED), NOW)
    del rows.fresh["gone"]
    assert [foreign_id for foreign_id, _, _ in rows.due(at)] == ["same"]


def test_all_of_a_run_that_is_due_at_one_instant(rows: Rows) -> None:
    at = NOW + timedelta(days=1)
    timers = (Timer("nag", at), Timer("give-up", at), Timer("later", at + SECOND))
    rows.fold(run(due_at=at, timers=timers), NOW)
    rows.checkpoint()
    assert set(rows.due(at)) == {
        STEP,
        ("o-1", Kind.TIMER, "nag"),
        ("o-1", Kind.TIMER, "give-up"),
    }


def test_more_than_is_read_at_a_time(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DUE_LIMIT", 10)
    at = NOW + timedelta(days=1)
    for n in range(35):
        rows.fold(run(f"o-{n:02}", due_at=at + n // 2 * timedelta(milliseconds=1)), NOW)
    rows.checkpoint()
    found: list[str] = []
    for _ in range(5):
        found += [foreign_id for foreign_id, _, _ in rows.due(at + SECOND)]
    assert found == [f"o-{n:02}" for n in range(35)]


def test_any_number_may_be_due_at_one_instant(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DUE_LIMIT", 10)
    at = NOW + timedelta(days=1)
    for n in range(0, 40, 2):
        rows.fold(run(f"o-{n:02}", due_at=at), NOW)
    rows.checkpoint()
    found = [foreign_id for foreign_id, _, _ in rows.due(at)]
    assert found == [f"o-{n:02}" for n in range(0, 20, 2)]
    # What comes meanwhile is given out too, before or after the place that was read to.
    for n in range(1, 40, 2):
        rows.fold(run(f"o-{n:02}", due_at=at), at - SECOND)
    assert {row.foreign_id for row, _, _ in rows.timetable.late(at)} == {
        f"o-{n:02}" for n in range(40) if n % 2 or n >= 20
    }
    for _ in range(3):
        found += [foreign_id for foreign_id, _, _ in rows.due(at)]
    assert sorted(found) == [f"o-{n:02}" for n in range(40)]


_moves = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.none() | st.integers(0, 20),
        st.integers(0, 3),
        st.sampled_from(["written", "failed", "", ""]),
    ),
    max_size=25,
)


@examples(300)
@given(_moves)
def test_whatever_moves_and_whenever_it_is_written_nothing_due_is_missed(
    moves: list[tuple[str, int | None, int, str]],
) -> None:
    nothing_due_is_missed(moves, looks=1)


@examples(300)
@given(_moves)
def test_nothing_due_is_missed_however_little_is_held(
    moves: list[tuple[str, int | None, int, str]],
) -> None:
    with pytest.MonkeyPatch.context() as patches:
        for name, limit in (("HELD", 1), ("MOST_HELD", 1), ("DUE_LIMIT", 2)):
            patches.setattr(module, name, limit)
        # A look may find nothing but what holds no more.
        nothing_due_is_missed(moves, looks=len(moves) + 1)


def nothing_due_is_missed(moves: list[tuple[str, int | None, int, str]], looks: int) -> None:
    """A run whose entry is due stays among what was given out until it changes."""
    rows, now = Rows(), NOW
    given_out: set[str] = set()
    for foreign_id, due, passes, checkpoint in moves:
        row = run(foreign_id, due_at=None if due is None else NOW + due * SECOND)
        given_out.discard(foreign_id)
        rows.fold(row, now)
        # What is due at once goes to the dispatcher without the timetable.
        if row.due_at is not None and row.due_at <= now:
            given_out.add(foreign_id)
        later = now + passes * SECOND
        if checkpoint:
            rows.checkpoint(fails=checkpoint == "failed", at=later if passes == 3 else None)
        now = later
        for _ in range(looks):
            given_out |= {foreign_id for foreign_id, _, _ in rows.due(now)}
        for name in "abc":
            latest = rows.latest(name)
            waits = latest is None or latest.due_at is None or latest.due_at > now
            assert (name in given_out) == (not waits), (name, latest)


# ---- what is late


def late(rows: Rows, now: datetime) -> list[tuple[str, Kind, str]]:
    return sorted((row.foreign_id, kind, name) for row, kind, name in rows.timetable.late(now))


def test_late_is_what_is_due_and_was_not_taken_out() -> None:
    rows = Rows()
    due = [run(f"o-{n}", due_at=None, timers=(Timer("t", NOW + n * SECOND),)) for n in range(4)]
    rows.fold(due[0], NOW - SECOND)
    rows.checkpoint()
    for row in due[1:]:
        rows.fold(row, NOW - SECOND)
    assert late(rows, NOW - SECOND) == []
    # Nobody has looked at the agenda yet: one is in the table, and two are in no checkpoint.
    told = [(f"o-{n}", Kind.TIMER, "t") for n in range(4)]
    assert late(rows, NOW + 2 * SECOND) == told[:3]
    rows.timetable.scan(NOW)
    assert late(rows, NOW + SECOND) == told[:2]
    assert len(list(rows.timetable.due(NOW + SECOND))) == 2
    assert late(rows, NOW + SECOND) == []
    # What was answered meanwhile is not late.
    rows.fold(run("o-2", due_at=None), NOW + 2 * SECOND)
    assert late(rows, NOW + 3 * SECOND) == told[3:]


def test_only_so_many_are_given_out_at_a_time(rows: Rows) -> None:
    for n in range(35):
        rows.fold(run(f"o-{n:02}", due_at=NOW + SECOND), NOW)
    looks = [list(rows.timetable.due(NOW + SECOND, 10)) for _ in range(5)]
    assert [len(look) for look in looks] == [10, 10, 10, 5, 0]
    assert {row.foreign_id for look in looks for row, _, _ in look} == {
        f"o-{n:02}" for n in range(35)
    }


@pytest.mark.parametrize("written", ["before", "after", "failed", "never"])
def test_what_waits_to_be_begun_is_not_all_held(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    for name, limit in (("HELD", 5), ("MOST_HELD", 10), ("DUE_LIMIT", 10)):
        monkeypatch.setattr(module, name, limit)
    asked, get = list[str](), rows.latest

    def noted(key: str) -> Record | None:
        asked.append(key)
        return get(key)

    rows.timetable = Timetable(rows.table, noted)
    begun, waits = 0, [run(f"o-{n:02}", due_at=NOW) for n in range(60)]
    for row in waits:
        # Due already, but there was no room for them.
        rows.fresh[row.foreign_id] = row
        rows.timetable.add(row.foreign_id, entries(row)[0])
    if written in ("before", "failed"):
        rows.checkpoint(fails=written == "failed")
    found: list[str] = []
    while len(found) < 60:
        rows.timetable.scan(NOW)
        some = [row.foreign_id for row, _, _ in rows.timetable.due(NOW, 4)]
        assert some
        found += some
        begun += 1
        if written == "after" and begun == 3:
            rows.checkpoint()
    assert found == [row.foreign_id for row in waits]
    assert asked == found, "a row is read when its turn has come"


def test_no_more_are_read_while_many_are_held(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DUE_LIMIT", 10)
    monkeypatch.setattr(module, "HELD", 15)
    at = NOW + timedelta(days=1)
    for n in range(60):
        rows.fold(run(f"o-{n:02}", due_at=at), NOW)
    rows.checkpoint()
    read, found = 0, list[str]()
    due = rows.table.due

    def counted(*asked: Any) -> list[tuple[datetime, str]]:
        nonlocal read
        entries = due(*asked)
        read += len(entries)
        return entries

    monkeypatch.setattr(rows.table, "due", counted)
    while len(found) < 60:
        rows.timetable.scan(at)
        found += [row.foreign_id for row, _, _ in rows.timetable.due(at, 5)]
        assert read <= len(found) + 15 + 10
    assert found == [f"o-{n:02}" for n in range(60)]
