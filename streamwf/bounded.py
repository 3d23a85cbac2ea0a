"""Calls of a client that give up in time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from .errors import DeadlineExceeded
from .gateway import Gateway

#: What says itself how long it takes, and what has to be done to its end.
_UNBOUNDED = {"await_", "close"}


class Bounded:
    """A gateway each of whose calls ends in time: raises DeadlineExceeded if it does not.

    What waits for a run has a timeout of its own.
    """

    def __init__(self, gateway: Gateway, timeout: timedelta) -> None:
        self.gateway = gateway
        self._seconds = timeout.total_seconds()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self.gateway, name)
        if name in _UNBOUNDED:
            return method

        def bounded(*given: Any) -> Any:
            asked = method(*given)
            # What is no answer is a stream of them, without an end to wait for.
            return self._in_time(name, asked) if inspect.iscoroutine(asked) else asked

        return bounded

    async def _in_time(self, name: str, asked: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._seconds) as clock:
                return await asked
        except TimeoutError:
            if not clock.expired():
                raise
            raise DeadlineExceeded(what=f"`{name}`", seconds=self._seconds) from None
