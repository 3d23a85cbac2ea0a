"""A worker in whose tables very many runs wait: for a callback, or an instant far away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from benchmarks.load import record, trigger
from benchmarks.piles import one_run, write_pile
from benchmarks.throughput import Worker, metric
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.settings import Settings

#: Numbers of runs that do something begin above those that wait.
OTHERS = 10_000_000

Report = Callable[[float, float], None]


@asynccontextmanager
async def worker_of(settings: Settings, folder: Path) -> AsyncIterator[Worker]:
    """A worker whose process has started."""
    worker = Worker(settings, folder, "waiting_flow.py")
    try:
        yield worker
    finally:
        worker.stop()


async def story_of_waiting(settings: Settings, folder: Path) -> list[bytes]:
    """The events of one run that waits: its trigger, and its start with a timer."""
    await ensure_topics(["orders"], settings)
    async with worker_of(settings, folder):
        return await one_run(settings, record(trigger("order-0", "WAITING")), 2)


async def write_waiting(
    settings: Settings, story: list[bytes], runs: range, progress: Report
) -> None:
    """Write the log of these runs, which no worker has to run: they wait already."""
    await write_pile(settings, story, len(runs), progress, first=runs.start)


async def all_waiting(worker: Worker, runs: int, progress: Report) -> None:
    """Wait until that many wait, and all that was folded is durable."""
    url = await worker.url()
    async with aiohttp.ClientSession() as session:
        while (count := await metric(session, url, "streamwf_timers_pending")) < runs:
            progress(count, runs)
            await asyncio.sleep(0.5)
        while await metric(session, url, "streamwf_checkpoint_lag_events"):
            await asyncio.sleep(0.5)
