"""The Kafka host: two workers, each in a process of its own, for all tests of the session."""

import asyncio
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from streamwf import Client, Settings
from streamwf.adapters.http import HttpGateway
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, admin, create, partition_of
from streamwf.agents import rebuild, replay, verify
from streamwf.record import Record
from tests.acceptance.flows.connected import FEED, TOPIC
from tests.acceptance.hosts import PATIENCE, PAUSE, AnyWorkflow, Host, Letter, page_at
from tests.kafka.cluster import Worker

#: Where `tests` lies.
ROOT = Path(__file__).parents[2]

FLOWS = "tests.acceptance.flows"
PARTITIONS = 2
WORKERS = ("first", "second")

#: Seconds that workers may take until they are ready.
STARTING = 90.0


class Workers:
    """Worker processes that share all workflows of the suite."""

    def __init__(self, brokers: str, folder: Path) -> None:
        prefix = f"a{uuid.uuid4().hex[:8]}."
        self.folder = folder
        self.feed = folder / "feed"
        self.topic = f"{prefix}source"
        self.settings = Settings(
            brokers=brokers,
            app_id=f"{prefix}acceptance",
            topic_prefix=prefix,
            partitions=PARTITIONS,
            data_dir=folder / "aside",
        )
        self.environment = {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "STREAMWF_BROKERS": brokers,
            "STREAMWF_APP_ID": f"{prefix}acceptance",
            "STREAMWF_TOPIC_PREFIX": prefix,
            "STREAMWF_PARTITIONS": str(PARTITIONS),
            "STREAMWF_SESSION_TIMEOUT": "PT6S",
            "STREAMWF_WEB_PORT": "0",
            FEED: str(self.feed),
            TOPIC: self.topic,
        }
        self.all = [self.worker(name) for name in WORKERS]
        self.behind = timedelta(0)
        self._starts = Counter[str]()

    def worker(self, name: str, target: str = FLOWS) -> Worker:
        command = [sys.executable, "-m", "tests.acceptance.worker_main", target]
        return Worker(name, self.folder, self.environment, command)

    def start(self, behind: timedelta = timedelta(0)) -> None:
        """Start those that do not run, and wait until all are ready."""
        if behind != self.behind:
            self.stop()
        self.behind = behind
        if not self._starts:
            asyncio.run(self._make_topic())
        for worker in self.all:
            if not worker.runs:
                worker.start(CLOCK_BEHIND=str(behind.total_seconds()))
                self._starts[worker.name] += 1
        deadline = time.monotonic() + STARTING
        while not all(map(self._ready, self.all)):
            assert time.monotonic() < deadline, self.told()
            time.sleep(PAUSE)

    async def _make_topic(self) -> None:
        client = await admin(self.settings)
        try:
            await create(client, NewTopic(self.topic, PARTITIONS, 1))
        finally:
            await client.close()

    def stop(self, *, kill: bool = False) -> None:
        running = [worker for worker in self.all if worker.runs]
        for worker in running:
            worker.signal(signal.SIGKILL if kill else signal.SIGTERM)
        for worker in running:
            worker.wait()

    def told(self) -> str:
        """The end of what the workers have said."""
        return "\n".join(f"{worker.name}:\n{worker.text()[-4_000:]}" for worker in self.all)

    def _ready(self, worker: Worker) -> bool:
        assert worker.runs, worker.text()[-4_000:]
        if worker.says("worker_listens") < self._starts[worker.name]:
            return False
        try:
            with urlopen(f"{worker.url}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, TimeoutError, ConnectionError):
            return False


@contextmanager
def workers(brokers: str, folder: Path) -> Iterator[Workers]:
    made = Workers(brokers, folder)
    try:
        yield made
    finally:
        made.stop(kill=True)


class _Noting:
    """A gateway that notes which workflows are spoken about."""

    def __init__(self, gateway: HttpGateway, touched: dict[str, None]) -> None:
        self._gateway = gateway
        self._touched = touched

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._gateway, name)

        def noting(*given: Any) -> Any:
            if given and isinstance(given[0], str):
                self._touched[given[0]] = None
            return call(*given)

        return noting


