"""What is measured in a process of its own: a worker on Kafka, or the embedded host in memory.

`python -m benchmarks.measured kafka|memory RUNS [BROKERS PREFIX FOLDER]` prints the usage of the
main thread and of the process as JSON. Between the first tenth of the transitions and the last one
nothing but the work is done there: what is counted is read where it lies, and not asked for.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.load import PARTITIONS, STEPS, trigger
from benchmarks.order_flow import orders
from streamwf import embedded
from streamwf.adapters import loggers
from streamwf.agents.app import faust_app
from streamwf.agents.worker import tune
from streamwf.embedded import EmbeddedHost
from streamwf.events import MOVED
from streamwf.measures import Measures
from streamwf.settings import Settings
from streamwf.verdict import Verdict

#: Seconds between two looks at what was counted.
LOOK = 0.02

#: The share of the transitions that is not measured, at the beginning and at the end.
EDGE = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """What a number of transitions, or hops, has taken. In seconds."""

    count: float
    wall: float
    thread: float
    process: float

    @classmethod
    def now(cls, count: float) -> "Usage":
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(count, time.perf_counter(), time.thread_time(), used.ru_utime + used.ru_stime)

    def since(self, before: "Usage") -> "Usage":
        return Usage(
            self.count - before.count,
            self.wall - before.wall,
            self.thread - before.thread,
            self.process - before.process,
        )


async def between(count: Callable[[], float], whole: float) -> Usage:
    """The usage from the first tenth of the whole to the last one."""
    while count() < whole * EDGE:
        await asyncio.sleep(LOOK)
    before = Usage.now(count())
    while count() < whole * (1 - EDGE):
        await asyncio.sleep(LOOK)
    return Usage.now(count()).since(before)


def transitions(measures: Measures) -> int:
    return measures.verdicts[MOVED, Verdict.ACCEPTED]


async def on_kafka(runs: int, brokers: str, prefix: str, folder: Path) -> Usage:
    """A worker on a log that the triggers are in already."""
    settings = Settings(
        brokers=brokers,
        topic_prefix=prefix,
        partitions=PARTITIONS,
        data_dir=folder,
        web_port=0,
        log_level="warning",
    )
    loggers.configure(settings.log_level)
    app = faust_app(orders, settings=settings)
    app.finalize()
    running = asyncio.ensure_future(app.start())
    measures = app.host.measures("orders")
    usage = await between(lambda: transitions(measures), STEPS * runs)
    await app.stop()
    await running
    return usage


async def in_memory(runs: int) -> Usage:
    async with embedded(orders) as app:
        host = app.host
        assert isinstance(host, EmbeddedHost)
        await host.append_all("orders", [trigger(f"order-{number}") for number in range(runs)])
        measures = host.measures("orders")
        return await between(lambda: transitions(measures), STEPS * runs)


def main(what: str, runs: str, *place: str) -> None:
    tune()
    if what == "memory":
        usage = uvloop.run(in_memory(int(runs)))
    else:
        brokers, prefix, folder = place
        usage = uvloop.run(on_kafka(int(runs), brokers, prefix, Path(folder)))
    print(json.dumps(asdict(usage)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
