"""Where it happens: a broker of one's own, workers, and what of the machine they are given."""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from glob import glob
from pathlib import Path
from typing import Any, Self

from streamwf.adapters.local_kafka import LocalKafka
from tests.chaos.network import Bridge, Listener, Network, Proxies
from tests.chaos.plan import SESSION, WORKERS, Kind
from tests.chaos.recorder import FILE, WORKER
from tests.chaos.spaces import NotAllowed, Space, dying_with_parent
from tests.kafka.cluster import Cluster, Worker, until

ROOT = Path(__file__).parents[2]
FLOWS = Path(__file__).with_name("flows.py")

#: Megabytes of the file system that a worker's tables lie in.
DISK = 256

#: Seconds until a worker listens, and until a worker that has ended by itself is started again.
START = 90.0
AGAIN = 1.0

FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"

Say = Callable[[str], None]


class ChaosKafka(LocalKafka):
    """With the listeners that a network needs, beside the plain one."""

    def __init__(self, listeners: dict[str, Listener]) -> None:
        super().__init__(heap_mb=512)
        self._listeners = listeners

    def _properties(self) -> dict[str, str]:
        found = super()._properties()
        bound = [f"{name}://{at.bound}" for name, at in self._listeners.items()]
        told = [f"{name}://{at.told}" for name, at in self._listeners.items()]
        speaks = [f"{name}:PLAINTEXT" for name in self._listeners]
        protocols = found["listener.security.protocol.map"]
        return {
            **found,
            "listeners": ",".join([found["listeners"], *bound]),
            "advertised.listeners": ",".join([f"PLAINTEXT://{self.bootstrap}", *told]),
            "listener.security.protocol.map": ",".join([protocols, *speaks]),
        }