class KafkaHost(Host):
    """Speaks to the workers of the session over HTTP, and to Kafka as anyone may."""

    name = "kafka"

    def __init__(self, workers: Workers, workflows: tuple[AnyWorkflow, ...]) -> None:
        self._workers = workers
        self._settings = workers.settings
        self._workflows = {workflow.name: workflow for workflow in workflows}
        self._touched: dict[str, None] = {}
        self.clients = ()

    async def start(self, behind: timedelta = timedelta(0)) -> None:
        await asyncio.to_thread(self._workers.start, behind)
        self.clients = tuple(
            Client(_Noting(HttpGateway(worker.url), self._touched))  # type: ignore[arg-type]
            for worker in self._workers.all
        )

    async def stop(self) -> None:
        for client in self.clients:
            await client.close()

    def now(self) -> datetime:
        return datetime.now(UTC) - self._workers.behind

    async def pass_time(self, by: timedelta, *, held: bool = False) -> None:
        await asyncio.sleep(by.total_seconds())

    async def produce(
        self,
        workflow: AnyWorkflow,
        value: bytes | Mapping[str, Any],
        key: bytes | None = None,
        shift: int = 0,
    ) -> None:
        self._touched[workflow.name] = None
        raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
        subject = str(value["subject"]) if isinstance(value, Mapping) else (key or b"").decode()
        partition = (partition_of(subject, PARTITIONS) + shift) % PARTITIONS
        topic = Topics.of(workflow.name, self._settings).events
        async with AIOKafkaProducer(bootstrap_servers=self._settings.brokers) as producer:
            await producer.send_and_wait(topic, raw, key=key, partition=partition)

    async def produce_all(self, workflow: AnyWorkflow, values: Iterable[Mapping[str, Any]]) -> None:
        self._touched[workflow.name] = None
        topic = Topics.of(workflow.name, self._settings).events
        async with AIOKafkaProducer(bootstrap_servers=self._settings.brokers) as producer:
            for value in values:
                partition = partition_of(str(value["subject"]), PARTITIONS)
                await producer.send(topic, msgspec.json.encode(value), partition=partition)
            await producer.flush()

    def feed(self, line: str) -> None:
        self._touched["connected"] = None
        with self._workers.feed.open("a") as file:
            file.write(f"{line}\n")

    async def tell(self, value: bytes) -> None:
        """Write into the topic that a connector reads, without a key."""
        self._touched["connected"] = None
        async with AIOKafkaProducer(bootstrap_servers=self._settings.brokers) as producer:
            await producer.send_and_wait(self._workers.topic, value)

    async def log(self, workflow: AnyWorkflow) -> list[bytes]:
        records = self._records(Topics.of(workflow.name, self._settings).events)
        return [record.value or b"" async for record in records]

    async def dead_letters(self, workflow: AnyWorkflow) -> list[Letter]:
        records = self._records(Topics.of(workflow.name, self._settings).dead_letters)
        return [
            Letter(record.value or b"", dict(record.headers)["reason"].decode())
            async for record in records
        ]

    async def _records(self, topic: str) -> AsyncIterator[Any]:
        reader = AIOKafkaConsumer(bootstrap_servers=self._settings.brokers)
        await reader.start()
        try:
            for number in range(PARTITIONS):
                partition = TopicPartition(topic, number)
                end = (await reader.end_offsets([partition]))[partition]
                async for records in read_to(reader, partition, 0, end):
                    for record in records:
                        yield record
        finally:
            await stop_consumer(reader)

    async def restart(self, *, kill: bool = False, behind: timedelta = timedelta(0)) -> None:
        await self.stop()
        await asyncio.to_thread(self._workers.stop, kill=kill)
        await self.start(behind)

    async def rebuild(self, workflow: AnyWorkflow) -> None:
        await self.stop()
        await asyncio.to_thread(self._workers.stop)
        for worker in self._workers.all:
            worker.wipe()
        await rebuild(workflow, self._settings, _no_matter)
        await self.start()

    async def verify(self) -> list[str]:
        found = []
        for name in self._touched:
            if name in self._workflows:
                verified = await verify(self._workflows[name], self._settings, _no_matter)
                found += [f"{name}: {difference}" for difference in verified.differences]
        return found

    async def replay(self, workflow: AnyWorkflow, until: datetime) -> list[Record]:
        found: list[Record] = []
        await replay(workflow, self._settings, until, _no_matter, found.append)
        return found

    async def page(self, path: str) -> str:
        return await page_at(f"{self._workers.all[0].url}{path}")

    def said(self) -> str:
        return "".join(worker.text() for worker in self._workers.all)

    async def refusal(self, target: str) -> str:
        worker = self._workers.worker(f"refused-{uuid.uuid4().hex[:8]}", target).start()
        code = await asyncio.to_thread(worker.wait, PATIENCE)
        assert code == 1
        return worker.text()

    def spread(self, name: str, count: int, *, together: bool = False) -> list[str]:
        found: list[str] = []
        number = 0
        while len(found) < count:
            foreign_id = f"{name}-{number}"
            if not together or partition_of(foreign_id, PARTITIONS) == 0:
                found.append(foreign_id)
            number += 1
        return found


def _no_matter(done: int, total: int) -> None:
    """How far it has come."""


@asynccontextmanager
async def kafka_host(
    workers: Workers, workflows: tuple[AnyWorkflow, ...]
) -> AsyncIterator[KafkaHost]:
    host = KafkaHost(workers, workflows)
    await host.start()
    try:
        yield host
    finally:
        await host.stop()
