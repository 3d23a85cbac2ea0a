"""Transitions per second of one worker, as a ratio to the raw loop in the same run.

`python -m benchmarks.throughput [--runs N] [--json]` starts a broker of its own. The machine
should be idle otherwise. Latency is that of one run of three steps on a worker with nothing else
to do, from the trigger's append to the completion seen by a consumer.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import click
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks.ends import Ends, percentile
from benchmarks.load import PARTITIONS, STEPS, trigger_record
from benchmarks.measured import EDGE
from benchmarks.order_flow import OBJECT
from streamwf.adapters.kafka.append import append_batch, producer
from streamwf.adapters.kafka.topics import Topics, admin, create, ensure_topics, partition_of
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.adapters.local_kafka import find_broker
from streamwf.settings import Settings
from streamwf.views import Trigger

HERE = Path(__file__).parent

#: Seconds between two looks at how far a worker is. Telling takes it some milliseconds, and it
#: does nothing else meanwhile.
LOOK = 1.0

#: Runs before those whose latency counts.
WARM_UP = 1_000


async def fill_raw(settings: Settings, hops: int) -> None:
    """Make the raw loop's topics, and put into the first what it is to read."""
    client = await admin(settings)
    for topic in ("raw-source", "raw-sink"):
        await create(client, NewTopic(topic, PARTITIONS, 1))
    await client.close()
    to = producer(settings)
    await to.start()
    for partition in range(PARTITIONS):
        numbers = range(partition, hops, PARTITIONS)
        await append_batch(to, "raw-source", partition, map(trigger_record, numbers))
    await to.stop()


async def raw_rate(settings: Settings, hops: int) -> float:
    """Hops per second of the raw loop."""
    await fill_raw(settings, hops)
    loop = [sys.executable, str(HERE / "raw_loop.py"), settings.brokers]
    loop += ["raw-source", "raw-sink", uuid.uuid4().hex, str(hops)]
    process = await asyncio.create_subprocess_exec(*loop, stdout=subprocess.PIPE)
    printed, _ = await process.communicate()
    return hops / float(printed.split()[0])


