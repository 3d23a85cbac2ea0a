"""DBOS: processes that run its workflow, on a PostgreSQL of their own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import STEPS
from benchmarks.order_flow import OBJECT
from benchmarks.peers.installed import Installed
from benchmarks.peers.running import Load, Running
from tests.servers import Postgres

#: Memory that PostgreSQL may take for its pages, more than all of them.
SHARED_BUFFERS = "512MB"

#: Connections of each process besides one for each run.
SPARE = 4


@dataclass(frozen=True)
class Setting:
    """processes: that run workflows. concurrency: runs at a time, and connections, in each.
    way: "tasks" of an event loop with async steps, or "threads"."""

    processes: int
    concurrency: int
    way: str


#: What is tried. Neighbours with as many processes and connections are tried in the same ones.
SETTINGS = [
    Setting(processes, concurrency, way)
    for processes in (1, 2)
    for concurrency in (4, 16)
    for way in ("tasks", "threads")
]


class DBOS:
    """Processes that have said that they are ready."""

    def __init__(self, processes: list[Running]) -> None:
        self._processes = processes

    async def load(self, setting: Setting, runs: int) -> Load:
        """Steps per second from the start of the first run to the end of the last one."""
        own = {
            "object": OBJECT,
            "runs": runs // len(self._processes),
            "concurrency": setting.concurrency,
            "way": setting.way,
        }
        begun = time.perf_counter()
        for process in self._processes:
            process.tell(json.dumps(own))
        answers = await asyncio.gather(*(process.told() for process in self._processes))
        seconds = time.perf_counter() - begun
        found = [each for answer in answers for each in json.loads(answer)["latencies"]]
        return Load(STEPS * len(found) / seconds, found)


@asynccontextmanager
async def dbos(installed: Installed, setting: Setting, folder: Path) -> AsyncIterator[DBOS]:
    """Processes on an empty database, while the context lasts."""
    with ExitStack() as stack:
        server = stack.enter_context(Postgres("-c", f"shared_buffers={SHARED_BUFFERS}"))
        # Gracefully, so that none of its processes outlives it.
        stack.callback(server.stop)
        processes: list[Running] = []
        for number in range(setting.processes):
            pool = setting.concurrency + SPARE
            process = Running(
                "DBOS",
                [str(installed.python), "dbos_orders.py", f"peer-{number}", str(pool)],
                folder / f"dbos-{number}.log",
                {"DBOS_SYSTEM_DATABASE_URL": server.url},
                answers=True,
            )
            processes.append(stack.enter_context(process))
            # One after another: the first one makes the tables.
            while (await process.told()).strip() != "ready":
                pass
        yield DBOS(processes)
