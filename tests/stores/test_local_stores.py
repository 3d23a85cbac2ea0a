"""The stores of a process alone, in memory and in RocksDB, by the contracts."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from rocksdict import Rdict

from streamwf.adapters.rocksdb import RocksStore
from streamwf.errors import StoreFull, StoreUnreachable
from streamwf.ports import Checkpoint, Due
from streamwf.tables.stores import MemoryStore
from streamwf.testing.contracts.record_store import RecordStoreContract
from streamwf.testing.contracts.records import (
    LATER,
    NOW,
    SHARD,
    fill,
    new,
    rows_of,
    run,
)
from streamwf.testing.contracts.timeout_store import TimeoutStoreContract

SETTING = "STREAMWF_DATA_DIR"


class Memory:
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def timeouts(self, store: MemoryStore) -> MemoryStore:
        return store

    @pytest.fixture
    def reopen(self, store: MemoryStore) -> Callable[[], Awaitable[MemoryStore]]:
        async def same() -> MemoryStore:
            return store

        return same


class TestMemoryRecords(Memory, RecordStoreContract):
    pass


class TestMemoryTimeouts(Memory, TimeoutStoreContract):
    pass


class Rocks:
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Iterator[list[RocksStore]]:
        stores = [RocksStore(tmp_path / "rows", SETTING)]
        yield stores
        for store in stores:
            store.close()

    @pytest.fixture
    def store(self, opened: list[RocksStore]) -> RocksStore:
        return opened[0]

    @pytest.fixture
    def timeouts(self, store: RocksStore) -> RocksStore:
        return store

    @pytest.fixture
    def reopen(
        self, opened: list[RocksStore], tmp_path: Path
    ) -> Callable[[], Awaitable[RocksStore]]:
        async def anew() -> RocksStore:
            opened.pop().close()
            opened.append(RocksStore(tmp_path / "rows", SETTING))
            return opened[0]

        return anew


class TestRocksRecords(Rocks, RecordStoreContract):
    pass


class TestRocksTimeouts(Rocks, TimeoutStoreContract):
    pass


# ---- a directory


async def test_a_directory_has_one_process(tmp_path: Path) -> None:
    store = RocksStore(tmp_path, SETTING)
    await fill(store, run())
    code = f"""if True:
        import asyncio
        from pathlib import Path
        from streamwf.adapters.rocksdb import RocksStore
        from streamwf.errors import StoreInUse
        try:
            asyncio.run(RocksStore(Path({str(tmp_path)!r}), "STORE").latest("orders", "o-1"))
        except StoreInUse as error:
            print(error)"""
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    told, _ = await done.communicate()
    store.close()

    assert str(tmp_path) in told.decode()


async def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    store = RocksStore(path, SETTING)
    with pytest.raises(StoreUnreachable, match=SETTING):
        await store.open(SHARD, 1)


async def test_what_could_not_be_written_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RocksStore(tmp_path, SETTING)
    await fill(store, run(due_at=NOW))
    with monkeypatch.context() as patched:
        patched.setattr(Rdict, "write", _full)
        with pytest.raises(StoreFull, match=SETTING):
            await store.store(SHARD, Checkpoint([new(run("o-2", due_at=NOW))], 2), 1)

    assert await store.latest("orders", "o-1") == run(due_at=NOW)
    assert await store.open(SHARD, 1) == 1
    assert await rows_of(store) == {"o-1": run(due_at=NOW)}
    assert await store.due(SHARD, LATER, 10) == [Due(NOW, "o-1")]
    await store.store(SHARD, Checkpoint([new(run("o-2"))], 2), 1)
    assert set(await rows_of(store)) == {"o-1", "o-2"}
    store.close()


def _full(*_: object) -> None:
    # As RocksDB says it; where there is no room, nothing of a batch is written.
    raise Exception("IO error: No space left on device: While appending to file: 000008.log")
