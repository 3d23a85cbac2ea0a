"""Dispatch: running what is due, apart from folding, so that no step holds up the log.

Each status of a shard has a lane. A lane's runners take one job after another; another runner is
started only when the ones before it are waiting for something, so that steps which wait for
nothing cost no task of their own, and steps which wait run side by side up to the lane's limit.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from .agenda import Kind
from .events import Event
from .execute import Executor
from .record import Record

#: How many jobs a runner does before others on the loop have their turn.
TURN = 200

TIMER_PARALLEL = 100


class Job(NamedTuple):
    record: Record
    kind: Kind
    name: str


class _Lane:
    __slots__ = ("limit", "queue", "runners", "starting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.queue: deque[Job] = deque()
        self.runners = 0
        self.starting = False


class Dispatcher:
    """Runs the jobs of one shard and hands on each result.

    result: what to do with an event, called on the loop. recheck: called with a foreign id whose
    job had to stand back for an earlier one that has now ended. may_start: asked before each job;
    while it says no, jobs wait until `go_on`.
    """

    def __init__(
        self,
        executor: Executor[Any, Any],
        result: Callable[[Record, Event], None],
        recheck: Callable[[str], None],
        may_start: Callable[[], bool] | None = None,
    ) -> None:
        self._executor = executor
        self._result = result
        self._recheck = recheck
        self._may_start = may_start
        self._lanes: dict[str, _Lane] = {}
        self._versions: dict[tuple[str, Kind, str], int] = {}
        self._busy: set[tuple[str, Kind, str]] = set()
        self._standing_back: set[tuple[str, Kind, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.queued = 0
        self.open = True

    def offer(self, record: Record, kind: Kind, name: str = "") -> None:
        """Run this unless it is in progress for this version of the run already."""
        key = (record.foreign_id, kind, name)
        if self._versions.get(key) == record.version or not self.open:
            return
        self._versions[key] = record.version
        lane = self._lane(record, kind)
        lane.queue.append(Job(record, kind, name))
        self.queued += 1
        if not lane.starting and lane.runners < lane.limit:
            self._start(lane)

    def settled(self, before: Record) -> None:
        """The run has moved on: what was in progress for it as it was does not count any more."""
        versions, foreign_id = self._versions, before.foreign_id
        versions.pop((foreign_id, Kind.STEP, ""), None)
        for timer in before.timers:
            versions.pop((foreign_id, Kind.TIMER, timer.name), None)
        if before.resume_at is not None:
            versions.pop((foreign_id, Kind.RESUME, ""), None)

    def go_on(self) -> None:
        """Take up jobs that wait, if they may start again."""
        if self.queued and self.open and (self._may_start is None or self._may_start()):
            for lane in self._lanes.values():
                if lane.queue and not lane.starting:
                    self._start(lane)

    @property
    def running(self) -> int:
        return len(self._busy)

    def depth(self) -> dict[str, int]:
        """How many jobs wait, by status."""
        return {status: len(lane.queue) for status, lane in self._lanes.items() if lane.queue}

    async def close(self, grace: float) -> None:
        """Take no more jobs, give those in progress `grace` seconds, and cancel the rest."""
        self.open = False
        for lane in self._lanes.values():
            self.queued -= len(lane.queue)
            lane.queue.clear()
        if self._tasks and grace > 0:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane(self, record: Record, kind: Kind) -> _Lane:
        status = (record.status or self._executor.start_name) if kind is Kind.STEP else kind
        lane = self._lanes.get(status)
        if lane is None:
            step = self._executor.workflow.steps.get(status)
            limit = TIMER_PARALLEL if step is None else step.parallel
            lane = self._lanes[status] = _Lane(limit)
        return lane

    def _start(self, lane: _Lane) -> None:
        lane.starting = False
        if lane.queue and lane.runners < lane.limit:
            lane.runners += 1
            task = asyncio.get_running_loop().create_task(self._run(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        turn = 0
        try:
            while lane.queue and (self._may_start is None or self._may_start()):
                job = lane.queue.popleft()
                self.queued -= 1
                if lane.queue and not lane.starting and lane.runners < lane.limit:
                    # Comes to pass only if this job waits for something.
                    lane.starting = True
                    loop.call_soon(self._start, lane)
                await self._do(job)
                turn += 1
                if turn % TURN == 0:
                    await asyncio.sleep(0)
        finally:
            lane.runners -= 1

    async def _do(self, job: Job) -> None:
        record, kind, name = job
        if self._versions.get((record.foreign_id, kind, name)) != record.version:
            return
        # By run, not by foreign id: what a former run still does must not hold up a new one.
        key = (record.run_id, kind, name)
        if key in self._busy:
            self._standing_back.add(key)
            return
        self._busy.add(key)
        try:
            if kind is Kind.STEP:
                event = await self._executor.step(record)
            elif kind is Kind.TIMER:
                event = await self._executor.timer(record, name)
            else:
                event = self._executor.resume(record)
        finally:
            self._busy.discard(key)
        self._result(record, event)
        if key in self._standing_back:
            self._standing_back.discard(key)
            self._versions.pop((record.foreign_id, kind, name), None)
            self._recheck(record.foreign_id)
