"""Calling users' functions: on the loop or in a thread, for no longer than they may take."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any, TypeVar, cast

from .definition import Run, Step, StepResult, Timeout
from .errors import StepTimedOut

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)


async def call(
    called: Step[ObjectT, StatusT] | Timeout[ObjectT, StatusT],
    run: Run[ObjectT, StatusT],
    limit: timedelta | None,
    threads: ThreadPoolExecutor,
) -> StepResult[StatusT]:
    """What the function of a step or timeout returns.

    Raises what it raises, and StepTimedOut if it takes longer than `limit`.
    """
    seconds = None if limit is None else limit.total_seconds()
    try:
        async with asyncio.timeout(seconds) as deadline:
            if called.is_async:
                return await cast("Awaitable[StepResult[StatusT]]", called.function(run))
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(threads, partial(_in_thread, called.function, run))
            # A plain function may hand back the coroutine of an async one that it wraps.
            if inspect.isawaitable(result):
                result = await result
            return cast("StepResult[StatusT]", result)
    except TimeoutError:
        if deadline.expired():
            raise StepTimedOut(status=called.status.name, seconds=seconds) from None
        raise


def of_the_loop(error: BaseException) -> bool:
    """Whether it stops the task that runs the step, and is none of the step's own errors."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def _in_thread(function: Callable[[Any], Any], run: Any) -> Any:
    try:
        return function(run)
    except StopIteration as error:
        # No future takes it: whoever waits for this one would wait for ever.
        raise RuntimeError("the step raised StopIteration") from error
