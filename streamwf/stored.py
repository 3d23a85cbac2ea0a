"""The durable host: the log, the rows and the roles lie in stores that outlive the process.

It drives the same shards as the Kafka host does. A shard's rows are held in memory, in the image
of the record store; the log says what comes after them. Several processes may share the stores:
each shard is run by the one that holds its role.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from .definition import Workflow
from .errors import Fenced, StoreUnreachable, StreamwfError
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
    EventStreamer,
    Hold,
    KeyProvider,
    Letter,
    Logger,
    Outgoing,
    RecordStore,
    RoleScheduler,
    ShardId,
    Tracing,
)
from .settings import Settings
from .shard import Aside, Limits, Shard
from .stored_letters import StoredLetters, encoded, letters_of
from .stored_shard import StoredShard, shard_of, table_of
from .vaults import Vaults

#: The only partition of a stream in a database.
PARTITION = 0

#: Seconds between two looks at what has come due.
TICK = 0.02

#: Seconds until a store that could not be reached is asked again.
AGAIN = 1.0

#: Seconds that what is to be written gets at a stop, for a store that may not answer any more.
LAST_WRITES = 5.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Where a durable host keeps everything.

    address_of: where the process is reached that holds a role; None while nobody does.
    """

    streamer: EventStreamer
    records: RecordStore
    roles: RoleScheduler
    keys: KeyProvider
    address_of: Callable[[str], str | None] = lambda role: None


def events_of(workflow: str) -> str:
    """The stream of a workflow's events."""
    return workflow


def role_of(shard: ShardId, shards: int) -> str:
    """The role of who owns a shard; it comes with all roles of that shard."""
    return f"{shard.workflow}-shard-{shard.number + 1}-of-{shards}"


