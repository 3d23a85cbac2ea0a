"""The durable host on stores in memory, which come into positions that real ones seldom do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from streamwf.adapters.roles.memory import MemoryRoleScheduler
from streamwf.adapters.streams.memory import MemoryStreamer
from streamwf.adapters.tracing import OpenTelemetry
from streamwf.errors import LogShorterThanTables, RowsLost, StoreUnreachable, StreamwfError
from streamwf.execute import SystemClock
from streamwf.operations import Operations
from streamwf.ports import Checkpoint, Hold, RoleScheduler, ShardId
from streamwf.record import State
from streamwf.settings import Settings
from streamwf.stored import OPENINGS, StoredHost, Stores
from streamwf.stored_log import StreamLog
from streamwf.tables.keys import MemoryKeys
from streamwf.tables.stores import MemoryStore
from streamwf.views import Trigger
from tests.kafka.cluster import until
from tests.kafka.flows import orders

SHARD = ShardId("orders", 0)


class Forgetful(MemoryStore):
    """Loses all that it has, once."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = False
        self.opened = 0

    async def open(self, shard: ShardId, token: int | None) -> int | None:
        self.opened += 1
        return await super().open(shard, token)

    async def store(self, shard: ShardId, checkpoint: Checkpoint, token: int) -> None:
        if self._table(shard).position and not self.lost:
            self.lost = True
            del self._tables[shard]
            raise RowsLost(store="It", workflow=shard.workflow, shard=shard.number)
        await super().store(shard, checkpoint, token)


@asynccontextmanager
async def host_on(
    store: MemoryStore,
    failures: list[StreamwfError],
    *,
    shards: int = 1,
    roles: RoleScheduler | None = None,
) -> AsyncIterator[StoredHost]:
    log = StreamLog(MemoryStreamer(), MemoryKeys(), shards)
    host = StoredHost(
        orders,
        stores=Stores(log, store, roles or MemoryRoleScheduler()),
        settings=Settings.model_construct(),
        tracing=OpenTelemetry(SystemClock()),
        failed=failures.append,
    )
    await host.start()
    try:
        yield host
    finally:
        await host.stop()


async def test_rows_that_were_lost_are_folded_again() -> None:
    store = Forgetful()
    async with host_on(store, []) as host:
        operations = Operations(host)
        await until(lambda: bool([*host.shards("orders")]), "the shard is open")
        with structlog.testing.capture_logs() as logs:
            first = await operations.trigger("orders", Trigger(foreign_id="o-1", object={}))
            await until(lambda: store._table(SHARD).position is not None, "a checkpoint")
            # Whatever was in the first one, there is something for another.
            await operations.append_trigger("orders", Trigger(foreign_id="o-2", object={}))
            await until(lambda: store.opened == 2, "it is opened anew")

        async def is_there() -> bool:
            found = await store.lookup("orders", first.run_id)
            return found is not None and found.state is State.COMPLETED

        await until(is_there, "the rows are there again")
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "checkpoint_failed"
    ]


class Away(MemoryStore):
    """Can't be reached while `away` is set. asked: how often it could not."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked = 0

    async def store(self, shard: ShardId, checkpoint: Checkpoint, token: int) -> None:
        if self.away:
            self.asked += 1
            raise StoreUnreachable(store="It", cause="no answer", setting="store")
        await super().store(shard, checkpoint, token)


async def test_a_store_that_is_away_is_told_once_though_most_shards_have_nothing_to_store() -> None:
    store = Away()
    async with host_on(store, [], shards=4) as host:
        operations = Operations(host)
        places = [ShardId("orders", number) for number in range(4)]

        def stored() -> bool:
            return all(store._table(place).position is not None for place in places)

        await until(lambda: len([*host.shards("orders")]) == 4, "all are open")
        await operations.trigger("orders", Trigger(foreign_id="o-1", object={}))
        await until(stored, "each has stored how far it is")
        with structlog.testing.capture_logs() as logs:
            store.away = True
            await operations.trigger("orders", Trigger(foreign_id="o-2", object={}))
            await until(lambda: store.asked >= 3, "it is asked again and again")
            store.away = False
            known = ("store_unreachable", "store_reachable_again")

            def told() -> list[str]:
                return [line["event"] for line in logs if line["event"] in known]

            await until(lambda: known[1] in told(), "it is there again")
    assert told() == [*known]


async def test_a_log_that_is_shorter_than_the_rows_is_refused() -> None:
    store, failures = MemoryStore(), list[StreamwfError]()
    await store.open(SHARD, 0)
    await store.store(SHARD, Checkpoint([], 7), 0)
    async with host_on(store, failures) as host:
        await until(lambda: bool(failures), "it says so")
        assert not [*host.shards("orders")]
    assert [type(error) for error in failures] == [LogShorterThanTables]


class Slow(MemoryStore):
    """Opens no shard before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.opening = self.most = 0
        self.opened = list[int]()

    async def open(self, shard: ShardId, token: int | None) -> int | None:
        self.opening += 1
        self.most = max(self.most, self.opening)
        await self.go.wait()
        self.opening -= 1
        self.opened.append(shard.number)
        return await super().open(shard, token)


class Lost(MemoryRoleScheduler):
    """Its roles are held by others as soon as `over` is set."""

    over = False

    @asynccontextmanager
    async def hold(self, role: str) -> AsyncIterator[Hold]:
        if self.over:
            await asyncio.Event().wait()
        async with super().hold(role) as hold:
            yield Holding(hold, self)


@dataclass
class Holding:
    hold: Hold
    roles: Lost

    @property
    def token(self) -> int:
        return self.hold.token

    @property
    def held(self) -> bool:
        return not self.roles.over and self.hold.held

    async def lost(self) -> None:
        await self.hold.lost()


async def test_few_shards_are_opened_at_a_time() -> None:
    store = Slow()
    async with host_on(store, [], shards=3 * OPENINGS) as host:
        await until(lambda: store.opening == OPENINGS, "as many as may")
        store.go.set()
        await until(lambda: len([*host.shards("orders")]) == 3 * OPENINGS, "all are open")
    assert store.most == OPENINGS


async def test_a_shard_whose_role_was_lost_while_it_waited_is_not_opened() -> None:
    store, roles = Slow(), Lost()
    async with host_on(store, [], shards=2 * OPENINGS, roles=roles):
        await until(lambda: store.opening == OPENINGS, "as many as may")
        roles.over = True
        store.go.set()
        await until(lambda: len(store.opened) == OPENINGS and not store.opening, "those are open")
    assert len(store.opened) == OPENINGS
