"""Doing what the plan says, and remembering it."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.plan import Fault, Kind
from tests.chaos.stage import Stage, Victim
from tests.kafka.cluster import PARTITIONS

#: Seconds between two looks at whether a disk that is to be full still is.
LOOK = 0.2

#: A worker that is told to leave may take so many seconds.
LEAVING = 60.0

EVERY = frozenset(range(PARTITIONS))


@dataclass(slots=True)
class Done:
    """A fault that was made.

    shards: those concerned. since: the moment that recovery is counted from, by the monotonic
    clock; until: when the fault itself was over.
    """

    fault: Fault
    shards: frozenset[int]
    since: float
    until: float | None = None


class Chaos:
    """Makes faults on a stage."""

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self.done: list[Done] = []
        #: Workers that were told to stop, and did not.
        self.stuck: list[str] = []
        self._stage = stage
        self._say = say
        self._broker = asyncio.Lock()
        self._network = asyncio.Lock()
        self._clocks = asyncio.Lock()
        self._making: dict[Kind, Callable[[Done, Victim], Awaitable[None]]] = {
            Kind.KILL: self._kill,
            Kind.PAUSE: self._pause,
            Kind.LEAVE: self._leave,
            Kind.JOIN: self._join,
            Kind.WIPE: self._wipe,
            Kind.CRASH: self._crash,
            Kind.CUT: self._cut,
            Kind.BLACKOUT: self._blackout,
            Kind.FULL: self._fill,
            Kind.CLOCK: self._step,
        }

    async def run(self, faults: list[Fault]) -> None:
        """Make each at its time, whether those before it are over or not; return when all are.

        Whoever cancels this has them all undone first.
        """
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(began + fault.at - time.monotonic())
                group.create_task(self._make(fault))

    async def _make(self, fault: Fault) -> None:
        worker = self._stage.workers[fault.worker]
        async with self._turn(fault.kind, worker):
            whole = fault.kind in (Kind.JOIN, Kind.CRASH, Kind.BLACKOUT)
            shards = EVERY if whole else frozenset(worker.shards)
            done = Done(fault, shards, time.monotonic())
            self.done.append(done)
            whom = "" if fault.kind in (Kind.CRASH, Kind.BLACKOUT) else f"{worker.name}: "
            step = f" by {fault.step:+.0f} s" if fault.step else ""
            self._say(f"{whom}{fault.kind}{step}, for {fault.seconds:.1f} s")
            await self._making[fault.kind](done, worker)
            done.until = time.monotonic()

    def _turn(self, kind: Kind, worker: Victim) -> AbstractAsyncContextManager[None]:
        """What a fault has for itself."""
        others = {Kind.CRASH: self._broker, Kind.BLACKOUT: self._network, Kind.CLOCK: self._clocks}
        return others.get(kind, worker.turn)

    # ---- of a worker

    async def _kill(self, done: Done, worker: Victim) -> None:
        worker.wanted = False
        if worker.runs:
            worker.kill()
        await asyncio.sleep(done.fault.seconds)
        self._stage.start(worker)

    async def _wipe(self, done: Done, worker: Victim) -> None:
        worker.wanted = False
        if worker.runs:
            worker.kill()
        worker.wipe()
        await asyncio.sleep(done.fault.seconds)
        self._stage.start(worker)

    async def _leave(self, done: Done, worker: Victim) -> None:
        worker.wanted = False
        await self.told_to_stop(worker)
        await asyncio.sleep(done.fault.seconds)
        self._stage.start(worker)

    async def told_to_stop(self, worker: Victim) -> None:
        """Stop a worker gracefully; one that does not stop is killed, and remembered."""
        if worker.runs:
            try:
                await asyncio.to_thread(worker.stop, LEAVING)
            except subprocess.TimeoutExpired:
                self._say(f"{worker.name} does not stop.")
                self.stuck.append(worker.name)
                worker.kill()

    async def _pause(self, done: Done, worker: Victim) -> None:
        if worker.runs:
            worker.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(done.fault.seconds)
            finally:
                worker.signal(signal.SIGCONT)

    async def _join(self, done: Done, worker: Victim) -> None:
        self._stage.start(worker)
        try:
            await asyncio.sleep(done.fault.seconds)
        finally:
            worker.wanted = False
            await self.told_to_stop(worker)

    async def _cut(self, done: Done, worker: Victim) -> None:
        self._stage.network.cut(worker.number)
        try:
            await asyncio.sleep(done.fault.seconds)
        finally:
            self._stage.network.heal(worker.number)

    async def _fill(self, done: Done, worker: Victim) -> None:
        async with filled(worker.disk) as fill:
            deadline = time.monotonic() + done.fault.seconds
            while time.monotonic() < deadline:
                await asyncio.to_thread(fill)
                await asyncio.sleep(LOOK)

    async def _step(self, done: Done, worker: Victim) -> None:
        worker.step_clock(done.fault.step)
        try:
            await asyncio.sleep(done.fault.seconds)
        finally:
            worker.step_clock(0)

    # ---- of the broker

    async def _crash(self, done: Done, worker: Victim) -> None:
        kafka = self._stage.kafka
        await asyncio.to_thread(kafka.kill)
        try:
            await asyncio.sleep(done.fault.seconds)
        finally:
            await asyncio.to_thread(kafka.start)
            done.since = time.monotonic()

    async def _blackout(self, done: Done, worker: Victim) -> None:
        self._stage.network.cut_all()
        try:
            await asyncio.sleep(done.fault.seconds)
        finally:
            self._stage.network.heal_all()
            done.since = time.monotonic()


@asynccontextmanager
async def filled(place: Path) -> AsyncIterator[Callable[[], None]]:
    """Gives what leaves no room in the file system of a directory; room is made at the end."""
    ballast = place / "ballast"

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    try:
        yield fill
    finally:
        ballast.unlink(missing_ok=True)
