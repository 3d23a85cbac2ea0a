"""Hosts in processes of their own, which run for all tests of the session."""

import asyncio
import signal
import time
import uuid
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import urlopen

from streamwf import Client
from streamwf.adapters.http import HttpGateway
from tests.acceptance.flows.connected import FEED
from tests.acceptance.hosts import PATIENCE, AnyWorkflow, Host, page_at
from tests.kafka.cluster import Worker

#: Where `tests` lies.
ROOT = Path(__file__).parents[2]

FLOWS = "tests.acceptance.flows"

#: Seconds that processes may take until they are ready.
STARTING = 90.0

#: Seconds between two looks at whether they are; each costs them something.
LOOK = 0.1


class Processes:
    """Processes that share all workflows of the suite."""

    def __init__(self, folder: Path, names: Sequence[str], environment: dict[str, str]) -> None:
        self.folder = folder
        self.feed = folder / "feed"
        self.environment = {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            FEED: str(self.feed),
            **environment,
        }
        self.all = [self.worker(name, FLOWS) for name in names]
        self.behind = timedelta(0)
        self._starts = Counter[str]()

    @abstractmethod
    def worker(self, name: str, target: str) -> Worker:
        """A process that runs what a target names, not started yet."""

    def prepare(self) -> None:
        """What has to be done before the first start. It may block."""

    def start(self, behind: timedelta = timedelta(0)) -> None:
        """Start those that do not run, and wait until all are ready."""
        if behind != self.behind:
            self.stop()
        self.behind = behind
        if not self._starts:
            self.prepare()
        for worker in self.all:
            if not worker.runs:
                worker.start(CLOCK_BEHIND=str(behind.total_seconds()))
                self._starts[worker.name] += 1
        deadline = time.monotonic() + STARTING
        while not all(map(self._ready, self.all)):
            assert time.monotonic() < deadline, self.told()
            time.sleep(LOOK)

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


ProcessesT = TypeVar("ProcessesT", bound=Processes)


@contextmanager
def running(made: ProcessesT) -> Iterator[ProcessesT]:
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


class ProcessHost(Host):
    """Speaks to the processes of the session over HTTP."""

    def __init__(self, processes: Processes, workflows: tuple[AnyWorkflow, ...]) -> None:
        self._processes = processes
        self._workflows = {workflow.name: workflow for workflow in workflows}
        self._touched: dict[str, None] = {}
        self.clients = ()

    @property
    def touched(self) -> list[AnyWorkflow]:
        """The workflows that were spoken about, or written to."""
        return [self._workflows[name] for name in self._touched if name in self._workflows]

    def touch(self, workflow: str) -> None:
        self._touched[workflow] = None

    async def start(self, behind: timedelta = timedelta(0)) -> None:
        await asyncio.to_thread(self._processes.start, behind)
        self.clients = tuple(
            Client(_Noting(HttpGateway(worker.url), self._touched))  # type: ignore[arg-type]
            for worker in self._processes.all
        )

    async def stop(self) -> None:
        for client in self.clients:
            await client.close()

    def now(self) -> datetime:
        return datetime.now(UTC) - self._processes.behind

    async def pass_time(self, by: timedelta, *, held: bool = False) -> None:
        await asyncio.sleep(by.total_seconds())

    def feed(self, line: str) -> None:
        self.touch("connected")
        with self._processes.feed.open("a") as file:
            file.write(f"{line}\n")

    async def restart(self, *, kill: bool = False, behind: timedelta = timedelta(0)) -> None:
        await self.stop()
        await asyncio.to_thread(self._processes.stop, kill=kill)
        await self.start(behind)

    async def page(self, path: str) -> str:
        return await page_at(f"{self._processes.all[0].url}{path}")

    def said(self) -> str:
        return "".join(worker.text() for worker in self._processes.all)

    async def refusal(self, target: str) -> str:
        worker = self._processes.worker(f"refused-{uuid.uuid4().hex[:8]}", target).start()
        code = await asyncio.to_thread(worker.wait, PATIENCE)
        assert code == 1
        return worker.text()
