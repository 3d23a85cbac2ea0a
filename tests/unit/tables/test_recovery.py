"""Recovering a table from its changelog, from the beginning or from where it was."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import chain
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf.indexing import LETTERS, index_rows
from streamwf.ports import Change, Checkpoint
from streamwf.record import Record, State, encode_record
from streamwf.searched import Searched
from streamwf.tables.changelog import (
    MARKER_KEY,
    ChangelogRecord,
    Recovery,
    StaleTable,
    records_of,
)
from streamwf.tables.runs import Memory, RunsTable
from tests.support import NOW, examples, record


class Changelog:
    """The topic, written as the Kafka host writes it: a marker ends each transaction."""

    def __init__(self, table_id: str = "table-1", base: int = 0) -> None:
        self.table_id = table_id
        self.base = base
        self.records: list[ChangelogRecord] = []
        self.rows: dict[str, Record] = {}

    def checkpoint(self, position: int, **runs: Record | None) -> None:
        """keys are foreign ids; a run is None for a row that is gone."""
        changes = [Change(key, self.rows.get(key), row) for key, row in runs.items()]
        _, records = records_of(Checkpoint(changes, position), self.table_id)
        for key, value in records:
            self.records.append(ChangelogRecord(self.end, key, value))
        # Kafka's own mark of a committed transaction takes an offset too.
        self.base += 1
        for key, row in runs.items():
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row

    @property
    def end(self) -> int:
        return self.base + len(self.records)

    def compacted(self) -> list[ChangelogRecord]:
        """Only the last record of each key is left, at its offset."""
        last = {record.key: record.offset for record in self.records}
        return [record for record in self.records if last[record.key] == record.offset]


def run(foreign_id: str, version: int = 1, **fields: object) -> Record:
    return record(foreign_id=foreign_id, run_id=f"run-{foreign_id}", version=version, **fields)


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory()


@pytest.fixture
def table(tmp_path: Path, memory: Memory) -> Iterator[RunsTable]:
    opened = RunsTable(tmp_path / "table", memory)
    yield opened
    opened.close()


@pytest.fixture
def log() -> Changelog:
    log = Changelog()
    log.checkpoint(10, a=run("a"), b=run("b", due_at=NOW))
    log.checkpoint(20, a=run("a", 2), c=run("c"))
    log.checkpoint(30, b=run("b", 2, state=State.COMPLETED), a=None)
    return log


def recover(
    table: RunsTable,
    records: Sequence[ChangelogRecord],
    batch: int = 1_000,
    *,
    whole: bool = False,
    derived: bool = True,
) -> None:
    """whole: as for one who becomes the owner, and not as a standby. derived: to its very end."""
    recovery = Recovery(table, whole=whole)
    wanted = [record for record in records if record.offset >= recovery.start]
    for first in range(0, len(wanted), batch):
        recovery.apply(wanted[first : first + batch])
    recovery.finish()
    if derived:
        deque(table.derive(), maxlen=0)


def rows_of(table: RunsTable) -> dict[str, bytes]:
    return dict(table.rows())


def expected(log: Changelog) -> dict[str, bytes]:
    return {key: encode_record(row) for key, row in sorted(log.rows.items())}


def test_records_of_a_checkpoint_end_with_its_marker(log: Changelog) -> None:
    keys = [record.key for record in log.records]
    assert keys == [b"a", b"b", MARKER_KEY, b"a", b"c", MARKER_KEY, b"b", b"a", MARKER_KEY]
    assert log.records[7].value is None, "a row that is gone is a tombstone"


def test_rows_of_a_checkpoint_are_encoded_once() -> None:
    changes = [Change("a", None, run("a")), Change("b", run("b"), None)]
    rows, records = records_of(Checkpoint(changes, 5), "table-1")
    assert rows == [encode_record(run("a")), None]
    assert next(records) == (b"a", rows[0])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 1_000])
def test_from_the_beginning(table: RunsTable, log: Changelog, batch: int, whole: bool) -> None:
    recover(table, log.records, batch, whole=whole)
    assert rows_of(table) == expected(log)
    assert table.position == 30
    assert table.as_of is not None
    assert table.as_of.marker == log.records[-1].offset


def test_from_the_marker_that_the_table_holds(
    log: Changelog, tmp_path: Path, memory: Memory
) -> None:
    table = RunsTable(tmp_path / "table", memory)
    recover(table, log.records[:3])
    assert table.position == 10
    table.close()
    again = RunsTable(tmp_path / "table", memory)
    recovery = Recovery(again)
    assert recovery.start == log.records[2].offset, "its own marker is met first, as a check"
    recover(again, log.records)
    assert rows_of(again) == expected(log)
    assert again.position == 30
    again.close()


def test_nothing_new(table: RunsTable, log: Changelog) -> None:
    recover(table, log.records)
    before = rows_of(table), table.as_of
    recover(table, log.records)
    assert (rows_of(table), table.as_of) == before


def test_an_empty_changelog_leaves_a_fresh_table_fresh(table: RunsTable) -> None:
    recover(table, [])
    assert table.position is None


@pytest.mark.parametrize("kept", [1, 2, 4, 5, 7, 8])
def test_half_a_checkpoint_at_the_end_is_not_applied(
    table: RunsTable, log: Changelog, kept: int
) -> None:
    recover(table, log.records[:kept])
    whole = Changelog()
    if kept >= 3:
        whole.checkpoint(10, a=run("a"), b=run("b", due_at=NOW))
    if kept >= 6:
        whole.checkpoint(20, a=run("a", 2), c=run("c"))
    assert rows_of(table) == expected(whole)
    assert table.position == {0: None, 1: 10, 2: 20}[kept // 3]


def test_half_a_checkpoint_is_completed_by_what_follows(table: RunsTable, log: Changelog) -> None:
    recovery = Recovery(table)
    recovery.apply(log.records[:4])
    assert table.position == 10
    recovery.apply(log.records[4:])
    recovery.finish()
    assert rows_of(table) == expected(log)


def test_a_compacted_changelog_recovers_the_same(table: RunsTable, log: Changelog) -> None:
    compacted = log.compacted()
    assert len(compacted) < len(log.records)
    recover(table, compacted)
    assert rows_of(table) == expected(log)
    assert table.position == 30


def test_compaction_may_take_the_marker_that_the_table_holds(
    table: RunsTable, log: Changelog
) -> None:
    recover(table, log.records[:3])
    recover(table, log.compacted())
    assert rows_of(table) == expected(log)


def test_counts_and_what_is_due_are_recovered_too(table: RunsTable, log: Changelog) -> None:
    recover(table, log.records[:3])
    assert table.due(NOW, NOW.replace(year=2031), 10) == [(NOW, "b")]
    assert {pair: n for pair, n in table.counts().items() if n} == {("CREATED", "RUNNING"): 2}
    recover(table, log.records)
    assert table.due(NOW, NOW.replace(year=2031), 10) == []
    assert {pair: n for pair, n in table.counts().items() if n} == {
        ("CREATED", "COMPLETED"): 1,
        ("CREATED", "RUNNING"): 1,
    }


# ---- a table that is filled from nothing


def test_what_is_derived_from_rows_is_made_once_all_are_there(
    table: RunsTable, log: Changelog
) -> None:
    recover(table, log.records, whole=True, derived=False)
    assert table.bare
    assert rows_of(table) == expected(log)
    assert table.head_of("run-c") is None
    deque(table.derive(), maxlen=0)
    assert not table.bare
    assert table.head_of("run-c") == "c"
    assert table.head_of("run-a") is None


def test_what_was_not_derived_is_so_by_the_next_one(
    log: Changelog, tmp_path: Path, memory: Memory
) -> None:
    table = RunsTable(tmp_path / "table", memory, Searched(()))
    recover(table, log.records[:3], whole=True, derived=False)
    table.close()
    again = RunsTable(tmp_path / "table", memory, Searched(()))
    assert again.bare
    recover(again, log.records, whole=True)
    assert rows_of(again) == expected(log)
    assert again.head_of("run-c") == "c"
    assert {pair: n for pair, n in again.counts().items() if n} == {
        ("CREATED", "COMPLETED"): 1,
        ("CREATED", "RUNNING"): 1,
    }
    again.close()


def test_a_standby_begins_again_with_what_was_not_derived(table: RunsTable, log: Changelog) -> None:
    recover(table, log.records[:3], whole=True, derived=False)
    assert Recovery(table).start == 0
    assert table.position is None


def test_a_table_that_is_there_already_is_of_use_all_the_time(
    table: RunsTable, log: Changelog
) -> None:
    recover(table, log.records[:3])
    recover(table, log.records, whole=True, derived=False)
    assert not table.bare
    assert table.head_of("run-c") == "c"


# ---- another incarnation


def another(base: int = 0) -> Changelog:
    log = Changelog("table-2", base)
    log.checkpoint(5, z=run("z"))
    return log


def test_a_changelog_that_was_made_anew(table: RunsTable, log: Changelog) -> None:
    recover(table, log.records)
    before = rows_of(table), table.as_of
    with pytest.raises(StaleTable):
        recover(table, another(base=log.end).records)
    assert (rows_of(table), table.as_of) == before, "nothing of the other was written"
    table.wipe()
    recover(table, another().records)
    assert list(rows_of(table)) == ["z"]
    assert table.position == 5


def test_a_changelog_that_is_shorter_than_the_table(table: RunsTable, log: Changelog) -> None:
    recover(table, log.records)
    with pytest.raises(StaleTable):
        recover(table, another().records)
    with pytest.raises(StaleTable):
        recover(table, [])


def test_a_wiped_table_begins_again(table: RunsTable, log: Changelog) -> None:
    recover(table, log.records)
    table.wipe()
    assert table.position is None
    assert rows_of(table) == {}
    assert not any(table.counts().values())
    recover(table, log.records)
    assert rows_of(table) == expected(log)


# ---- any changelog, interrupted anywhere

_checkpoints = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.none() | st.integers(1, 5), max_size=3), max_size=8
)


@examples(60)
@given(
    _checkpoints,
    st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_any_interruptions_lead_to_the_same_table(
    tmp_path_factory: pytest.TempPathFactory,
    memory: Memory,
    checkpoints: list[dict[str, int | None]],
    stops: list[tuple[int, bool, bool]],
    compact: bool,
    whole: bool,
) -> None:
    log, terms = Changelog(), Searched(("n",))
    for position, changed in enumerate(checkpoints):
        log.checkpoint(
            position, **{key: None if v is None else standing(key, v) for key, v in changed.items()}
        )
    path = tmp_path_factory.mktemp("table")
    for stop, owned, derived in sorted(stops):
        table = RunsTable(path, memory, terms)
        recover(table, log.records[:stop], whole=owned, derived=derived)
        table.close()
    table = RunsTable(path, memory, terms)
    recover(table, log.compacted() if compact else log.records, whole=whole)
    assert rows_of(table) == expected(log)
    assert table.position == (len(checkpoints) - 1 if checkpoints else None)
    # What is derived is as if every row were looked at.
    counted = Counter((row.status, str(row.state)) for row in log.rows.values())
    assert {pair: n for pair, n in table.counts().items() if n} == counted
    index = dict(row for each in log.rows.values() for row in index_rows(each, terms))
    found = (table.between(letter, bytes([letter[0] + 1]), limit=1_000) for letter in LETTERS)
    assert dict(chain.from_iterable(found)) == index
    assert all(table.head_of(row.run_id) == key for key, row in log.rows.items())
    table.close()


def standing(foreign_id: str, version: int) -> Record:
    """A run that is somewhere else with each version."""
    status = ("CREATED", "PICKED")[version % 2]
    at = NOW + version * timedelta(seconds=1)
    carried = msgspec.Raw(b'{"n":%d}' % (version // 2))
    return run(foreign_id, version, status=status, updated_at=at, object=carried)
