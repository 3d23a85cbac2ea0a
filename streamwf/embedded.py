"""The embedded host: everything in this process and in memory, for trying and testing.

It drives the same shards as the Kafka host does; its log is a list. On a database, `stored` is
the host.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from .broadcast import Broadcast
from .client import Client
from .definition import Workflow
from .errors import InvalidSettings
from .events import Event, decode_event, encode_event
from .execute import SystemClock
from .gateway import LocalGateway
from .inner import inner_of
from .lanes import Paces
from .logs import StandardLogger, letter_fields, short
from .measures import Measures
from .operations import Operations
from .ports import Clock, Filed, KeyProvider, Letter, Logger, LogRecord, Tracing
from .record import FIRST_KEY, Record
from .searched import terms_of
from .settings import Settings, load
from .shard import Limits, Shard, room_of_each
from .tables.keys import MemoryKeys
from .tables.memory import MemoryTable
from .vaults import Vaults

if TYPE_CHECKING:
    from .stored import StoredHost

#: How many events are folded before others on the loop have their turn.
BATCH = 500

#: Seconds between two looks at what has come due, and at the next window of the agenda.
TICK = 0.01

#: Ticks between two checkpoints: rows that change several times meanwhile are written once, and
#: writing a row to the table costs as much as all of its folding.
CHECKPOINT = 10


# A log has very many: the garbage collector need not look at them.
class MemoryRecord(msgspec.Struct, frozen=True, gc=False):
    """Implements `streamwf.ports.LogRecord`."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


@dataclass
class MemoryLog:
    """The log of one workflow, and its dead letters.

    told: up to which offset all that its records have led to elsewhere has gone there.
    """

    records: list[MemoryRecord] = field(default_factory=list)
    filed: list[Filed] = field(default_factory=list)
    told: int = 0
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> int:
        """The offset of the new record."""
        offset = len(self.records)
        self.records.append(MemoryRecord(offset, key, value, timestamp_ms))
        self.grown.set()
        return offset

    def file(self, letter: Letter, timestamp_ms: int) -> None:
        self.filed.append(Filed(0, len(self.filed), timestamp_ms, letter))

    @property
    def dead_letters(self) -> list[tuple[Letter, str]]:
        """What could not be used, with the reason."""
        letters = (filed.letter for filed in self.filed)
        return [(letter, letter.reason) for letter in letters if not letter.settles]


class MemoryLetters:
    """Implements `streamwf.ports.LetterLog`."""

    def __init__(self, logs: Mapping[str, MemoryLog], clock: Clock) -> None:
        self._logs = logs
        self._clock = clock

    async def since(
        self, workflow: str, positions: Mapping[int, int]
    ) -> AsyncIterator[Sequence[Filed]]:
        yield self._logs[workflow].filed[positions.get(0, 0) :]

    async def read(self, workflow: str, partition: int, offset: int) -> Filed | None:
        filed = self._logs[workflow].filed
        return filed[offset] if partition == 0 and offset < len(filed) else None

    async def settle(self, workflow: str, letter: Letter) -> None:
        self._logs[workflow].file(letter, int(self._clock.now().timestamp() * 1000))


