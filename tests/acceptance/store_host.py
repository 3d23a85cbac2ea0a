"""The durable host: `streamwf dev` on a database, in a process of its own, for all tests of the
session.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from streamwf.adapters.stores import open_stores
from streamwf.ports import Outgoing
from streamwf.record import Record
from streamwf.stored import Stores
from streamwf.stored_aside import rebuild, replay, verify
from streamwf.stored_letters import DeadLetter, letters_of
from tests.acceptance.hosts import AnyWorkflow, Letter
from tests.acceptance.process_host import Processes, ProcessHost
from tests.kafka.cluster import Worker


class Stored(Processes):
    """url: of the database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        environment = {"STREAMWF_STORE": url, "STREAMWF_LEASE": "10s"}
        super().__init__(folder, ["only"], environment)

    def worker(self, name: str, target: str) -> Worker:
        main = "tests.acceptance.process_main"
        command = [sys.executable, "-m", main, "dev", target, "--port", "0", "--log-level", "info"]
        return Worker(name, self.folder, self.environment, command)


class StoreHost(ProcessHost):
    """Writes to the database as anyone may."""

    name = "sqlite"

    def __init__(
        self, processes: Stored, workflows: tuple[AnyWorkflow, ...], stores: Stores
    ) -> None:
        super().__init__(processes, workflows)
        self._stores = stores

    async def produce(
        self,
        workflow: AnyWorkflow,
        value: bytes | Mapping[str, Any],
        key: bytes | None = None,
        shift: int = 0,
    ) -> None:
        raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
        subject = str(value["subject"]) if isinstance(value, Mapping) else ""
        await self._send(workflow, [Outgoing(key or subject.encode(), raw)])

    async def produce_all(self, workflow: AnyWorkflow, values: Iterable[Mapping[str, Any]]) -> None:
        await self._send(
            workflow,
            [Outgoing(str(v["subject"]).encode(), msgspec.json.encode(v)) for v in values],
        )

    async def _send(self, workflow: AnyWorkflow, records: list[Outgoing]) -> None:
        self.touch(workflow.name)
        sender = await self._stores.log.streamer.sender(workflow.name)
        try:
            await sender.send(records)
        finally:
            await sender.close()

    async def log(self, workflow: AnyWorkflow) -> list[bytes]:
        return [value async for value in self._values(workflow.name)]

    async def dead_letters(self, workflow: AnyWorkflow) -> list[Letter]:
        found = []
        async for value in self._values(letters_of(workflow.name)):
            letter = msgspec.json.decode(value, type=DeadLetter)
            found.append(Letter(letter.text.encode() or letter.base64, letter.reason))
        return found

    async def _values(self, stream: str) -> AsyncIterator[bytes]:
        end = (await self._stores.log.streamer.ends(stream)).get(0, 0)
        receiver = await self._stores.log.streamer.receiver(stream, "acceptance", since={})
        try:
            position = 0
            while position < end:
                for _, record in await receiver.recv():
                    yield record.value or b""
                    position = record.offset + 1
        finally:
            await receiver.close()

    async def rebuild(self, workflow: AnyWorkflow) -> None:
        await self.stop()
        await asyncio.to_thread(self._processes.stop)
        await rebuild(workflow, self._stores, _no_matter)
        await self.start()

    async def verify(self) -> list[str]:
        found = []
        for workflow in self.touched:
            verified = await verify(workflow, self._stores, _no_matter)
            found += [f"{workflow.name}: {difference}" for difference in verified.differences]
        return found

    async def replay(self, workflow: AnyWorkflow, until: datetime) -> list[Record]:
        found: list[Record] = []
        await replay(workflow, self._stores, until, _no_matter, found.append)
        return found

    def spread(self, name: str, count: int, *, together: bool = False) -> list[str]:
        return [f"{name}-{number}" for number in range(count)]


def _no_matter(done: int, total: int) -> None:
    """How far it has come."""


@asynccontextmanager
async def store_host(
    processes: Stored, workflows: tuple[AnyWorkflow, ...]
) -> AsyncIterator[StoreHost]:
    async with open_stores(processes.url, "store") as stores:
        host = StoreHost(processes, workflows, stores)
        await host.start()
        try:
            yield host
        finally:
            await host.stop()
