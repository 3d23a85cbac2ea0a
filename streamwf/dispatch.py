"""Dispatch: running what is due, apart from folding, so that no step holds up the log.

Each status of a shard has a lane. A lane's runners take one job after another; another runner is
started only when the ones before it are waiting for something, so that steps which wait for
nothing cost no task of their own, and steps which wait run side by side up to the lane's limit.
The jobs of a lane that is held back wait in it; whoever ticks takes them up again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter
from typing import Any

from .agenda import Kind, entries
from .debugging import Debugging, RunJob
from .declared import Step
from .events import Event, trace_id_of
from .execute import Executor
from .lanes import Lane, Paces, RunQueue
from .logs import at_work
from .measures import Measures
from .pacing import Held
from .ports import Tracing
from .record import Record, State

#: How many jobs a runner does before others on the loop have their turn.
TURN = 200

#: How many timers, callbacks, hooks and so on of a shard are worked at at once, of each kind.
PARALLEL = 100

#: The same of the engine's own runs, which wait for long.
INNER_PARALLEL = 1_000

# A member of an enum costs a look-up in its class; these are looked up for every event.
_STEP, _HOOK = Kind.STEP, Kind.HOOK
_AT_WORK = (State.RUNNING, State.INITIATED)

#: The lane of runs at a status that the workflow does not have. No status has such a name.
UNKNOWN = "(unknown)"

#: The basis of hooks: they tell of a change that has been, whatever has come since.
_WHATEVER = -1


class Dispatcher:
    """Runs the jobs of one shard and hands on each result.

    result: what to do with an event, called on the loop. recheck: called with a run whose job had
    to stand back for an earlier one that has now ended. may_start: asked before each job; while it
    says no, jobs wait until `go_on`. lookup: gives a run by its id. paces: those of the process.
    measures: where jobs are counted. debugging: told of each job, if there is one. tracing: makes
        a span of each, if there is one.
    """

    def __init__(
        self,
        executor: Executor[Any, Any],
        result: Callable[[Record, Event], None],
        recheck: Callable[[Record], None],
        may_start: Callable[[], bool] | None = None,
        *,
        shard: int,
        lookup: Callable[[str], Record | None],
        paces: Paces,
        measures: Measures,
        debugging: Debugging | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._executor = executor
        self._workflow = executor.workflow
        run_job: RunJob = executor.run_job
        if debugging is not None:
            run_job = debugging.watching(run_job)
        if tracing is not None:
            run_job = tracing.watching(run_job, self._workflow.name, self._workflow.current)
        self._run_job = run_job
        self._result = result
        self._recheck = recheck
        self._may_start = may_start
        self._shard = shard
        self._lookup = lookup
        self._paces = paces
        self._naming = paces.naming(self._workflow, shard)
        self._measures = measures
        self._lanes: dict[str, Lane] = {}
        # By the statuses that records have, which may be former names or none.
        self._by_status: dict[str, Lane] = {}
        # The basis of each run that its step, or another job, was last offered for. By run,
        # not by foreign id: what a former run left must not hold up, or stand in for, a new one.
        self._steps: dict[str, int] = {}
        self._others: dict[tuple[str, Kind, str], int] = {}
        self._busy: set[tuple[str, Kind, str]] = set()
        # The basis of what stands back for an earlier job of the same run.
        self._standing_back: dict[tuple[str, Kind, str], int] = {}
        # Inner runs whose step waits for something outside, for however long.
        self._idle: dict[str, asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.open = True

    def offer(self, record: Record, kind: Kind, name: str = "") -> None:
        """Run this unless it is in progress already, in a way that its result will fold."""
        if not self.open:
            return
        basis, run_id = record.version - record.lag, record.run_id
        if kind is _STEP:
            if self._steps.get(run_id) == basis:
                return
            self._steps[run_id] = basis
            lane = self._step_lane(record)
        else:
            if kind is _HOOK:
                basis = _WHATEVER
            if self._others.get((run_id, kind, name)) == basis:
                return
            self._others[run_id, kind, name] = basis
            lane = self._lane(f"({kind})", PARALLEL)
        lane.queue.append((record, kind, name))
        if not lane.starting and lane.runners < lane.limit and (not lane.pace or lane.pace.free):
            self._start(lane)

    def settled(self, before: Record, after: Record | None) -> None:
        """The run has moved on, or is gone: what was in progress for it as it was does not count
        any more, except what goes on while a timer or a callback is answered."""
        if after is None or not after.lag:
            self._steps.pop(before.run_id, None)
        if self._others and (
            before.timers or before.calls or before.hooks or before.state not in _AT_WORK
        ):
            goes_on = entries(after) if after is not None and after.lag else ()
            for entry in entries(before):
                if entry.kind is not _STEP and entry.kind is not _HOOK and entry not in goes_on:
                    self._others.pop((before.run_id, entry.kind, entry.name), None)
            for hook in before.hooks:
                if after is None or hook not in after.hooks:
                    self._others.pop((before.run_id, _HOOK, hook.on), None)

    def go_on(self) -> None:
        """Take up jobs that wait, if they may start again."""
        if self.open and (self._may_start is None or self._may_start()):
            for lane in self._lanes.values():
                if lane.queue and not lane.starting and lane.has_room:
                    self._start(lane)

    # ---- telling

    @property
    def running(self) -> int:
        """How many jobs are in progress; those that wait for something outside are not."""
        return len(self._busy) - len(self._idle)

    @contextmanager
    def idling(self, run_id: str) -> Iterator[None]:
        """The step of an inner run waits for something outside: nobody has to wait for it.

        When the dispatcher closes, it is cancelled at once.
        """
        task = asyncio.current_task()
        assert task is not None
        self._idle[run_id] = task
        if not self.open:
            task.cancel()
        try:
            yield
        finally:
            del self._idle[run_id]

    def in_progress(self) -> Iterator[tuple[str, Kind]]:
        """The run and the kind of each job in progress."""
        return ((run_id, kind) for run_id, kind, _ in self._busy)

    def depth(self) -> dict[str, int]:
        """How many jobs wait, by status."""
        return {status: len(lane.queue) for status, lane in self._lanes.items() if lane.queue}

    @property
    def queued(self) -> int:
        """How many jobs wait."""
        return sum(len(lane.queue) for lane in self._lanes.values())

    @property
    def backlog(self) -> int:
        """How many jobs wait for a runner; those of steps that are held back wait for time."""
        return sum(len(lane.queue) for lane in self._lanes.values() if not lane.held_back)

    def held_back(self) -> set[str]:
        """The ids of the runs that wait for steps that are held back, or for something outside."""
        waiting = {
            run_id
            for lane in self._held_back()
            if isinstance(lane.queue, RunQueue)
            for run_id in lane.queue.run_ids
        }
        return waiting | self._idle.keys()

    def next_due(self, now: datetime) -> datetime | None:
        """When the first step that is held back goes on, if that is a matter of time."""
        known = [lane.pace.free_at(now) for lane in self._held_back() if lane.pace is not None]
        return min((due_at for due_at in known if due_at is not None), default=None)

    def held(self) -> dict[str, Held]:
        """The steps that their breakers hold, by status."""
        return self._paces.held(self._workflow.name)

    def held_until(self, record: Record) -> datetime | None:
        """When a run is next tried at the step that this one waits for, if its breaker holds it."""
        held = self.held().get(self._workflow.current(record.status))
        if held is None or record.kind or record.state not in _AT_WORK or record.due_at is None:
            return None
        tried = (record.run_id, _STEP, "") in self._busy
        return None if tried or record.due_at >= held.until else held.until

    def due(self, kind: Kind) -> set[tuple[str, str]]:
        """What of a kind, but for steps, is due and not answered yet: (run id, name)."""
        return {(run_id, name) for run_id, offered, name in self._others if offered is kind}

    def _held_back(self) -> list[Lane]:
        return [lane for lane in self._lanes.values() if lane.queue and lane.held_back]

    async def close(self, grace: float) -> None:
        """Take no more jobs, give those in progress `grace` seconds, and cancel the rest."""
        self.open = False
        for lane in self._lanes.values():
            lane.queue.clear()
        for task in self._idle.values():
            task.cancel()
        if self._tasks and grace > 0:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- lanes

    def _step_lane(self, record: Record) -> Lane:
        if record.kind:
            return self._lane(f"({record.kind})", INNER_PARALLEL)
        lane = self._by_status.get(record.status) or self._status_lane(record.status)
        if lane.pace is not None and not record.entered and not self._plain(record.status):
            # Its timers and callbacks wait for nothing.
            return self._lane("(start)", PARALLEL)
        return lane

    def _plain(self, status: str) -> bool:
        return self._executor.results.plain(self._workflow.current(status))

    def _lane(self, name: str, limit: int) -> Lane:
        """The lane of what is no step of a status. No status has such a name."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(limit, deque(), self._measures.durations_of(name))
        return lane

    def _status_lane(self, status: str) -> Lane:
        name = self._workflow.current(status)
        lane = self._lanes.get(name)
        if lane is None:
            step = self._workflow.steps.get(name)
            if step is None:
                # Anyone may ask for a start at whatever they make up: all of that is one lane's.
                return self._lane(UNKNOWN, PARALLEL)
            lane = self._lanes[name] = self._lane_of(step)
        self._by_status[status] = lane
        return lane

    def _lane_of(self, step: Step[Any, Any]) -> Lane:
        took = self._measures.durations_of(step.status.name)
        pace = self._paces.of(self._workflow, step, self._shard, self._measures)
        if step.rate is None and step.breaker is None and step.priority is None:
            return Lane(step.parallel, deque(), took, pace)
        return Lane(step.parallel, RunQueue(self._lookup, self._rank_of(step)), took, pace)

    def _rank_of(self, step: Step[Any, Any]) -> Callable[[Record], int]:
        priority = step.priority
        if priority is None:
            return lambda _: 0

        def rank(record: Record) -> int:
            try:
                found = priority(self._executor.run(record))
                if isinstance(found, int):
                    return found
                self._paces.warn(
                    "priority_is_no_number", self._naming, record, found=type(found).__name__
                )
            except Exception as error:
                # Its message may hold something of the object.
                error_type = type(error).__name__
                self._paces.warn("priority_failed", self._naming, record, error=error_type)
            return 0

        return rank

    # ---- running

    def _start(self, lane: Lane) -> None:
        """Start a runner. Until it has begun, no other is started."""
        lane.starting = True
        lane.runners += 1
        task = asyncio.get_running_loop().create_task(self._run(lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start_another(self, lane: Lane) -> None:
        lane.starting = False
        if lane.queue and lane.has_room:
            self._start(lane)

    async def _run(self, lane: Lane) -> None:
        loop, naming = asyncio.get_running_loop(), self._naming
        may_start, queue, pace = self._may_start, lane.queue, lane.pace
        lane.starting = False
        turn, before = 0, perf_counter()
        try:
            while queue and (may_start is None or may_start()) and (pace is None or pace.free):
                job = queue.popleft()
                if not lane.starting and queue and lane.runners < lane.limit:
                    # Comes to pass only if this job waits for something.
                    lane.starting = True
                    loop.call_soon(self._start_another, lane)
                if job is not None:
                    record, kind, name = job
                    if kind is _STEP:
                        offered = self._steps.get(record.run_id)
                    else:
                        offered = self._others.get((record.run_id, kind, name))
                    basis = _WHATEVER if kind is _HOOK else record.version - record.lag
                    if offered == basis:
                        at_work.set((naming, record, kind))
                        before = await self._do(record, kind, name, lane, before)
                turn += 1
                if turn % TURN == 0:
                    await asyncio.sleep(0)
                    before = perf_counter()
        finally:
            lane.runners -= 1

    async def _do(
        self, record: Record, kind: Kind, name: str, lane: Lane, begun_at: float
    ) -> float:
        """begun_at, and what is returned: when the job began and ended, by the machine's clock.

        The end of one job is the beginning of the next: to look at the clock costs as much as all
        else that is measured.
        """
        key = (record.run_id, kind, name)
        busy, pace = self._busy, lane.pace
        if key in busy:
            newer = record.version if kind is _HOOK else record.version - record.lag
            self._standing_back[key] = newer
            return begun_at
        busy.add(key)
        try:
            job = self._run_job(record, kind, name)
            event = await (job if pace is None else pace.run(record, job))
        finally:
            busy.discard(key)
        ended_at = perf_counter()
        lane.took.observe(ended_at - begun_at)
        if event.errortype or event.traceparent:
            self._measure(record, kind, event, lane, ended_at - begun_at)
        self._result(record, event)
        if self._standing_back and self._standing_back.pop(key, -1) > event.version:
            self._forget(record, kind, name)
            self._recheck(record)
        return ended_at

    def _measure(
        self, record: Record, kind: Kind, event: Event, lane: Lane, seconds: float
    ) -> None:
        """Note what is not so of every job: an error, and the trace that it is of."""
        trace_id = trace_id_of(event.traceparent)
        if trace_id:
            lane.took.exemplify(trace_id, seconds, event.time)
        if event.errortype:
            status = f"({record.kind})" if record.kind else self._workflow.current(record.status)
            if not record.kind and status not in self._workflow.status_type.__members__:
                status = UNKNOWN
            self._measures.failed(status, kind, event.errortype)
            self._measures.recent.at(event.time).failures += 1
            told = {"job": str(kind), "attempt": event.attempt, "error": event.errortype}
            self._paces.warn("job_failed", self._naming, record, kind, **told, type=event.type)

    def _forget(self, record: Record, kind: Kind, name: str) -> None:
        if kind is _STEP:
            self._steps.pop(record.run_id, None)
        else:
            self._others.pop((record.run_id, kind, name), None)
