"""The Kafka host: the shards of this worker, driven by the log.

Faust says which partitions are this worker's; the host opens and closes their shards, reads the
log into them, appends what they hand out, and makes checkpoints durable.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from time import monotonic
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streamwf.adapters.kafka.append import producer
from streamwf.adapters.kafka.letter_log import KafkaLetters
from streamwf.adapters.kafka.letters import append_events, bury
from streamwf.adapters.kafka.outages import outages
from streamwf.adapters.kafka.reach import DENIED, unreachable
from streamwf.adapters.kafka.reader import (
    Deliver,
    LogReader,
    OffsetReader,
    consumer,
    stop_consumer,
)
from streamwf.adapters.kafka.topics import Topics, partition_of
from streamwf.adapters.tracing import OpenTelemetry
from streamwf.agents.data_dir import DataDir, Held
from streamwf.agents.gaps import Gaps
from streamwf.agents.keys import WorkerKeys
from streamwf.agents.ownership import OwnedShard
from streamwf.agents.progress import recovery_told
from streamwf.agents.standby import Standbys
from streamwf.broadcast import Broadcast
from streamwf.definition import Workflow
from streamwf.errors import StreamwfError
from streamwf.events import Event, decode_event, encode_event
from streamwf.execute import SystemClock
from streamwf.inner import inner_of
from streamwf.lanes import Paces
from streamwf.logs import letter_fields
from streamwf.measures import Measures
from streamwf.ports import KeyProvider, Letter, Logger, LogRecord
from streamwf.searched import terms_of
from streamwf.settings import Settings
from streamwf.shard import Shard, room_of_each

#: Seconds between two looks at what has come due.
TICK = 0.02

#: Seconds until a shard whose changelog failed is opened anew.
REOPEN = 1.0

#: Shards that are opened at a time.
OPENINGS = 4

#: The turns of a shard's checkpoints that one counts for while the shard is busy, and between how
#: many changed rows it is. A row costs more to write than to fold, and what changes several times
#: meanwhile is written once; more than so many would hold up all else for too long.
BUSY_TURNS = 4
BUSY = range(500, 4_000)

#: Seconds that what is to be written gets at a stop, for a broker that may not answer any more.
LAST_WRITES = 5.0


class KafkaHost:
    """Runs the shards of one worker. Implements `streamwf.looking.Host`.

    may_start: whether this worker's hold on its shards is beyond doubt.
    failed: called with an error that this worker can't go on after.
    deliver: takes what is read from the log on its way to `fold`.
    key_provider: has the keys of the runs of workflows that encrypt; Kafka, unless given.
    logger: takes what it has to say; structlog's loggers, unless given.
    """

    def __init__(
        self,
        workflows: Sequence[Workflow[Any, Any]],
        settings: Settings,
        *,
        may_start: Callable[[], bool],
        failed: Callable[[StreamwfError], None],
        deliver: Deliver | None = None,
        key_provider: KeyProvider | None = None,
        logger: Logger | None = None,
    ) -> None:
        self.workflows = {workflow.name: workflow for workflow in workflows}
        self.settings = settings
        self.clock = SystemClock()
        self.max_record_bytes = settings.max_record_bytes
        self.partitions = settings.partitions
        self.data = DataDir(settings.data_dir, {each.name: terms_of(each) for each in workflows})
        self.logger: Logger = logger or structlog.get_logger("streamwf.worker")
        self._shard_logger: Logger = logger or structlog.get_logger("streamwf.shard")
        self._keys = WorkerKeys(workflows, settings, key_provider, self._shard_logger)
        self.vaults = self._keys.vaults
        self.tracing = OpenTelemetry(self.clock)
        self._topics = {name: Topics.of(name, settings) for name in self.workflows}
        self._may_start = may_start
        self._failed = failed
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="streamwf-step")
        self._paces = Paces(self.clock, settings.partitions, self._shard_logger)
        self._measures = {name: Measures() for name in self.workflows}
        self.broadcast = Broadcast()
        self._opening: dict[Held, OwnedShard] = {}
        self._owned: dict[Held, OwnedShard] = {}
        self._by_log: dict[TopicPartition, OwnedShard] = {}
        self._wanted: set[Held] = set()
        self._standby: set[Held] = set()
        self._missed = False
        self._assigning = asyncio.Lock()
        self._appending: dict[OwnedShard, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._deliver = deliver or self.fold
        self._gaps = Gaps(self._reread, logger)
        self._reader = LogReader(settings, self._deliver, logger=logger)
        self._offsets = OffsetReader(settings)
        self.letters = KafkaLetters(settings, self._file)
        self._standbys = Standbys(settings, logger)
        self._producer: AIOKafkaProducer | None = None
        self._meta: AIOKafkaConsumer | None = None
        self._stopping = False
        self._holding = False
        self._context = copy_context()

    # ---- life cycle

    async def start(self) -> None:
        """Raises KafkaError and DataDirInUse."""
        self.data.lock()
        self._producer = producer(self.settings)
        self._meta = consumer(self.settings)
        await self._producer.start()
        await self._meta.start()
        await self._keys.start()
        await self._reader.start()
        for run in (self._checkpoint_loop, self._tick_loop):
            self._tasks.append(asyncio.create_task(run()))

    async def stop(self) -> None:
        """Let steps finish, make everything durable, and let the shards go."""
        self._stopping = True
        grace = self.settings.shutdown_grace.total_seconds()
        async with self._assigning:
            await asyncio.gather(*(o.shard.close(grace) for o in self._owned.values() if o.shard))
            await self._appended()
            last = [asyncio.ensure_future(self._checkpoint(o)) for o in self._owned.values()]
            if last:
                await asyncio.wait(last, timeout=LAST_WRITES)
            tasks = [*last, *self._tasks, *self._appending.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._reader.stop()
            await asyncio.gather(*(self._release(held) for held in list(self._owned)))
        await self._standbys.stop()
        await self._offsets.stop()
        await self.letters.stop()
        await self._keys.stop()
        if self._meta is not None:
            await stop_consumer(self._meta)
        if self._producer is not None:
            await self._producer.stop()
        self.data.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ---- assignment

    async def assign(
        self, active: Iterable[Held], standby: Iterable[Held], *, missed: bool = False
    ) -> None:
        """Own these shards and no others, and keep copies of those. Of several calls the last
        counts, though the one before may still be at it.

        A shard that stays goes on without a stop; but with `missed`, others may have owned it since
        the last call, and it is opened anew.
        """
        self._wanted, self._standby = set(active), set(standby)
        self._missed |= missed
        async with self._assigning:
            if self._stopping:
                return
            wanted, standbys = set(self._wanted), set(self._standby)
            stay, self._missed = set() if self._missed else wanted, False
            await asyncio.gather(*(self._release(held) for held in sorted(set(self._owned) - stay)))
            await self._follow_standbys(standbys - wanted)
            self.data.keep(wanted | standbys)
            await self._open_all([held for held in wanted if held not in self._owned])

    async def quiesce(self, grace: float) -> None:
        """Shards may be about to move: start no step, and give those in progress `grace` seconds
        to end."""
        deadline = monotonic() + grace
        self._holding = True
        try:
            while any(shard.dispatcher.running for shard in self._open_shards()):
                if monotonic() > deadline:
                    break
                await asyncio.sleep(TICK)
        finally:
            # No longer: how long the others take to join is not up to this worker.
            self._holding = False
        await self._appended()

    async def _open_all(self, wanted: list[Held]) -> None:
        limit = asyncio.Semaphore(OPENINGS)

        async def one(held: Held) -> None:
            async with limit:
                await self._try_to_open(held)

        # First those that have little left to read, so that they do not wait for the others.
        wanted.sort(key=lambda held: (not self.data.kept(held), held))
        await asyncio.gather(*(one(held) for held in wanted))

    async def _try_to_open(self, held: Held) -> None:
        try:
            await self._open(held)
        except Exception as error:
            # Whatever it was: a shard that nobody tries to open again would stand still.
            self._warn("shard_not_opened", held, error)
            self._reopen_later(held)

    def _warn(self, what: str, held: Held, error: Exception) -> None:
        """Tell what went wrong with a shard."""
        outages.warn(what, error, self.logger, workflow=held[0], shard=held[1])

    async def _open(self, held: Held) -> None:
        name, partition = held
        await self._keys.open(name, partition)
        owned = OwnedShard(
            self.workflows[name],
            partition,
            self.data.table(held),
            self.settings,
            clock=self.clock,
            threads=self._threads,
            wake=self._on_wake,
            may_start=lambda: not self._holding and self._may_start(),
            inner=inner_of(self, self.workflows[name]),
            paces=self._paces,
            vaults=self.vaults,
            tracing=self.tracing,
            measures=self._measures[name],
            logger=self._shard_logger,
            broadcast=self.broadcast,
        )
        self._opening[held] = owned
        assert self._meta is not None
        try:
            shard = await owned.open(self._meta)
            shard.maybe_live()
        except StreamwfError as error:
            await owned.close()
            self._failed(error)
            return
        except DENIED as error:
            await owned.close()
            self._failed(unreachable(self.settings.brokers, error))
            return
        except BaseException:
            await owned.close()
            raise
        finally:
            del self._opening[held]
        self._owned[held] = owned
        self._by_log[owned.log] = owned
        await self._follow_log()

    async def _release(self, held: Held) -> None:
        owned = self._owned.pop(held, None)
        if owned is not None:
            self._by_log.pop(owned.log, None)
            await self._follow_log()
            await owned.close()
            self._keys.close(*held)
            self._shard_logger.info("shard_closed", workflow=held[0], shard=held[1])

    async def _follow_log(self) -> None:
        def position(owned: OwnedShard) -> Callable[[], int]:
            return lambda: owned.shard.position if owned.shard else 0

        await self._reader.follow({log: position(owned) for log, owned in self._by_log.items()})

    async def _follow_standbys(self, standbys: set[Held]) -> None:
        tables = {}
        for name, partition in standbys:
            try:
                table = self.data.table((name, partition))
            except Exception as error:
                # What this worker owns is not to wait for a copy, which may never be needed.
                self._warn("standby_not_opened", (name, partition), error)
            else:
                tables[TopicPartition(self._topics[name].changelog, partition)] = table
        await self._standbys.follow(tables)

    def _reopen_later(self, held: Held) -> None:
        async def reopen() -> None:
            await asyncio.sleep(REOPEN)
            async with self._assigning:
                if held in self._wanted and not self._stopping:
                    await self._release(held)
                    await self._try_to_open(held)

        task = asyncio.create_task(reopen())
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    # ---- from the log to the shards

    async def fold(
        self, log: TopicPartition, records: Sequence[ConsumerRecord], begin: int
    ) -> None:
        """Fold a batch of a partition; then let what it led to run. begin: from where on it was
        read."""
        owned = self._by_log.get(log)
        if owned is None or owned.shard is None:
            self._gaps.forget(log)
            return
        if self._gaps.before(log, owned.shard.position, records, begin):
            return
        try:
            owned.shard.fold(records)
        except StreamwfError as error:
            self._failed(error)

    async def _reread(self, log: TopicPartition) -> None:
        await self._follow_log()
        # By the way of all batches: those that were read before are gone when it arrives.
        await self._deliver(log, (), 0)

    # ---- from the shards to the log

    def _on_wake(self, owned: OwnedShard) -> None:
        """A shard has something to append; unless it is at it, it begins."""
        if owned not in self._appending:
            # Not in the context of a step that has just ended: this is about no run.
            self._appending[owned] = asyncio.get_running_loop().create_task(
                self._append_as_one(owned) if owned.exactly_once else self._append(owned),
                context=self._context.copy(),
            )

    async def _append(self, owned: OwnedShard) -> None:
        """Append what a shard hands out, until there is no more."""
        assert self._producer is not None
        try:
            while owned.shard is not None and owned.shard.has_output:
                appends = owned.shard.take_appends()
                if owned.closed and not appends:
                    # What it has set aside, the next owner sets aside anew.
                    return
                try:
                    await owned.append(self._producer, appends)
                    appends = []
                    await owned.send_asides(self._producer)
                except KafkaError as error:
                    self._warn("append_failed", (owned.workflow.name, owned.partition), error)
                    owned.shard.return_appends(appends)
                    await asyncio.sleep(REOPEN)
        finally:
            del self._appending[owned]

    async def _append_as_one(self, owned: OwnedShard) -> None:
        """Append what a shard hands out by transactions, one after the other, until there is no
        more: what comes while one is under way is in the next."""
        try:
            # One that has failed is opened anew, with nothing of this.
            while (shard := owned.shard) and shard.open and not owned.closed and shard.has_output:
                await self._checkpoint(owned, at_once=True)
        finally:
            del self._appending[owned]

    async def _appended(self) -> None:
        """Wait until what the shards have handed out is in the log, but not for ever."""
        if self._appending:
            await asyncio.wait(self._appending.values(), timeout=LAST_WRITES)

    async def _checkpoint_loop(self) -> None:
        interval = self.settings.checkpoint_interval.total_seconds()
        for turn in itertools.count():
            await asyncio.sleep(interval)
            due = [
                owned
                for owned in self._owned.values()
                if owned.shard and has_turn(owned.shard.changed, owned.partition, turn)
            ]
            await asyncio.gather(*map(self._checkpoint, due))

    async def _checkpoint(self, owned: OwnedShard, *, at_once: bool = False) -> None:
        try:
            assert self._producer is not None
            await owned.checkpoint(self._producer, at_once=at_once)
        except Exception as error:
            # Whatever it was: one shard's failure must not end the checkpoints of the others.
            if owned.shard is None or not owned.shard.open:
                return
            held = (owned.workflow.name, owned.partition)
            self._warn("checkpoint_failed", held, error)
            await owned.shard.close(0)
            self._by_log.pop(owned.log, None)
            self._reopen_later(held)

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now, shards = self.clock.now(), self._open_shards()
            room = room_of_each(shards, now)
            for shard in shards:
                try:
                    if not shard.live:
                        self._look_at_end(shard)
                    shard.tick(now, room)
                except Exception as error:
                    self._warn("tick_failed", (shard.workflow.name, shard.partition), error)

    def _look_at_end(self, shard: Shard) -> None:
        """A log may end with what is no record, like the end of a transaction: nothing is to be
        folded there, and a shard that waited for it would never be live."""
        log = TopicPartition(self._topics[shard.workflow.name].events, shard.partition)
        if self._reader.has_passed(log, shard.end, shard.position):
            shard.end = shard.position
            try:
                shard.maybe_live()
            except StreamwfError as error:
                self._failed(error)

    def scan_timers(self) -> None:
        """Read what comes due next from the timer tables."""
        now = self.clock.now()
        for shard in self._open_shards():
            shard.scan_agenda(now)

    def _open_shards(self) -> list[Shard]:
        shards = [owned.shard for owned in self._owned.values()]
        return [shard for shard in shards if shard is not None and shard.open]

    # ---- what the operations ask

    def shards(self, workflow: str) -> list[Shard]:
        return [shard for shard in self._open_shards() if shard.workflow.name == workflow]

    def shard_of(self, workflow: str, foreign_id: str) -> Shard | None:
        held = (workflow, partition_of(foreign_id, self.settings.partitions))
        owned = self._owned.get(held)
        return owned.shard if owned is not None and owned.shard and owned.shard.open else None

    def measures(self, workflow: str) -> Measures:
        return self._measures[workflow]

    def end(self, workflow: str, partition: int) -> int | None:
        return self._reader.end(TopicPartition(self._topics[workflow].events, partition))

    def opening(self, workflow: str) -> Mapping[int, int]:
        return {
            partition: owned.left_to_recover
            for (name, partition), owned in self._opening.items()
            if name == workflow
        }

    async def append(self, workflow: str, event: Event) -> None:
        assert self._producer is not None
        topic = self._topics[workflow].events
        partition = partition_of(event.subject, self.settings.partitions)
        try:
            sealed = encode_event(await self.vaults.sealed(workflow, event))
            with self.tracing.append(workflow, topic, partition, [event.traceparent]):
                await self._producer.send_and_wait(
                    topic, sealed, key=event.subject.encode(), partition=partition
                )
        except KafkaError as error:
            raise unreachable(self.settings.brokers, error) from error

    async def append_all(self, workflow: str, events: Sequence[Event]) -> None:
        assert self._producer is not None
        topic = self._topics[workflow].events
        try:
            sealed = await self.vaults.sealed_all(workflow, events)
            with self.tracing.append(workflow, topic, None, (e.traceparent for e in sealed)):
                await append_events(self._producer, topic, self.settings.partitions, sealed)
        except KafkaError as error:
            raise unreachable(self.settings.brokers, error) from error

    async def bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        self._measures[workflow].dead_letters += len(letters)
        for letter in letters:
            self._shard_logger.warning("dead_letter", **letter_fields(workflow, letter))
        try:
            await self._file(workflow, letters)
        except KafkaError as error:
            raise unreachable(self.settings.brokers, error) from error

    async def _file(self, workflow: str, letters: Sequence[Letter]) -> None:
        assert self._producer is not None
        topic = self._topics[workflow].dead_letters
        await bury(self._producer, topic, self.settings.partitions, letters)

    async def begin(self, workflow: str, partition: int) -> int:
        assert self._meta is not None
        log = TopicPartition(self._topics[workflow].events, partition)
        try:
            begins = await self._meta.beginning_offsets([log])
        except KafkaError as error:
            raise unreachable(self.settings.brokers, error) from error
        return int(begins[log])

    async def log(
        self, workflow: str, partition: int, offsets: Sequence[int]
    ) -> Sequence[LogRecord]:
        log = TopicPartition(self._topics[workflow].events, partition)
        try:
            return await self._offsets.read(log, offsets)
        except KafkaError as error:
            raise unreachable(self.settings.brokers, error) from error

    async def read(self, workflow: str, partition: int, offsets: tuple[int, ...]) -> list[Event]:
        records = await self.log(workflow, partition, offsets)
        events = [
            decode_event(
                record.value,
                workflow=workflow,
                partition=partition,
                offset=record.offset,
                timestamp_ms=record.timestamp,
                limit=self.max_record_bytes,
            )
            for record in records
        ]
        return await self.vaults.shown(workflow, events)

    def recovering(self) -> str | None:
        """How far the shards are that are this worker's and not live yet; None if all are."""
        missing = self.missing()
        records = sum(owned.left_to_recover for owned in self._opening.values())
        behind = [shard.end - shard.position for shard in self._open_shards() if not shard.live]
        return recovery_told(len(missing), records, sum(behind)) if missing else None

    def missing(self) -> set[Held]:
        """Shards that are this worker's and not live yet."""
        live = {
            (shard.workflow.name, shard.partition) for shard in self._open_shards() if shard.live
        }
        return self._wanted - live


def has_turn(changed: int, partition: int, turn: int) -> bool:
    """Whether a shard has a checkpoint in this turn. changed: how many of its rows have."""
    return changed not in BUSY or (turn + partition) % BUSY_TURNS == 0
