"""Looking again and again at what nobody tells of."""

import asyncio
import time
from datetime import timedelta

#: Turns of the loop in which what waits for nothing is done; after these, looks are apart.
TURNS = 100

#: Seconds between two looks at steps that wait for something, or run in threads.
PAUSE = 0.001


class Looks:
    """Looks at what nobody tells of: at each turn of the loop, then from time to time."""

    def __init__(self, patience: timedelta) -> None:
        self._deadline = time.monotonic() + patience.total_seconds()
        self._turns = 0

    @property
    def over(self) -> bool:
        return time.monotonic() > self._deadline

    async def next(self) -> None:
        self._turns += 1
        await asyncio.sleep(0 if self._turns < TURNS else PAUSE)