class Victim(Worker):
    """A real worker, as `streamwf worker` starts it.

    number: counted from 0. space: what it runs in; with a small file system of its own.
    clock: the library that lies about the time, by what a file says.
    disk: the directory that its tables lie in, as it is seen from here.
    """

    def __init__(
        self,
        number: int,
        folder: Path,
        environment: dict[str, str],
        space: Space | None,
        clock: Path | None,
    ) -> None:
        name = f"worker-{number + 1}"
        command = (sys.executable, "-m", "streamwf.cli", "worker", str(FLOWS))
        prefix = space.prefix if space else []
        super().__init__(name, folder, environment, dying_with_parent([*prefix, *command]))
        self.number = number
        #: One thing at a time is done to it.
        self.turn = asyncio.Lock()
        #: Whether it is to run.
        self.wanted = False
        #: The exit codes that it has ended with by itself.
        self.ended: list[int] = []
        self._clock = folder / f"{name}.clock"
        self._since = 0
        self._url = ""
        disk = disk_of(folder, number)
        self._environment |= {"STREAMWF_DATA_DIR": str(disk / "data"), WORKER: name}
        self.disk = space.seen(disk) if space else disk
        self.data_dir = self.disk / "data"
        if clock is not None:
            self.step_clock(0)
            self._environment |= {
                "LD_PRELOAD": str(clock),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }

    def start(self, **environment: str) -> "Victim":
        self._since = self.log.stat().st_size if self.log.exists() else 0
        self._url = ""
        super().start(**environment)
        return self

    def step_clock(self, seconds: float) -> None:
        """By how much its clock is ahead, from now on."""
        # At once: nobody is to read half of it.
        new = self._clock.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}\n")
        new.replace(self._clock)

    @property
    def listens(self) -> bool:
        return self.runs and self.url != ""

    @property
    def url(self) -> str:
        """Where it listens; empty if it does not yet."""
        if not self._url:
            self._url = next((str(line["url"]) for line in self._said("worker_listens")), "")
        return self._url

    @property
    def shards(self) -> set[int]:
        """Those that it owns, as its log tells."""
        found: set[int] = set()
        for line in self._said("shard_opened", "shard_closed") if self.runs else ():
            change = found.add if line["event"] == "shard_opened" else found.discard
            change(line["shard"])
        return found

    def _said(self, *events: str) -> list[dict[str, Any]]:
        """The lines of these events since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self._since)
            lines = log.read().decode(errors="replace").splitlines()
        found = []
        for line in lines:
            with suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict) and told.get("event") in events:
                    found.append(told)
        return found


class Stage:
    """All of it, for as long as the context lasts.

    proxies: use them even where the machine allows more. exactly_once: have workers append so.
    missing: what can't be done here, and why.
    """

    def __init__(
        self, folder: Path, say: Say, *, proxies: bool = False, exactly_once: bool = False
    ) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.missing: dict[Kind, str] = {}
        self.network: Network
        self.kafka: ChaosKafka
        self.cluster: Cluster
        self.workers: list[Victim] = []
        self._say = say
        self._proxies = proxies
        self._guarantee = "exactly_once" if exactly_once else "at_least_once"
        self._open = AsyncExitStack()

    @property
    def kinds(self) -> list[Kind]:
        """What can be done here."""
        return [kind for kind in Kind if kind not in self.missing]

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    async def _build(self) -> None:
        spaces = await self._ground()
        self.kafka = ChaosKafka(dict(self.network.listeners))
        self._open.callback(self.kafka.close)
        # By this thread: it ends with the thread that has started it.
        self.kafka.start()
        self.cluster = Cluster(self.kafka.bootstrap, self.folder, "chaos.")
        self._open.callback(self.cluster.close)
        clock = self._clock()
        for number, space in enumerate(spaces or [None] * (WORKERS + 1)):
            worker = Victim(number, self.folder, self._environment(number), space, clock)
            self.workers.append(worker)
            self.cluster.workers.append(worker)
        supervising = asyncio.create_task(self._supervise())
        self._open.push_async_callback(_ended, supervising)

    async def _ground(self) -> list[Space]:
        """The network, and a space for each worker; none where the machine does not allow it."""
        async with AsyncExitStack() as made:
            try:
                if self._proxies:
                    raise NotAllowed("proxies are wanted")
                spaces = []
                for number in range(WORKERS + 1):
                    spaces.append(Space())
                    made.callback(spaces[-1].close)
                    spaces[-1].mount(disk_of(self.folder, number), DISK)
                self.network = bridge = Bridge(spaces)
                made.push_async_callback(bridge.close)
                await bridge.open()
                self._open.push_async_callback(made.pop_all().aclose)
                return spaces
            except NotAllowed as error:
                self.missing[Kind.FULL] = f"no namespaces: {error}"
                self._say(f"There is a proxy between workers and broker, as {error}.")
        self.network = proxies = Proxies(WORKERS + 1)
        self._open.push_async_callback(proxies.close)
        await proxies.open()
        return []

    def _clock(self) -> Path | None:
        found = glob(FAKETIME)
        if not found:
            self.missing[Kind.CLOCK] = "libfaketime is not installed"
            return None
        return Path(found[0])

    def _environment(self, number: int) -> dict[str, str]:
        environment = {
            **self.cluster.environment,
            "PYTHONPATH": str(ROOT),
            "STREAMWF_BROKERS": self.network.brokers(number),
            "STREAMWF_WEB_HOST": self.network.host(number),
            "STREAMWF_SESSION_TIMEOUT": f"{SESSION}s",
            "STREAMWF_PROCESSING_GUARANTEE": self._guarantee,
            FILE: str(self.calls),
            # Told to abort, a worker says where it was.
            "PYTHONFAULTHANDLER": "1",
        }
        if self.network.host(number) != "127.0.0.1":
            environment["STREAMWF_WEB_OPEN"] = "true"
        return environment

    async def _supervise(self) -> None:
        """Start what has ended by itself again, as whoever runs workers does."""
        while True:
            for worker in self.workers:
                if worker.wanted and not worker.runs and not worker.turn.locked():
                    assert worker.process is not None
                    worker.ended.append(worker.process.wait())
                    self._say(f"{worker.name} has ended by itself, with {worker.ended[-1]}.")
                    await asyncio.sleep(AGAIN)
                    worker.start()
            await asyncio.sleep(AGAIN / 5)

    def start(self, worker: Victim) -> None:
        worker.wanted = True
        worker.start()

    async def all_listen(self) -> None:
        """Wait until all workers that are wanted are there."""

        def there() -> bool:
            return all(worker.listens for worker in self.workers if worker.wanted)

        await until(there, "the workers", START)

    async def calm(self) -> None:
        """Undo whatever was done, and wait until all are there."""
        self.network.heal_all()
        for worker in self.workers:
            self.network.heal(worker.number)
            if worker.number < WORKERS and not worker.wanted:
                self.start(worker)
        if not self.kafka.running:
            await asyncio.to_thread(self.kafka.start)
        await self.all_listen()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def disk_of(folder: Path, worker: int) -> Path:
    """Where the file system of a worker is, made if need be."""
    place = folder / f"disk-{worker + 1}"
    place.mkdir(exist_ok=True)
    return place
