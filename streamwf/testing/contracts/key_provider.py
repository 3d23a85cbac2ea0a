"""What every provider of keys holds to. An adapter's own test gives it a factory."""

import asyncio

import pytest

from streamwf.errors import KeyDestroyed
from streamwf.ports import Key, KeyProvider

RUN = ("orders", "o-1", "run-1")


@pytest.mark.asyncio
class KeyProviderContract:
    """Subclasses give `keys`, and `elsewhere`: the same keys as another process sees them.

    A provider that lives in one process gives the same one twice.
    """

    @pytest.fixture
    def keys(self) -> KeyProvider:
        raise NotImplementedError

    @pytest.fixture
    def elsewhere(self, keys: KeyProvider) -> KeyProvider:
        raise NotImplementedError

    async def test_a_key_is_found_by_its_id(self, keys: KeyProvider) -> None:
        key = await keys.obtain(*RUN)

        assert len(key.secret) == 32
        assert await keys.get(*RUN, key.id) == key

    async def test_a_run_that_has_a_key_is_given_no_other(self, keys: KeyProvider) -> None:
        assert await keys.obtain(*RUN) == await keys.obtain(*RUN)

    async def test_another_process_finds_it_at_once(
        self, keys: KeyProvider, elsewhere: KeyProvider
    ) -> None:
        # It has looked before, so what it knows is not new any more.
        assert await elsewhere.get(*RUN, "none") is None

        key = await keys.obtain(*RUN)

        assert await elsewhere.get(*RUN, key.id) == key

    async def test_two_processes_at_once_never_lose_a_key(
        self, keys: KeyProvider, elsewhere: KeyProvider
    ) -> None:
        obtained = await asyncio.gather(*(p.obtain(*RUN) for p in (keys, elsewhere) * 5))

        for key in obtained:
            assert await keys.get(*RUN, key.id) == key
            assert await elsewhere.get(*RUN, key.id) == key

    async def test_runs_and_workflows_have_keys_of_their_own(self, keys: KeyProvider) -> None:
        runs = [RUN, ("orders", "o-1", "run-2"), ("orders", "o-2", "run-1"), ("bills", *RUN[1:])]
        obtained = [await keys.obtain(*run) for run in runs]

        assert len({key.secret for key in obtained}) == len(runs)
        assert await keys.get(*runs[1], obtained[0].id) != obtained[0]

    async def test_ids_that_look_alike_are_told_apart(self, keys: KeyProvider) -> None:
        one = await keys.obtain("orders", "o-1", "a\0b")
        await keys.destroy("orders", "o-1", "a")

        assert await keys.get("orders", "o-1", "a\0b", one.id) == one

    async def test_a_destroyed_key_is_found_by_nobody(
        self, keys: KeyProvider, elsewhere: KeyProvider
    ) -> None:
        key = await keys.obtain(*RUN)
        await keys.destroy(*RUN)

        assert await keys.get(*RUN, key.id) is None
        assert await elsewhere.get(*RUN, key.id) is None

    async def test_all_keys_of_a_run_are_destroyed(
        self, keys: KeyProvider, elsewhere: KeyProvider
    ) -> None:
        obtained = await asyncio.gather(keys.obtain(*RUN), elsewhere.obtain(*RUN))
        await keys.destroy(*RUN)

        assert [await keys.get(*RUN, key.id) for key in obtained] == [None, None]

    async def test_a_run_whose_keys_are_destroyed_is_given_none(self, keys: KeyProvider) -> None:
        await keys.obtain(*RUN)
        await keys.destroy(*RUN)

        with pytest.raises(KeyDestroyed):
            await keys.obtain(*RUN)

    async def test_a_run_without_a_key_can_be_destroyed_too(self, keys: KeyProvider) -> None:
        await keys.destroy(*RUN)

        with pytest.raises(KeyDestroyed):
            await keys.obtain(*RUN)

    async def test_what_is_added_after_a_destruction_opens_nothing(
        self, keys: KeyProvider, elsewhere: KeyProvider
    ) -> None:
        await keys.destroy(*RUN)
        try:
            late: Key | None = await elsewhere.obtain(*RUN)
        except KeyDestroyed:
            late = None

        assert late is None or await keys.get(*RUN, late.id) is None

    async def test_destroying_twice_is_harmless(self, keys: KeyProvider) -> None:
        other = await keys.obtain("orders", "o-1", "run-2")
        await keys.destroy(*RUN)
        await keys.destroy(*RUN)

        assert await keys.get("orders", "o-1", "run-2", other.id) == other

    async def test_a_secret_is_not_shown(self, keys: KeyProvider) -> None:
        key = await keys.obtain(*RUN)

        assert repr(key.secret) not in repr(key)
