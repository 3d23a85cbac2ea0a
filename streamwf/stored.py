"""The durable host: the log, the rows and the roles lie in stores that outlive the process.

It drives the same shards as the Kafka host does. A shard's rows are held in memory, in the image
of the record store; the log says what comes after them. Several processes may share the stores:
each shard is run by the one that holds its role.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from .broadcast import Broadcast
from .definition import Workflow
from .errors import Fenced, LogShorterThanTables, RowsLost, StoreUnreachable, StreamwfError
from .events import Event, decode_event, encode_event
from .execute import SystemClock
from .following import Following
from .grouping import GroupingSender
from .inner import inner_of
from .lanes import Paces
from .logs import letter_fields
from .measures import Measures
from .ports import (
    EventSender,
    Hold,
    KeyProvider,
    Letter,
    Logger,
    LogRecord,
    Outgoing,
    RecordStore,
    RoleScheduler,
    ShardId,
    Tracing,
)
from .searched import terms_of
from .settings import Settings
from .shard import Append, Aside, Limits, Shard, room_of_each
from .stored_log import StoredLog
from .stored_shard import StoredShard, table_of
from .vaults import Vaults

#: Seconds between two looks at what has come due.
TICK = 0.02

#: Seconds until a store that could not be reached is asked again.
AGAIN = 1.0

#: Shards that are opened at a time: roles have to be renewed meanwhile.
OPENINGS = 4

#: Seconds that what is to be written gets at a stop, for a store that may not answer any more.
LAST_WRITES = 5.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Where a durable host keeps everything.

    address_of: where the process is reached that holds a role; None while nobody does.
    """

    log: StoredLog
    records: RecordStore
    roles: RoleScheduler
    address_of: Callable[[str], str | None] = lambda role: None


def role_of(shard: ShardId, shards: int) -> str:
    """The role of who owns a shard; it comes with all roles of that shard."""
    return f"{shard.workflow}-shard-{shard.number + 1}-of-{shards}"


