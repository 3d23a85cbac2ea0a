"""A role as its holder has it: until a deadline, which each renewal puts off."""

import asyncio
import time
from contextlib import suppress

# It goes on while the machine sleeps, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Seconds since some instant. Differences count, on this machine alone."""
    return time.clock_gettime(_CLOCK)


class Claim:
    """Implements `streamwf.ports.Hold`.

    until: when it is lost unless it is renewed, by `elapsed`; None for never.
    """

    def __init__(self, role: str, token: int, until: float | None = None) -> None:
        self.role = role
        self.token = token
        self._until = until
        self._ended = asyncio.Event()

    @property
    def held(self) -> bool:
        # By the clock and not by a timer: a process that was stopped knows it in its first moment.
        return not self._ended.is_set() and (self._until is None or elapsed() < self._until)

    async def lost(self) -> None:
        while self.held:
            left = None if self._until is None else max(self._until - elapsed(), 0)
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._ended.wait()

    def renew(self, until: float) -> None:
        """What is lost stays lost."""
        if self.held:
            self._until = until
        else:
            self.lose()

    def lose(self) -> None:
        self._ended.set()
