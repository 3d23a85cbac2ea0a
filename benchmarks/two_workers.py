"""Two workers on two cores against one worker on one, with the broker's share accounted for.

`python -m benchmarks.two_workers [--runs N] [--rounds N] [--json]` needs Linux and a broker from
the jars, whose process it can look at. It uses two cores, whatever the machine has.

One worker has the first core to itself; the broker and this process have the second. Then each of
two workers has a core, and the broker, which does twice as much in a second, has to take what it
needs from both. Workers have joined the group, two shards for each of the two, before all triggers
are appended at once; the time counts from the first tenth of the transitions to the last one, while
all have enough to do. Both ways take turns. There are three ratios:

- by wall: what was seen on this machine. A broker on two cores of its own takes nothing from the
  workers, and one on theirs does, so this is less than what two cores for workers alone would give.
- by wall, with the broker's share subtracted: of the seconds of both cores, those that the broker
  and this process took are no workers' time. What two workers did is divided by what is left for
  each: wall minus half of that. One worker's time is its wall, since it had its core to itself.
  It assumes that whatever else ran would not have changed this; `others` says how much that was.
- by CPU: twice what a transition takes of a worker's CPU alone, divided by what it takes with two
  of them. So it is what two workers would do if both had their cores full of work; it does not
  hold time in which they wait for one another or the broker, and what else runs moves it little.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import click

from benchmarks.crash import all_ready, done
from benchmarks.figures import Bench, Figure, benchmark
from benchmarks.load import STEPS
from benchmarks.measured import EDGE
from benchmarks.piles import write_triggers
from benchmarks.processes import cpu_of, cpu_of_all, pin
from benchmarks.throughput import LOOK, Worker
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.settings import Settings

FIGURES = {
    "two_workers_ratio": Figure("two against one, without the broker's share"),
    "two_workers_cpu_ratio": Figure("two against one, by CPU"),
    "two_workers_wall_ratio": Figure("two against one, by wall"),
    "one_transitions_per_second": Figure("one worker", "transitions/s"),
    "two_transitions_per_second": Figure("two workers", "transitions/s"),
    "one_cpu_us": Figure("a worker's CPU for a transition, one worker", "us"),
    "two_cpu_us": Figure("a worker's CPU for a transition, two workers", "us"),
    "one_broker_cpu_us": Figure("the broker's CPU for a transition, one worker", "us"),
    "two_broker_cpu_us": Figure("the broker's CPU for a transition, two workers", "us"),
    "one_worker_cores": Figure("cores that one worker took"),
    "two_workers_cores": Figure("cores that two workers took"),
    "two_broker_cores": Figure("cores that their broker took"),
    "one_others_cores": Figure("cores that others took beside one worker"),
    "two_others_cores": Figure("cores that others took beside two"),
}

#: The cores that this process may have, before it is pinned to any.
ALLOWED = os.sched_getaffinity(0)


class Taken(NamedTuple):
    """What was taken up to now, or in between. Seconds; of CPU, all but the wall.

    own: of this process. all: of the whole machine.
    """

    transitions: float
    wall: float
    workers: float
    broker: float
    own: float
    all: float

    def since(self, before: "Taken") -> "Taken":
        return Taken(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def rate(self) -> float:
        return self.transitions / self.wall

    @property
    def rate_without_broker(self) -> float:
        """On two cores from which the broker and this process had taken nothing."""
        return self.transitions / (self.wall - (self.broker + self.own) / 2)

    @property
    def others(self) -> float:
        return max(self.all - self.workers - self.broker - self.own, 0.0)


class Pinned:
    """Workers that have a core each. The broker and this process have the second one, or both."""

    def __init__(self, settings: Settings, folder: Path, count: int, broker: int) -> None:
        self._broker = broker
        self._workers = [
            Worker(settings, folder / f"{settings.topic_prefix}{number}") for number in range(count)
        ]
        cores = two_cores()
        for worker, core in zip(self._workers, cores, strict=False):
            pin(worker.process.pid, {core})
        for process in (broker, os.getpid()):
            pin(process, cores if count > 1 else cores[1:])

    async def urls(self) -> list[str]:
        """Their addresses, once each has shards and all are ready."""
        await all_ready(self._workers)
        return [await worker.url() for worker in self._workers]

    def taken(self, transitions: float) -> Taken:
        return Taken(
            transitions=transitions,
            wall=time.perf_counter(),
            workers=sum(cpu_of(worker.process.pid) for worker in self._workers),
            broker=cpu_of(self._broker),
            own=time.process_time(),
            all=cpu_of_all(),
        )

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()


def two_cores() -> list[int]:
    """Two of the cores that this process may have."""
    cores = sorted(ALLOWED)[:2]
    if len(cores) < 2:
        sys.exit("Two workers on two cores need two cores.")
    return cores


async def full_load(settings: Settings, folder: Path, broker: int, count: int, runs: int) -> Taken:
    """What so many workers take from the first tenth of these runs to the last one."""
    await ensure_topics(["orders"], settings)
    workers = Pinned(settings, folder, count, broker)
    try:
        urls = await workers.urls()
        await write_triggers(settings, runs)
        async with aiohttp.ClientSession() as session:
            while (moves := await done(session, urls)) < EDGE * STEPS * runs:
                await asyncio.sleep(LOOK)
            before = workers.taken(moves)
            while (moves := await done(session, urls)) < (1 - EDGE) * STEPS * runs:
                await asyncio.sleep(LOOK)
            return workers.taken(moves).since(before)
    finally:
        workers.stop()


async def measured(bench: Bench, runs: int, rounds: int) -> None:
    if bench.broker.pid is None:
        sys.exit("This needs a broker of its own: unset KAFKA_BROKERS, and let none be in Docker.")
    found: dict[int, list[Taken]] = {1: [], 2: []}
    with bench.console.status("warming up"):
        # A broker's first thousands of requests are slow.
        await full_load(bench.of("warm-up."), bench.folder, bench.broker.pid, 2, runs)
    with bench.progress("turns") as progress:
        for number in range(rounds):
            for count, each in found.items():
                settings = bench.of(f"{count}-{number}.")
                # As many for each worker.
                taken = await full_load(
                    settings, bench.folder, bench.broker.pid, count, count * runs
                )
                each.append(taken)
            progress(number + 1, rounds)
    tell(bench.found, found[1], found[2])


def tell(found: dict[str, float], one: Sequence[Taken], two: Sequence[Taken]) -> None:
    """Medians of each, and ratios of the medians."""

    def both(figure: Callable[[Taken], float]) -> tuple[float, float]:
        return statistics.median(map(figure, one)), statistics.median(map(figure, two))

    alone, together = both(lambda taken: taken.rate)
    cpu_alone, cpu_together = both(lambda taken: 1e6 * taken.workers / taken.transitions)
    broker_alone, broker_together = both(lambda taken: 1e6 * taken.broker / taken.transitions)
    busy_alone, busy_together = both(lambda taken: taken.workers / taken.wall)
    _, cleared = both(lambda taken: taken.rate_without_broker)
    _, broker_cores = both(lambda taken: taken.broker / taken.wall)
    others_alone, others_together = both(lambda taken: taken.others / taken.wall)
    found |= {
        "two_workers_ratio": cleared / alone,
        "two_workers_cpu_ratio": 2 * cpu_alone / cpu_together,
        "two_workers_wall_ratio": together / alone,
        "one_transitions_per_second": alone,
        "two_transitions_per_second": together,
        "one_cpu_us": cpu_alone,
        "two_cpu_us": cpu_together,
        "one_broker_cpu_us": broker_alone,
        "two_broker_cpu_us": broker_together,
        "one_worker_cores": busy_alone,
        "two_workers_cores": busy_together,
        "two_broker_cores": broker_cores,
        "one_others_cores": others_alone,
        "two_others_cores": others_together,
    }


@click.command()
@click.option("--runs", default=100_000, show_default=True, help="Runs for each worker.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each.")
@click.option("--json", "as_json", is_flag=True)
def main(runs: int, rounds: int, as_json: bool) -> None:
    """Measure two workers against one."""
    benchmark(
        "two workers on two cores, one on one",
        FIGURES,
        lambda bench: measured(bench, runs, rounds),
        as_json=as_json,
    )


if __name__ == "__main__":
    main()