class StoredHost:
    """Runs workflows on stores. Implements `streamwf.looking.Host`.

    shards: how many each workflow has, the same in every process.
    failed: called with an error that this process can't go on after.
    address: where other processes reach this one.
    logger: takes what it has to say; structlog's loggers, unless given.
    """

    def __init__(
        self,
        *workflows: Workflow[Any, Any],
        stores: Stores,
        settings: Settings,
        tracing: Tracing,
        shards: int = 1,
        failed: Callable[[StreamwfError], None] | None = None,
        address: str = "",
        logger: Logger | None = None,
    ) -> None:
        for workflow in workflows:
            workflow.validate()
        self.workflows = {workflow.name: workflow for workflow in workflows}
        self.stores = stores
        self.partitions = shards
        self.clock = SystemClock()
        self.settings = settings
        self.max_record_bytes = settings.max_record_bytes
        self.address = address
        self.tracing = tracing
        self.logger: Logger = logger or structlog.get_logger("streamwf.worker")
        self._shard_logger: Logger = logger or structlog.get_logger("streamwf.shard")
        self.vaults = Vaults(
            workflows, stores.keys, self.max_record_bytes, _runs_nowhere, self._shard_logger
        )
        self._interval = settings.checkpoint_interval.total_seconds()
        self._failed = failed or self._tell_of
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="streamwf-step")
        self._paces = Paces(self.clock, shards, self._shard_logger)
        self._measures = {name: Measures() for name in self.workflows}
        self._owned: dict[ShardId, StoredShard] = {}
        self._followings = {
            name: Following(
                stores.streamer, events_of(name), partial(shard_of, shards=shards), self._failed
            )
            for name in self.workflows
        }
        self._senders: dict[str, EventSender] = {}
        self.letters = StoredLetters(stores.streamer, self._senders.__getitem__)
        self._appending: dict[StoredShard, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._away = False

    # ---- life cycle

    async def start(self) -> None:
        """Begin to ask for the shards. Raises StoreUnreachable."""
        for name in self.workflows:
            for stream in (events_of(name), letters_of(name)):
                sender = await self.stores.streamer.sender(stream)
                self._senders[stream] = GroupingSender(sender)
            for number in range(self.partitions):
                self._run(self._own(ShardId(name, number)))
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
                async with self.stores.roles.hold(role_of(wanted, self.partitions)) as hold:
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
        owned = await self._open(wanted, hold)
        self._owned[wanted] = owned
        try:
            owned.shard.maybe_live()
            await self._follow(wanted.workflow)
            await hold.lost()
        finally:
            del self._owned[wanted]
            # At once: another may have the role in a moment.
            await owned.shard.close(0)
            await self._follow(wanted.workflow)
            self._shard_logger.info("shard_closed", workflow=wanted.workflow, shard=wanted.number)

    async def _open(self, wanted: ShardId, hold: Hold) -> StoredShard:
        records, workflow = self.stores.records, self.workflows[wanted.workflow]
        position = await records.open(wanted, hold.token)
        table = await table_of(records, wanted, position)
        ends = await self.stores.streamer.ends(events_of(workflow.name))
        owned: StoredShard
        shard = Shard(
            workflow,
            wanted.number,
            table,
            end=ends.get(0, 0),
            clock=self.clock,
            threads=self._threads,
            wake=lambda: self._on_wake(owned),
            misplaced=lambda name: shard_of(name, self.partitions) != wanted.number,
            limits=Limits(self.max_record_bytes),
            may_start=lambda: hold.held,
            inner=inner_of(self, workflow),
            paces=self._paces,
            vault=self.vaults.of(workflow.name),
            measures=self._measures[workflow.name],
            logger=self._shard_logger,
            log_objects=self.settings.log_objects,
            tracing=self.tracing,
        )
        owned = StoredShard(
            wanted, shard, table, records, hold.token, partial(self._send, workflow.name)
        )
        told = {"workflow": wanted.workflow, "shard": wanted.number}
        self._shard_logger.info("shard_opened", **told, position=position or 0, end=shard.end)
        return owned

    async def _follow(self, workflow: str) -> None:
        here = {id.number: owned.shard for id, owned in self._owned.items() if id[0] == workflow}
        await self._followings[workflow].follow(here)

    def _unreachable(self, error: StreamwfError) -> None:
        if not self._away:
            self._shard_logger.warning("store_unreachable", error=str(error))
        self._away = True

    def _warn(self, what: str, shard: ShardId, error: Exception) -> None:
        """Tell what went wrong with a shard; of a store that is away once, and for all shards."""
        if isinstance(error, StoreUnreachable):
            self._unreachable(error)
            return
        told = {"workflow": shard.workflow, "shard": shard.number, "error": repr(error)}
        self._shard_logger.warning(what, **told, exc_info=error)

    # ---- from the shards to the log

    def _on_wake(self, owned: StoredShard) -> None:
        """A shard has something to append; unless it is at it, it begins."""
        if owned not in self._appending:
            self._appending[owned] = asyncio.get_running_loop().create_task(self._append(owned))

    async def _append(self, owned: StoredShard) -> None:
        """Append what a shard hands out, until there is no more."""
        sender = self._senders[events_of(owned.id.workflow)]
        try:
            while owned.shard.has_output:
                appends = owned.shard.take_appends()
                try:
                    if appends:
                        traced = (append.traceparent for append in appends)
                        stream = events_of(owned.id.workflow)
                        with self.tracing.append(owned.id.workflow, stream, PARTITION, traced):
                            await sender.send([Outgoing(a.key, a.value) for a in appends])
                    appends = []
                    await owned.send_asides()
                except Exception as error:
                    # Whatever it was: a result that is not appended would leave its run standing.
                    self._warn("append_failed", owned.id, error)
                    owned.shard.return_appends(appends)
                    await asyncio.sleep(AGAIN)
        finally:
            del self._appending[owned]

    async def _send(self, workflow: str, asides: Sequence[Aside]) -> None:
        """Append what a shard of a workflow has for other places. Raises StoreUnreachable."""
        piles: dict[str, list[Outgoing]] = {}
        for aside in await self.vaults.carried(workflow, asides):
            if aside.workflow in self.workflows:
                record = Outgoing(aside.key or b"", aside.value)
                piles.setdefault(events_of(aside.workflow), []).append(record)
            else:
                reason = aside.reason or f"there is no workflow {aside.workflow!r} here"
                place = (events_of(workflow), "0", str(aside.offset))
                letter = Letter(aside.key, aside.value, reason, *place)
                piles.setdefault(letters_of(workflow), []).append(self._buried(workflow, letter))
        for stream, records in piles.items():
            await self._senders[stream].send(records)
        await self.vaults.sent(workflow, asides)

    async def _checkpoint_loop(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await asyncio.gather(*(self._checkpoint(each) for each in [*self._owned.values()]))

    async def _checkpoint(self, owned: StoredShard) -> None:
        try:
            await owned.checkpoint()
            if self._away:
                self._shard_logger.info("store_reachable_again")
                self._away = False
        except Exception as error:
            # Whatever it was: one shard's failure must not end the checkpoints of the others.
            self._warn("checkpoint_failed", owned.id, error)
            if isinstance(error, Fenced):
                # Its role is lost, if it does not know yet.
                await owned.shard.close(0)

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self.clock.now()
            for owned in self._owned.values():
                try:
                    owned.shard.scan_agenda(now)
                    owned.shard.tick(now)
                except Exception as error:
                    self._warn("tick_failed", owned.id, error)

    def _tell_of(self, error: StreamwfError) -> None:
        self.logger.error("worker_fails", error=str(error))

    # ---- what the operations ask

    def measures(self, workflow: str) -> Measures:
        return self._measures[workflow]

    def end(self, workflow: str, partition: int) -> int | None:
        return self._followings[workflow].end

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
        return ShardId(workflow, shard_of(foreign_id, self.partitions))

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
        stream = events_of(workflow)
        with self.tracing.append(workflow, stream, PARTITION, (e.traceparent for e in sealed)):
            await self._senders[stream].send([*map(_outgoing, sealed)])

    async def bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        buried = [self._buried(workflow, letter) for letter in letters]
        self._measures[workflow].dead_letters += len(letters)
        await self._senders[letters_of(workflow)].send(buried)

    def _buried(self, workflow: str, letter: Letter) -> Outgoing:
        self._shard_logger.warning("dead_letter", **letter_fields(workflow, letter))
        return encoded(letter)

    async def read(self, workflow: str, partition: int, offsets: tuple[int, ...]) -> list[Event]:
        records = await self.stores.streamer.read(events_of(workflow), 0, offsets)
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


async def _runs_nowhere(workflow: str) -> bool:
    """All workflows that there are, are here."""
    return False
