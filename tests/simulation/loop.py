"""An event loop without time and without chance: both are the seed's.

What runs on it belongs to processes. A process can be killed between any two of its awaits, so
that nothing of it runs any more, or be stopped for a while and go on as if nothing had been.
"""

import asyncio
import contextlib
import heapq
import itertools
import logging
import sys
import warnings
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any

#: Whose code runs.
PROCESS: ContextVar["Process"] = ContextVar("process")

#: Handles that run at one instant before it is taken for a loop without an end.
LIVELOCK = 300_000


class Livelock(Exception):
    """So much runs at one instant that time would never go on."""


class Process:
    """What can be killed or stopped as a whole: a worker, or the world around the workers."""

    #: By how many seconds its clock is ahead.
    skew = 0.0

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.stopped = False
        #: How many more handles it runs before it is killed, if that is to be.
        self.fuse: int | None = None
        #: Called when it is killed.
        self.killed: Callable[[], None] = lambda: None
        self.ready: deque[asyncio.Handle] = deque()
        self.context = copy_context()
        self.context.run(PROCESS.set, self)


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set is the same each time."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: "SimLoop", **given: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(coro, loop=loop, **given)

    def __hash__(self) -> int:
        return self._number


class SimFuture(asyncio.Future[Any]):
    """A future whose place in a set is the same each time."""

    def __init__(self, *, loop: "SimLoop") -> None:
        self._number = next(loop.numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class SimLoop(asyncio.BaseEventLoop):
    """chance: chooses which of the processes that are ready goes on."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self.numbers = itertools.count()
        self.now = 0.0
        #: What ended a task that nobody waited for.
        self.errors: list[dict[str, Any]] = []
        self._chance = chance
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process]] = []
        self._active: list[Process] = []
        self._tasks: list[tuple[Process, SimTask]] = []
        self.world = Process("world")
        self._processes = [self.world]
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    # ---- what asyncio asks

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        process = context.get(PROCESS, self.world)
        if not process.dead:
            if not process.ready and not process.stopped:
                self._active.append(process)
            process.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        process = context.get(PROCESS, self.world)
        if not process.dead:
            heapq.heappush(self._timers, (when, next(self.numbers), handle, process))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def create_future(self) -> SimFuture:
        return SimFuture(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: Any = None, context: Any = None
    ) -> SimTask:
        context = copy_context() if context is None else context
        task = SimTask(coro, loop=self, name=name, context=context)
        self._tasks.append((context.get(PROCESS, self.world), task))
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """There are no threads: it is called a little later."""
        future = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except BaseException as error:
                future.set_exception(error)

        self.call_later(0.001, run)
        return future

    # ---- processes

    def spawn(self, process: Process, coro: Coroutine[Any, Any, Any]) -> SimTask:
        """Run something as a part of a process."""
        if process not in self._processes:
            self._processes.append(process)
        return self.create_task(coro, context=process.context.copy())

    def kill(self, process: Process) -> None:
        """Nothing of it runs any more, not even what would tidy up."""
        if not process.dead:
            process.dead = True
            process.ready.clear()
            process.killed()

    def stop_process(self, process: Process) -> None:
        process.stopped = True

    def go_on(self, process: Process) -> None:
        if process.stopped and not process.dead:
            process.stopped = False
            if process.ready:
                self._active.append(process)

    # ---- running

    def run(self, until: Callable[[], bool]) -> None:
        """Run until that is so. Raises Livelock, and what ends the world's own tasks."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            self._run(until)
        finally:
            events._set_running_loop(before)

    def _run(self, until: Callable[[], bool]) -> None:
        active, timers, chance = self._active, self._timers, self._chance
        at_once = 0
        while not until():
            if not active:
                if not timers:
                    raise RuntimeError("nothing is left to happen")
                at_once = 0
                self.now = max(self.now, timers[0][0])
                self._take_due(timers)
                continue
            place = int(chance.random() * len(active)) if len(active) > 1 else 0
            process = active[place]
            active[place] = active[-1]
            active.pop()
            at_once += len(process.ready)
            if at_once > LIVELOCK:
                raise Livelock(f"{process.name} at {self.now}")
            self._turn(process)

    def _take_due(self, timers: list[tuple[float, int, asyncio.TimerHandle, Process]]) -> None:
        while timers and timers[0][0] <= self.now:
            _, _, handle, process = heapq.heappop(timers)
            if process.dead or handle.cancelled():
                continue
            if not process.ready and not process.stopped:
                self._active.append(process)
            process.ready.append(handle)

    def _turn(self, process: Process) -> None:
        """Run what is ready of a process, as one round of its own loop would."""
        ready = process.ready
        for _ in range(len(ready)):
            if process.stopped or process.dead:
                break
            if process.fuse is not None:
                process.fuse -= 1
                if process.fuse < 0:
                    self.kill(process)
                    break
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()
        if ready and not process.stopped and not process.dead:
            self._active.append(process)

    def unretrieved(self) -> list[SimTask]:
        """Tasks that have failed, and nobody has heard of it who still could."""
        return [
            task
            for process, task in self._tasks
            if not process.dead and task.done() and not task.cancelled() and task._log_traceback
        ]

    def bury(self) -> None:
        """The end: what is left is thrown away, and has no say in that."""
        for process in self._processes:
            process.dead = True
            process.ready.clear()
        self._timers.clear()
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        logging.disable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._throw_away()
                self.close()
        finally:
            logging.disable(logging.NOTSET)
            sys.unraisablehook = hook

    def _throw_away(self) -> None:
        for _, task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coro = task.get_coro()
            if not task.done() and coro is not None:
                with contextlib.suppress(BaseException):
                    coro.close()
        self._tasks.clear()
