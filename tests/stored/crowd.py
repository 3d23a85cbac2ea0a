"""Processes of `streamwf dev` that share a database, and what the log says they did."""

import json
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from streamwf.adapters.kafka.stored_log import topic_log
from streamwf.adapters.stores import open_stores
from streamwf.comparing import Verified
from streamwf.events import TRIGGER, encode_event, request
from streamwf.execute import SystemClock
from streamwf.ports import Outgoing
from streamwf.settings import Settings
from streamwf.stored_aside import verify
from streamwf.stored_log import StoredLog
from tests.kafka.cluster import Worker, until
from tests.kafka.flows import orders

ROOT = Path(__file__).parents[2]


class Crowd:
    """url: of the store. environment: of all processes. settings: what says where the log is."""

    def __init__(
        self, url: str, folder: Path, settings: Settings | None = None, **environment: str
    ) -> None:
        self.url = url
        self.folder = folder
        self.settings = settings
        self.environment = environment
        self.processes: list[Worker] = []

    def process(self, name: str, **environment: str) -> Worker:
        command = [sys.executable, "-m", "streamwf.cli", "dev", str(ROOT / "tests/kafka/flows.py")]
        worker = Worker(
            name,
            self.folder,
            {
                "STREAMWF_STORE": self.url,
                "STREAMWF_LEASE": "3s",
                "STEP_RECORD": str(self.folder / "steps"),
                "PYTHONUNBUFFERED": "1",
                **self.environment,
                **environment,
            },
            [*command, "--port", "0", "--log-level", "info"],
        )
        self.processes.append(worker)
        return worker

    def close(self) -> None:
        for process in self.processes:
            if process.runs:
                process.kill()

    async def ready(self, process: Worker) -> None:
        """Wait until a process answers for every run."""

        async def answers() -> bool:
            try:
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"{process.url}/readyz") as answer,
                ):
                    return answer.status == 200
            except (aiohttp.ClientError, IndexError):
                return False

        await until(answers, f"{process.name} ready")

    async def trigger(self, names: list[str]) -> None:
        """Straight into the log, as a connector of another program would."""
        now = SystemClock().now()
        triggers = [
            request(
                "orders",
                TRIGGER,
                name,
                now,
                event_id=str(uuid.uuid4()),
                runid=f"run-{name}",
                data=b'{"item":"book"}',
            )
            for name in names
        ]
        await self.produce([(event.subject.encode(), encode_event(event)) for event in triggers])

    async def produce(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Into the log past all checks."""
        async with self._log() as log:
            sender = await log.streamer.sender("orders")
            await sender.send([Outgoing(key, value) for key, value in records])

    @asynccontextmanager
    async def _log(self) -> AsyncIterator[StoredLog]:
        if self.settings is not None:
            async with topic_log(self.settings) as log:
                yield log
        else:
            async with open_stores(self.url, "store") as stores:
                yield stores.log

    async def events(self) -> list[dict[str, object]]:
        found = []
        async with self._log() as log:
            ends = {at: end for at, end in (await log.streamer.ends("orders")).items() if end}
            receiver = await log.streamer.receiver("orders", "crowd", since={}, only=[*ends])
            position = dict.fromkeys(ends, 0)
            while any(position[at] < end for at, end in ends.items()):
                for at, record in await receiver.recv():
                    found.append(json.loads(record.value or b""))
                    position[at] = record.offset + 1
        return found

    async def completed(self) -> int:
        ended = {e["runid"] for e in await self.events() if e.get("state") == "COMPLETED"}
        return len(ended)

    async def all_complete(self, runs: int, seconds: float = 120) -> None:
        async def complete() -> bool:
            return await self.completed() >= runs

        await until(complete, f"{runs} runs complete", seconds)

    async def verify(self) -> Verified:
        async with open_stores(self.url, "store", self.settings) as stores:
            return await verify(orders, stores, lambda done, total: None)

    async def nothing_lost_and_nothing_twice(self, runs: int) -> None:
        """Every run is complete, the rows are the fold of the log, no version folded twice."""
        await self.all_complete(runs)

        async def all_stored() -> bool:
            return not (await self.verify()).behind

        await until(all_stored, "all events in a checkpoint")
        verified = await self.verify()
        assert (verified.differences, verified.rows) == ([], runs)
        moved = [e for e in await self.events() if e["type"] == "moved"]
        results = Counter((event["runid"], event["version"]) for event in moved)
        assert len(results) == 3 * runs
        executed = self.executed()
        assert len(executed) == 3 * runs
        # Rival results are in the log at most as often as a step was executed again.
        assert sum(results.values()) <= sum(executed.values())

    def executed(self) -> Counter[str]:
        """How often each (run, status) was executed."""
        lines = (self.folder / "steps").read_text().splitlines()
        return Counter(" ".join(line.split()[:2]) for line in lines)
