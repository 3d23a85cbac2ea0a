"""The durable host: `streamwf dev` on a database, in processes of their own, for all tests of the
session: one on a file, two that share a database of a server.
"""

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec

from streamwf.adapters.stores import file_of, open_stores
from streamwf.ports import Outgoing
from streamwf.record import Record
from streamwf.stored import Stores
from streamwf.stored_aside import rebuild, replay, verify
from streamwf.stored_letters import DeadLetter, letters_of
from tests.acceptance.hosts import PATIENCE, AnyWorkflow, Letter
from tests.acceptance.process_host import LOOK, STARTING, Processes, ProcessHost
from tests.kafka.cluster import Worker

#: How long a process that was killed keeps its shards from the others.
LEASE = "4s"


class Stored(Processes):
    """url: of the database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        names = ["only"] if file_of(url) else ["first", "second"]
        environment = {"STREAMWF_STORE": url, "STREAMWF_LEASE": LEASE}
        super().__init__(folder, names, environment)

    def worker(self, name: str, target: str) -> Worker:
        main = "tests.acceptance.process_main"
        command = [sys.executable, "-m", main, "dev", target, "--port", "0", "--log-level", "info"]
        return Worker(name, self.folder, self.environment, command)

    def start(self, behind: timedelta = timedelta(0)) -> None:
        before = [worker.process for worker in self.all]
        super().start(behind)
        if before != [worker.process for worker in self.all]:
            deadline = time.monotonic() + STARTING
            while not self._are_spread():
                assert time.monotonic() < deadline, self.told()
                time.sleep(LOOK)

    def _are_spread(self) -> bool:
        """Whether each process has its share of the shards, so that none changes hands any more."""
        with urlopen(f"{self.all[0].url}/api/v1/roles", timeout=PATIENCE) as answer:
            told = msgspec.json.decode(answer.read())
        held = {(role["worker"], role["workflow"], role["shard"]) for role in told["roles"]}
        shares = Counter(worker for worker, _, _ in held)
        if told["missing"] or len(shares) < len(self.all):
            return False
        return max(shares.values()) - min(shares.values()) < 2


class StoreHost(ProcessHost):
    """Writes to the database as anyone may."""

    def __init__(
        self, name: str, processes: Stored, workflows: tuple[AnyWorkflow, ...], stores: Stores
    ) -> None:
        super().__init__(processes, workflows)
        self.name, self.shards = name, stores.log.layout.shards
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
        fitting = (
            foreign_id
            for foreign_id in (f"{name}-{number}" for number in itertools.count())
            if not together or self._stores.log.layout.shard_of(foreign_id) == 0
        )
        return [*itertools.islice(fitting, count)]


def _no_matter(done: int, total: int) -> None:
    """How far it has come."""


@asynccontextmanager
async def store_host(
    name: str, processes: Stored, workflows: tuple[AnyWorkflow, ...]
) -> AsyncIterator[StoreHost]:
    async with open_stores(processes.url, "store") as stores:
        host = StoreHost(name, processes, workflows, stores)
        await host.start()
        try:
            yield host
        finally:
            await host.stop()