class EmbeddedHost:
    """Runs workflows in this process. Implements `streamwf.looking.Host`.

    clock: stepped by tests; the machine's otherwise.
    logs: those of a former host, which is stopped: its runs go on here, by the definitions that
        are given now.
    key_provider: has the keys of the runs of workflows that encrypt; in memory, unless given.
    logger: takes what it has to say; the standard library, unless given. log_objects: whether the
        lines of a workflow that is debugged tell what its runs carry.
    """

    def __init__(
        self,
        *workflows: Workflow[Any, Any],
        clock: Clock | None = None,
        max_record_bytes: int = 1_000_000,
        threads: int = 64,
        logs: Mapping[str, MemoryLog] | None = None,
        key_provider: KeyProvider | None = None,
        logger: Logger | None = None,
        log_objects: bool = False,
    ) -> None:
        for workflow in workflows:
            workflow.validate()
        self.workflows = {workflow.name: workflow for workflow in workflows}
        self.clock = clock or SystemClock()
        self.max_record_bytes = max_record_bytes
        self.partitions = 1
        self.key_provider = key_provider or MemoryKeys()
        self.logger = logger or StandardLogger("streamwf.shard")
        self.log_objects = log_objects
        self.vaults = Vaults(
            workflows, self.key_provider, max_record_bytes, _nothing_elsewhere, self.logger
        )
        former = {name: (logs or {}).get(name, MemoryLog()) for name in self.workflows}
        self.logs = {
            name: MemoryLog([*log.records], [*log.filed], log.told) for name, log in former.items()
        }
        self.letters = MemoryLetters(self.logs, self.clock)
        self.tracing = _tracing(self.clock)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="streamwf-step")
        self._paces = Paces(self.clock, logger=self.logger)
        self._measures = {name: Measures() for name in self.workflows}
        self.broadcast = Broadcast()
        self._shards: dict[str, Shard] = {}
        self._tables: dict[str, MemoryTable] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open a shard for each workflow and begin to run what is due.

        Raises LiveRunsInUnknownStatus if a former log has runs where the definition has no status.
        """
        for name, workflow in self.workflows.items():
            table, log = MemoryTable(terms_of(workflow)), self.logs[name]
            self._tables[name] = table
            shard = self._shards[name] = Shard(
                workflow,
                0,
                table,
                end=len(log.records),
                clock=self.clock,
                threads=self._threads,
                wake=log.grown.set,
                misplaced=lambda _: False,
                limits=Limits(self.max_record_bytes),
                inner=inner_of(self, workflow),
                paces=self._paces,
                vault=self.vaults.of(name),
                measures=self._measures[name],
                logger=self.logger,
                log_objects=self.log_objects,
                tracing=self.tracing,
                broadcast=self.broadcast,
            )
            shard.fold(log.records)
            fresh = [aside for aside in shard.take_asides() if aside.offset >= log.told]
            shard.return_asides(fresh)
            log.grown.set()
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
        log, shard = self.logs[name], self._shards[name]
        while True:
            await log.grown.wait()
            log.grown.clear()
            now_ms = int(self.clock.now().timestamp() * 1000)
            for append in shard.take_appends():
                log.append(append.key, append.value, now_ms)
            shard.fold(log.records[shard.position : shard.position + BATCH])
            await self._take_asides(log, shard)
            log.told = shard.position
            if shard.position < len(log.records):
                log.grown.set()
            await asyncio.sleep(0)

    async def _take_asides(self, log: MemoryLog, shard: Shard) -> None:
        name = shard.workflow.name
        asides = shard.take_asides()
        now_ms = int(self.clock.now().timestamp() * 1000)
        for aside in await self.vaults.carried(name, asides):
            if aside.workflow in self.logs:
                self.logs[aside.workflow].append(aside.key, aside.value, now_ms)
            else:
                reason = aside.reason or f"there is no workflow {aside.workflow!r} here"
                letter = Letter(aside.key, aside.value, reason, name, "0", str(aside.offset))
                log.file(letter, now_ms)
                place = {"workflow": name, "shard": shard.partition, "offset": aside.offset}
                self.logger.warning("dead_letter", **place, reason=short(reason))
        await self.vaults.sent(name, asides)

    async def _tick(self) -> None:
        for ticks in itertools.count():
            self.run_due()
            if ticks % CHECKPOINT == 0:
                self._checkpoint()
            await asyncio.sleep(TICK)

    def _checkpoint(self) -> None:
        for name, shard in self._shards.items():
            checkpoint = shard.checkpoint()
            if checkpoint is not None:
                self._tables[name].write(checkpoint)
                shard.committed(checkpoint)

    def run_due(self) -> None:
        """Dispatch what has come due."""
        now = self.clock.now()
        shards = self._shards.values()
        for shard in shards:
            shard.scan_agenda(now)
        room = room_of_each(shards, now)
        for shard in shards:
            shard.tick(now, room)

    # ---- what the operations ask

    @property
    def settings(self) -> Settings:
        """Raises InvalidSettings."""
        return load()

    def shards(self, workflow: str) -> Iterable[Shard]:
        return [self._shards[workflow]] if workflow in self._shards else []

    def shard_of(self, workflow: str, foreign_id: str) -> Shard | None:
        return self._shards.get(workflow)

    def measures(self, workflow: str) -> Measures:
        return self._measures[workflow]

    def end(self, workflow: str, partition: int) -> int | None:
        return len(self.logs[workflow].records)

    def opening(self, workflow: str) -> Mapping[int, int]:
        """None: its tables are made from the logs at once."""
        return {}

    async def append(self, workflow: str, event: Event) -> None:
        sealed = await self.vaults.sealed(workflow, event)
        now_ms = int(self.clock.now().timestamp() * 1000)
        self.logs[workflow].append(event.subject.encode(), encode_event(sealed), now_ms)

    async def append_all(self, workflow: str, events: Sequence[Event]) -> None:
        log, now_ms = self.logs[workflow], int(self.clock.now().timestamp() * 1000)
        for event in await self.vaults.sealed_all(workflow, events):
            log.append(event.subject.encode(), encode_event(event), now_ms)

    async def bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        self._measures[workflow].dead_letters += len(letters)
        for letter in letters:
            self.logger.warning("dead_letter", **letter_fields(workflow, letter))
            self.logs[workflow].file(letter, int(self.clock.now().timestamp() * 1000))

    async def begin(self, workflow: str, partition: int) -> int:
        return 0

    async def log(
        self, workflow: str, partition: int, offsets: Sequence[int]
    ) -> Sequence[LogRecord]:
        records = self.logs[workflow].records
        return [records[offset] for offset in offsets if offset < len(records)]

    async def read(self, workflow: str, partition: int, offsets: tuple[int, ...]) -> list[Event]:
        records = self.logs[workflow].records
        return await self.vaults.shown(
            workflow, [self._event(workflow, records[offset]) for offset in offsets]
        )

    def _event(self, workflow: str, record: MemoryRecord) -> Event:
        return decode_event(
            record.value,
            workflow=workflow,
            partition=0,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            limit=self.max_record_bytes,
        )

    def verify(self, name: str) -> list[tuple[str, object, object]]:
        """Fold the log anew, aside, and compare: (key, live row, folded row) where they differ."""
        live = self._shards[name]
        folded = self._folded(name, self.logs[name].records[: live.position])
        return differences(live.scan(""), folded.scan(""))

    def replay(self, name: str, until: datetime) -> list[Record]:
        """The runs as they were at a time: all that the log had then, folded anew."""
        until_ms = until.timestamp() * 1000
        known = [r for r in self.logs[name].records if r.timestamp <= until_ms]
        return [record for _, record in self._folded(name, known).scan(FIRST_KEY)]

    def _folded(self, name: str, records: Sequence[MemoryRecord]) -> Shard:
        """A shard that only folds, and runs nothing."""
        shard = Shard(
            self.workflows[name],
            0,
            MemoryTable(),
            end=len(self.logs[name].records) + 1,
            clock=self.clock,
            threads=self._threads,
            wake=lambda: None,
            misplaced=lambda _: False,
            limits=Limits(self.max_record_bytes),
        )
        shard.fold(records)
        return shard


async def _nothing_elsewhere(workflow: str) -> bool:
    """All that there is, is here."""
    return False


def _tracing(clock: Clock) -> Tracing:
    from .adapters.tracing import OpenTelemetry

    return OpenTelemetry(clock)


def differences(
    live: Iterable[tuple[str, object]], folded: Iterable[tuple[str, object]]
) -> list[tuple[str, object, object]]:
    """Rows that are not the same on both sides: (key, live row, folded row)."""
    ours, theirs = dict(live), dict(folded)
    keys: Sequence[str] = sorted(ours.keys() | theirs.keys())
    return [(k, ours.get(k), theirs.get(k)) for k in keys if ours.get(k) != theirs.get(k)]


@dataclass
class EmbeddedApp:
    """A running embedded host: in memory, or on a database.

    client: speaks to it without a network.
    """

    host: "EmbeddedHost | StoredHost"
    client: Client


@asynccontextmanager
async def embedded(
    *workflows: Workflow[Any, Any],
    store: str | None = None,
    clock: Clock | None = None,
    key_provider: KeyProvider | None = None,
    logger: Logger | None = None,
    log_objects: bool = False,
) -> AsyncIterator[EmbeddedApp]:
    """Run workflows in this process until the block ends: in memory, or on a database.

    store: the URL of a database in which everything is kept, like sqlite:///orders.db or
        postgresql://user@host/orders; whoever runs the same workflows on it later finds all runs
        as they were. One process at a time does: the next one waits until this block has ended.
    clock: in memory only.
    key_provider: has the keys of the runs of workflows that encrypt; unless given, they are in
        memory or in the database.
    logger: takes what is logged, like one of structlog's; the standard library, unless given.
    log_objects: whether the lines of a workflow that is debugged tell what its runs carry. Fields
        that are masked stay so.

    Raises InvalidDefinition; with a store also InvalidSettings, StoreUnreachable and SchemaNewer.
    """
    if store is not None and clock is not None:
        raise InvalidSettings(mistakes="- clock: on a database time is the machine's, leave it out")
    if store is not None:
        # Programs that only speak to workers have not all that it needs.
        from .stored_app import stored_host

        async with stored_host(workflows, store, key_provider, logger, log_objects) as stored:
            yield _app(stored)
        return
    host = EmbeddedHost(
        *workflows,
        clock=clock,
        key_provider=key_provider,
        logger=logger,
        log_objects=log_objects,
    )
    await host.start()
    try:
        yield _app(host)
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await host.stop()


def _app(host: "EmbeddedHost | StoredHost") -> EmbeddedApp:
    return EmbeddedApp(host, Client(LocalGateway(Operations(host))))
