"""What is asked of the workers meanwhile: orders that are placed, paid, forgotten and steered."""

import asyncio
import random
from typing import Any

from streamwf import events
from tests.chaos.asking import Asking, Request, trigger
from tests.chaos.flows import STANDS

#: Orders that are placed in a second.
RATE = 3.0

#: What becomes of an order, and how often: see `Load._steer`.
LIVES = {"paid": 10, "forgotten": 4, "paused": 4, "cancelled": 2, "retried": 2, "deleted": 2}

#: How long after its trigger the next thing is asked of a run, in seconds.
LATER = (0.2, STANDS * 0.7)

#: The share of requests that goes straight to the log, and that of orders placed twice.
STRAIGHT = 0.4
TWICE = 0.1


class Load:
    """Places orders until it is told to stop."""

    def __init__(self, asking: Asking, seed: int) -> None:
        self.placed = 0
        self._asking = asking
        self._chance = random.Random(f"load {seed}")
        self._lives: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Go on until this is cancelled; what is under way then goes on."""
        while True:
            task = asyncio.create_task(self._order(self.placed))
            self._lives.add(task)
            task.add_done_callback(self._lives.discard)
            self.placed += 1
            await asyncio.sleep(self._chance.expovariate(RATE))

    async def ended(self) -> None:
        """Return once nobody asks anything any more."""
        self._asking.stop()
        await asyncio.gather(*self._lives, return_exceptions=True)

    async def close(self) -> None:
        for task in self._lives:
            task.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)

    async def _order(self, number: int) -> None:
        carried = {
            "clumsy": self._chance.choice((0, 0, 0, 0, 1, 2)),
            "slow": self._chance.choice((0.05, 0.2, 0.5, 1.5)),
        }
        life = self._chance.choices(list(LIVES), list(LIVES.values()))[0]
        twice, key = self._chance.random() < TWICE, f"k-{number}"
        foreign_id = f"order-{number}"
        run_id = await self._placed(foreign_id, key, carried)
        if twice:
            await self._placed(foreign_id, f"{key}-again", carried)
        await asyncio.sleep(self._chance.uniform(*LATER))
        await self._steer(life, foreign_id, run_id)

    async def _placed(self, foreign_id: str, key: str, carried: dict[str, Any]) -> str:
        asked = trigger(foreign_id, key, carried)
        await self._ask(asked)
        return asked.run_id

    async def _steer(self, life: str, foreign_id: str, run_id: str) -> None:
        async def do(what: str) -> None:
            paid = self._chance.randrange(1, 100) if what == events.CALLBACK else None
            key = f"{what}-{self._chance.getrandbits(48):x}"
            await self._ask(Request(what, foreign_id, run_id, key, paid))

        match life:
            case "paid":
                await do(events.CALLBACK)
            case "paused":
                await do(events.PAUSE)
                await asyncio.sleep(self._chance.uniform(0.5, 4))
                await do(events.RESUME)
                await do(events.CALLBACK)
            case "cancelled":
                await do(events.CANCEL)
            case "retried":
                await do(events.RETRY)
            case "deleted":
                await do(events.CANCEL)
                await do(events.DELETE)

    async def _ask(self, request: Request) -> None:
        straight = self._chance.random() < STRAIGHT
        await self._asking.ask(request, straight=straight)
