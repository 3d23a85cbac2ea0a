"""What every store of rows holds to. An adapter's own test gives it a factory."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import msgspec
import pytest

from streamwf.errors import Fenced
from streamwf.ports import Change, Checkpoint, Due, RecordQuery, RecordStore, TimeoutStore
from streamwf.record import State, Timer, archive_key
from streamwf.testing.contracts.record_lists import RecordListsContract
from streamwf.testing.contracts.records import (
    BESIDE,
    BILLS,
    LATER,
    MICROSECOND,
    NOW,
    SECOND,
    SHARD,
    changed,
    fill,
    followed,
    new,
    removed,
    rows_of,
    run,
)

NAMES = [
    *("two words", " ends in a space ", 'it\'s "quoted"', "back\\slash", "100 %", "a:b/c?d=e", "_"),
    *("{}", "%s", ":name", "'; DROP TABLE streamwf_runs; --", "NULL", "Ünïcödé", "日本語", "🦊🦊"),
    *("Case", "case", "e\u0301", "\u00e9", "x" * 500, "🦊" * 500),
]

Reopen = Callable[[], Awaitable[RecordStore]]


@pytest.mark.asyncio
class RecordStoreContract(RecordListsContract):
    """Subclasses give `store`, which has nothing yet; `timeouts`, the agenda of the same shards;
    and `reopen`, which gives the store as a process has it that starts anew.

    A store that ends with its process gives the same one.
    """

    @pytest.fixture
    def store(self) -> RecordStore:
        raise NotImplementedError

    @pytest.fixture
    def timeouts(self, store: RecordStore) -> TimeoutStore:
        raise NotImplementedError

    @pytest.fixture
    def reopen(self, store: RecordStore) -> Reopen:
        raise NotImplementedError

    # ---- storing

    async def test_a_shard_that_nothing_was_stored_of(self, store: RecordStore) -> None:
        assert await store.open(SHARD, 1) is None
        assert await rows_of(store) == {}

    async def test_what_is_stored_is_there(self, store: RecordStore) -> None:
        record = run(timers=(Timer("remind", LATER),), requests=("r-1",), offsets=(1, 2, 3))
        await store.open(SHARD, 1)
        await store.store(SHARD, Checkpoint([new(record)], 17), 1)

        assert await store.open(SHARD, 1) == 17
        assert await rows_of(store) == {"o-1": record}
        assert await store.lookup("orders", record.run_id) == record
        assert await store.latest("orders", "o-1") == record

    async def test_a_row_is_replaced(self, store: RecordStore) -> None:
        record = run()
        await fill(store, record)
        change = changed(record, status="DONE", state=State.COMPLETED, version=4)
        await store.store(SHARD, Checkpoint([change], 2), 1)

        assert await rows_of(store) == {"o-1": change.after}
        assert await store.lookup("orders", record.run_id) == change.after
        assert await store.list(RecordQuery(statuses=["CREATED"])) == []

    async def test_a_position_without_rows(self, store: RecordStore) -> None:
        await fill(store, run())
        await store.store(SHARD, Checkpoint([], 40), 1)
        # It may be the same as it was.
        await store.store(SHARD, Checkpoint([], 40), 1)

        assert await store.open(SHARD, 1) == 40
        assert len(await rows_of(store)) == 1

    async def test_nothing_is_known_of_what_was_not_stored(self, store: RecordStore) -> None:
        await fill(store, run())

        assert await store.lookup("orders", "another") is None
        assert await store.lookup("bills", "run of o-1") is None
        assert await store.latest("orders", "o-2") is None
        assert await store.latest("bills", "o-1") is None

    async def test_a_row_that_is_removed_is_gone(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        record, other = run(due_at=NOW), run("o-2", due_at=NOW)
        await fill(store, record, other)
        await store.store(SHARD, Checkpoint([removed(record), removed(run("none"))], 2), 1)

        assert await rows_of(store) == {"o-2": other}
        assert await store.lookup("orders", record.run_id) is None
        assert await store.latest("orders", "o-1") is None
        assert await store.list(RecordQuery()) == [other]
        assert await timeouts.due(SHARD, LATER, 10) == [Due(NOW, "o-2")]

    async def test_it_may_be_stored_again_with_what_came_since(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        """As by an owner who could not know whether it was stored."""
        record = run(due_at=NOW)
        await store.open(SHARD, 1)
        await store.store(SHARD, Checkpoint([new(record)], 1), 1)
        await store.store(SHARD, Checkpoint([new(record)], 1), 1)
        assert await timeouts.due(SHARD, LATER, 10) == [Due(NOW, "o-1")]
        since = msgspec.structs.replace(record, due_at=NOW + SECOND, version=4)
        await store.store(SHARD, Checkpoint([new(since)], 2), 1)

        assert await rows_of(store) == {"o-1": since}
        assert await timeouts.due(SHARD, LATER, 10) == [Due(NOW + SECOND, "o-1")]
        assert await store.list(RecordQuery()) == [since]

    async def test_all_of_a_checkpoint_or_nothing(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        record = run(due_at=NOW)
        await fill(store, record)
        changes = [
            *followed(record, run(run_id="second", due_at=LATER)),
            new(run("o-2", due_at=LATER)),
            # No store can have a key that is no text.
            new(run("\ud800", due_at=LATER)),
        ]
        with pytest.raises(UnicodeEncodeError):
            await store.store(SHARD, Checkpoint(changes, 2), 1)

        assert await rows_of(store) == {"o-1": record}
        assert await store.open(SHARD, 1) == 1
        assert await store.lookup("orders", "second") is None
        assert await store.list(RecordQuery()) == [record]
        assert await timeouts.due(SHARD, LATER + SECOND, 10) == [Due(NOW, "o-1")]

    async def test_all_or_nothing_of_a_checkpoint_that_is_cancelled(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        names = [f"o-{n}" for n in range(20)]
        await fill(store, *(run(name, version=1, due_at=NOW) for name in names))
        position = 1
        for turns in (2**power for power in range(12)):
            due_at = NOW + turns * SECOND
            runs = [run(name, version=1 + turns, due_at=due_at) for name in names]
            checkpoint = Checkpoint([new(one) for one in runs], 1 + turns)
            storing = asyncio.ensure_future(store.store(SHARD, checkpoint, 1))
            for _ in range(turns):
                await asyncio.sleep(0)
            storing.cancel()
            await asyncio.wait([storing])

            found = await store.open(SHARD, 1)
            assert found in (position, 1 + turns)
            assert found == 1 + turns or storing.cancelled()
            position = found or 0
            assert {row.version for row in (await rows_of(store)).values()} == {position}
            assert len({each.due_at for each in await timeouts.due(SHARD, LATER, 50)}) == 1

    async def test_all_is_there_after_a_restart(self, store: RecordStore, reopen: Reopen) -> None:
        first, second = run(due_at=NOW), run(run_id="second", due_at=LATER)
        await fill(store, first, run("o-2"))
        await store.store(SHARD, Checkpoint(followed(first, second), 2), 1)
        await fill(store, run("b-1"), shard=BILLS)
        again = await reopen()

        assert await again.open(SHARD, 2) == 2
        rows = {"o-1": second, archive_key(first): first, "o-2": run("o-2")}
        assert await rows_of(again) == rows
        assert await again.lookup("orders", first.run_id) == first
        assert await again.latest("orders", "o-1") == second
        assert len(await again.list(RecordQuery())) == 4
        await again.store(SHARD, Checkpoint([removed(second)], 3), 2)
        assert await again.latest("orders", "o-1") is None

    # ---- whose shard it is

    async def test_whoever_was_overtaken_stores_nothing(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        record = run(due_at=NOW)
        await fill(store, record)
        assert await store.open(SHARD, 2) == 1
        with pytest.raises(Fenced) as raised:
            await store.store(SHARD, Checkpoint([removed(record), new(run("o-2"))], 9), 1)

        assert "orders" in str(raised.value)
        assert await store.open(SHARD, 2) == 1
        assert await rows_of(store) == {"o-1": record}
        assert await timeouts.due(SHARD, LATER, 10) == [Due(NOW, "o-1")]

    async def test_whoever_was_overtaken_can_not_open(self, store: RecordStore) -> None:
        await store.open(SHARD, 5)
        with pytest.raises(Fenced):
            await store.open(SHARD, 4)
        await store.store(SHARD, Checkpoint([new(run())], 1), 5)

        assert await store.open(SHARD, 5) == 1

    async def test_a_look_takes_nothing_from_the_owner(self, store: RecordStore) -> None:
        assert await store.open(SHARD, None) is None
        await store.open(SHARD, 5)
        await store.store(SHARD, Checkpoint([new(run())], 1), 5)
        assert await store.open(SHARD, None) == 1
        await store.store(SHARD, Checkpoint([removed(run())], 2), 5)
        assert await store.open(SHARD, None) == 2

    async def test_each_shard_has_an_owner_of_its_own(self, store: RecordStore) -> None:
        for shard in (BESIDE, BILLS):
            await store.open(shard, 7)
        await fill(store, run())

        assert await store.open(SHARD, 1) == 1

    async def test_a_new_owner_may_begin_anew(self, store: RecordStore) -> None:
        # As after the log was made anew: the rows are to fit it, however short it is.
        await store.open(SHARD, 1)
        await store.store(SHARD, Checkpoint([new(run())], 10), 1)
        await store.open(SHARD, 2)
        await store.store(SHARD, Checkpoint([Change("o-1", run(), None)], 3), 2)

        assert await store.open(SHARD, None) == 3
        assert await rows_of(store) == {}

    async def test_nothing_is_stored_by_another_once_it_is_opened(self, store: RecordStore) -> None:
        await store.open(SHARD, 1)
        stored = 0

        async def keep_storing() -> None:
            nonlocal stored
            while True:
                await store.store(SHARD, Checkpoint([new(run(version=stored + 1))], stored), 1)
                stored += 1
                # A store in memory waits for nothing.
                await asyncio.sleep(0)

        async def overtake() -> int | None:
            while stored < 3:
                await asyncio.sleep(0)
            return await store.open(SHARD, 2)

        storing = asyncio.gather(*(keep_storing() for _ in range(3)), return_exceptions=True)
        position = await overtake()
        ends = await storing

        assert [type(end) for end in ends] == [Fenced] * 3
        assert await store.open(SHARD, 2) == position

    # ---- shards and workflows

    async def test_shards_are_apart(self, store: RecordStore, timeouts: TimeoutStore) -> None:
        mine, other, bill = run("a", due_at=NOW), run("b", due_at=NOW), run("a", due_at=NOW)
        await fill(store, mine)
        await fill(store, other, shard=BESIDE)
        await fill(store, bill, shard=BILLS)

        assert await rows_of(store) == {"a": mine}
        assert await rows_of(store, BESIDE) == {"b": other}
        assert await timeouts.due(BESIDE, LATER, 10) == [Due(NOW, "b")]
        assert await store.latest("orders", "b") == other
        await store.store(BILLS, Checkpoint([removed(bill)], 2), 1)
        assert await store.lookup("orders", mine.run_id) == mine
        assert await store.lookup("bills", bill.run_id) is None

    # ---- several runs of a foreign id

    @pytest.mark.parametrize("archived_first", [False, True])
    async def test_the_latest_of_several_runs(
        self, store: RecordStore, archived_first: bool
    ) -> None:
        runs = [run(run_id=f"run {n}", created_at=NOW + n * SECOND) for n in range(4)]
        await fill(store, runs[0])
        for before, after in pairwise(runs):
            assert await store.latest("orders", "o-1") == before
            changes = followed(before, after)
            changes = changes[::-1] if archived_first else changes
            await store.store(SHARD, Checkpoint(changes, 2), 1)

        assert await store.latest("orders", "o-1") == runs[-1]
        assert [await store.lookup("orders", one.run_id) for one in runs] == runs
        assert await store.list(RecordQuery(foreign_id="o-1")) == runs
        assert len(await rows_of(store)) == 4

    async def test_several_runs_at_once_in_a_checkpoint(self, store: RecordStore) -> None:
        first, second, third = (run(run_id=f"run {n}") for n in range(3))
        await fill(store, first)
        changes = [
            Change("o-1", first, third),
            Change(archive_key(first), None, first),
            Change(archive_key(second), None, second),
        ]
        await store.store(SHARD, Checkpoint(changes, 2), 1)

        assert await store.latest("orders", "o-1") == third
        assert [await store.lookup("orders", f"run {n}") for n in range(3)] == [
            *(first, second, third)
        ]

    async def test_the_latest_is_forgotten_before_the_others(self, store: RecordStore) -> None:
        first, second = run(run_id="first"), run(run_id="second")
        await fill(store, first)
        await store.store(SHARD, Checkpoint(followed(first, second), 2), 1)
        await store.store(SHARD, Checkpoint([removed(second)], 3), 1)

        assert await store.latest("orders", "o-1") is None
        assert await store.lookup("orders", "second") is None
        assert await store.lookup("orders", "first") == first
        assert await store.list(RecordQuery()) == [first]
        third, gone = run(run_id="third"), Change(archive_key(first), first, None)
        await store.store(SHARD, Checkpoint([gone, new(third)], 4), 1)
        assert await store.lookup("orders", "first") is None
        assert await store.lookup("orders", "second") is None
        assert await rows_of(store) == {"o-1": third}

    async def test_a_run_whose_row_moves_and_is_the_latest_again(self, store: RecordStore) -> None:
        first, second = run(run_id="first"), run(run_id="second")
        await fill(store, first)
        await store.store(SHARD, Checkpoint(followed(first, second), 2), 1)
        back = [Change("o-1", second, first), Change(archive_key(first), first, None)]
        await store.store(SHARD, Checkpoint(back, 3), 1)

        assert await store.latest("orders", "o-1") == first
        assert await store.lookup("orders", "first") == first
        assert await store.list(RecordQuery()) == [first]

    # ---- what is due

    async def test_what_is_due_of_rows_is_as_they_say(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        """Of three that have expired, one is completed and one cancelled."""
        expired = [run(f"o-{n}", timers=(Timer("t", NOW),)) for n in range(3)]
        await fill(store, *expired)
        assert len(await timeouts.due(SHARD, LATER, 10)) == 3
        changes = [
            changed(expired[0], state=State.COMPLETED, timers=()),
            changed(expired[1], state=State.CANCELLED),
        ]
        await store.store(SHARD, Checkpoint(changes, 2), 1)

        assert await timeouts.due(SHARD, LATER, 10) == [Due(NOW, "o-2")]

    async def test_a_run_may_have_several_things_due(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        record = run(due_at=NOW, timers=(Timer("a", NOW), Timer("b", NOW + SECOND)))
        await fill(store, record)
        both = [Due(NOW, "o-1"), Due(NOW + SECOND, "o-1")]
        assert await timeouts.due(SHARD, LATER, 10) == both
        await store.store(SHARD, Checkpoint([changed(record, due_at=LATER, timers=())], 2), 1)

        assert await timeouts.due(SHARD, LATER + SECOND, 10) == [Due(LATER, "o-1")]

    async def test_a_run_that_is_archived_keeps_what_is_due_of_it(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        first = run(state=State.COMPLETED, forget_at=NOW)
        await fill(store, first)
        await store.store(SHARD, Checkpoint(followed(first, run(run_id="second")), 2), 1)

        assert await timeouts.due(SHARD, LATER, 10) == [Due(NOW, archive_key(first))]

    # ---- names and sizes

    async def test_names_of_any_characters(
        self, store: RecordStore, timeouts: TimeoutStore, reopen: Reopen
    ) -> None:
        runs = {name: run(name, f"1 {name}", status=name[:50], due_at=NOW) for name in NAMES}
        await fill(store, *runs.values())
        later = {name: run(name, f"2 {name}", status=name[:50]) for name in NAMES}
        changes = [each for name in NAMES for each in followed(runs[name], later[name])]
        await store.store(SHARD, Checkpoint(changes, 2), 1)
        again = await reopen()

        for name in NAMES:
            assert await again.latest("orders", name) == later[name]
            assert await again.lookup("orders", f"1 {name}") == runs[name]
            listed = await again.list(RecordQuery(foreign_id=name, statuses=[name[:50]]))
            assert list(listed) == [runs[name], later[name]]
        archived = {archive_key(one): one for one in runs.values()}
        assert await rows_of(again) == later | archived

    async def test_names_of_any_characters_are_due(
        self, store: RecordStore, timeouts: TimeoutStore
    ) -> None:
        first = run(state=State.COMPLETED, forget_at=NOW)
        await fill(store, first, *(run(name, due_at=NOW) for name in NAMES))
        await store.store(SHARD, Checkpoint(followed(first, run(run_id="second")), 2), 1)

        due = await timeouts.due(SHARD, LATER, 1000)
        assert {each.key for each in due} == {archive_key(first), *NAMES}
        assert len(due) == 1 + len(NAMES)

    async def test_large_rows(self, store: RecordStore) -> None:
        runs = [
            run(f"o-{n}", object=msgspec.Raw(msgspec.json.encode(f"{n}" * 1_000_000)))
            for n in range(10)
        ]
        await fill(store, *runs)

        assert await rows_of(store) == {one.foreign_id: one for one in runs}
        assert await store.list(RecordQuery(foreign_id="o-7")) == [runs[7]]

    async def test_ten_thousand_rows(self, store: RecordStore, timeouts: TimeoutStore) -> None:
        runs = [run(f"o-{n}", due_at=NOW + n * MICROSECOND) for n in range(10_000)]
        await fill(store, *runs)

        assert await rows_of(store) == {one.foreign_id: one for one in runs}
        assert await timeouts.next_due(SHARD) == NOW
        assert len(await timeouts.due(SHARD, LATER, 20_000)) == 10_000
        await store.store(SHARD, Checkpoint([removed(one) for one in runs], 2), 1)
        assert await rows_of(store) == {}
        assert await timeouts.next_due(SHARD) is None
