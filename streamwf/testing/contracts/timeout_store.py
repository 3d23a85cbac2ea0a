"""What every store of timeouts holds to. An adapter's own test gives it a factory."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from streamwf.ports import Due, ShardId, TimeoutStore

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, UTC)
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
EVER = datetime(9999, 1, 1, tzinfo=UTC)

SHARD = ShardId("orders", 0)

Reopen = Callable[[], Awaitable[TimeoutStore]]


@pytest.mark.asyncio
class TimeoutStoreContract:
    """Subclasses give `timeouts`, which has nothing yet; and `reopen`, which gives it as a process
    has it that starts anew.

    A store that ends with its process gives the same one.
    """

    @pytest.fixture
    def timeouts(self) -> TimeoutStore:
        raise NotImplementedError

    @pytest.fixture
    def reopen(self, timeouts: TimeoutStore) -> Reopen:
        raise NotImplementedError

    async def test_nothing_is_due_of_an_empty_one(self, timeouts: TimeoutStore) -> None:
        assert await timeouts.due(SHARD, EVER, 10) == []
        assert await timeouts.next_due(SHARD) is None

    async def test_of_three_that_expired_two_are_deleted(self, timeouts: TimeoutStore) -> None:
        expired = [Due(NOW + n * SECOND, f"o-{n}") for n in range(3)]
        await timeouts.put(SHARD, [*expired, Due(NOW + 60 * SECOND, "o-4")])
        await timeouts.delete(SHARD, expired[:1])
        await timeouts.delete(SHARD, expired[2:])

        assert await timeouts.due(SHARD, NOW + 10 * SECOND, 10) == expired[1:2]

    async def test_they_come_in_order_of_time(self, timeouts: TimeoutStore) -> None:
        due = [Due(NOW + n * MICROSECOND, f"o-{(n * 7) % 10}") for n in range(10)]
        await timeouts.put(SHARD, due[::-1])

        assert await timeouts.due(SHARD, EVER, 10) == due
        assert await timeouts.next_due(SHARD) == NOW

    async def test_until_is_not_included(self, timeouts: TimeoutStore) -> None:
        await timeouts.put(SHARD, [Due(NOW, "o-1"), Due(NOW + MICROSECOND, "o-2")])

        assert await timeouts.due(SHARD, NOW, 10) == []
        assert await timeouts.due(SHARD, NOW + MICROSECOND, 10) == [Due(NOW, "o-1")]

    async def test_a_limit_parts_none_that_are_due_at_once(self, timeouts: TimeoutStore) -> None:
        first = [Due(NOW, f"a-{n}") for n in range(3)]
        second = [Due(NOW + SECOND, f"b-{n}") for n in range(4)]
        await timeouts.put(SHARD, [*second, *first])

        async def found(limit: int) -> set[Due]:
            return set(await timeouts.due(SHARD, EVER, limit))

        assert await found(1) == await found(2) == await found(3) == set(first)
        assert await found(4) == await found(6) == await found(7) == {*first, *second}

    async def test_what_is_there_is_there_once(self, timeouts: TimeoutStore) -> None:
        one = Due(NOW, "o-1")
        await timeouts.put(SHARD, [one])
        await timeouts.put(SHARD, [one, one])

        assert await timeouts.due(SHARD, EVER, 10) == [one]
        await timeouts.delete(SHARD, [one])
        assert await timeouts.next_due(SHARD) is None

    async def test_what_is_not_there_may_be_deleted(self, timeouts: TimeoutStore) -> None:
        await timeouts.put(SHARD, [Due(NOW, "o-1")])
        await timeouts.delete(SHARD, [Due(NOW, "o-2"), Due(NOW + SECOND, "o-1")])
        await timeouts.delete(SHARD, [])
        await timeouts.put(SHARD, [])

        assert await timeouts.due(SHARD, EVER, 10) == [Due(NOW, "o-1")]

    async def test_a_row_may_be_due_more_than_once(self, timeouts: TimeoutStore) -> None:
        both = [Due(NOW, "o-1"), Due(NOW + SECOND, "o-1")]
        await timeouts.put(SHARD, both)
        assert await timeouts.due(SHARD, EVER, 10) == both
        await timeouts.delete(SHARD, both[:1])

        assert await timeouts.next_due(SHARD) == NOW + SECOND

    async def test_shards_are_apart(self, timeouts: TimeoutStore) -> None:
        shards = [SHARD, ShardId("orders", 1), ShardId("orders", 10), ShardId("bills", 0)]
        for n, shard in enumerate(shards):
            await timeouts.put(shard, [Due(NOW + n * SECOND, "o-1")])
        await timeouts.delete(shards[1], [Due(NOW, "o-1")])

        for n, shard in enumerate(shards):
            assert await timeouts.due(shard, EVER, 10) == [Due(NOW + n * SECOND, "o-1")]
            assert await timeouts.next_due(shard) == NOW + n * SECOND

    async def test_keys_of_any_characters(self, timeouts: TimeoutStore) -> None:
        keys = [
            *("two words", 'it\'s "quoted" \\', "%s :name {}", "日本語 🦊", "e\u0301", "\u00e9"),
            *("o-1\0run-1", "\x01schedule\0nightly", "Case", "case", "pad", "pad ", "🦊" * 500),
        ]
        await timeouts.put(SHARD, [Due(NOW, key) for key in keys])

        assert {each.key for each in await timeouts.due(SHARD, EVER, 100)} == set(keys)
        await timeouts.delete(SHARD, [Due(NOW, key) for key in keys[1:]])
        assert await timeouts.due(SHARD, EVER, 100) == [Due(NOW, keys[0])]

    async def test_instants_are_exact(self, timeouts: TimeoutStore) -> None:
        instants = [datetime(1970, 1, 1, tzinfo=UTC), NOW, NOW + MICROSECOND, EVER - MICROSECOND]
        due = [Due(at, "o-1") for at in instants]
        await timeouts.put(SHARD, due)

        assert await timeouts.due(SHARD, EVER, 100) == due

    async def test_ten_thousand(self, timeouts: TimeoutStore) -> None:
        due = [Due(NOW + n * SECOND, f"o-{n}") for n in range(10_000)]
        await timeouts.put(SHARD, due)

        assert await timeouts.due(SHARD, EVER, 100) == due[:100]
        assert await timeouts.due(SHARD, EVER, 20_000) == due
        await timeouts.delete(SHARD, due[:-1])
        assert await timeouts.next_due(SHARD) == due[-1].due_at

    async def test_all_is_there_after_a_restart(
        self, timeouts: TimeoutStore, reopen: Reopen
    ) -> None:
        due = [Due(NOW, "o-1"), Due(NOW + SECOND, "o-1\0run-1")]
        await timeouts.put(SHARD, due)

        assert await (await reopen()).due(SHARD, EVER, 10) == due
