"""The network between processes and the broker: slow, cut for some of them, and away for a time.

An answer that does not come in time is an error for who has asked. What was asked may have been
done all the same, or be done later still, when who has asked is long dead.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TypeVar

from aiokafka.errors import KafkaTimeoutError

from tests.simulation.loop import PROCESS, Process, SimFuture, SimLoop

T = TypeVar("T")

#: Seconds that a message takes.
FAST, SLOW = 0.0005, 0.004

#: One in so many takes much longer.
RARE = 100


class Network:
    """patience: seconds after which a client gives up."""

    def __init__(self, loop: SimLoop, chance: Random, patience: float) -> None:
        self._loop = loop
        self._chance = chance
        self.patience = patience
        #: Until when the broker is away for all, and for each process.
        self.away_until = 0.0
        self.cut_until: dict[str, float] = {}
        #: Until when the group does not hear of a process that reaches the broker all the same.
        self.mute_until: dict[str, float] = {}
        #: How many times longer messages take, and until when.
        self.slowness = 1.0
        self.slow_until = 0.0
        #: Requests whose answers get lost, and those that get lost themselves, by process and kind.
        self.unanswered: Counter[tuple[str, str]] = Counter()
        self.unheard: Counter[tuple[str, str]] = Counter()
        self.told = Counter[str]()

    def calm(self) -> None:
        """Nothing is made to fail any more."""
        self.away_until, self.slow_until = 0.0, 0.0
        self.cut_until.clear()
        self.mute_until.clear()
        self.unanswered.clear()
        self.unheard.clear()

    @property
    def delay(self) -> float:
        seconds = self._chance.uniform(FAST, SLOW)
        if self._chance.random() * RARE < 1:
            seconds *= 20
        return seconds * (self.slowness if self._loop.now < self.slow_until else 1.0)

    def reachable_at(self, process: Process, kind: str = "") -> float:
        """When the broker can be reached."""
        name, now = process.name, self._loop.now
        mute = self.mute_until.get(name, 0.0) if kind == "group" else 0.0
        return max(self.away_until, self.cut_until.get(name, 0.0), mute, now)

    def is_away(self, process: Process) -> bool:
        return self.reachable_at(process) > self._loop.now

    async def ask(self, kind: str, do: Callable[[], T]) -> T:
        """What the broker answers. kind: of the request, for those that are to fail.

        do: what it does, done at the broker. Raises KafkaTimeoutError, and what `do` does.
        """
        process = PROCESS.get()
        answered: SimFuture = self._loop.create_future()
        place = (process.name, kind)
        self._later(self.delay, lambda: self._arrive(process, place, do, answered))
        timer = self._loop.call_later(self.patience, _give_up, answered)
        try:
            found: T = await answered
            return found
        finally:
            timer.cancel()

    def _arrive(
        self,
        process: Process,
        place: tuple[str, str],
        do: Callable[[], T],
        answered: SimFuture,
    ) -> None:
        away = self.reachable_at(process, place[1]) - self._loop.now
        if away > 0:
            # A client tries again until it is answered, or gives up.
            if not answered.done() and not process.dead:
                again = min(away, 0.1) + self.delay
                self._later(again, lambda: self._arrive(process, place, do, answered))
            return
        if self.unheard[place] > 0:
            self.unheard[place] -= 1
            self.told[f"lost {place[1]}"] += 1
            return
        try:
            found = do()
        except Exception as error:
            self._later(self.delay, partial(_fail, answered, error))
            return
        if self.unanswered[place] > 0:
            self.unanswered[place] -= 1
            self.told[f"unanswered {place[1]}"] += 1
            return
        self._later(self.delay, partial(_answer, answered, found))

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._loop.call_later(seconds, call, context=self._loop.world.context)

    def soon(self, call: Callable[[], None]) -> None:
        """A message reaches somebody."""
        self._later(self.delay, call)

    async def pause(self) -> None:
        """A message takes its time."""
        await asyncio.sleep(self.delay)


def _answer(answered: SimFuture, found: object) -> None:
    if not answered.done():
        answered.set_result(found)


def _fail(answered: SimFuture, error: Exception) -> None:
    if not answered.done():
        answered.set_exception(error)


def _give_up(answered: SimFuture) -> None:
    _fail(answered, KafkaTimeoutError("no answer in time"))
