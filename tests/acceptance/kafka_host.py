"""The Kafka host: two workers, each in a process of its own, for all tests of the session."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from streamwf import Settings
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, admin, create, partition_of
from streamwf.agents import rebuild, replay, verify
from streamwf.record import Record
from tests.acceptance.flows.connected import TOPIC
from tests.acceptance.hosts import AnyWorkflow, Letter
from tests.acceptance.process_host import Processes, ProcessHost
from tests.kafka.cluster import Worker

PARTITIONS = 2
WORKERS = ("first", "second")


class Workers(Processes):
    """Worker processes that share all workflows of the suite."""

    def __init__(self, brokers: str, folder: Path) -> None:
        prefix = f"a{uuid.uuid4().hex[:8]}."
        self.topic = f"{prefix}source"
        self.settings = Settings(
            brokers=brokers,
            app_id=f"{prefix}acceptance",
            topic_prefix=prefix,
            partitions=PARTITIONS,
            data_dir=folder / "aside",
        )
        environment = {
            "STREAMWF_BROKERS": brokers,
            "STREAMWF_APP_ID": f"{prefix}acceptance",
            "STREAMWF_TOPIC_PREFIX": prefix,
            "STREAMWF_PARTITIONS": str(PARTITIONS),
            "STREAMWF_SESSION_TIMEOUT": "PT6S",
            "STREAMWF_WEB_PORT": "0",
            TOPIC: self.topic,
        }
        super().__init__(folder, WORKERS, environment)

    def prepare(self) -> None:
        asyncio.run(self._make_topic())

    def worker(self, name: str, target: str) -> Worker:
        command = [sys.executable, "-m", "tests.acceptance.process_main", "worker", target]
        return Worker(name, self.folder, self.environment, command)

    async def _make_topic(self) -> None:
        client = await admin(self.settings)
        try:
            await create(client, NewTopic(self.topic, PARTITIONS, 1))
        finally:
            await client.close()


class KafkaHost(ProcessHost):
    """Writes to Kafka as anyone may."""

    name = "kafka"
    shards = PARTITIONS

    def __init__(self, workers: Workers, workflows: tuple[AnyWorkflow, ...]) -> None:
        super().__init__(workers, workflows)
        self._workers = workers
        self._settings = workers.settings

    async def produce(
        self,
        workflow: AnyWorkflow,
        value: bytes | Mapping[str, Any],
        key: bytes | None = None,
        shift: int = 0,
    ) -> None:
        self.touch(workflow.name)
        raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
        subject = str(value["subject"]) if isinstance(value, Mapping) else (key or b"").decode()
        partition = (partition_of(subject, PARTITIONS) + shift) % PARTITIONS
        topic = Topics.of(workflow.name, self._settings).events
        async with AIOKafkaProducer(bootstrap_servers=self._settings.brokers) as producer:
            await producer.send_and_wait(topic, raw, key=key, partition=partition)

    async def produce_all(self, workflow: AnyWorkflow, values: Iterable[Mapping[str, Any]]) -> None:
        self.touch(workflow.name)
        topic = Topics.of(workflow.name, self._settings).events
        async with AIOKafkaProducer(bootstrap_servers=self._settings.brokers) as producer:
            for value in values:
                partition = partition_of(str(value["subject"]), PARTITIONS)
                await producer.send(topic, msgspec.json.encode(value), partition=partition)
            await producer.flush()

    async def tell(self, value: bytes) -> None:
        """Write into the topic that a connector reads, without a key."""
        self.touch("connected")
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

    async def rebuild(self, workflow: AnyWorkflow) -> None:
        await self.stop()
        await asyncio.to_thread(self._workers.stop)
        for worker in self._workers.all:
            worker.wipe()
        await rebuild(workflow, self._settings, _no_matter)
        await self.start()

    async def verify(self) -> list[str]:
        found = []
        for workflow in self.touched:
            verified = await verify(workflow, self._settings, _no_matter)
            found += [f"{workflow.name}: {difference}" for difference in verified.differences]
        return found

    async def replay(self, workflow: AnyWorkflow, until: datetime) -> list[Record]:
        found: list[Record] = []
        await replay(workflow, self._settings, until, _no_matter, found.append)
        return found

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
