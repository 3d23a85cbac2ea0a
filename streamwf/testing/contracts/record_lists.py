"""What every store of rows holds to in its lists."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from streamwf.ports import RecordQuery, RecordStore
from streamwf.record import Record, State, row_key
from streamwf.testing.contracts.records import (
    BESIDE,
    BILLS,
    MICROSECOND,
    NOW,
    SECOND,
    fill,
    ids,
    rows_of,
    run,
)


@pytest.mark.asyncio
class RecordListsContract:
    """A part of `RecordStoreContract`, which says what subclasses give."""

    @pytest.fixture
    def store(self) -> RecordStore:
        raise NotImplementedError

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("size", [53, 100, 847])
    async def test_a_thousand_rows_in_pages(
        self, store: RecordStore, size: int, newest_first: bool
    ) -> None:
        runs = [
            # Three at a time are created at the same instant.
            run(f"o-{n}", f"run-{n:04}", created_at=NOW + (n // 3) * MICROSECOND)
            for n in range(1000)
        ]
        mixed = random.Random(7).sample(runs, len(runs))
        await fill(store, *mixed[:400])
        await fill(store, *mixed[400:], shard=BESIDE)
        listed: list[Record] = []
        query = RecordQuery(workflow="orders", newest_first=newest_first, limit=size)
        while page := await store.list(query._replace(offset=len(listed))):
            assert len(page) in (size, 1000 - len(listed))
            listed += page

        assert listed == (runs[::-1] if newest_first else runs)
        rest = await store.list(query._replace(offset=950, limit=1000))
        assert list(rest) == listed[950:]
        assert len(rest) == 50

    async def test_filters(self, store: RecordStore) -> None:
        runs = [
            run("a", "1", created_at=NOW),
            run("b", "2", created_at=NOW + SECOND, state=State.PAUSED),
            run("c", "3", created_at=NOW + 2 * SECOND, state=State.COMPLETED, status="DONE"),
            run("d", "4", created_at=NOW + 3 * SECOND, state=State.CANCELLED, status="DONE"),
        ]
        await fill(store, *runs)
        await fill(store, run("a", "5", created_at=NOW + 4 * SECOND), shard=BILLS)

        async def found(**asked: Any) -> list[str]:
            return ids(await store.list(RecordQuery(**asked)))

        assert await found() == ["1", "2", "3", "4", "5"]
        assert await found(workflow="orders") == ["1", "2", "3", "4"]
        assert await found(workflow="bills") == ["5"]
        assert await found(workflow="none") == []
        assert await found(foreign_id="a") == ["1", "5"]
        assert await found(foreign_id="a", workflow="bills") == ["5"]
        assert await found(states=[State.PAUSED]) == ["2"]
        assert await found(states=[State.PAUSED, State.CANCELLED]) == ["2", "4"]
        assert await found(statuses=["DONE"]) == ["3", "4"]
        assert await found(statuses=["DONE", "CREATED"], workflow="orders") == ["1", "2", "3", "4"]
        assert await found(statuses=["DONE"], states=[State.CANCELLED]) == ["4"]
        assert await found(created_after=NOW + 2 * SECOND) == ["3", "4", "5"]
        assert await found(created_before=NOW + 2 * SECOND) == ["1", "2"]
        between = {"created_after": NOW + SECOND, "created_before": NOW + 3 * SECOND}
        assert await found(**between) == ["2", "3"]
        assert await found(**between, newest_first=True, limit=1) == ["3"]
        assert await found(statuses=["DONE"], offset=1) == ["4"]

    async def test_of_those_created_at_once_the_run_ids_decide(self, store: RecordStore) -> None:
        runs = [run(f"o-{n}", name) for n, name in enumerate("bBaAéZ1🦊_")]
        await fill(store, *runs)
        in_order = sorted(runs, key=lambda one: one.run_id)

        assert await store.list(RecordQuery()) == in_order
        assert await store.list(RecordQuery(newest_first=True)) == in_order[::-1]

    async def test_instants_are_exact(self, store: RecordStore) -> None:
        instants = [datetime(1970, 1, 1, tzinfo=UTC), NOW, datetime(9999, 12, 31, 23, tzinfo=UTC)]
        runs = [
            run(f"{at} {more}", created_at=at + more * MICROSECOND)
            for at in instants
            for more in range(3)
        ]
        await fill(store, *runs)

        assert await store.list(RecordQuery()) == runs
        for index, one in enumerate(runs):
            after = RecordQuery(created_after=one.created_at, limit=1)
            assert await store.list(after) == [one]
            before = RecordQuery(created_before=one.created_at, newest_first=True, limit=1)
            assert await store.list(before) == runs[max(index - 1, 0) : index]

    async def test_inner_runs_are_not_listed(self, store: RecordStore) -> None:
        inner = run("nightly", kind="schedule", due_at=NOW)
        await fill(store, inner, run("o-1"))

        assert await store.list(RecordQuery()) == [run("o-1")]
        assert await store.latest("orders", "nightly") is None
        assert await store.lookup("orders", inner.run_id) == inner
        assert set(await rows_of(store)) == {row_key("schedule", "nightly"), "o-1"}
