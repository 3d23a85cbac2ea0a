"""How the cost of a transition grows: with partitions, objects, steps, runs and timers that wait.

`python -m benchmarks.growth [--only NAME] [--json]` starts a broker of its own. A point is the CPU
that the main thread of a worker takes for a transition, so what else goes on moves it little. One
thing is changed at a time; the rest is four partitions, objects of 100 bytes, three steps, and
empty tables. What waits in the tables was started by another worker, before the one that is
measured. Without `--json` the curves are stored for `benchmarks.report`. Ctrl-C ends it with the
points so far.
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
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.cpu import output
from benchmarks.growing import CALLED, TIMED
from benchmarks.history import Result, store
from benchmarks.machine import commit, facts
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, ensure_topics
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.adapters.local_kafka import find_broker
from streamwf.events import MOVED, STARTED
from streamwf.settings import Settings
from streamwf.views import Trigger

#: Transitions of a point, and the bytes of objects that it may write at most.
TRANSITIONS, MOST_BYTES = 30_000, 200_000_000


class Point(NamedTuple):
    """object_bytes: of each run's object. called, timed: runs that wait in the tables, for a
    callback, or each with a timer far away."""

    partitions: int = 4
    object_bytes: int = 100
    steps: int = 3
    called: int = 0
    timed: int = 0

    @property
    def runs(self) -> int:
        moves = min(TRANSITIONS, MOST_BYTES // self.object_bytes)
        return max(moves // self.steps, 1)


USUAL = Point()

#: How many wait.
WAITING = (0, 10_000, 100_000, 1_000_000)

#: The points of each curve, by what grows.
CURVES: Mapping[str, Mapping[int, Point]] = {
    "partitions": {n: USUAL._replace(partitions=n) for n in (1, 2, 4, 8, 16, 32, 64)},
    "object bytes": {n: USUAL._replace(object_bytes=n) for n in (100, 1_000, 10_000, 100_000)},
    "steps": {n: USUAL._replace(steps=n) for n in (3, 10, 30, 100, 300)},
    "waiting runs": {n: USUAL._replace(called=n) for n in WAITING},
    "waiting timers": {n: USUAL._replace(timed=n) for n in WAITING},
}

Curves = dict[str, list[tuple[float, float]]]


def triggers(point: Point, status: str, runs: int) -> Iterator[Trigger]:
    carried = {"note": "x" * max(point.object_bytes - len('{"note":""}'), 0)}
    for number in range(runs):
        yield Trigger(foreign_id=f"{status}-{number}", object=carried, status=status)


async def measure(settings: Settings, point: Point) -> dict[str, float]:
    """The usage of a worker with topics and tables of its own."""
    await ensure_topics(["growing"], settings)
    with tempfile.TemporaryDirectory() as folder:

        async def work(status: str, runs: int, kind: str, events: int) -> dict[str, float]:
            await append_triggers(
                "growing", triggers(point, status, runs), settings, lambda _: None
            )
            where = (settings.brokers, settings.topic_prefix, settings.partitions, folder)
            command = ("-m", "benchmarks.growing", kind, events, point.steps, *where)
            return dict(json.loads(await output(*map(str, command))))

        for status, runs in ((CALLED, point.called), (TIMED, point.timed)):
            if runs:
                await work(status, runs, STARTED, runs)
        return await work("S0", point.runs, MOVED, point.runs * point.steps)


async def size_of(reader: AIOKafkaConsumer, topic: str, partitions: int) -> tuple[int, int]:
    """(records, bytes of keys and values) of a topic."""
    records = size = 0
    for number in range(partitions):
        partition = TopicPartition(topic, number)
        end = (await reader.end_offsets([partition]))[partition]
        async for batch in read_to(reader, partition, 0, end):
            records += len(batch)
            size += sum(len(each.key or b"") + len(each.value or b"") for each in batch)
    return records, size


async def written(settings: Settings, transitions: int) -> dict[str, float]:
    """What one transition has written, triggers and all."""
    topics = Topics.of("growing", settings)
    reader = AIOKafkaConsumer(bootstrap_servers=settings.brokers)
    await reader.start()
    found = {}
    try:
        for name, topic in (("log", topics.events), ("changelog", topics.changelog)):
            records, size = await size_of(reader, topic, settings.partitions)
            found[f"{name}_records"] = round(records / transitions, 2)
            found[f"{name}_bytes"] = round(size / transitions, 2)
    finally:
        await stop_consumer(reader)
    return found


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
            prefix = f"{uuid.uuid4().hex[:8]}-"
            settings = Settings(
                brokers=broker.bootstrap, partitions=point.partitions, topic_prefix=prefix
            )
            usage = asyncio.run(measure(settings, point))
            found.setdefault(name, []).append((size, microseconds(usage)))
            if point == USUAL:
                sizes |= asyncio.run(written(settings, point.runs * point.steps))
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
