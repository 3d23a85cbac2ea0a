"""Whether memory, open files, threads, CPU and latency of a worker are flat under a steady load.

`python -m benchmarks.soak [--minutes N] [--rate N] [--population] [--json]` starts a broker of its
own. At the defaults a worker makes about 1,000,000 transitions in 30 minutes. Ended runs leave the
tables after 20 s. Ctrl-C ends it with the figures so far. Exits with 1 if something grows.
"""

import asyncio
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.flat import Bound, Flatness, flatness
from benchmarks.load import PARTITIONS
from benchmarks.population import grown
from benchmarks.soaking import Sample, as_json, soak
from benchmarks.throughput import Worker
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.adapters.local_kafka import find_broker
from streamwf.settings import Settings

#: Seconds in which the buffers of RocksDB fill and empty twice at the default rate.
FULL_BUFFERS = 600.0

#: Each figure that has to be flat: what it is, its unit, and what it may grow by.
BOUNDS = {
    "own_mb": ("memory but for RocksDB's cache and buffers", "MB", Bound(0.05, 24.0, FULL_BUFFERS)),
    "files": ("open files", "", Bound(0.05, 8.0)),
    "threads": ("threads", "", Bound(0.0, 4.0)),
    "cpu_us": ("CPU for a transition", "us", Bound(0.15, 20.0)),
    "p50_ms": ("latency of a run, p50", "ms", Bound(0.25, 10.0)),
    "p99_ms": ("latency of a run, p99", "ms", Bound(0.5, 100.0)),
    "rows": ("runs in the tables", "", Bound(0.1, 500.0)),
}


@dataclass
class Found:
    """What was seen so far."""

    samples: list[Sample] = field(default_factory=list)
    interrupted: bool = False
    population: list[tuple[str, int, int]] = field(default_factory=list)

    def verdicts(self) -> dict[str, Flatness]:
        found = {}
        for name, (_, _, bound) in BOUNDS.items():
            points = [(each.at, float(getattr(each, name))) for each in self.samples]
            known = [point for point in points if not math.isnan(point[1])]
            found[name] = flatness(known, bound)
        return found

    def per_run(self) -> dict[str, float]:
        """What the log and the changelog have grown by for a run of three transitions."""
        if not self.samples or not self.samples[-1].transitions:
            return {}
        last = self.samples[-1]
        runs = last.transitions / 3
        return {"log_records": last.log / runs, "changelog_records": last.changelog / runs}


@contextmanager
def progress_line(console: Console, seconds: float, found: Found) -> Iterator[Any]:
    """Gives what is to be called with each sample."""
    columns = (BarColumn(20), TimeRemainingColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=seconds, told="warming up")

        def seen(sample: Sample) -> None:
            found.samples.append(sample)
            told = (
                f"{sample.transitions:,.0f} transitions, {sample.rss_mb:.0f} MB, {sample.files}"
                f" files, {sample.threads} threads, {sample.cpu_us:.0f} us, p50"
                f" {sample.p50_ms:.0f} p99 {sample.p99_ms:.0f} ms, {sample.rows:,.0f} runs"
            )
            progress.update(task, completed=sample.at, told=told)

        yield seen


async def measure(
    settings: Settings,
    folder: Path,
    found: Found,
    *,
    minutes: float,
    rate: float,
    every: float,
    population: bool,
    console: Console,
) -> None:
    await ensure_topics(["orders"], settings)
    counts = folder / "population"
    # A full pool from early on: it has as many threads as were ever busy at a time.
    environment = {"STREAMWF_THREADS": "8"}
    if population:
        environment["POPULATION"] = str(counts)
    worker = Worker(settings, folder, "soak_flow.py", environment)
    try:
        with progress_line(console, 60 * minutes, found) as seen:
            await soak(
                settings, worker, folder, seconds=60 * minutes, rate=rate, every=every, seen=seen
            )
    finally:
        worker.stop()
        if counts.exists():
            found.population = grown(counts)


def show(found: Found, console: Console) -> None:
    last = found.samples[-1]
    title = f"{last.transitions:,.0f} transitions in {last.at / 60:.1f} minutes"
    title += ", interrupted" if found.interrupted else ""
    table = Table("what", "median", "growth", "allowed", "flat", title=title)
    for name, verdict in found.verdicts().items():
        what, unit, _ = BOUNDS[name]
        said = {True: "yes", False: "NO", None: "too short to say"}[verdict.flat]
        figures = (f"{verdict.median:,.1f} {unit}", f"{verdict.growth:+,.1f}")
        table.add_row(what, *figures, f"{verdict.allowed:,.1f}", said)
    console.print(table)
    for name, count in found.per_run().items():
        console.print(f"{name.replace('_', ' ')} for a run: {count:.2f}")
    console.print(f"tables on disk: {last.store_mb:.0f} MB")
    for name, before, now in found.population:
        console.print(f"{name}: {before:,} then, {now:,} now")


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="How long the load lasts.")
@click.option("--rate", default=190.0, show_default=True, help="Runs a second, of three steps.")
@click.option("--every", default=5.0, show_default=True, help="Seconds between two samples.")
@click.option("--population", is_flag=True, help="Also tell which objects have grown in number.")
@click.option("--json", "json_wanted", is_flag=True, help="Print all samples and the verdicts.")
def main(minutes: float, rate: float, every: float, population: bool, json_wanted: bool) -> None:
    """Soak one worker, and tell what grows."""
    console, found = Console(stderr=True), Found()
    with find_broker(say=console.print) as broker, tempfile.TemporaryDirectory() as folder:
        settings = Settings(brokers=broker.bootstrap, partitions=PARTITIONS)
        measuring = measure(
            settings,
            Path(folder),
            found,
            minutes=minutes,
            rate=rate,
            every=every,
            population=population,
            console=console,
        )
        with suppress(KeyboardInterrupt):
            found.interrupted = True
            asyncio.run(measuring)
            found.interrupted = False
    if not found.samples:
        sys.exit("It ended before the first sample.")
    verdicts = found.verdicts()
    if json_wanted:
        told = {name: verdict._asdict() for name, verdict in verdicts.items()}
        print(
            json.dumps(
                {
                    "interrupted": found.interrupted,
                    "verdicts": told,
                    "per_run": found.per_run(),
                    "population": found.population,
                    "samples": as_json(found.samples),
                }
            )
        )
    else:
        show(found, Console())
    sys.exit(1 if any(verdict.flat is False for verdict in verdicts.values()) else 0)


if __name__ == "__main__":
    main()
