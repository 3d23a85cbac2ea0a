"""Microseconds of CPU that a transition takes: what others load the machine with moves them little.

`python -m benchmarks.cpu [--runs N] [--repeat N] [--only NAME] [--json]` starts a broker of its own
and measures, each in a process of its own and several times over, a worker on Kafka, the raw loop's
hop, and the embedded host in memory. What counts most is the main thread: it is what a worker has
one of. The process has besides what threads of its libraries take, RocksDB's above all.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.load import PARTITIONS, STEPS
from benchmarks.measured import Usage
from benchmarks.order_flow import OBJECT
from benchmarks.throughput import HERE, fill_raw
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.adapters.local_kafka import find_broker
from streamwf.settings import Settings
from streamwf.views import Trigger

Measure = Callable[[], Coroutine[Any, Any, Usage]]


async def output(*command: str) -> str:
    """What a Python process prints. Its process id goes to standard error, for a profiler."""
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=subprocess.PIPE)
    print(f"process {process.pid}: {' '.join(command[:3])}", file=sys.stderr)
    printed, _ = await process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(command)} has failed")
    return printed.decode()


async def measured(*arguments: str) -> Usage:
    return Usage(**json.loads(await output("-m", "benchmarks.measured", *arguments)))


async def kafka(brokers: str, runs: int) -> Usage:
    """A worker with tables and topics of its own, the triggers in the log before it starts."""
    prefix = f"{uuid.uuid4().hex[:8]}-"
    settings = Settings(brokers=brokers, partitions=PARTITIONS, topic_prefix=prefix)
    await ensure_topics(["orders"], settings)
    piled = (Trigger(foreign_id=f"order-{n}", object=OBJECT) for n in range(runs))
    await append_triggers("orders", piled, settings, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        return await measured("kafka", str(runs), brokers, prefix, folder)


async def raw(brokers: str, hops: int) -> Usage:
    loop = [str(HERE / "raw_loop.py"), brokers, "raw-source", "raw-sink", uuid.uuid4().hex]
    return Usage(hops, *map(float, (await output(*loop, str(hops))).split()))


async def repeated(measures: dict[str, Measure], repeat: int) -> dict[str, list[Usage]]:
    """By turns, so that what else goes on meets all of them alike."""
    found: dict[str, list[Usage]] = {name: [] for name in measures}
    for _ in range(repeat):
        for name, measure in measures.items():
            found[name].append(await measure())
    return found


def figures(usages: list[Usage]) -> dict[str, float]:
    """Medians. In microseconds for each, and for each second."""
    return {
        "thread_us": statistics.median(1e6 * u.thread / u.count for u in usages),
        "process_us": statistics.median(1e6 * u.process / u.count for u in usages),
        "per_second": statistics.median(u.count / u.wall for u in usages),
    }


async def measure(names: list[str], runs: int, repeat: int, stack: ExitStack) -> dict[str, Any]:
    measures: dict[str, Measure] = {"memory": partial(measured, "memory", str(runs))}
    if {"kafka", "raw"} & set(names):
        broker = stack.enter_context(find_broker(say=Console(stderr=True).print))
        brokers = broker.bootstrap
        measures["kafka"] = partial(kafka, brokers, runs)
        if "raw" in names:
            await fill_raw(Settings(brokers=brokers, partitions=PARTITIONS), STEPS * runs)
            measures["raw"] = partial(raw, brokers, STEPS * runs)
    found = await repeated({name: measures[name] for name in names}, repeat)
    return {name: figures(usages) for name, usages in found.items()}


@click.command()
@click.option("--runs", default=50_000, help="Runs of three steps each.")
@click.option("--repeat", default=3, help="How often each is measured.")
@click.option(
    "--only", type=click.Choice(["kafka", "raw", "memory"]), multiple=True, help="Not the others."
)
@click.option("--json", "as_json", is_flag=True)
def main(runs: int, repeat: int, only: tuple[str, ...], as_json: bool) -> None:
    """Measure what a transition takes of a CPU."""
    names = list(only) or ["kafka", "raw", "memory"]
    with ExitStack() as stack:
        found = asyncio.run(measure(names, runs, repeat, stack))
    if as_json:
        print(json.dumps(found))
        return
    table = Table("what", "main thread", "process", "pace", title="CPU for a transition, or a hop")
    for name, each in found.items():
        table.add_row(
            name,
            f"{each['thread_us']:.1f} us",
            f"{each['process_us']:.1f} us",
            f"{each['per_second']:,.0f}/s",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
