"""A worker under a steady load, and what it takes of the machine meanwhile."""

import asyncio
import os
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.load import PARTITIONS, beside, feed
from benchmarks.order_flow import OBJECT, Order
from benchmarks.processes import cpu_of, memory_and_threads
from benchmarks.soak_flow import Status, orders
from benchmarks.throughput import Worker, metric, moved
from streamwf import Client
from streamwf.adapters.kafka.reader import stop_consumer
from streamwf.adapters.kafka.topics import Topics
from streamwf.settings import Settings

#: Seconds between two runs whose latency is measured.
PROBE = 0.1

MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at a time.

    at: seconds since the load began. cpu_us: CPU for each transition since the last sample, in
    microseconds. p50_ms, p99_ms: of the runs whose latency was measured since then, from the
    request to the answer that they have ended. rows: runs in the tables. own_mb: resident memory
    but for RocksDB's cache and buffers, which fill up to what they may have. store_mb: the worker's
    data directory. log, changelog: records that were ever written.
    """

    at: float
    transitions: float
    rss_mb: float
    own_mb: float
    files: int
    threads: int
    cpu_us: float
    p50_ms: float
    p99_ms: float
    rows: float
    store_mb: float
    log: int
    changelog: int


def size_of(folder: Path) -> float:
    """Megabytes of the files in a folder, some of which may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total / MB


class Probes:
    """Runs whose latency is measured, one after the other, as somebody outside feels it."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    async def run(self, url: str) -> None:
        async with Client.over_http(url) as client:
            while True:
                begun = time.perf_counter()
                name = f"probe-{uuid.uuid4().hex[:12]}"
                run_id = await client.trigger(orders, name, Order.model_validate(OBJECT))
                await client.await_(orders, run_id, Status.SHIPPED)
                self._seconds.append(time.perf_counter() - begun)
                await asyncio.sleep(PROBE)

    def take(self) -> tuple[float, float]:
        """p50 and p99, in milliseconds, since the last time."""
        taken, self._seconds = sorted(self._seconds), []
        if not taken:
            return float("nan"), float("nan")
        return 1000 * statistics.median(taken), 1000 * taken[int(0.99 * (len(taken) - 1))]


class Sampler:
    """Looks at a worker and its topics."""

    def __init__(self, settings: Settings, worker: Worker, url: str, folder: Path) -> None:
        self._worker = worker
        self._pid = worker.process.pid
        self._url = url
        self._folder = folder
        topics = Topics.of("orders", settings)
        self._reader = AIOKafkaConsumer(bootstrap_servers=settings.brokers)
        self._log = [TopicPartition(topics.events, each) for each in range(PARTITIONS)]
        self._changelog = [TopicPartition(topics.changelog, each) for each in range(PARTITIONS)]
        self._cpu = self._transitions = 0.0
        self._begun = time.monotonic()

    async def start(self, session: aiohttp.ClientSession) -> None:
        await self._reader.start()
        self._cpu, self._transitions = cpu_of(self._pid), await moved(session, self._url)

    async def stop(self) -> None:
        await stop_consumer(self._reader)

    async def sample(self, session: aiohttp.ClientSession, probes: Probes) -> Sample:
        ends = await self._reader.end_offsets([*self._log, *self._changelog])
        transitions, cpu = await moved(session, self._url), cpu_of(self._pid)
        done, used = transitions - self._transitions, cpu - self._cpu
        self._transitions, self._cpu = transitions, cpu
        rss_mb, threads = memory_and_threads(self._pid)
        p50_ms, p99_ms = probes.take()
        filling = await metric(session, self._url, "streamwf_table_memory_bytes")
        return Sample(
            at=time.monotonic() - self._begun,
            transitions=transitions,
            rss_mb=rss_mb,
            own_mb=rss_mb - filling / MB,
            files=len(os.listdir(f"/proc/{self._pid}/fd")),
            threads=threads,
            cpu_us=1e6 * used / done if done else float("nan"),
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            rows=await metric(session, self._url, "streamwf_runs"),
            store_mb=size_of(self._folder / "data"),
            log=sum(ends[each] for each in self._log),
            changelog=sum(ends[each] for each in self._changelog),
        )


async def soak(
    settings: Settings,
    worker: Worker,
    folder: Path,
    *,
    seconds: float,
    rate: float,
    every: float,
    seen: Callable[[Sample], None],
) -> None:
    """Load a worker, and show each sample. Raises what the load or the probes fail with."""
    url, probes = await worker.url(), Probes()
    await worker.ready()
    sampler = Sampler(settings, worker, url, folder)
    async with aiohttp.ClientSession() as session:
        await sampler.start(session)
        try:
            async with beside(feed(settings, rate), probes.run(url)) as pause:
                for _ in range(max(int(seconds / every), 1)):
                    await pause(every)
                    seen(await sampler.sample(session, probes))
        finally:
            await sampler.stop()


def as_json(samples: list[Sample]) -> list[dict[str, float]]:
    return [asdict(sample) for sample in samples]
