"""What benchmarks put upon workers: runs of three steps, and how they are asked for."""

import asyncio
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from benchmarks.order_flow import OBJECT
from streamwf import events
from streamwf.adapters.kafka.append import append_batch, producer
from streamwf.adapters.kafka.topics import Topics, partition_of
from streamwf.events import Event, encode_event
from streamwf.settings import Settings

PARTITIONS = 4
STEPS = 3

#: Seconds between two piles of triggers.
PILE = 0.1


def trigger(name: str, status: str = "CREATED", **differing: object) -> Event:
    """A request to start a run. differing: what its object has beside, or instead of, the usual."""
    run_id = str(uuid.uuid4())
    return events.request(
        "orders",
        events.TRIGGER,
        name,
        datetime.now(UTC),
        event_id=run_id,
        runid=run_id,
        status=status,
        data=json.dumps(OBJECT | differing).encode(),
    )


def record(event: Event) -> tuple[bytes, bytes]:
    """Its key and value in a topic."""
    return event.subject.encode(), encode_event(event)


def trigger_record(number: int) -> tuple[bytes, bytes]:
    return record(trigger(f"order-{number}"))


async def feed(
    settings: Settings,
    rate: float,
    *,
    first: int = 0,
    pause: float = PILE,
    appending: Callable[[bytes, int], None] = lambda key, partition: None,
) -> None:
    """Start so many runs a second, evenly, for as long as it is let.

    first: the number of the first run. pause: seconds between two piles of triggers. appending:
    called with the key and the partition of each, before its pile is appended.
    """
    topic = Topics.of("orders", settings).events
    to = producer(settings)
    await to.start()
    begun, numbers = time.monotonic(), itertools.count(first)
    started = 0
    try:
        while True:
            due = int((time.monotonic() - begun) * rate) - started
            piles: dict[int, list[tuple[bytes, bytes]]] = {}
            for number in itertools.islice(numbers, due):
                key, value = trigger_record(number)
                piles.setdefault(partition_of(key.decode(), PARTITIONS), []).append((key, value))
            for partition, pile in piles.items():
                for key, _ in pile:
                    appending(key, partition)
            await asyncio.gather(
                *(append_batch(to, topic, partition, pile) for partition, pile in piles.items())
            )
            started += due
            await asyncio.sleep(pause)
    finally:
        await to.stop()


@asynccontextmanager
async def beside(
    *coroutines: Coroutine[Any, Any, None],
) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
    """Let these run meanwhile. Gives what waits for some seconds, and raises what one of them has
    failed with."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]

    async def pause(seconds: float) -> None:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    try:
        yield pause
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
