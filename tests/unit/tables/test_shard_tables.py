"""What every table of a shard owes, held against each of them."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf.indexing import LETTERS, index_rows
from streamwf.ports import Change, Checkpoint, ShardTable, Terms
from streamwf.record import Record, State, Timer, encode_record
from streamwf.searched import Searched
from streamwf.tables.memory import MemoryTable
from streamwf.tables.runs import AsOf, Memory, RunsTable
from tests.support import NOW, entries_of, examples, record
from tests.unit.any_log import Model, logs, opened

MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
TERMS = Searched(("customer", "tags"))
EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))


class Kept(Protocol):
    """A table under test, and how its host writes to it."""

    @property
    def table(self) -> ShardTable: ...

    def write(self, changes: Sequence[Change], position: int) -> None: ...

    def reopen(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.table = MemoryTable(TERMS)

    def write(self, changes: Sequence[Change], position: int) -> None:
        self.table.write(Checkpoint(changes, position))

    def reopen(self) -> None:
        """It is lost with its process, and has to be as before until then."""


class InRocksDB:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._memory = Memory()
        self._marker = 0
        self.table = RunsTable(path, self._memory, TERMS)

    def write(self, changes: Sequence[Change], position: int) -> None:
        self._marker += 10
        rows = [None if change.after is None else encode_record(change.after) for change in changes]
        self.table.write(changes, rows, AsOf("table-1", self._marker, position))

    def reopen(self, terms: Terms | None = TERMS) -> None:
        self.table.close()
        self.table = RunsTable(self._path, self._memory, terms)


@pytest.fixture(params=["memory", "rocksdb"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "memory":
        yield InMemory()
    else:
        rocks = InRocksDB(tmp_path / "table")
        yield rocks
        rocks.table.close()


def run(foreign_id: str = "o-1", run_id: str | None = None, **fields: object) -> Record:
    return record(foreign_id=foreign_id, run_id=run_id or f"run-of-{foreign_id}", **fields)


def put(kept: Kept, *runs: Record, position: int = 1) -> None:
    """Write runs as a shard does: with the row that they replace."""
    kept.write([Change(r.foreign_id, kept.table.get(r.foreign_id), r) for r in runs], position)


def due(kept: Kept, start: datetime, end: datetime, limit: int = 1_000) -> list[str]:
    return [foreign_id for _, foreign_id in kept.table.due(start, end, limit)]


# ---- rows


def test_a_fresh_table_holds_nothing(kept: Kept) -> None:
    assert kept.table.position is None
    assert kept.table.get("o-1") is None
    assert kept.table.head_of("run-1") is None
    assert list(kept.table.scan("")) == []
    assert kept.table.due(*EVER, 10) == []
    assert not any(kept.table.counts().values())


def test_a_row_is_read_as_it_was_written(kept: Kept) -> None:
    full = run(
        due_at=NOW,
        timers=(Timer("nag", NOW + SECOND),),
        offsets=tuple(range(256)),
        requests=("a", "b"),
        reason="Größe \u2028 注文",
        attempt=3,
        since=2,
    )
    put(kept, full, position=7)
    kept.reopen()
    assert kept.table.get("o-1") == full
    assert kept.table.position == 7


def test_a_row_is_replaced(kept: Kept) -> None:
    put(kept, run(version=1))
    put(kept, run(version=2))
    found = kept.table.get("o-1")
    assert found is not None
    assert found.version == 2
    assert len(list(kept.table.scan(""))) == 1


def test_a_row_is_taken_away_with_all_that_points_at_it(kept: Kept) -> None:
    gone = run(due_at=NOW, timers=(Timer("nag", NOW),))
    put(kept, gone, run("o-2"))
    kept.write([Change("o-1", gone, None)], 2)
    kept.reopen()
    assert kept.table.get("o-1") is None
    assert [key for key, _ in kept.table.scan("")] == ["o-2"]
    assert due(kept, *EVER) == []
    assert Counter(kept.table.counts()) == {("CREATED", "RUNNING"): 1}


def test_a_checkpoint_without_rows_moves_the_position(kept: Kept) -> None:
    put(kept, run(), position=3)
    kept.write([], 9)
    kept.reopen()
    assert kept.table.position == 9
    assert kept.table.get("o-1") is not None


def test_scan_goes_in_the_order_of_the_bytes(kept: Kept) -> None:
    keys = ["a", "a\0run-0", "a\0run-9", "a b", "a-1", "aa", "b", "z", "ä", "注", "\U0001f600"]
    shuffled = random.Random(1).sample(keys, len(keys))
    kept.write([Change(key, None, run(key.split("\0")[0], key)) for key in shuffled], 1)
    assert [key for key, _ in kept.table.scan("")] == keys
    assert sorted(keys, key=str.encode) == keys
    assert [key for key, _ in kept.table.scan("a b")] == keys[3:]
    assert [key for key, _ in kept.table.scan("a\0")] == keys[1:]
    assert [key for key, _ in kept.table.scan("\U0010ffff")] == []


def test_scan_reads_on_while_the_table_is_written(kept: Kept) -> None:
    put(kept, *(run(f"o-{n:03}") for n in range(100)))
    scan = iter(kept.table.scan(""))
    first = next(scan)
    put(kept, run("o-000", version=9), run("o-100"), position=2)
    assert [first[0], *(key for key, _ in scan)][:100] == [f"o-{n:03}" for n in range(100)]


# ---- from run id to foreign id


def test_a_run_is_found_by_its_id_after_the_next_one_took_its_place(kept: Kept) -> None:
    first, second = run(run_id="run-1", state=State.COMPLETED), run(run_id="run-2")
    put(kept, first)
    kept.write([Change("o-1\0run-1", None, first), Change("o-1", first, second)], 2)
    kept.reopen()
    assert kept.table.head_of("run-1") == "o-1"
    assert kept.table.head_of("run-2") == "o-1"
    assert kept.table.head_of("run-3") is None
    assert kept.table.get("o-1") == second
    assert kept.table.get("o-1\0run-1") == first


def test_a_run_that_was_taken_away_is_found_no_more(kept: Kept) -> None:
    first, second = run(run_id="run-1", state=State.COMPLETED), run(run_id="run-2")
    put(kept, first)
    kept.write([Change("o-1\0run-1", None, first), Change("o-1", first, second)], 2)
    kept.write([Change("o-1\0run-1", first, None)], 3)
    assert kept.table.head_of("run-1") is None
    assert kept.table.head_of("run-2") == "o-1"
    kept.write([Change("o-1", second, None)], 4)
    assert kept.table.head_of("run-2") is None


def test_a_run_that_was_archived_and_forgotten_at_once_is_found_no_more(kept: Kept) -> None:
    """Between two checkpoints, so that the table has never seen its second key."""
    first, second = run(run_id="run-1", state=State.COMPLETED), run(run_id="run-2")
    put(kept, first)
    kept.write([Change("o-1\0run-1", None, None), Change("o-1", first, second)], 2)
    assert kept.table.head_of("run-1") is None
    assert kept.table.head_of("run-2") == "o-1"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_run_is_found_by_its_id_after_the_next_one_is_gone(kept: Kept, at_once: bool) -> None:
    """The next one may have come and gone between two checkpoints."""
    first, second = run(run_id="run-1", state=State.COMPLETED), run(run_id="run-2")
    put(kept, first)
    if at_once:
        kept.write([Change("o-1", first, None), Change("o-1\0run-1", None, first)], 2)
    else:
        kept.write([Change("o-1\0run-1", None, first), Change("o-1", first, second)], 2)
        kept.write([Change("o-1", second, None)], 3)
    kept.reopen()
    assert kept.table.head_of("run-1") == "o-1"
    assert kept.table.get("o-1") is None
    assert kept.table.get("o-1\0run-1") == first


def test_a_run_is_found_by_its_id_though_the_table_has_not_seen_the_next_one(kept: Kept) -> None:
    """As when a compacted changelog is read: of the next run there is the end alone."""
    first = run(run_id="run-1", state=State.COMPLETED)
    put(kept, first)
    kept.write([Change("o-1\0run-1", None, first)], 2)
    kept.write([Change("o-1", first, None)], 3)
    kept.reopen()
    assert kept.table.head_of("run-1") == "o-1"


# ---- counts


def test_counts_follow_the_rows(kept: Kept) -> None:
    put(kept, run("a"), run("b"), run("c", status="PICKED", state=State.PAUSED))
    put(kept, run("b", status="PICKED"), position=2)
    kept.reopen()
    counts = {pair: n for pair, n in kept.table.counts().items() if n}
    assert counts == {
        ("CREATED", "RUNNING"): 1,
        ("PICKED", "RUNNING"): 1,
        ("PICKED", "PAUSED"): 1,
    }


def waiting(kept: Kept) -> dict[str, int]:
    return {status: n for status, n in kept.table.timers().items() if n}


def test_timers_are_those_of_runs_in_progress(kept: Kept) -> None:
    two = (Timer("first", NOW), Timer("second", NOW + SECOND))
    put(kept, run("a", timers=two), run("b", timers=two[:1]), run("c", state=State.PAUSED))
    assert waiting(kept) == {"CREATED": 3}
    put(kept, run("a", timers=two, state=State.PAUSED), position=2)
    put(kept, run("b", status="PICKED", timers=two), position=3)
    kept.reopen()
    assert waiting(kept) == {"PICKED": 2}


def test_a_table_of_before_timers_were_counted_counts_them(tmp_path: Path) -> None:
    kept = InRocksDB(tmp_path)
    put(kept, run("a", timers=(Timer("first", NOW),)), run("b"))
    assert kept.table.as_of is not None
    former = msgspec.structs.replace(kept.table.as_of, timers=None)
    kept.table._db[b"m"] = msgspec.msgpack.encode(former)
    kept.reopen()
    assert waiting(kept) == {"CREATED": 1}
    put(kept, run("a"), position=2)
    assert waiting(kept) == {}
    kept.table.close()


# ---- what runs are listed by


def test_index_rows_are_read_in_both_directions_within_their_bounds(kept: Kept) -> None:
    put(kept, *(run(f"o-{n}", created_at=NOW + n * SECOND) for n in range(5)))
    kept.reopen()
    every = [key for key, _ in kept.table.between(b"c", b"d", limit=10)]
    assert len(every) == 5
    for start, stop, limit in ((0, 5, 9), (1, 3, 9), (1, 5, 2), (2, 2, 9), (3, 1, 9)):
        last = every[stop] if stop < 5 else b"d"
        rows = [key for key, _ in kept.table.between(every[start], last, limit=limit)]
        assert rows == every[start:stop][:limit]
        back = kept.table.between(every[start], last, backwards=True, limit=limit)
        assert [key for key, _ in back] == every[start:stop][::-1][:limit]


def test_what_was_opened_is_as_it_was_then_whatever_is_written_later(kept: Kept) -> None:
    put(kept, run("a"), run("b"))
    opened = [kept.table.between(b"", b"\xff", backwards=down, limit=99) for down in (False, True)]
    known = [key for key, _ in kept.table.between(b"c", b"d", limit=99)]
    put(kept, run("a", status="PICKED"), run("c"), position=2)
    for rows in opened:
        assert sorted(key for key, _ in rows if key.startswith(b"c")) == known


def test_a_run_is_listed_once_whichever_key_it_lies_under(kept: Kept) -> None:
    """As when a compacted changelog is read: the run is archived first, and then replaced."""
    first = run(run_id="run-1", state=State.COMPLETED)
    put(kept, first)
    kept.write([Change("o-1\0run-1", None, first)], 2)
    index_of(kept.table)
    kept.write([Change("o-1", first, run(run_id="run-2"))], 3)
    kept.reopen()
    index_of(kept.table)
    kept.write([Change("o-1\0run-1", first, None), Change("o-1", run(run_id="run-2"), None)], 4)
    assert index_of(kept.table) == {}


def test_inner_runs_are_in_no_index(kept: Kept) -> None:
    kept.write([Change("\x01mailbox\0o-1", None, run(kind="mailbox"))], 1)
    assert index_of(kept.table) == {}


@pytest.mark.parametrize("former", [None, Searched(("customer",)), Searched(("more", "tags"))])
def test_a_table_that_is_indexed_by_something_else_is_indexed_anew(
    tmp_path: Path, former: Terms | None
) -> None:
    kept = InRocksDB(tmp_path)
    carried = msgspec.Raw(b'{"customer":"ann","tags":["x"]}')
    put(kept, *(run(name, object=carried) for name in "abc"))
    wanted = index_of(kept.table)
    assert len(wanted) == 3 * 4
    kept.reopen(former)
    put(kept, run("a", object=carried, status="PICKED"), position=2)
    kept.reopen()
    assert len(index_of(kept.table)) == 3 * 4
    assert index_of(kept.table) != wanted
    kept.table.close()


def test_a_table_is_indexed_anew_again_if_that_was_not_brought_to_its_end(tmp_path: Path) -> None:
    kept = InRocksDB(tmp_path)
    put(kept, run("a"), run("b"))
    wanted = index_of(kept.table)
    assert kept.table.as_of is not None
    former = msgspec.structs.replace(kept.table.as_of, index="0 of another version")
    kept.table._db[b"m"] = msgspec.msgpack.encode(former)
    kept.table._db.delete_range(b"c", b"d")
    kept.table._db[b"u of another layout"] = b""
    kept.reopen()
    assert index_of(kept.table) == wanted
    kept.table.close()


def test_a_table_that_is_opened_again_is_read_through_the_cache_of_all(tmp_path: Path) -> None:
    table, one = RunsTable(tmp_path, Memory()), run("a")
    table.write([Change("a", None, one)], [encode_record(one)], AsOf("t", 1, 1))
    table.close()
    memory = Memory()
    table = RunsTable(tmp_path, memory)
    table._db.flush()
    assert table.get("a") == one
    assert memory.cache.get_usage() > 0
    table.close()


# ---- what is due


def test_due_is_in_order_whatever_order_it_was_written_in(kept: Kept) -> None:
    moments = [(f"o-{n}", NOW + n * SECOND) for n in (3, 1, 4, 0, 2)]
    put(kept, *(run(foreign_id, due_at=at) for foreign_id, at in moments))
    kept.reopen()
    assert kept.table.due(*EVER, 10) == [(NOW + n * SECOND, f"o-{n}") for n in range(5)]


@pytest.mark.parametrize("micros", [0, 1, 999_999, 1_000_000, 86_400_000_000, 2**40 + 1])
def test_windows_are_exact_to_the_microsecond(kept: Kept, micros: int) -> None:
    at = EVER[0] + timedelta(days=10_000) + micros * MICROSECOND
    put(kept, run(due_at=at))
    assert kept.table.due(at, at + MICROSECOND, 10) == [(at, "o-1")]
    assert due(kept, at - MICROSECOND, at) == []
    assert due(kept, at + MICROSECOND, EVER[1]) == []
    assert due(kept, at, at) == []


@pytest.mark.parametrize("offset", [-11, 0, 5.75])
def test_an_instant_is_the_same_in_every_time_zone(kept: Kept, offset: float) -> None:
    at = NOW.astimezone(timezone(timedelta(hours=offset)))
    put(kept, run(due_at=at))
    assert kept.table.due(NOW, NOW + MICROSECOND, 1) == [(NOW, "o-1")]


def test_what_was_due_before_1970_is_due_from_the_beginning(kept: Kept) -> None:
    put(kept, run(due_at=datetime(1, 1, 1, tzinfo=UTC)))
    assert due(kept, EVER[0], EVER[0] + MICROSECOND) == ["o-1"]


def test_entries_follow_their_row(kept: Kept) -> None:
    nag, give_up = Timer("nag", NOW + SECOND), Timer("give-up", NOW + 2 * SECOND)
    put(kept, run(due_at=NOW, timers=(nag, give_up)))
    assert due(kept, *EVER) == ["o-1"] * 3
    put(kept, run(due_at=None, timers=(give_up,)))
    assert kept.table.due(*EVER, 10) == [(give_up.due_at, "o-1")]
    put(kept, run(state=State.PAUSED, timers=(give_up,), resume_at=NOW))
    assert kept.table.due(*EVER, 10) == [(NOW, "o-1")]
    put(kept, run(state=State.CANCELLED, due_at=NOW, timers=(give_up,)))
    assert due(kept, *EVER) == []


def test_two_entries_of_a_run_at_one_instant_are_both_kept_until_the_last_is_gone(
    kept: Kept,
) -> None:
    both = (Timer("nag", NOW), Timer("give-up", NOW))
    put(kept, run(timers=both))
    put(kept, run(timers=both[1:]))
    assert due(kept, *EVER) == ["o-1"]
    put(kept, run(timers=()))
    assert due(kept, *EVER) == []


@pytest.mark.parametrize("limit", range(1, 8))
def test_a_limit_holds_within_an_instant_too_and_what_is_past_is_left_out(
    kept: Kept, limit: int
) -> None:
    moments = [NOW] * 2 + [NOW + MICROSECOND] * 3 + [NOW + SECOND]
    names = ["a", "ä", "a", "a!", "ä", "注"]
    runs = [f"{name}{n}" for n, name in enumerate(names)]
    put(kept, *(run(name, due_at=at) for name, at in zip(runs, moments, strict=True)))
    expected = [*zip(moments, runs, strict=True)]
    expected.sort(key=lambda due: (due[0], due[1].encode()))
    assert kept.table.due(*EVER, limit) == expected[:limit]
    found: list[tuple[datetime, str]] = []
    place = (EVER[0], "")
    while part := kept.table.due(place[0], EVER[1], limit, place[1]):
        found += part
        place = part[-1]
    assert found == expected


def test_foreign_ids_that_look_like_parts_of_keys(kept: Kept) -> None:
    odd = ["d", "r", "i", "m", "position", "rd", "~", "run-of-d"]
    put(kept, *(run(foreign_id, due_at=NOW) for foreign_id in odd))
    kept.reopen()
    assert [key for key, _ in kept.table.scan("")] == sorted(odd)
    assert due(kept, *EVER) == sorted(odd)
    assert all(kept.table.head_of(f"run-of-{name}") == name for name in odd)


# ---- any sequence of checkpoints

_runs = st.builds(
    run,
    foreign_id=st.sampled_from(["a", "b", "ab", "注"]),
    run_id=st.sampled_from(["run-1", "run-2"]),
    status=st.sampled_from(["CREATED", "PICKED"]),
    state=st.sampled_from(list(State)),
    due_at=st.none() | st.integers(0, 3).map(lambda n: NOW + n * MICROSECOND),
    updated_at=st.integers(0, 3).map(lambda n: NOW + n * SECOND),
    object=st.sampled_from(
        [b'{"customer":"ann","tags":["x","y"]}', b'{"customer":"bob","tags":["y"]}', b"null"]
    ).map(msgspec.Raw),
    timers=st.lists(
        st.integers(0, 3).map(lambda n: Timer(f"t{n}", NOW + n * MICROSECOND)), unique=True
    ).map(tuple),
    resume_at=st.none() | st.just(NOW),
)


@examples(40)
@given(st.lists(st.lists(_runs | st.sampled_from("ab"), max_size=5), max_size=6))
def test_all_tables_agree_after_any_checkpoints(
    tmp_path_factory: pytest.TempPathFactory, checkpoints: list[list[Record | str]]
) -> None:
    rocks, memory = InRocksDB(tmp_path_factory.mktemp("table")), InMemory()
    for position, wanted in enumerate(checkpoints):
        latest = {r if isinstance(r, str) else r.foreign_id: r for r in wanted}
        changes = [
            Change(key, memory.table.get(key), None if isinstance(row, str) else row)
            for key, row in latest.items()
        ]
        rocks.write(changes, position)
        memory.write(changes, position)
    rocks.reopen()
    assert told(rocks.table) == told(memory.table)
    rocks.table.close()


@examples(40)
@given(logs, st.integers(1, 5))
def test_all_tables_agree_on_any_log(
    tmp_path_factory: pytest.TempPathFactory, model: Model, every: int
) -> None:
    rocks, memory = InRocksDB(tmp_path_factory.mktemp("table")), InMemory()
    shard, log = opened(memory.table), entries_of(model.log)
    for at in range(0, len(log), every):
        shard.fold(log[at : at + every])
        shard.take_asides()
        checkpoint = shard.checkpoint()
        assert checkpoint is not None
        rocks.write(checkpoint.changes, checkpoint.position)
        memory.write(checkpoint.changes, checkpoint.position)
        shard.committed(checkpoint)
    rocks.reopen()
    assert told(rocks.table) == told(memory.table)
    waiting = Counter[str]()
    for row in model.rows.values():
        if row.state in (State.INITIATED, State.RUNNING):
            waiting[row.status] += len(row.timers)
    assert +shard.timers() == +waiting
    ids = {row.run_id for row in model.rows.values()} | {event.runid for event in model.log}
    for run_id in ids:
        assert rocks.table.head_of(run_id) == memory.table.head_of(run_id)
    known = {row.run_id for row in model.rows.values()}
    assert {run_id for run_id in ids if memory.table.head_of(run_id) is not None} == known
    rocks.table.close()


def told(table: ShardTable) -> tuple[object, ...]:
    rows = list(table.scan(""))
    counted = Counter((row.status, str(row.state)) for _, row in rows if not row.kind)
    assert {pair: n for pair, n in table.counts().items() if n} == counted
    return (
        table.position,
        [(key, msgspec.json.encode(row)) for key, row in rows],
        {pair: n for pair, n in table.counts().items() if n},
        {status: n for status, n in table.timers().items() if n},
        index_of(table),
        table.due(*EVER, 100),
        table.due(NOW + MICROSECOND, NOW + 3 * MICROSECOND, 1),
    )


def index_of(table: ShardTable) -> dict[bytes, bytes]:
    """All index rows, which have to be those that its rows lead to, and no others."""
    found: dict[bytes, bytes] = {}
    for letter in LETTERS:
        rows = list(table.between(letter, bytes([letter[0] + 1]), limit=1_000_000))
        assert rows == sorted(rows)
        found |= rows
    rows_of = (row for _, each in table.scan("") for row in index_rows(each, table.terms))
    assert found == dict(rows_of)
    return found
