"""What of the machine the real code would see, for as long as a simulation runs: its clocks, its
chance, and the clients that would connect to a broker."""

import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from tests.simulation.kafka import Cluster, Consumer, Producer

#: What shards hold of what is due if they are crammed.
CRAMMED = (
    ("streamwf.shard.MAX_QUEUED", 1),
    ("streamwf.timetable.HELD", 1),
    ("streamwf.timetable.MOST_HELD", 2),
    ("streamwf.timetable.DUE_LIMIT", 2),
)

#: Seconds between two ticks of a host. Each costs, and there are very many.
TICK = 0.05


@contextmanager
def simulated(
    cluster: Cluster,
    seconds: Callable[[], float],
    now: Callable[[], datetime],
    chance: Random,
    *,
    crammed: bool,
) -> Iterator[None]:
    """seconds: what `time.monotonic` says. now: what the clock of the process that asks says.
    crammed: whether shards hold hardly anything of what is due."""

    def producer(*, transactional_id: str | None = None, **given: Any) -> Producer:
        return Producer(cluster, transactional_id)

    def consumer(*, isolation_level: str, **given: Any) -> Consumer:
        return Consumer(cluster, committed=isolation_level == "read_committed")

    def fresh_id() -> uuid.UUID:
        return uuid.UUID(int=chance.getrandbits(128), version=4)

    def time_ns() -> int:
        return int(now().timestamp() * 1_000_000_000)

    async def topics_are_there(*given: Any) -> None: ...

    clock = SimpleNamespace(now=now)
    state = random.getstate()
    random.seed(chance.getrandbits(64))
    with ExitStack() as patches:
        for target, value in (
            ("streamwf.adapters.kafka.append.AIOKafkaProducer", producer),
            ("streamwf.adapters.kafka.reader.AIOKafkaConsumer", consumer),
            ("streamwf.agents.host.SystemClock", lambda: clock),
            ("streamwf.agents.host.monotonic", seconds),
            ("streamwf.agents.host.TICK", TICK),
            ("streamwf.agents.keys.ensure_keys", topics_are_there),
            *(CRAMMED if crammed else ()),
        ):
            patches.enter_context(patch(target, value))
        patches.enter_context(patch.object(uuid, "uuid4", fresh_id))
        patches.enter_context(patch.object(os, "urandom", chance.randbytes))
        patches.enter_context(patch.object(time, "monotonic", seconds))
        patches.enter_context(patch.object(time, "time_ns", time_ns))
        try:
            yield
        finally:
            random.setstate(state)
