"""Keys in memory, and the table that is read from records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf.errors import KeyDestroyed
from streamwf.ports import Key, KeyProvider
from streamwf.tables.keys import DESTROYED, KeyTable, MemoryKeys, record_key
from streamwf.testing.contracts.key_provider import KeyProviderContract
from tests.support import examples

SECRET = bytes(32)


class TestMemoryKeys(KeyProviderContract):
    @pytest.fixture
    def keys(self) -> KeyProvider:
        return MemoryKeys()

    @pytest.fixture
    def elsewhere(self, keys: KeyProvider) -> KeyProvider:
        return keys


def table_of(*records: tuple[bytes, bytes | None]) -> KeyTable:
    table = KeyTable()
    for at, (key, value) in enumerate(records):
        table.apply(key, value, at)
    return table


ONE, OTHER = record_key("o-1", "run-1", "a"), record_key("o-1", "run-1", "b")
MARK = record_key("o-1", "run-1")


def test_a_mark_leaves_the_keys_before_and_after_it_stray() -> None:
    table = table_of((ONE, SECRET), (MARK, DESTROYED), (OTHER, SECRET))

    assert table.stray == {ONE, OTHER}
    assert table.get("o-1", "run-1", "a") is table.get("o-1", "run-1", "b") is None


def test_a_tombstone_takes_a_stray_key_away() -> None:
    table = table_of((ONE, SECRET), (MARK, DESTROYED), (ONE, None))

    assert not table.stray
    with pytest.raises(KeyDestroyed):
        table.first("o-1", "run-1")


def test_nothing_is_left_of_a_run_whose_mark_has_gone() -> None:
    table = table_of((ONE, SECRET), (MARK, DESTROYED), (ONE, None), (MARK, None))

    assert len(table) == 0
    assert table.first("o-1", "run-1") is None


def test_marks_grow_old_in_their_order() -> None:
    marks = [record_key("o-1", f"run-{number}") for number in range(4)]
    table = table_of(*((mark, DESTROYED) for mark in marks))

    assert table.old_marks(before_ms=2) == marks[:2]


@pytest.mark.parametrize("key", [b"", b"\0close", b"x", b"\xff\0\xff\0a"])
@pytest.mark.parametrize("value", [None, b"", b"short", DESTROYED])
def test_what_is_no_key_is_passed_over(key: bytes, value: bytes | None) -> None:
    table = table_of((ONE, SECRET), (key, value))

    assert table.first("o-1", "run-1") == Key("a", SECRET)


RECORDS = st.lists(st.sampled_from([(ONE, SECRET), (OTHER, SECRET), (MARK, DESTROYED)]))


@examples(200)
@given(RECORDS, st.integers(0, 10))
def test_reading_some_again_leads_to_the_same(
    records: list[tuple[bytes, bytes | None]], again: int
) -> None:
    once = table_of(*records)
    twice = table_of(*records, *records[-again:])

    for table in (once, twice):
        found = {id for id in ("a", "b") if table.get("o-1", "run-1", id)}
        written = {key.rpartition(b"\0")[2].decode() for key, value in records if key != MARK}
        destroyed = (MARK, DESTROYED) in records
        assert found == (set() if destroyed else written)
        assert table.destroyed("o-1", "run-1") == destroyed
        assert table.stray == ({ONE, OTHER} & {key for key, _ in records} if destroyed else set())
