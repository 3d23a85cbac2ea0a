"""A worker: the real host on the simulated broker, and a member of the simulated group.

What Faust's app does for the host (`agents/app.py`) is done here: it is told of the assignments,
its batches go through a short queue, and the timers are read once a second.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streamwf.agents.app import SCAN
from streamwf.agents.batches import ROOM
from streamwf.agents.host import KafkaHost
from streamwf.agents.membership import Membership
from streamwf.errors import StreamwfError
from tests.simulation.broker import Written
from tests.simulation.clients import noting
from tests.simulation.flows import NAME
from tests.simulation.group import Assignment
from tests.simulation.loop import Process, SimFuture

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Seconds after which a worker that does not come to its stop is killed.
LAST = 20.0

Batch = tuple[TopicPartition, Sequence[Written], int]


class Lines:
    """What a worker logs. Implements `streamwf.ports.Logger`."""

    def __init__(self, say: Callable[[str, dict[str, Any]], None]) -> None:
        self._say = say

    def debug(self, event: str, /, **fields: Any) -> None: ...

    def info(self, event: str, /, **fields: Any) -> None:
        self._say(event, fields)

    warning = error = info


class Worker:
    """One place where workers run, one after the other. number: from 1."""

    def __init__(self, world: "World", number: int, disk: Any, skew: float) -> None:
        self.world = world
        self.name = f"w{number}"
        self.disk = disk
        self._skew = skew
        self.wanted = True
        self.process: Process | None = None
        self.host: KafkaHost | None = None
        self.life: _Life | None = None
        self._lives = 0

    @property
    def alive(self) -> bool:
        return self.process is not None and not self.process.dead

    @property
    def up(self) -> KafkaHost | None:
        """Its host, if it is there and can be asked."""
        process = self.process
        there = process is not None and not process.dead and not process.stopped
        return self.host if there else None

    @property
    def skew(self) -> float:
        """By how many seconds its clock is ahead."""
        return self._skew

    @skew.setter
    def skew(self, skew: float) -> None:
        self._skew = skew
        if self.process is not None:
            self.process.skew = skew

    def start(self) -> None:
        self.wanted = True
        if not self.alive:
            self._lives += 1
            self.life = None
            self.process = Process(f"{self.name}.{self._lives}")
            self.process.skew = self._skew
            self.process.killed = self._killed
            self.world.loop.spawn(self.process, _Life(self, self.process).run())

    def _killed(self) -> None:
        self.host = None
        if self.wanted:
            self.world.later(1.0, self.start)

    def go_away(self, seconds: float, after: int, disk: str) -> None:
        """It is killed once so many more of its awaits have gone on, and comes back later.

        disk: `kept`, or `wiped`, or `rolled_back` by what was written last.
        """
        process = self.process
        if process is None or process.dead:
            return

        def killed() -> None:
            self.host = None
            self.world.tell(f"{process.name} is dead")
            if disk == "wiped":
                self.disk.wipe_all()
            elif disk == "rolled_back":
                self.disk.roll_back(2)
            self.world.later(seconds, self.start)

        process.killed = killed
        process.fuse = after
        if process.stopped:
            self.world.loop.kill(process)

    def leave(self, seconds: float) -> None:
        """It is told to stop, and comes back later."""
        process, life = self.process, self.life
        if process is None or process.dead or life is None or life.leaving.done():
            return
        process.killed = lambda: self.world.later(seconds, self.start)
        life.leaving.set_result(None)
        self.world.later(LAST, lambda: self.world.loop.kill(process))


class _Life:
    """One process of a worker, from its start to its end."""

    def __init__(self, worker: Worker, process: Process) -> None:
        self._worker = worker
        self._world = worker.world
        self._process = process
        self._heard_at = float("-inf")
        self._generation = -1
        self.standby: frozenset[int] = frozenset()
        self._batches: asyncio.Queue[Batch] = asyncio.Queue(ROOM)
        self.leaving: SimFuture = self._world.loop.create_future()

    async def run(self) -> None:
        name = self._process.name
        host = KafkaHost(
            [self._world.made.workflow],
            self._world.settings(name),
            may_start=self._may_start,
            failed=self._failed,
            deliver=self._deliver,
            logger=Lines(lambda event, fields: self._world.tell(f"{name} {event}", fields)),
        )
        host.data = self._worker.disk
        noting(host)
        self._membership = Membership.of(self._world.settings(name))
        try:
            await host.start()
        except KafkaError:
            # Whoever runs workers starts it again.
            self._world.loop.kill(self._process)
            return
        self._worker.host = host
        self._worker.life = self
        self._host = host
        self._running = [
            asyncio.ensure_future(each()) for each in (self._fold, self._scan, self._belong)
        ]
        await self.leaving
        await self._stop()

    async def _stop(self) -> None:
        for task in self._running:
            task.cancel()
        await self._host.stop()
        self._worker.host = None
        with contextlib.suppress(KafkaError):
            await self._ask(lambda: self._world.group.leave(self._process.name))
        self._world.loop.kill(self._process)

    def _failed(self, error: StreamwfError) -> None:
        self._world.failed(f"{self._process.name}: {error}")

    # ---- as the app does it

    def _may_start(self) -> bool:
        return self._world.loop.now - self._heard_at < self._membership.lease

    async def _deliver(self, log: TopicPartition, records: Sequence[Any], begin: int) -> None:
        left = self._left_of(log, records)
        if left or not records:
            await self._batches.put((log, left, begin))

    def _left_of(self, log: TopicPartition, records: Sequence[Any]) -> Sequence[Any]:
        """What of a batch is not made to be lost on its way."""
        gaps, name = self._world.cluster.gaps, self._process.name
        # What is missing at the end nobody could notice.
        if name not in gaps or not records or not self._is_more_after(log, records[-1].offset):
            return records
        return records[: -gaps.pop(name)]

    def _is_more_after(self, log: TopicPartition, offset: int) -> bool:
        return bool(self._world.broker.read(log, offset + 1, 1, committed=True)[0])

    async def _fold(self) -> None:
        while True:
            await self._host.fold(*await self._batches.get())

    async def _scan(self) -> None:
        while True:
            await asyncio.sleep(SCAN)
            self._host.scan_timers()

    async def _belong(self) -> None:
        while True:
            try:
                assignment = await self._join()
            except KafkaError:
                continue
            self._heard_at = self._world.loop.now
            missed = assignment.generation != self._generation + 1
            self._generation = assignment.generation
            self.standby = assignment.standby
            self._opening = asyncio.ensure_future(self._assign(assignment, missed))
            await self._until_it_moves()
            await self._host.quiesce(self._membership.quiesce)

    async def _join(self) -> Assignment:
        group, name = self._world.group, self._process.name
        joined = await self._ask(lambda: group.join(name))
        found: Assignment = await joined
        while self._world.network.is_away(self._process):
            await asyncio.sleep(0.05)
        await self._world.network.pause()
        return found

    async def _assign(self, assignment: Assignment, missed: bool) -> None:
        active = [(NAME, partition) for partition in sorted(assignment.active)]
        standby = [(NAME, partition) for partition in sorted(assignment.standby)]
        await self._host.assign(active, standby, missed=missed)

    async def _until_it_moves(self) -> None:
        group, name = self._world.group, self._process.name
        while True:
            await asyncio.sleep(self._membership.heartbeat)
            sent_at = self._world.loop.now
            try:
                answer = await self._ask(lambda: group.heartbeat(name, self._generation))
            except KafkaError:
                continue
            if answer != "ok":
                return
            self._heard_at = sent_at

    async def _ask(self, do: Callable[[], Any]) -> Any:
        return await self._world.network.ask("group", do)
