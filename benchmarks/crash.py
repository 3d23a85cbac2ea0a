"""Workers that are killed, and how soon others do their work; and whether that ever happens for
nothing."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient

from benchmarks import load
from benchmarks.load import PARTITIONS, STEPS
from benchmarks.order_flow import OBJECT
from benchmarks.throughput import Worker, moved
from streamwf.adapters.kafka.topics import admin, app_id_of, ensure_topics, partition_of
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.settings import Settings
from streamwf.views import Trigger

#: Runs that are started each second while a worker is killed, so that no shard is ever idle.
RATE = 100

#: Seconds that steps are noted for before a worker is killed, and that a takeover may take.
BEFORE, PATIENCE = 3.0, 90.0

#: Runs that wait at least while workers are under full load, and how many come at a time.
WAITING, PILE = 40_000, 10_000


@dataclass(frozen=True)
class Crew:
    """Two workers with one setting, each with a folder of its own.

    name: of their topics. session: their session timeout. standbys: copies of each table.
    """

    settings: Settings
    folder: Path
    name: str
    session: str
    standbys: int

    @property
    def notes(self) -> Path:
        return self.folder / f"{self.name}notes"

    def start(self, flow: str) -> list[Worker]:
        environment = {
            "NOTES": str(self.notes),
            "STREAMWF_TOPIC_PREFIX": self.name,
            "STREAMWF_SESSION_TIMEOUT": self.session,
            "STREAMWF_STANDBY_REPLICAS": str(self.standbys),
        }
        folders = [self.folder / f"{self.name}{number}" for number in range(2)]
        return [Worker(self.settings, each, flow, environment) for each in folders]

    def forget(self) -> None:
        """Leave nothing to those who start next but the topics."""
        for number in range(2):
            shutil.rmtree(self.folder / f"{self.name}{number}")
        self.notes.unlink(missing_ok=True)

    def noted(self, since: float) -> Iterator[tuple[float, int, int]]:
        """When a step ran, in which process, and of which shard."""
        for line in self.notes.read_text().splitlines():
            at, pid, foreign_id = line.split()
            if float(at) >= since:
                yield float(at), int(pid), partition_of(foreign_id, PARTITIONS)


async def all_ready(workers: list[Worker]) -> None:
    """Wait until each worker has shards, and all are ready."""
    while not all(worker.says("shard_opened") for worker in workers):
        await asyncio.sleep(0.1)
    await asyncio.gather(*(worker.ready() for worker in workers))


async def takeover(crew: Crew) -> tuple[float, float]:
    """Kill one of two workers. Seconds until the first step of its shards ran elsewhere, and until
    one had run in each of them."""
    await ensure_topics(["orders"], crew.settings)
    workers = crew.start("noted_flow.py")
    running = asyncio.create_task(load.feed(crew.settings, RATE, first=time.time_ns()))
    try:
        await all_ready(workers)
        await asyncio.sleep(BEFORE)
        victim = workers[0].process
        recent = crew.noted(time.time() - BEFORE / 2)
        lost = {shard for _, pid, shard in recent if pid == victim.pid}
        assert lost, "the worker to be killed had nothing to do"
        killed_at = time.time()
        victim.kill()
        victim.wait()
        found: dict[int, float] = {}
        while lost - found.keys():
            assert time.time() < killed_at + PATIENCE, f"nobody took over {lost - found.keys()}"
            await asyncio.sleep(0.2)
            for at, pid, shard in crew.noted(killed_at):
                if pid != victim.pid and shard in lost:
                    found.setdefault(shard, at - killed_at)
        return min(found.values()), max(found.values())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for worker in workers:
            worker.stop()
        crew.forget()


# ---- under full load


@dataclass
class Alarms:
    """What was seen of two workers that were never gone.

    rate: transitions per second of both. left: how often one was not in the group any more.
    opened: shards that were opened again. not_ready: answers of `/readyz` that said no.
    """

    rate: float = 0.0
    left: int = 0
    opened: int = 0
    not_ready: int = 0


async def alarms(crew: Crew, seconds: float) -> Alarms:
    """Give two workers more to do than they can, for so long."""
    await ensure_topics(["orders"], crew.settings)
    workers = crew.start("order_flow.py")
    client = await admin(crew.settings)
    found = Alarms()
    try:
        await all_ready(workers)
        await _under_load(crew, workers, client, seconds, found)
    finally:
        await client.close()
        for worker in workers:
            worker.stop()
        crew.forget()
    return found


async def _under_load(
    crew: Crew,
    workers: list[Worker],
    client: AIOKafkaAdminClient,
    seconds: float,
    found: Alarms,
) -> None:
    opened = sum(worker.says("shard_opened") for worker in workers)
    members = await members_of(client, crew.settings)
    urls = [await worker.url() for worker in workers]
    async with aiohttp.ClientSession() as session:
        feeding = asyncio.create_task(keep_busy(crew.settings, session, urls))
        try:
            while await done(session, urls) == 0:
                await asyncio.sleep(0.1)
            begun, before = time.perf_counter(), await done(session, urls)
            while time.perf_counter() < begun + seconds:
                await asyncio.sleep(0.2)
                now = await members_of(client, crew.settings)
                found.left += len(members - now)
                members = now
                for url in urls:
                    async with session.get(f"{url}/readyz") as answer:
                        found.not_ready += answer.status != 200
            spent = time.perf_counter() - begun
            found.rate = (await done(session, urls) - before) / spent
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
    found.opened = sum(worker.says("shard_opened") for worker in workers) - opened


async def done(session: aiohttp.ClientSession, urls: list[str]) -> float:
    """How many transitions the workers have folded."""
    return sum([await moved(session, url) for url in urls])


async def keep_busy(settings: Settings, session: aiohttp.ClientSession, urls: list[str]) -> None:
    """Let there always be runs that wait."""
    started = 0
    while True:
        if started - await done(session, urls) / STEPS < WAITING:
            names = (f"load-{number}" for number in range(started, started + PILE))
            piled = (Trigger(foreign_id=name, object=OBJECT) for name in names)
            started += await append_triggers("orders", piled, settings, lambda _: None)
        else:
            await asyncio.sleep(0.2)


async def members_of(client: AIOKafkaAdminClient, settings: Settings) -> set[str]:
    """The ids of the members of the workers' group: who was given up gets another one."""
    [response] = await client.describe_consumer_groups([app_id_of(["orders"], settings)])
    [group] = response.to_object()["groups"]
    return {member["member_id"] for member in group["members"]}
