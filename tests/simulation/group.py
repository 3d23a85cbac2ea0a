"""The group of the workers, as Kafka's coordinator runs one: it notices who is silent, stops the
world for each change, and hands out the shards anew."""

import asyncio
from random import Random
from typing import NamedTuple

from tests.simulation.loop import SimFuture, SimLoop

#: Seconds that a rebalance waits for members that are still there.
PATIENCE = 3.0

#: Seconds for which the first members wait for others.
FIRST = 0.1


class Assignment(NamedTuple):
    """What a member has after a rebalance."""

    generation: int
    active: frozenset[int]
    standby: frozenset[int]


class Group:
    """session: seconds after which a member that is silent is none any more."""

    def __init__(
        self, loop: SimLoop, chance: Random, *, partitions: int, standbys: int, session: float
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._partitions = partitions
        self._standbys = standbys
        self._session = session
        self._heard: dict[str, float] = {}
        self._joining: dict[str, SimFuture] = {}
        self._owners: dict[int, str] = {}
        self._moving = False
        self._deadline = 0.0
        self._ready_at = FIRST
        self.generation = 0
        self.rebalances = 0

    # ---- what members ask

    def join(self, name: str) -> SimFuture:
        """The assignment, once all are there. Who has asked before may be answered to that."""
        joined = self._joining.get(name) or self._loop.create_future()
        self._heard[name] = self._loop.now
        self._joining[name] = joined
        self.begin()
        return joined

    def heartbeat(self, name: str, generation: int) -> str:
        """`ok`, `moving` if it has to join again, or `unknown`."""
        if name not in self._heard or (not self._moving and generation != self.generation):
            return "unknown"
        self._heard[name] = self._loop.now
        return "moving" if self._moving else "ok"

    def leave(self, name: str) -> None:
        if self._heard.pop(name, None) is not None:
            self._joining.pop(name, None)
            self.begin()

    # ---- rebalances

    def begin(self) -> None:
        """Hand out the shards anew."""
        if not self._moving:
            self._moving = True
            self._deadline = self._loop.now + PATIENCE

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            for name, heard in list(self._heard.items()):
                if name not in self._joining and self._loop.now - heard > self._session:
                    del self._heard[name]
                    self.begin()
            if self._moving:
                self._look()

    def _look(self) -> None:
        missing = set(self._heard) - set(self._joining)
        if missing and self._loop.now < self._deadline:
            return
        for name in sorted(missing):
            del self._heard[name]
        if self._joining and self._loop.now >= self._ready_at:
            self._complete()

    def _complete(self) -> None:
        self.generation += 1
        self.rebalances += 1
        self._moving = False
        members = sorted(self._joining)
        active: dict[str, set[int]] = {name: set() for name in members}
        standby: dict[str, set[int]] = {name: set() for name in members}
        for partition in range(self._partitions):
            former = self._owners.get(partition)
            stays = former in active and self._chance.random() < 0.7
            fewest = min(len(held) for held in active.values())
            least = [name for name in members if len(active[name]) == fewest]
            owner = former if stays and former is not None else self._chance.choice(least)
            self._owners[partition] = owner
            active[owner].add(partition)
            others = [name for name in members if name != owner]
            if others and self._standbys:
                standby[self._chance.choice(others)].add(partition)
        for name, joined in self._joining.items():
            self._heard[name] = self._loop.now
            if not joined.done():
                held = frozenset(active[name]), frozenset(standby[name])
                joined.set_result(Assignment(self.generation, *held))
        self._joining = {}
