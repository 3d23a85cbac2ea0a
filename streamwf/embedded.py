"""The embedded host: everything in this process and in memory, for trying and testing.

It drives the same shards as the Kafka host does; its log is a list.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from .client import Client, LocalGateway
from .definition import Workflow
from .events import Event, decode_event, encode_event
from .execute import SystemClock
from .operations import Operations
from .ports import Clock
from .shard import Aside, Limits, Shard
from .tables.memory import MemoryTable

#: How many events are folded before others on the loop have their turn.
BATCH = 500

#: Seconds between two looks at what has come due, and at the next window of the agenda.
TICK = 0.01


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """Implements `streamwf.ports.LogRecord`."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


@dataclass
class MemoryLog:
    """The log of one workflow, and its dead letters with the reason of each."""

    records: list[MemoryRecord] = field(default_factory=list)
    dead_letters: list[tuple[Aside, str]] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> int:
        """The offset of the new record."""
        offset = len(self.records)
        self.records.append(MemoryRecord(offset, key, value, timestamp_ms))
        self.grown.set()
        return offset


class EmbeddedHost:
    """Runs workflows in this process. Implements `streamwf.operations.Host`.

    clock: stepped by tests; the machine's otherwise.
    """

    def __init__(
        self,
        *workflows: Workflow[Any, Any],
        clock: Clock | None = None,
        max_record_bytes: int = 1_000_000,
        threads: int = 64,
    ) -> None:
        for workflow in workflows:
            workflow.validate()
        self.workflows = {workflow.name: workflow for workflow in workflows}
        self.clock = clock or SystemClock()
        self.max_record_bytes = max_record_bytes
        self.logs = {name: MemoryLog() for name in self.workflows}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="streamwf-step")
        self._shards: dict[str, Shard] = {}
        self._tables: dict[str, MemoryTable] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open a shard for each workflow and begin to run what is due."""
        for name, workflow in self.workflows.items():
            table = self._tables[name] = MemoryTable()
            shard = self._shards[name] = Shard(
                workflow,
                0,
                table,
                end=0,
                clock=self.clock,
                threads=self._threads,
                wake=self.logs[name].grown.set,
                misplaced=lambda _: False,
                limits=Limits(self.max_record_bytes),
            )
            shard.maybe_live()
            self._tasks.append(asyncio.create_task(self._drive(name)))
        self._tasks.append(asyncio.create_task(self._tick()))

    async def stop(self, grace: float = 5.0) -> None:
        """grace: seconds that steps in progress get to finish in."""
        for shard in self._shards.values():
            await shard.close(grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _drive(self, name: str) -> None:
        """Append what the shard hands out, and fold what the log has."""
        log, shard, table = self.logs[name], self._shards[name], self._tables[name]
        while True:
            await log.grown.wait()
            log.grown.clear()
            now_ms = int(self.clock.now().timestamp() * 1000)
            for append in shard.take_appends():
                log.append(append.key, append.value, now_ms)
            shard.fold(log.records[shard.position : shard.position + BATCH])
            self._take_asides(log, shard)
            checkpoint = shard.checkpoint()
            if checkpoint is not None:
                table.write(checkpoint)
                shard.committed(checkpoint)
            if shard.position < len(log.records):
                log.grown.set()
            await asyncio.sleep(0)

    def _take_asides(self, log: MemoryLog, shard: Shard) -> None:
        # There is one shard, so nothing can be misplaced: what is set aside is unreadable.
        log.dead_letters += [(aside, aside.reason or "") for aside in shard.take_asides()]

    async def _tick(self) -> None:
        while True:
            self.run_due()
            await asyncio.sleep(TICK)

    def run_due(self) -> None:
        """Dispatch what has come due."""
        now = self.clock.now()
        for shard in self._shards.values():
            shard.scan_agenda(now)
            shard.tick(now)

    # ---- what the operations ask

    def shards(self, workflow: str) -> Iterable[Shard]:
        return [self._shards[workflow]] if workflow in self._shards else []

    def shard_of(self, workflow: str, foreign_id: str) -> Shard | None:
        return self._shards.get(workflow)

    async def append(self, workflow: str, event: Event) -> None:
        now_ms = int(self.clock.now().timestamp() * 1000)
        self.logs[workflow].append(event.subject.encode(), encode_event(event), now_ms)

    async def read(self, workflow: str, partition: int, offsets: tuple[int, ...]) -> list[Event]:
        return [self._event(workflow, self.logs[workflow].records[offset]) for offset in offsets]

    def _event(self, workflow: str, record: MemoryRecord) -> Event:
        return decode_event(
            record.value,
            workflow=workflow,
            partition=0,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            limit=self.max_record_bytes,
        )

    def replay(self, name: str) -> list[tuple[str, object, object]]:
        """Fold the log anew, aside, and compare: (key, live row, folded row) where they differ."""
        aside = MemoryTable()
        shard = Shard(
            self.workflows[name],
            0,
            aside,
            end=len(self.logs[name].records) + 1,
            clock=self.clock,
            threads=self._threads,
            wake=lambda: None,
            misplaced=lambda _: False,
            limits=Limits(self.max_record_bytes),
        )
        live = self._shards[name]
        shard.fold(self.logs[name].records[: live.position])
        return differences(live.scan(""), shard.scan(""))


def differences(
    live: Iterable[tuple[str, object]], folded: Iterable[tuple[str, object]]
) -> list[tuple[str, object, object]]:
    """Rows that are not the same on both sides: (key, live row, folded row)."""
    ours, theirs = dict(live), dict(folded)
    keys: Sequence[str] = sorted(ours.keys() | theirs.keys())
    return [(k, ours.get(k), theirs.get(k)) for k in keys if ours.get(k) != theirs.get(k)]


@dataclass
class EmbeddedApp:
    """A running embedded host. client: speaks to it without a network."""

    host: EmbeddedHost
    client: Client


@asynccontextmanager
async def embedded(
    *workflows: Workflow[Any, Any], clock: Clock | None = None
) -> AsyncIterator[EmbeddedApp]:
    """Run workflows in this process, in memory, until the block ends.

    Raises InvalidDefinition.
    """
    host = EmbeddedHost(*workflows, clock=clock)
    await host.start()
    try:
        yield EmbeddedApp(host, Client(LocalGateway(Operations(host))))
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await host.stop()
