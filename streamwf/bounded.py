"""Calls of a client that give up in time."""

import asyncio
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

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method: Callable[..., Awaitable[Any]] = getattr(self.gateway, name)
        if name in _UNBOUNDED:
            return method

        async def bounded(*given: Any) -> Any:
            try:
                async with asyncio.timeout(self._seconds) as clock:
                    return await method(*given)
            except TimeoutError:
                if not clock.expired():
                    raise
                raise DeadlineExceeded(what=f"`{name}`", seconds=self._seconds) from None

        return bounded
