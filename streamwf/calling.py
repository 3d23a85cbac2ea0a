"""Calling users' functions: on the loop or in a thread, for no longer than they may take."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, cast

from .declared import Handler
from .errors import StepTimedOut


async def call(handler: Handler[Any, Any], threads: ThreadPoolExecutor | None, *given: Any) -> Any:
    """What the function of a step, timeout, callback, hook or schedule returns.

    threads: where plain functions run; those of the loop, if none are given.
    given: its arguments.

    Raises what it raises, and StepTimedOut if it takes longer than the handler's limit.
    """
    seconds = None if handler.limit is None else handler.limit.total_seconds()
    try:
        async with asyncio.timeout(seconds) as deadline:
            if handler.is_async:
                return await cast("Awaitable[Any]", handler.function(*given))
            loop, context = asyncio.get_running_loop(), copy_context()
            # So that what is logged there says what it is about.
            result = await loop.run_in_executor(
                threads, partial(context.run, _in_thread, handler.function, *given)
            )
            # A plain function may hand back the coroutine of an async one that it wraps.
            if inspect.isawaitable(result):
                result = await result
            return result
    except TimeoutError:
        if deadline.expired():
            raise StepTimedOut(where=handler.where, seconds=seconds) from None
        raise


def of_the_loop(error: BaseException) -> bool:
    """Whether it stops the task that runs the step, and is none of the step's own errors."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def _in_thread(function: Callable[..., Any], *given: Any) -> Any:
    try:
        return function(*given)
    except StopIteration as error:
        # No future takes it: whoever waits for this one would wait for ever.
        raise RuntimeError("the step raised StopIteration") from error
