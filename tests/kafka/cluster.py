"""Workers as processes, and what the topics say of what they did."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from streamwf import Workflow
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, ensure_topics
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.agents import verify
from streamwf.comparing import Verified
from streamwf.settings import Settings
from streamwf.tables.changelog import MARKER_KEY
from streamwf.views import Trigger
from tests.kafka.flows import orders

HERE = Path(__file__).parent
PARTITIONS = 4


class Worker:
    """A worker process with a data directory of its own."""

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: dict[str, str],
        command: Sequence[str] = (sys.executable, str(HERE / "worker_main.py")),
    ) -> None:
        self.name = name
        self._command = command
        self.data_dir = folder / name
        self.log = folder / f"{name}.log"
        self._environment = {**environment, "STREAMWF_DATA_DIR": str(self.data_dir)}
        self.process: subprocess.Popen[bytes] | None = None
        self._begun = 0

    def start(self, **environment: str) -> "Worker":
        with self.log.open("ab") as log:
            self._begun = log.tell()
            self.process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environment, **environment},
                stdout=log,
                stderr=log,
            )
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout: float = 60) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self, timeout: float = 60) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wipe(self) -> None:
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def says(self, event: str) -> int:
        """How often its log has had this event."""
        return self.text().count(event)

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def url(self) -> str:
        """Where it listens, after the last start. Raises IndexError while it doesn't."""
        lines = self.log.read_bytes()[self._begun :].decode().splitlines()
        told = [line for line in lines if "worker_listens" in line]
        return re.findall(r"http://[\d.:]+", told[-1])[0]


class Cluster:
    """Workers that share a workflow on a broker, under topics of its own."""

    def __init__(self, brokers: str, folder: Path, prefix: str, **environment: str) -> None:
        self.folder = folder
        self.settings = Settings(
            brokers=brokers,
            topic_prefix=prefix,
            partitions=PARTITIONS,
            data_dir=folder / "aside",
        )
        self.topics = Topics.of("orders", self.settings)
        self.environment = {
            "STREAMWF_BROKERS": brokers,
            "STREAMWF_TOPIC_PREFIX": prefix,
            "STREAMWF_PARTITIONS": str(PARTITIONS),
            "STREAMWF_WEB_PORT": "0",
            "STREAMWF_SESSION_TIMEOUT": "PT6S",
            "STEP_RECORD": str(folder / "steps"),
            "FOLD_RECORD": str(folder / "folds"),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.workers: list[Worker] = []

    def worker(self, name: str, **environment: str) -> Worker:
        worker = Worker(name, self.folder, {**self.environment, **environment})
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self.workers:
            if worker.runs:
                worker.kill()

    # ---- doing

    async def trigger(self, foreign_ids: Iterable[str], item: str = "book") -> int:
        await ensure_topics(["orders"], self.settings)
        triggers = (Trigger(foreign_id=name, object={"item": item}) for name in foreign_ids)
        return await append_triggers("orders", triggers, self.settings, lambda _: None)

    async def produce(
        self, value: bytes, key: bytes | None = None, partition: int | None = None
    ) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.brokers, max_request_size=5_000_000
        )
        await producer.start()
        try:
            await producer.send_and_wait(self.topics.events, value, key=key, partition=partition)
        finally:
            await producer.stop()

    # ---- looking

    async def records(self, topic: str, committed: bool = False) -> list[ConsumerRecord]:
        """All records of a topic, partition by partition."""
        reader = AIOKafkaConsumer(
            bootstrap_servers=self.settings.brokers,
            isolation_level="read_committed" if committed else "read_uncommitted",
        )
        await reader.start()
        try:
            found: list[ConsumerRecord] = []
            for number in range(PARTITIONS):
                partition = TopicPartition(topic, number)
                end = (await reader.end_offsets([partition]))[partition]
                async for records in read_to(reader, partition, 0, end):
                    found += records
            return found
        finally:
            await stop_consumer(reader)

    async def events(self) -> list[dict[str, object]]:
        """The events of the log. What can't be read is left out."""
        found = []
        for record in await self.records(self.topics.events, committed=True):
            with contextlib.suppress(ValueError):
                event = json.loads(record.value)
                if isinstance(event, dict):
                    found.append(event)
        return found

    async def completed(self) -> int:
        """How many runs an event says to be complete."""
        ended = {e["runid"] for e in await self.events() if e.get("state") == "COMPLETED"}
        return len(ended)

    async def verify(self, workflow: Workflow[Any, Any] = orders) -> Verified:
        return await verify(workflow, self.settings, lambda done, total: None)

    async def markers(self) -> dict[int, list[int]]:
        """The positions that each partition's changelog has named, in order."""
        found: dict[int, list[int]] = {}
        for record in await self.records(self.topics.changelog, committed=True):
            if record.key == MARKER_KEY:
                position = json.loads(record.value)["position"]
                found.setdefault(record.partition, []).append(position)
        return found

    def folded(self) -> Counter[tuple[int, int]]:
        """How often the fold of each (partition, offset) has become durable."""
        lines = (self.folder / "folds").read_text().splitlines()
        return Counter((int(line.split()[0]), int(line.split()[1])) for line in lines)

    def executed(self) -> Counter[str]:
        """How often each (run, status) was executed."""
        lines = (self.folder / "steps").read_text().splitlines()
        return Counter(" ".join(line.split()[:2]) for line in lines)

    async def checkpointed(self) -> None:
        """Wait until every event is in a durable checkpoint."""

        async def all_of_it() -> bool:
            events = await self.records(self.topics.events, committed=True)
            ends = {event.partition: event.offset + 1 for event in events}
            markers = await self.markers()
            return all(markers.get(p, [0])[-1] >= end for p, end in ends.items())

        await until(all_of_it, "all events in a checkpoint")


async def until(
    what: Callable[[], Awaitable[bool]] | Callable[[], bool], name: str, seconds: float = 60
) -> None:
    """Wait for something, with a deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"{name}: not within {seconds} s"
        await asyncio.sleep(0.1)
