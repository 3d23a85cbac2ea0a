"""What a worker with very many waiting runs needs, and how much slower they make it.

`python -m benchmarks.scale [--runs N] [--work N] [--rounds N] [--json]` starts a broker of its own.
Each run waits for a callback, and has a timer far away.

Memory is what the system calls resident, of the whole process, when it has had nothing to do for
some seconds. Two workers are compared that have done the same: the first has folded one half of the
runs into empty tables, the second the other half into those of the first. So RocksDB's buffers and
caches, which are bounded and fill with what goes through, have had as much to fill them with in
both, and count in both; so do Python and its libraries. What one has more than the other is what
half of the runs take while they wait. A megabyte more or less is two bytes for each of 500,000
runs: the same measured twice differs by some.

The pace is that of runs of three steps, whose triggers are in the log before a worker starts: by
turns with empty tables, and with all that wait. The second is also what memory is measured after.
"""

import asyncio
import statistics
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.figures import Bench, Figure, benchmark
from benchmarks.load import STEPS
from benchmarks.piles import write_triggers
from benchmarks.processes import cpu_of, memory_and_threads
from benchmarks.throughput import Worker, worker_rate
from benchmarks.waiting import (
    OTHERS,
    all_waiting,
    story_of_waiting,
    worker_of,
    write_waiting,
)
from streamwf.settings import Settings

FIGURES = {
    "waiting_runs": Figure("runs that wait"),
    "waiting_rss_mb": Figure("memory of a worker with all of them", "MB"),
    "waiting_half_rss_mb": Figure("with half of them", "MB"),
    "waiting_bytes_per_run": Figure("growth for a run", "bytes"),
    "waiting_loaded_rss_mb": Figure("memory after the load, the most", "MB"),
    "empty_loaded_rss_mb": Figure("the same with empty tables", "MB"),
    "waiting_pace_ratio": Figure("pace, against empty tables"),
    "waiting_transitions_per_second": Figure("with all that wait", "transitions/s"),
    "empty_transitions_per_second": Figure("with empty tables", "transitions/s"),
    "waiting_cpu_us": Figure("CPU for a transition, with all that wait", "us"),
    "empty_cpu_us": Figure("CPU for a transition, with empty tables", "us"),
}

#: Seconds without anything to do before memory is looked at, and how often it is then.
SETTLED, LOOKS = 10.0, 5

MB = 1 << 20


def resident(worker: Worker) -> float:
    return memory_and_threads(worker.process.pid)[0]


async def settled(worker: Worker) -> float:
    """Resident megabytes of a worker that has nothing to do."""
    await asyncio.sleep(SETTLED)
    looks = []
    for _ in range(LOOKS):
        looks.append(resident(worker))
        await asyncio.sleep(1.0)
    return statistics.median(looks)


async def memory_of(bench: Bench, folder: Path, story: list[bytes], runs: range) -> float:
    """Resident megabytes of a worker that has folded these runs into the tables in a folder."""
    settings = bench.of("waiting.")
    with bench.progress("writing the log") as progress:
        await write_waiting(settings, story, runs, progress)
    async with worker_of(settings, folder) as worker:
        with bench.progress("folding it") as progress:
            await all_waiting(worker, runs.stop, progress)
        with bench.console.status("waiting until it is at rest"):
            return await settled(worker)


class Pace(NamedTuple):
    """Transitions per second; microseconds of CPU for each, with the start of the worker; and
    resident megabytes after them."""

    rate: float
    cpu_us: float
    rss_mb: float


async def pace(settings: Settings, folder: Path, runs: int, first: int) -> Pace:
    await write_triggers(settings, runs, first=first)
    async with worker_of(settings, folder) as worker:
        rate = await worker_rate(await worker.url(), runs)
        return Pace(rate, 1e6 * cpu_of(worker.process.pid) / (STEPS * runs), resident(worker))


async def paces(bench: Bench, folder: Path, work: int, rounds: int) -> None:
    """By turns, so that what else goes on meets both alike."""
    found: dict[str, list[Pace]] = {"empty": [], "waiting": []}
    with bench.progress("pace") as progress:
        for number in range(rounds):
            settings, own = bench.of(f"empty-{number}."), bench.folder / f"empty-{number}"
            found["empty"].append(await pace(settings, own, work, OTHERS))
            first = OTHERS + number * work
            found["waiting"].append(await pace(bench.of("waiting."), folder, work, first))
            progress(number + 1, rounds)
    rates = {name: statistics.median(pace.rate for pace in each) for name, each in found.items()}
    bench.found["waiting_pace_ratio"] = rates["waiting"] / rates["empty"]
    for name, each in found.items():
        bench.found[f"{name}_transitions_per_second"] = rates[name]
        bench.found[f"{name}_cpu_us"] = statistics.median(pace.cpu_us for pace in each)
        bench.found[f"{name}_loaded_rss_mb"] = max(pace.rss_mb for pace in each)


async def measured(bench: Bench, runs: int, work: int, rounds: int) -> None:
    story = await story_of_waiting(bench.of("story."), bench.folder / "story")
    folder, half = bench.folder / "waiting", runs // 2
    bench.found["waiting_runs"] = runs
    before = await memory_of(bench, folder, story, range(half))
    bench.found["waiting_half_rss_mb"] = before
    after = await memory_of(bench, folder, story, range(half, runs))
    bench.found["waiting_rss_mb"] = after
    bench.found["waiting_bytes_per_run"] = (after - before) * MB / (runs - half)
    if rounds:
        await paces(bench, folder, work, rounds)


@click.command()
@click.option("--runs", default=1_000_000, show_default=True, help="Runs that wait.")
@click.option("--work", default=100_000, show_default=True, help="Runs that do something.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each; 0 leaves that out.")
@click.option("--json", "as_json", is_flag=True)
def main(runs: int, work: int, rounds: int, as_json: bool) -> None:
    """Measure memory and pace with very many waiting runs."""
    benchmark(
        f"{runs:,} runs that wait",
        FIGURES,
        lambda bench: measured(bench, runs, work, rounds),
        as_json=as_json,
    )


if __name__ == "__main__":
    main()
