"""Workers of this process that share stores, and the shards in them: each runs some of them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from streamwf import Client, Workflow
from streamwf.adapters.roles.claim import Claim
from streamwf.adapters.roles.memory import MemoryRoles, MemoryRoleScheduler
from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.migrations import upgrade
from streamwf.adapters.sql.records import SqlStore
from streamwf.adapters.streams.reflex import ReflexStreamer
from streamwf.adapters.tracing import OpenTelemetry
from streamwf.adapters.web import Server, StorePeers, application, serve
from streamwf.cli.serving import free_port
from streamwf.execute import SystemClock
from streamwf.operations import Operations
from streamwf.settings import Settings
from streamwf.stored import StoredHost, Stores
from streamwf.stored_log import OnePartition, StreamLog
from streamwf.tables.keys import MemoryKeys
from tests.support import eventually

SHARDS = 4


class Addressed(MemoryRoleScheduler):
    """Tells where the holders of roles are."""

    def __init__(self, roles: MemoryRoles, holders: dict[str, str], address: str) -> None:
        super().__init__(roles)
        self._holders = holders
        self._address = address

    @asynccontextmanager
    async def hold(self, role: str) -> AsyncIterator[Claim]:
        async with super().hold(role) as claim:
            self._holders[role] = self._address
            try:
                yield claim
            finally:
                if self._holders.get(role) == self._address:
                    del self._holders[role]


@dataclass
class Member:
    """One of the workers."""

    host: StoredHost
    server: Server
    session: aiohttp.ClientSession
    leaving: AsyncExitStack

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def shards(self) -> set[int]:
        return {shard.partition for shard in self.host.shards("orders") if shard.live}

    def client(self) -> Client:
        return Client.over_http(self.url)

    async def stop(self) -> None:
        await self.leaving.aclose()


class Crew:
    """workflow: is asked for one for each worker."""

    def __init__(self, folder: Path, workflows: Any) -> None:
        self._url = f"sqlite:///{folder / 'crew.db'}"
        self._workflows = workflows
        self._roles = MemoryRoles()
        self._holders: dict[str, str] = {}
        self._hidden: dict[str, str] = {}
        self.workflow: Workflow[Any, Any] = workflows()
        self.members: list[Member] = []

    def hide(self, member: Member, behind: str = "http://127.0.0.1:1") -> None:
        """Let the others not reach it, but what is there instead."""
        self._hidden[member.url] = behind

    def show(self, member: Member) -> None:
        del self._hidden[member.url]

    def shard_of(self, foreign_id: str) -> int:
        return OnePartition(SHARDS).shard_of(foreign_id)

    def _holder(self, role: str) -> str | None:
        address = self._holders.get(role)
        return self._hidden.get(address or "", address)

    async def __aenter__(self) -> "Crew":
        self.engine = create(self._url, "store")
        await upgrade(self.engine, "store")
        self.streamer = ReflexStreamer(self.engine)
        return self

    async def __aexit__(self, *_: object) -> None:
        for member in self.members:
            await member.stop()
        await self.streamer.close()
        await self.engine.dispose()

    async def join(self, port: int = 0) -> Member:
        """A worker more."""
        leaving = AsyncExitStack()
        workflow: Workflow[Any, Any] = self._workflows()
        probe = port or free_port("127.0.0.1")
        address = f"http://127.0.0.1:{probe}"
        roles = Addressed(self._roles, self._holders, address)
        log = StreamLog(self.streamer, MemoryKeys(), SHARDS)
        stores = Stores(log, SqlStore(self.engine), roles, self._holder)
        host = StoredHost(
            workflow,
            stores=stores,
            settings=Settings(checkpoint_interval=timedelta(milliseconds=50)),
            tracing=OpenTelemetry(SystemClock()),
            address=address,
        )
        peers = StorePeers(address, host.shard_id_of, host.address_of, host.every_shard)
        server = await serve(
            application(Operations(host), peers, peers.not_ready), "127.0.0.1", probe
        )
        leaving.push_async_callback(roles.close)
        leaving.push_async_callback(host.stop, 0)
        leaving.push_async_callback(server.stop)
        await host.start()
        session = await leaving.enter_async_context(aiohttp.ClientSession())
        self.members.append(Member(host, server, session, leaving))
        return self.members[-1]

    async def settled(self, *members: Member) -> None:
        """Until these run all shards, and each has some."""

        def shared() -> bool:
            shares = [member.shards for member in members]
            return all(shares) and sorted(n for share in shares for n in share) == [*range(SHARDS)]

        await eventually(shared)
