"""How the cost of a transition grows: with partitions, the size of objects, and steps of a run.

`python -m benchmarks.growth [--only NAME] [--json]` starts a broker of its own. A point is the CPU
that the main thread of a worker takes for a transition, so what else goes on moves it little. One
thing is changed at a time; the rest is four partitions, objects of 100 bytes, three steps, and
empty tables; `benchmarks.scale` has full ones. Without `--json` the
curves are stored for `benchmarks.report`. Ctrl-C ends it with the points so far.
"""

import asyncio
import json
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.cpu import output
from benchmarks.history import Result, store
from benchmarks.machine import commit, facts
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.adapters.local_kafka import find_broker
from streamwf.settings import Settings
from streamwf.views import Trigger

#: Transitions of a point, and the bytes of objects that it may write at most.
TRANSITIONS, MOST_BYTES = 30_000, 200_000_000


class Point(NamedTuple):
    """object_bytes: of each run's object."""

    partitions: int = 4
    object_bytes: int = 100
    steps: int = 3

    @property
    def runs(self) -> int:
        moves = min(TRANSITIONS, MOST_BYTES // self.object_bytes)
        return max(moves // self.steps, 1)


USUAL = Point()

#: The points of each curve, by what grows.
CURVES: Mapping[str, Mapping[int, Point]] = {
    "partitions": {n: USUAL._replace(partitions=n) for n in (1, 2, 4, 8, 16, 32, 64)},
    "object bytes": {n: USUAL._replace(object_bytes=n) for n in (100, 1_000, 10_000, 100_000)},
    "steps": {n: USUAL._replace(steps=n) for n in (3, 10, 30, 100, 300)},
}

#: What is measured beside CPU, of the usual point.
SIZES = ("log_records", "log_bytes", "changelog_records", "changelog_bytes")

Curves = dict[str, list[tuple[float, float]]]


def triggers(point: Point) -> Iterator[Trigger]:
    carried = {"note": "x" * max(point.object_bytes - len('{"note":""}'), 0)}
    for number in range(point.runs):
        yield Trigger(foreign_id=f"order-{number}", object=carried, status="S0")


async def measure(brokers: str, point: Point) -> dict[str, float]:
    """The usage of a worker with topics and tables of its own, and what it has written."""
    prefix = f"{uuid.uuid4().hex[:8]}-"
    settings = Settings(brokers=brokers, partitions=point.partitions, topic_prefix=prefix)
    await ensure_topics(["growing"], settings)
    await append_triggers("growing", triggers(point), settings, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        arguments = (point.runs, point.steps, brokers, prefix, point.partitions, folder)
        command = ("-m", "benchmarks.growing", *map(str, arguments))
        return dict(json.loads(await output(*command)))


def microseconds(usage: Mapping[str, float]) -> float:
    return round(1e6 * usage["thread"] / usage["count"], 2)


def grow(names: list[str], found: Curves, sizes: dict[str, float], console: Console) -> None:
    """Add point after point to what is found, so that an interrupt leaves those that there are."""
    points = [(name, size, point) for name in names for size, point in CURVES[name].items()]
    with (
        find_broker(say=console.print) as broker,
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("", total=len(points))
        for name, size, point in points:
            progress.update(task, description=f"{name}: {size:,}")
            usage = asyncio.run(measure(broker.bootstrap, point))
            found.setdefault(name, []).append((size, microseconds(usage)))
            if point == USUAL:
                sizes |= {each: round(usage[each], 2) for each in SIZES}
            progress.advance(task)


@click.command()
@click.option("--only", type=click.Choice(list(CURVES)), multiple=True, help="Not the others.")
@click.option("--json", "as_json", is_flag=True)
def main(only: tuple[str, ...], as_json: bool) -> None:
    """Measure how the cost of a transition grows."""
    console, found, sizes = Console(stderr=True), Curves(), dict[str, float]()
    at, machine, interrupted = datetime.now(UTC).isoformat(timespec="seconds"), facts(), False
    try:
        grow(list(only or CURVES), found, sizes, console)
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        print(json.dumps({"growth": found, "sizes": sizes}))
    else:
        table = Table("what grows", "to", "us of the main thread for a transition")
        for name, points in found.items():
            for size, cost in points:
                table.add_row(name, f"{size:,.0f}", f"{cost:.1f}")
        Console().print(table)
        if found:
            figures = {"sizes": sizes} if sizes else {}
            told = store(Result(at, commit(), machine, figures=figures, growth=found))
            console.print(f"stored as {told.name}")
    sys.exit(130 if interrupted else 0)


if __name__ == "__main__":
    main()
