"""How long a run takes while a worker has half of what it can do.

`python -m benchmarks.half_load [--runs N] [--seconds N] [--json]` starts a broker of its own. First
its top load is measured, with a pile of triggers in the log before it starts. Then a worker gets
half as many each second, evenly, whether it keeps up or not: in piles of some ten milliseconds. All
runs of one of the four partitions are timed, from the trigger's append to the completion seen by a
consumer. Who feeds and watches takes a part of the two cores in the second half that it does not
take in the first.
"""

import time

import aiohttp
import click

from benchmarks.ends import Ends, percentile
from benchmarks.figures import Bench, Figure, benchmark
from benchmarks.load import STEPS, beside, feed
from benchmarks.piles import write_triggers
from benchmarks.throughput import Worker, moved, worker_rate
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.settings import Settings

FIGURES = {
    "half_load_p99_ms": Figure("a run at half the top load, p99", "ms"),
    "half_load_p50_ms": Figure("p50", "ms"),
    "half_load_max_ms": Figure("the longest", "ms"),
    "half_load_timed_runs": Figure("runs that were timed"),
    "half_load_top_transitions_per_second": Figure("the top load", "transitions/s"),
    "half_load_held_transitions_per_second": Figure("held", "transitions/s"),
    "half_load_share": Figure("held, of the top load"),
}

#: The partition whose runs are timed.
TIMED = 0

#: Seconds between two piles of triggers, and those until the worker and the broker are warm.
PAUSE, WARM_UP = 0.005, 10.0


async def top_load(settings: Settings, bench: Bench, runs: int) -> float:
    await write_triggers(settings, runs)
    worker = Worker(settings, bench.folder / "top")
    try:
        with bench.console.status("top load"):
            return await worker_rate(await worker.url(), runs)
    finally:
        worker.stop()


async def half_load(settings: Settings, bench: Bench, top: float, seconds: float) -> None:
    await ensure_topics(["orders"], settings)
    worker = Worker(settings, bench.folder / "half")
    try:
        await worker.ready()
        url = await worker.url()
        async with Ends(settings, [TIMED]) as ends, aiohttp.ClientSession() as session:

            def appending(key: bytes, partition: int) -> None:
                if partition == TIMED:
                    ends.begins(key)

            feeding = feed(settings, top / 2 / STEPS, pause=PAUSE, appending=appending)
            async with beside(feeding, ends.watch()) as pause:
                await pause(WARM_UP)
                begun, before = time.perf_counter(), await moved(session, url)
                with bench.progress("half load") as progress:
                    while (spent := time.perf_counter() - begun) < seconds:
                        progress(spent, seconds)
                        await pause(0.5)
                spent = time.perf_counter() - begun
                held = (await moved(session, url) - before) / spent
            told(bench, top, held, [run.seconds for run in ends.took if run.begun >= begun])
    finally:
        worker.stop()


def told(bench: Bench, top: float, held: float, timed: list[float]) -> None:
    bench.found |= {
        "half_load_p99_ms": percentile(timed, 0.99),
        "half_load_p50_ms": percentile(timed, 0.5),
        "half_load_max_ms": percentile(timed, 1.0),
        "half_load_timed_runs": len(timed),
        "half_load_top_transitions_per_second": top,
        "half_load_held_transitions_per_second": held,
        "half_load_share": held / top,
    }


@click.command()
@click.option("--runs", default=100_000, show_default=True, help="Runs by which the top is found.")
@click.option("--seconds", default=60.0, show_default=True, help="How long half of it lasts.")
@click.option("--json", "as_json", is_flag=True)
def main(runs: int, seconds: float, as_json: bool) -> None:
    """Measure a run's latency at half load."""

    async def measure(bench: Bench) -> None:
        top = await top_load(bench.of("top."), bench, runs)
        await half_load(bench.of("half."), bench, top, seconds)

    benchmark("a worker at half its top load", FIGURES, measure, as_json=as_json)


if __name__ == "__main__":
    main()