class StoredHost:
    """Runs workflows on stores. Implements `streamwf.looking.Host`.

    failed: called with an error that this process can't go on after.
    address: where other processes reach this one.
    logger: takes what it has to say; structlog's loggers, unless given.
    key_provider: has the keys of the runs of workflows that encrypt; the log, unless given.
    """

    def __init__(
        self,
        *workflows: Workflow[Any, Any],
        stores: Stores,
        settings: Settings,
        tracing: Tracing,
        failed: Callable[[StreamwfError], None] | None = None,
        address: str = "",
        logger: Logger | None = None,
        key_provider: KeyProvider | None = None,
    ) -> None:
        for workflow in workflows:
            workflow.validate()
        self.workflows = {workflow.name: workflow for workflow in workflows}
        self.stores = stores
        self._log = log = stores.log
        self.partitions = log.layout.shards
        self.clock = SystemClock()
        self.settings = settings
        self.max_record_bytes = settings.max_record_bytes
        self.address = address
        self.tracing = tracing
        self.logger: Logger = logger or structlog.get_logger("streamwf.worker")
        self._shard_logger: Logger = logger or structlog.get_logger("streamwf.shard")
        self.vaults = Vaults(
            workflows,
            key_provider or log.keys,
            self.max_record_bytes,
            log.encrypts,
            self._shard_logger,
        )
        self._interval = settings.checkpoint_interval.total_seconds()
        self._failed = failed or self._tell_of
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="streamwf-step")
        self._paces = Paces(self.clock, self.partitions, self._shard_logger)
        self._measures = {name: Measures() for name in self.workflows}
        self.broadcast = Broadcast()
        self._owned: dict[ShardId, StoredShard] = {}
        self._openings = asyncio.Semaphore(OPENINGS)
        self._followings = {name: Following(log, name, self._failed) for name in self.workflows}
        self._senders: dict[str, EventSender] = {}
        self.letters = log.letters
        self._appending: dict[StoredShard, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._away = False

    # ---- life cycle

    async def start(self) -> None:
        """Begin to ask for the shards. Raises what `StoredLog.start` does."""
        await self._log.start(self.workflows.values())
        for shard in self.every_shard:
            self._run(self._own(shard))
        self._run(self._checkpoint_loop())
        self._run(self._tick_loop())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def stop(self, grace: float = 5.0) -> None:
        """Let steps finish, make everything durable, and let the shards go.

        grace: seconds that steps in progress get to finish in.
        """
        owned = list(self._owned.values())
        await asyncio.gather(*(each.shard.close(grace) for each in owned))
        if self._appending:
            await asyncio.wait(self._appending.values(), timeout=LAST_WRITES)
        last = [asyncio.ensure_future(self._checkpoint(each)) for each in owned]
        if last:
            await asyncio.wait(last, timeout=LAST_WRITES)
        tasks = [*last, *self._appending.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for following in self._followings.values():
            await following.close()
        for sender in self._senders.values():
            await sender.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ---- owning shards

    async def _own(self, wanted: ShardId) -> None:
        """Run a shard whenever its role is held here."""
        while True:
            try:
                role = role_of(wanted, self.partitions)
                async with self.stores.roles.hold(role) as hold, self._log.owning(wanted):
                    await self._run_shard(wanted, hold)
            except (StoreUnreachable, Fenced) as error:
                self._unreachable(error)
                await asyncio.sleep(AGAIN)
            except StreamwfError as error:
                self._failed(error)
                return
            except Exception as error:
                # Whatever it was: a shard that nobody tries to open again would stand still.
                self._warn("shard_not_opened", wanted, error)
                await asyncio.sleep(AGAIN)

    async def _run_shard(self, wanted: ShardId, hold: Hold) -> None:
        async with self._openings:
            # A shard that others have by now is not opened in vain, which would keep those waiting
            # that are still to be had, until they are lost as well.
            if not hold.held:
                return
            owned = await self._open(wanted, hold)
        self._owned[wanted] = owned
        try:
            owned.shard.maybe_live()
            await self._follow(wanted.workflow)
            await owned.until_given_up(hold)
        finally:
            del self._owned[wanted]
            # At once: another may have the role in a moment.
            await owned.shard.close(0)
            await self._follow(wanted.workflow)
            self._shard_logger.info("shard_closed", workflow=wanted.workflow, shard=wanted.number)

    async def _open(self, wanted: ShardId, hold: Hold) -> StoredShard:
        records, workflow = self.stores.records, self.workflows[wanted.workflow]
        position = await records.open(wanted, hold.token)
        table = await table_of(records, wanted, position, terms_of(workflow))
        end = await self._end_of(wanted, position or 0)
        owned: StoredShard
        shard = Shard(
            workflow,
            wanted.number,
            table,
            end=end,
            clock=self.clock,
            threads=self._threads,
            wake=lambda: self._on_wake(owned),
            misplaced=lambda name: self._log.layout.shard_of(name) != wanted.number,
            limits=Limits(self.max_record_bytes),
            may_start=lambda: hold.held,
            inner=inner_of(self, workflow),
            paces=self._paces,
            vault=self.vaults.of(workflow.name),
            measures=self._measures[workflow.name],
            logger=self._shard_logger,
            log_objects=self.settings.log_objects,
            tracing=self.tracing,
            broadcast=self.broadcast,
        )
        owned = StoredShard(wanted, shard, table, records, hold.token, partial(self._send, wanted))
        told = {"workflow": wanted.workflow, "shard": wanted.number}
        self._shard_logger.info("shard_opened", **told, position=position or 0, end=shard.end)
        return owned

    async def _end_of(self, shard: ShardId, position: int) -> int:
        """Where the log of a shard ends. position: up to where it was folded."""
        layout = self._log.layout
        partition = layout.partition_of(shard.number)
        end = (await self._log.streamer.ends(shard.workflow)).get(partition, 0)
        if position > end:
            source = layout.source_of(shard.workflow)
            told = {"partition": partition, "end": end, "position": position}
            raise LogShorterThanTables(topic=source, **told)
        return end

    async def _follow(self, workflow: str) -> None:
        here = {id.number: owned.shard for id, owned in self._owned.items() if id[0] == workflow}
        await self._followings[workflow].follow(here)

    def _unreachable(self, error: StreamwfError) -> None:
        if self._log.explains(error):
            return
        if not self._away:
            self._shard_logger.warning("store_unreachable", error=str(error))
        self._away = True

    def _warn(self, what: str, shard: ShardId, error: Exception) -> None:
        """Tell what went wrong with a shard; of a store that is away once, and for all shards."""
        if isinstance(error, StoreUnreachable):
            self._unreachable(error)
            return
        known = isinstance(error, StreamwfError)
        told = {"error": str(error)} if known else {"error": repr(error), "exc_info": error}
        self._shard_logger.warning(what, workflow=shard.workflow, shard=shard.number, **told)

    # ---- from the shards to the log

    def _on_wake(self, owned: StoredShard) -> None:
        """A shard has something to append; unless it is at it, it begins."""
        if owned not in self._appending:
            self._appending[owned] = asyncio.get_running_loop().create_task(self._append(owned))

    async def _append(self, owned: StoredShard) -> None:
        """Append what a shard hands out, until there is no more."""
        try:
            while owned.shard.has_output:
                appends = owned.shard.take_appends()
                try:
                    if appends:
                        await self._append_to_own(owned.id, appends)
                    appends = []
                    await owned.send_asides()
                except Exception as error:
                    # Whatever it was: a result that is not appended would leave its run standing.
                    self._warn("append_failed", owned.id, error)
                    owned.shard.return_appends(appends)
                    await asyncio.sleep(AGAIN)
        finally:
            del self._appending[owned]

    async def _append_to_own(self, shard: ShardId, appends: Sequence[Append]) -> None:
        source = self._log.layout.source_of(shard.workflow)
        partition = self._log.layout.partition_of(shard.number)
        traced = (append.traceparent for append in appends)
        with self.tracing.append(shard.workflow, source, partition, traced):
            await self._send_all(shard.workflow, [Outgoing(a.key, a.value) for a in appends])

    async def _send_all(self, workflow: str, records: Sequence[Outgoing]) -> bool:
        """Append to the log of a workflow, if there is one. Raises StoreUnreachable."""
        if workflow not in self._senders:
            sender = await self._log.sender(workflow)
            if sender is None:
                return False
            # Others may have asked meanwhile.
            self._senders.setdefault(workflow, GroupingSender(sender))
        await self._senders[workflow].send(records)
        return True

    async def _send(self, shard: ShardId, asides: Sequence[Aside]) -> None:
        """Append what a shard has for other places. Raises StoreUnreachable."""
        piles: dict[str | None, list[Aside]] = {}
        for aside in await self.vaults.carried(shard.workflow, asides):
            piles.setdefault(aside.workflow, []).append(aside)
        unusable = piles.pop(None, [])
        for workflow, pile in piles.items():
            records = [Outgoing(aside.key or b"", aside.value) for aside in pile]
            if not await self._send_all(workflow or "", records):
                why = f"there is no workflow {workflow!r} here"
                unusable += [replace(aside, reason=why) for aside in pile]
        if unusable:
            await self._bury(shard.workflow, [self._letter(shard, aside) for aside in unusable])
        await self.vaults.sent(shard.workflow, asides)

    def _letter(self, shard: ShardId, aside: Aside) -> Letter:
        source = self._log.layout.source_of(shard.workflow)
        partition = self._log.layout.partition_of(shard.number)
        place = (source, str(partition), str(aside.offset))
        return Letter(aside.key, aside.value, aside.reason, *place)

    async def _checkpoint_loop(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await asyncio.gather(*(self._checkpoint(each) for each in [*self._owned.values()]))

    async def _checkpoint(self, owned: StoredShard) -> None:
        try:
            # One that has nothing to store says nothing of the store.
            if await owned.checkpoint() and self._away:
                self._shard_logger.info("store_reachable_again")
                self._away = False
        except Exception as error:
            # Whatever it was: one shard's failure must not end the checkpoints of the others.
            self._warn("checkpoint_failed", owned.id, error)
            if isinstance(error, Fenced | RowsLost):
                await owned.shard.close(0)
                owned.give_up()

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self.clock.now()
            room = room_of_each([owned.shard for owned in self._owned.values()], now)
            for owned in self._owned.values():
                try:
                    owned.shard.scan_agenda(now)
                    owned.shard.tick(now, room)
                except Exception as error:
                    self._warn("tick_failed", owned.id, error)

    def _tell_of(self, error: StreamwfError) -> None:
        self.logger.error("worker_fails", error=str(error))

    # ---- what the operations ask

    def measures(self, workflow: str) -> Measures:
        return self._measures[workflow]

    def end(self, workflow: str, partition: int) -> int | None:
        return self._followings[workflow].ends.get(self._log.layout.partition_of(partition))

    def opening(self, workflow: str) -> Mapping[int, int]:
        """Rows are read at once: there is nothing to wait for that could be counted."""
        return {}

    def shards(self, workflow: str) -> Iterable[Shard]:
        return [
            owned.shard
            for id, owned in self._owned.items()
            if id.workflow == workflow and owned.shard.open
        ]

    def shard_id_of(self, workflow: str, foreign_id: str) -> ShardId:
        return ShardId(workflow, self._log.layout.shard_of(foreign_id))

    def shard_of(self, workflow: str, foreign_id: str) -> Shard | None:
        owned = self._owned.get(self.shard_id_of(workflow, foreign_id))
        return owned.shard if owned is not None and owned.shard.open else None

    @property
    def every_shard(self) -> list[ShardId]:
        """All shards, here and elsewhere."""
        return [
            ShardId(name, number) for name in self.workflows for number in range(self.partitions)
        ]

    def address_of(self, shard: ShardId) -> str | None:
        """Where the process is reached that has a shard; None while none has it, and has it
        live."""
        found = self.stores.address_of(role_of(shard, self.partitions))
        owned = self._owned.get(shard)
        here = owned is not None and owned.shard.open and owned.shard.live
        return found if here or found != self.address else None

    async def append(self, workflow: str, event: Event) -> None:
        await self.append_all(workflow, [event])

    async def append_all(self, workflow: str, events: Sequence[Event]) -> None:
        sealed = await self.vaults.sealed_all(workflow, events)
        layout = self._log.layout
        places = {layout.partition_of(layout.shard_of(event.subject)) for event in sealed}
        partition = places.pop() if len(places) == 1 else None
        traced = (event.traceparent for event in sealed)
        with self.tracing.append(workflow, layout.source_of(workflow), partition, traced):
            await self._send_all(workflow, [*map(_outgoing, sealed)])

    async def bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        self._measures[workflow].dead_letters += len(letters)
        await self._bury(workflow, letters)

    async def _bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        for letter in letters:
            self._shard_logger.warning("dead_letter", **letter_fields(workflow, letter))
        await self._log.bury(workflow, letters)

    async def begin(self, workflow: str, partition: int) -> int:
        return 0

    async def log(
        self, workflow: str, partition: int, offsets: Sequence[int]
    ) -> Sequence[LogRecord]:
        place = self._log.layout.partition_of(partition)
        return await self._log.streamer.read(workflow, place, offsets)

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


def _outgoing(event: Event) -> Outgoing:
    return Outgoing(event.subject.encode(), encode_event(event))
