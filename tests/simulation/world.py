"""A simulation: a plan, done from its beginning to its end; and the story that comes of it."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from aiokafka import TopicPartition

from streamwf.adapters.kafka.topics import Topics, partition_of
from streamwf.agenda import entries
from streamwf.searched import terms_of
from streamwf.settings import Settings
from tests.proof.story import Story
from tests.simulation.broker import Broker
from tests.simulation.clients import Clients
from tests.simulation.faults import Faults
from tests.simulation.flows import NAME, Made, Recorder
from tests.simulation.group import Group
from tests.simulation.kafka import Cluster
from tests.simulation.loop import PROCESS, SimLoop
from tests.simulation.network import Network
from tests.simulation.patches import simulated
from tests.simulation.plan import ACTS, Plan
from tests.simulation.retold import keys, letters, logs, recovered, rows
from tests.simulation.tables import a_disk
from tests.simulation.worker import Worker

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)

#: Seconds that the engine has from when it is calm until all has to be done.
BOUND = 600.0

#: Seconds between two looks at whether it is.
LOOK = 0.5

_DEFAULTS = {
    name: field.get_default(call_default_factory=True)
    for name, field in Settings.model_fields.items()
} | {"brokers": "sim"}


class World:
    """All there is in a simulation."""

    def __init__(self, plan: Plan, directory: Path | None = None) -> None:
        """directory: for tables in RocksDB; without one they are in memory."""
        self.plan = plan
        self.defaults = _DEFAULTS
        self.told: list[tuple[float, str, dict[str, Any]]] = []
        self.failures: list[str] = []
        self.undone: list[str] = []
        self.faults: Counter[str] = Counter()
        self.loop = SimLoop(Random(f"loop {plan.seed}"))
        self.recorder = Recorder(self.true_now)
        self.made = Made(plan.spec, plan.seed, self.recorder)
        self.topics = Topics.of(NAME, Settings.model_construct(**_DEFAULTS))
        topics = self.topics
        names = (topics.events, topics.changelog, topics.dead_letters, topics.keys)
        self.broker = Broker(dict.fromkeys(names, plan.setup.partitions))
        self.network = Network(self.loop, Random(f"network {plan.seed}"), plan.setup.patience)
        self.cluster = Cluster(
            self.broker,
            self.network,
            lambda: int(self.now().timestamp() * 1000),
            Random(f"reading {plan.seed}"),
            plan.setup.room,
            plan.setup.bite,
            logs=frozenset({self.topics.events}),
        )
        self.group = Group(
            self.loop,
            Random(f"group {plan.seed}"),
            partitions=plan.setup.partitions,
            standbys=plan.setup.standbys,
            session=plan.setup.session,
        )
        terms = {NAME: terms_of(self.made.workflow)}
        self.workers = [
            Worker(self, n + 1, a_disk(terms, directory, n + 1), plan.setup.skews[n])
            for n in range(plan.setup.workers + 1)
        ]
        self.clients = Clients(self)
        self._faults = Faults(self)
        self.skew = max(map(abs, plan.setup.skews))
        self._calm_at = plan.until

    def settings(self, name: str) -> Settings:
        """Those of a process."""
        setup = self.plan.setup
        return Settings.model_construct(
            **{
                **self.defaults,
                "brokers": name,
                "partitions": setup.partitions,
                "standby_replicas": setup.standbys,
                "processing_guarantee": "exactly_once" if setup.exactly_once else "at_least_once",
                "checkpoint_interval": timedelta(seconds=setup.checkpoint),
                "session_timeout": timedelta(seconds=setup.session),
                "shutdown_grace": timedelta(seconds=0.5),
            }
        )

    # ---- the time

    def true_now(self) -> datetime:
        """The time, as nobody in there knows it."""
        return BEGINNING + timedelta(seconds=self.loop.now)

    def now(self) -> datetime:
        """By the clock of who asks."""
        process = PROCESS.get(self.loop.world)
        return BEGINNING + timedelta(seconds=self.loop.now + process.skew)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.loop.call_later(seconds, call, context=self.loop.world.context)

    @property
    def _lease(self) -> float:
        """For how long a worker may go on by what is no longer so: it may have been stopped, or
        have heard of nothing, for as long as any of that was made to last."""
        lasted: list[float]
        lasted = [dict(entry.given).get("seconds", 0.0) for entry in self.plan.entries]
        return self.plan.setup.session + sum(lasted) + self.network.patience

    # ---- telling

    def tell(self, what: str, fields: dict[str, Any] | None = None) -> None:
        self.told.append((self.loop.now, what, fields or {}))

    def failed(self, what: str) -> None:
        """Something that nothing explains has happened."""
        self.tell(what)
        self.failures.append(what)

    # ---- running

    def run(self) -> Story:
        """Raises Livelock."""
        gc.disable()
        try:
            with simulated(
                self.cluster,
                self.loop.time,
                self.now,
                Random(f"ids {self.plan.seed}"),
                crammed=self.plan.setup.crammed,
            ):
                self.loop.spawn(self.loop.world, self.group.watch())
                directing = self.loop.spawn(self.loop.world, self._direct())
                for worker in self.workers[: self.plan.setup.workers]:
                    worker.start()
                self.loop.run(directing.done)
                directing.result()
                self._note_errors()
                return self._story()
        finally:
            self.loop.bury()
            gc.enable()

    async def _direct(self) -> None:
        for entry in self.plan.entries:
            await asyncio.sleep(max(entry.at - self.loop.now, 0.0))
            if entry.what in ACTS:
                self.clients.act(entry)
            else:
                self.tell(f"FAULT {entry}")
                self.faults[entry.what] += 1
                self._faults.make(entry)
        await asyncio.sleep(max(self.plan.until - self.loop.now, 0.0))
        self._faults.end()
        self._calm_at = self.loop.now
        self.tell("CALM")
        self.clients.stop_schedules()
        while self.loop.now < self._calm_at + BOUND:
            await asyncio.sleep(LOOK)
            if self.loop.now > self._calm_at + 2 and not self.left():
                return
        self.undone = self.left()

    def left(self) -> list[str]:
        """What is under way, or will be by itself."""
        found = [] if self.clients.all_done else ["a client waits"]
        found += [f"{run_id} has stray keys" for run_id in keys(self, stray=True)]
        for partition in range(self.plan.setup.partitions):
            shard = self.owner_of(partition)
            if shard is None or not shard.live:
                found.append(f"nobody has shard {partition}")
            elif self._is_more_in(partition, shard.checkpointed) or shard.has_output:
                found.append(f"shard {partition} has not folded or written all")
            else:
                due = ((key, row) for key, row in shard.scan("") if not row.kind and entries(row))
                found += [f"{key} has something to do: {entries(row)}" for key, row in due]
                if shard.dispatcher.running:
                    found.append(f"shard {partition} runs a step")
                found += self._behind(partition, shard.checkpointed)
        return found

    def _is_more_in(self, partition: int, position: int) -> bool:
        """Whether a log has, or may get, records from a position on."""
        log = self.log(partition)
        more, _ = self.broker.read(log, position, 1, committed=True)
        return bool(more or self.broker.partition(log).open)

    def _behind(self, partition: int, position: int) -> list[str]:
        """The standbys that have not all that the owner has made durable."""
        return [
            f"{worker.name} keeps no copy of shard {partition}"
            for worker in self.workers
            if (life := worker.life) is not None
            and worker.alive
            and partition in life.standby
            and (worker.disk.table((NAME, partition)).position or 0) < position
        ]

    def owner_of(self, partition: int) -> Any:
        """The shard, if one worker has it, and none other thinks so."""
        found = [
            shard
            for worker in self.workers
            if (host := worker.up) is not None
            for shard in host.shards(NAME)
            if shard.partition == partition
        ]
        return found[0] if len(found) == 1 else None

    def log(self, partition: int) -> Any:
        return self.at(self.topics.events, partition)

    def at(self, topic: str, partition: int) -> Any:
        return TopicPartition(topic, partition)

    def partition_of(self, foreign_id: str) -> int:
        return partition_of(foreign_id, self.plan.setup.partitions)

    def _note_errors(self) -> None:
        for task in self.loop.unretrieved():
            name = getattr(task.get_coro(), "__qualname__", "")
            self.failed(f"{name} has failed, and nobody knows: {task.exception()!r}")
        for context in self.loop.errors:
            self.failed(f"{context['message']}: {context.get('exception')!r}")

    # ---- what comes of it

    def _story(self) -> Story:
        found = logs(self)
        foreign_ids = {asked.foreign_id for asked in self.clients.asked}
        foreign_ids |= {row.foreign_id for table in rows(self).values() for row in table.values()}
        return Story(
            workflow=self.made.workflow,
            partition_of={each: self.partition_of(each) for each in sorted(foreign_ids)},
            calm_at=BEGINNING + timedelta(seconds=self._calm_at),
            ended_at=self.true_now(),
            logs=found,
            rows=rows(self),
            recovered=recovered(self),
            executed=self.recorder.executed(),
            asked=tuple(self.clients.asked),
            letters=letters(self),
            settled=True,
            faults=dict(self.faults + self.network.told),
            skew=timedelta(seconds=2 * self.skew),
            lease=timedelta(seconds=self._lease),
            keys=keys(self),
            exactly_once=self.plan.setup.exactly_once,
        )


def digest(story: Story) -> bytes:
    """A story byte for byte, but for the code of its workflow."""
    told = {name: getattr(story, name) for name in Story.__slots__ if name != "workflow"}
    told["letters"], told["keys"] = sorted(story.letters), sorted(story.keys)
    return msgspec.json.encode(told, enc_hook=str)
