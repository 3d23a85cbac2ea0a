"""Roles as leases in Redis hold to the contract."""

import asyncio
import shutil
from datetime import timedelta

import pytest

from streamwf.adapters.redis.client import Server
from streamwf.adapters.redis.roles import RedisLeases, RedisRoleScheduler
from streamwf.ports import RoleScheduler
from streamwf.testing.contracts.role_scheduler import Make, RoleSchedulerContract
from tests.servers import Redis

LEASE = timedelta(seconds=2)


class TestRedisRoles(RoleSchedulerContract):
    lease = LEASE.total_seconds()

    @pytest.fixture
    def another(self, redis_url: str) -> Make:
        self.servers: dict[RoleScheduler, Server] = {}

        def one_more() -> RoleScheduler:
            server = Server(redis_url, "store")
            scheduler = RedisRoleScheduler(server, lease=LEASE)
            self.servers[scheduler] = server
            return scheduler

        return one_more

    async def cut_off(self, scheduler: RoleScheduler) -> None:
        async def refuse(*_: object) -> None:
            raise OSError("the network is gone")

        self.servers[scheduler].client.execute_command = refuse


async def test_a_late_release_ends_no_later_lease(redis_url: str) -> None:
    first, second = (
        RedisLeases(Server(redis_url, "store"), name, timedelta(minutes=1), timedelta(0))
        for name in "ab"
    )
    former = await first.take(["role"])
    # It asks again, as it does not know.
    assert (await first.take(["role"]))["role"] > former["role"]
    await first.release(former)

    assert await second.take(["role"]) == {}
    for leases in (first, second):
        await leases.close()


async def test_a_server_that_has_forgotten_a_lease_gives_out_a_later_token(
    own_redis: Redis,
) -> None:
    leases = RedisLeases(Server(own_redis.url, "store"), "a", timedelta(minutes=1), timedelta(0))
    before = await leases.take(["role"])
    await asyncio.to_thread(own_redis.kill)
    shutil.rmtree(own_redis.directory / "data" / "appendonlydir")
    await asyncio.to_thread(own_redis.start)

    assert await leases.look(["role"]) == {}
    assert (await leases.take(["role"]))["role"] > before["role"]
    await leases.close()