class Worker:
    """A worker process that is measured. environment: what is set for it beside that."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        flow: str = "order_flow.py",
        environment: Mapping[str, str] = {},
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._log = folder / "worker.log"
        command = [sys.executable, "-m", "streamwf.cli", "worker", str(HERE / flow)]
        environment = {
            "STREAMWF_BROKERS": settings.brokers,
            "STREAMWF_PARTITIONS": str(PARTITIONS),
            "STREAMWF_TOPIC_PREFIX": settings.topic_prefix,
            "STREAMWF_DATA_DIR": str(folder / "data"),
            "STREAMWF_WEB_PORT": "0",
            **environment,
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=log
            )

    def says(self, event: str) -> int:
        """How often its log has had this event."""
        return self._log.read_text().count(event)

    async def url(self) -> str:
        while True:
            found = re.search(r"http://127\.0\.0\.1:\d+", self._log.read_text())
            if found:
                return found.group()
            if self.process.poll() is not None:
                sys.exit(f"the worker gave up:\n{self._log.read_text()}")
            await asyncio.sleep(0.05)

    async def ready(self) -> None:
        url = await self.url()
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


async def metric(session: aiohttp.ClientSession, url: str, name: str, labels: str = "") -> float:
    """The sum of a metric of a worker. labels: what they have to match, as a regular expression."""
    async with session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    found = re.findall(rf"^{name}\{{([^}}]*)\}} (\S+)$", text, re.M)
    return sum(float(value) for each, value in found if re.search(labels, each))


async def moved(session: aiohttp.ClientSession, url: str) -> float:
    """How many transitions the worker has folded."""
    labels = r'(?=.*type="moved").*verdict="accepted"'
    return await metric(session, url, "streamwf_events_total", labels)


async def worker_rate(url: str, runs: int) -> float:
    """Transitions per second, from the first tenth of them to the last one.

    Before that, a worker that has begun with some of its shards reads the piles of the others, too.
    """
    async with aiohttp.ClientSession() as session:

        async def reached(share: float) -> tuple[float, float]:
            """When so many were seen, and how many."""
            while (seen := await moved(session, url)) < share * STEPS * runs:
                await asyncio.sleep(LOOK)
            return time.perf_counter(), seen

        begin, before = await reached(EDGE)
        end, after = await reached(1 - EDGE)
    return (after - before) / (end - begin)


async def latencies(settings: Settings, rounds: int) -> list[float]:
    """Seconds from trigger to completion, one run at a time."""
    topic = Topics.of("orders", settings).events
    to = AIOKafkaProducer(bootstrap_servers=settings.brokers)
    await to.start()
    async with Ends(settings, range(PARTITIONS)) as ends:
        for number in range(rounds):
            key, value = trigger_record(10_000_000 + number)
            ends.begins(key)
            await to.send_and_wait(
                topic, value, key=key, partition=partition_of(key.decode(), PARTITIONS)
            )
            while ends.under_way:
                await ends.look()
    await to.stop()
    return [run.seconds for run in ends.took]


async def worker_figures(
    settings: Settings, runs: int, rounds: int, folder: Path
) -> tuple[float, list[float]]:
    """Transitions per second of one worker; and of runs at idle the seconds."""
    environment = {"STREAMWF_TOPIC_PREFIX": settings.topic_prefix}
    await ensure_topics(["orders"], settings)
    worker = Worker(settings, folder, environment=environment)
    try:
        await worker.ready()
        # A broker's first thousands of requests are twice as slow as those after them.
        await latencies(settings, WARM_UP)
        seconds = await latencies(settings, rounds)
    finally:
        worker.stop()
    # In the log before the worker starts, so that making them costs nothing while it is measured.
    piled = (Trigger(foreign_id=f"order-{n}", object=OBJECT) for n in range(runs))
    await append_triggers("orders", piled, settings, lambda _: None)
    worker = Worker(settings, folder, environment=environment)
    try:
        url = await worker.url()
        return await worker_rate(url, runs), seconds
    finally:
        worker.stop()


async def measure(settings: Settings, runs: int, rounds: int, folder: Path) -> dict[str, float]:
    raw = await raw_rate(settings, STEPS * runs)
    rate, seconds = await worker_figures(settings, runs, rounds, folder)
    return {
        "runs": runs,
        "raw_hops_per_second": raw,
        "transitions_per_second": rate,
        "ratio": rate / raw,
        "latency_p50_ms": 1000 * statistics.median(seconds),
        "latency_p99_ms": percentile(seconds, 0.99),
    }


@click.command()
@click.option("--runs", default=100_000, help="Runs of three steps each.")
@click.option("--rounds", default=300, help="Runs whose latency is measured, one at a time.")
@click.option("--json", "as_json", is_flag=True)
def main(runs: int, rounds: int, as_json: bool) -> None:
    """Measure one worker against the raw loop."""
    console = Console(stderr=True)
    with find_broker(say=console.print) as broker, tempfile.TemporaryDirectory() as folder:
        settings = Settings(brokers=broker.bootstrap, partitions=PARTITIONS)
        found = asyncio.run(measure(settings, runs, rounds, Path(folder)))
    if as_json:
        print(json.dumps(found))
        return
    table = Table("what", "measured", title="one worker, three steps that do nothing")
    table.add_row("raw loop", f"{found['raw_hops_per_second']:,.0f} hops/s")
    table.add_row("streamwf", f"{found['transitions_per_second']:,.0f} transitions/s")
    table.add_row("ratio", f"{found['ratio']:.2f}")
    table.add_row("latency of a run at idle, p50", f"{found['latency_p50_ms']:.1f} ms")
    table.add_row("latency of a run at idle, p99", f"{found['latency_p99_ms']:.1f} ms")
    Console().print(table)


if __name__ == "__main__":
    main()
