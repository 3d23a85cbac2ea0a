"""The store in Redis, by the contracts, and what becomes of it with its server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import structlog

from streamwf.adapters.redis.client import Server
from streamwf.adapters.redis.records import RedisStore
from streamwf.errors import (
    Fenced,
    InvalidSettings,
    RowsLost,
    StoreDenied,
    StoreFull,
    StoreNotFound,
    StoreReadOnly,
    StoreUnreachable,
)
from streamwf.ports import Checkpoint
from streamwf.testing.contracts.record_store import RecordStoreContract
from streamwf.testing.contracts.records import (
    NOW,
    SHARD,
    fill,
    new,
    rows_of,
    run,
)
from streamwf.testing.contracts.timeout_store import TimeoutStoreContract
from tests.servers import Redis

SETTING = "REDIS_URL"


class InRedis:
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[RedisStore]:
        server = Server(redis_url, SETTING)
        yield RedisStore(server)
        await server.close()

    @pytest.fixture
    def timeouts(self, store: RedisStore) -> RedisStore:
        return store

    @pytest.fixture
    async def reopen(
        self, store: RedisStore, redis_url: str
    ) -> AsyncIterator[Callable[[], Awaitable[RedisStore]]]:
        another = Server(redis_url, SETTING)

        async def anew() -> RedisStore:
            return RedisStore(another)

        yield anew
        await another.close()


class TestRedisRecords(InRedis, RecordStoreContract):
    pass


class TestRedisTimeouts(InRedis, TimeoutStoreContract):
    pass


async def test_a_checkpoint_that_comes_late_changes_nothing(redis_url: str) -> None:
    """As one whose sender has lost its connection, and has stored it and more by another."""
    server = Server(redis_url, SETTING)
    store = RedisStore(server)
    await fill(store, run())
    await store.store(SHARD, Checkpoint([new(run(version=5))], 5), 1)
    await store.store(SHARD, Checkpoint([new(run(version=4))], 4), 1)

    assert await store.open(SHARD, 1) == 5
    assert await rows_of(store) == {"o-1": run(version=5)}
    await server.close()


# ---- what goes wrong with it


async def failure(url: str) -> StoreUnreachable:
    server = Server(url, SETTING)
    with pytest.raises(StoreUnreachable) as raised:
        await RedisStore(server).open(SHARD, 1)
    await server.close()
    assert SETTING in str(raised.value)
    assert "secret" not in str(raised.value)
    return raised.value


async def test_nobody_is_there() -> None:
    assert type(await failure("redis://:secret@127.0.0.1:1/0")) is StoreUnreachable
    assert type(await failure("redis://:secret@nowhere.invalid/0")) is StoreUnreachable


async def test_a_wrong_password(own_redis: Redis) -> None:
    wrong = own_redis.url.replace(own_redis.password, "secret")

    assert type(await failure(wrong)) is StoreDenied
    assert type(await failure(own_redis.url.replace(f":{own_redis.password}@", ""))) is StoreDenied


async def test_a_database_that_does_not_exist(own_redis: Redis) -> None:
    assert type(await failure(f"{own_redis.url[:-1]}99999999")) is StoreNotFound


@pytest.mark.parametrize("url", ["redis://:secret@host:port/0", "orders.db", "http://secret@host"])
def test_what_is_no_url_of_redis(url: str) -> None:
    with pytest.raises(InvalidSettings, match=SETTING) as raised:
        Server(url, SETTING)
    assert "secret" not in str(raised.value)


async def opened(redis: Redis) -> tuple[Server, RedisStore]:
    server = Server(redis.url, SETTING)
    store = RedisStore(server)
    await fill(store, run(due_at=NOW))
    return server, store


async def test_a_server_that_can_only_be_read_or_is_full(own_redis: Redis) -> None:
    server, store = await opened(own_redis)
    large = Checkpoint([new(run(f"o-{n}", reason="x" * 1000)) for n in range(2, 100)], 2)
    await server.client.config_set("maxmemory", "1")
    with pytest.raises(StoreFull, match=SETTING):
        await store.store(SHARD, large, 1)
    await server.client.config_set("maxmemory", "0")
    await server.client.replicaof("127.0.0.1", "1")
    with pytest.raises(StoreReadOnly, match=SETTING):
        await store.store(SHARD, large, 1)

    assert set(await rows_of(store)) == {"o-1"}
    await server.close()


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        (("--appendfsync", "always"), []),
        ((), ["redis_not_durable"]),
        (("--appendonly", "no"), ["redis_not_durable"]),
        (("--rename-command", "CONFIG", ""), ["redis_durability_unknown"]),
    ],
)
async def test_it_warns_of_a_server_that_may_lose_what_is_stored(
    settings: tuple[str, ...], warned: list[str]
) -> None:
    with Redis(*settings) as redis, structlog.testing.capture_logs() as logs:
        server, store = await opened(redis)
        await store.open(SHARD, 2)
        await server.close()

    assert [line["event"] for line in logs] == warned


async def test_all_is_there_after_a_crash() -> None:
    with Redis("--appendfsync", "always") as redis:
        server, store = await opened(redis)
        position = await _store_until_it_fails(store, redis)
        with pytest.raises(StoreUnreachable, match=SETTING):
            await store.latest("orders", "o-1")
        await asyncio.to_thread(redis.start)

        found = await store.open(SHARD, 1)
        assert found in (position, position + 1)
        rows = (await rows_of(store)).values()
        assert {one.version for one in rows} == {found}
        assert len(rows) == 50
        with pytest.raises(Fenced):
            await store.open(SHARD, 0)
        await server.close()


async def test_nothing_is_stored_on_top_of_what_a_crash_has_taken() -> None:
    with Redis("--appendonly", "no", "--save", "") as redis:
        server, store = await opened(redis)
        await server.client.save()
        await store.store(SHARD, Checkpoint([new(run("o-2"))], 2), 1)
        await asyncio.to_thread(redis.kill)
        await asyncio.to_thread(redis.start)
        late = Checkpoint([new(run("o-3"))], 3)
        with pytest.raises(RowsLost, match="orders"):
            await store.store(SHARD, late, 1)

        assert set(await rows_of(store)) == {"o-1"}
        assert await store.open(SHARD, 1) == 1
        await store.store(SHARD, late, 1)
        assert set(await rows_of(store)) == {"o-1", "o-3"}
        await server.close()


async def _store_until_it_fails(store: RedisStore, redis: Redis) -> int:
    """Store checkpoints while the server is killed. Gives the position of the last one."""
    position = 1
    killing = None
    while True:
        changes = [new(run(f"o-{n}", version=position + 1)) for n in range(50)]
        try:
            await store.store(SHARD, Checkpoint(changes, position + 1), 1)
        except StoreUnreachable:
            assert killing is not None
            await killing
            return position
        position += 1
        if position == 20:
            killing = asyncio.ensure_future(asyncio.to_thread(redis.kill))
