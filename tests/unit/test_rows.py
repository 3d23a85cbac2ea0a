"""The rows of a shard as they are now, whatever is kept, written or on its way."""

import pytest

from streamwf import rows as module
from streamwf.ports import Checkpoint
from streamwf.record import Record
from streamwf.rows import Rows
from streamwf.tables.memory import MemoryTable
from tests.support import record


class Counted(MemoryTable):
    """read: the keys that were asked for, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key: str) -> Record | None:
        self.read.append(key)
        return super().get(key)


@pytest.fixture
def rows() -> Rows:
    rows = Rows(Counted())
    for name in ("o-1", "o-2", "o-3"):
        rows.change(name, None, record(foreign_id=name, run_id=name))
    written(rows)
    return rows


def written(rows: Rows) -> None:
    checkpoint = Checkpoint(rows.take(), 1)
    rows.table.write(checkpoint)  # type: ignore[attr-defined]
    rows.written(checkpoint)


def read(rows: Rows) -> list[str]:
    assert isinstance(rows.table, Counted)
    found, rows.table.read = rows.table.read, []
    return found


def test_what_is_due_is_read_once(rows: Rows) -> None:
    read(rows)
    due = rows.get_due("o-1")
    assert rows.get("o-1") is due
    assert read(rows) == ["o-1"]


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_due_is_as_it_is_now(rows: Rows, gone: bool) -> None:
    before = rows.get_due("o-1")
    after = None if gone else record(foreign_id="o-1", run_id="o-1", version=2)
    rows.change("o-1", before, after)
    assert rows.get("o-1") == rows.get_due("o-1") == after
    checkpoint = Checkpoint(rows.take(), 2)
    assert rows.get("o-1") == rows.get_due("o-1") == after
    rows.not_written(checkpoint)
    assert rows.get("o-1") == rows.get_due("o-1") == after
    written(rows)
    assert rows.get("o-1") == rows.get_due("o-1") == after


def test_only_so_many_are_kept(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    for name in ("o-1", "o-2", "o-3"):
        rows.get_due(name)
    read(rows)
    for name in ("o-1", "o-2", "o-3"):
        assert rows.get(name) is not None
    assert read(rows) == ["o-1", "o-2"], "but for the last"
