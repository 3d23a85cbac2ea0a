"""The pace of the embedded host in memory against that of a worker on Kafka, in the same run.

`python -m benchmarks.hosts [--runs N] [--repeat N] [--json]` starts a broker of its own. Each is
measured in a process of its own, by turns, as `benchmarks.cpu` does: all runs are asked for before
the first is begun, and what counts is the wall time from the first tenth of the transitions to the
last one. The worker has a broker beside it that takes a part of another core.
"""

from functools import partial

import click

from benchmarks.cpu import Measure, figures, kafka, measured, repeated
from benchmarks.figures import Bench, Figure, benchmark

FIGURES = {
    "embedded_ratio": Figure("embedded in memory, against the worker"),
    "embedded_transitions_per_second": Figure("embedded in memory", "transitions/s"),
    "kafka_transitions_per_second": Figure("a worker on Kafka", "transitions/s"),
    "embedded_cpu_us": Figure("CPU for a transition, embedded", "us"),
    "kafka_cpu_us": Figure("CPU for a transition, the worker", "us"),
}


@click.command()
@click.option("--runs", default=100_000, show_default=True, help="Runs of three steps each.")
@click.option("--repeat", default=3, show_default=True, help="How often each is measured.")
@click.option("--json", "as_json", is_flag=True)
def main(runs: int, repeat: int, as_json: bool) -> None:
    """Measure the embedded host against a worker."""

    async def measure(bench: Bench) -> None:
        measures: dict[str, Measure] = {
            "kafka": partial(kafka, bench.broker.bootstrap, runs),
            "embedded": partial(measured, "memory", str(runs)),
        }
        with bench.console.status(f"{runs:,} runs on each, {repeat} times"):
            usages = await repeated(measures, repeat)
        found = {name: figures(each) for name, each in usages.items()}
        paces = {name: each["per_second"] for name, each in found.items()}
        bench.found["embedded_ratio"] = paces["embedded"] / paces["kafka"]
        for name in ("embedded", "kafka"):
            bench.found[f"{name}_transitions_per_second"] = paces[name]
            bench.found[f"{name}_cpu_us"] = found[name]["process_us"]

    benchmark("hosts, three steps that do nothing", FIGURES, measure, as_json=as_json)


if __name__ == "__main__":
    main()
