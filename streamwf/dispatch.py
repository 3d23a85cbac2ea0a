"""Dispatch: running what is due, apart from folding, so that no step holds up the log.

Each status of a shard has a lane. A lane's runners take one job after another; another runner is
started only when the ones before it are waiting for something, so that steps which wait for
nothing cost no task of their own, and steps which wait run side by side up to the lane's limit.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from .agenda import Kind
from .events import Event
from .execute import Executor
from .record import Record

#: How many jobs a runner does before others on the loop have their turn.
TURN = 200

TIMER_PARALLEL = 100

# A member of an enum costs a look-up in its class; these are looked up for every event.
_STEP, _TIMER = Kind.STEP, Kind.TIMER


#: What to do for a run: its step, the timer of that name, or its resumption.
Job: TypeAlias = tuple[Record, Kind, str]


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
        # The basis of each run that its step, or another job, was last offered for. By run,
        # not by foreign id: what a former run left must not hold up, or stand in for, a new one.
        self._steps: dict[str, int] = {}
        self._others: dict[tuple[str, Kind, str], int] = {}
        self._busy: set[tuple[str, Kind, str]] = set()
        self._standing_back: set[tuple[str, Kind, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.queued = 0
        self.open = True

    def offer(self, record: Record, kind: Kind, name: str = "") -> None:
        """Run this unless it is in progress already, in a way that its result will fold."""
        basis = record.version - record.lag
        if not self.open or self._offered(record, kind, name) == basis:
            return
        if kind is _STEP:
            self._steps[record.run_id] = basis
        else:
            self._others[record.run_id, kind, name] = basis
        lane = self._lane(record, kind)
        lane.queue.append((record, kind, name))
        self.queued += 1
        if not lane.starting and lane.runners < lane.limit:
            self._start(lane)

    def _offered(self, record: Record, kind: Kind, name: str) -> int | None:
        if kind is _STEP:
            return self._steps.get(record.run_id)
        return self._others.get((record.run_id, kind, name))

    def settled(self, before: Record, after: Record) -> None:
        """The run has moved on: what was in progress for it as it was does not count any more,
        except what goes on while a timer is answered."""
        run_id = before.run_id
        if not after.lag:
            self._steps.pop(run_id, None)
        if before.timers:
            for timer in before.timers:
                if not after.lag or timer not in after.timers:
                    self._others.pop((run_id, _TIMER, timer.name), None)
        if before.resume_at is not None:
            self._others.pop((run_id, Kind.RESUME, ""), None)

    def go_on(self) -> None:
        """Take up jobs that wait, if they may start again."""
        if self.queued and self.open and (self._may_start is None or self._may_start()):
            for lane in self._lanes.values():
                if lane.queue and not lane.starting and lane.runners < lane.limit:
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
        # No status has such a name as the others' lanes.
        status = (record.status or self._executor.start_name) if kind is _STEP else f"({kind})"
        lane = self._lanes.get(status)
        if lane is None:
            step = self._executor.workflow.steps.get(status)
            limit = TIMER_PARALLEL if step is None else step.parallel
            lane = self._lanes[status] = _Lane(limit)
        return lane

    def _start(self, lane: _Lane) -> None:
        """Start a runner. Until it has begun, no other is started."""
        lane.starting = True
        lane.runners += 1
        task = asyncio.get_running_loop().create_task(self._run(lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start_another(self, lane: _Lane) -> None:
        lane.starting = False
        if lane.queue and lane.runners < lane.limit:
            self._start(lane)

    async def _run(self, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        may_start, queue = self._may_start, lane.queue
        lane.starting = False
        turn = 0
        try:
            while queue and (may_start is None or may_start()):
                record, kind, name = queue.popleft()
                self.queued -= 1
                if not lane.starting and queue and lane.runners < lane.limit:
                    # Comes to pass only if this job waits for something.
                    lane.starting = True
                    loop.call_soon(self._start_another, lane)
                if self._offered(record, kind, name) == record.version - record.lag:
                    await self._do(record, kind, name)
                turn += 1
                if turn % TURN == 0:
                    await asyncio.sleep(0)
        finally:
            lane.runners -= 1

    async def _do(self, record: Record, kind: Kind, name: str) -> None:
        key = (record.run_id, kind, name)
        busy = self._busy
        if key in busy:
            self._standing_back.add(key)
            return
        busy.add(key)
        try:
            if kind is _STEP:
                event = await self._executor.step(record)
            elif kind is _TIMER:
                event = await self._executor.timer(record, name)
            else:
                event = self._executor.resume(record)
        finally:
            busy.discard(key)
        self._result(record, event)
        if self._standing_back and key in self._standing_back:
            self._standing_back.discard(key)
            self._forget(record, kind, name)
            self._recheck(record.foreign_id)

    def _forget(self, record: Record, kind: Kind, name: str) -> None:
        if kind is _STEP:
            self._steps.pop(record.run_id, None)
        else:
            self._others.pop((record.run_id, kind, name), None)
