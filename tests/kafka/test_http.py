"""The HTTP API on Kafka: while shards move, while a worker is stopped, and as it is documented."""

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.kafka.cluster import Cluster, Worker, until
from tests.web.schema_run import made_up_requests
from tests.web.test_missing import LISTS

RUNS = "/api/v1/workflows/orders/runs"
FAR = "2099-01-01T00:00:00Z"
#: It can't be said yet, or by whom, or in time; whoever asks again under the same key is told.
AGAIN = {502, 503, 504}


async def ready(session: aiohttp.ClientSession, *workers: Worker) -> None:
    """Until each of them owns shards, and can say so."""
    await until(lambda: all(w.says("shard_opened") for w in workers), "all own shards", 90)
    for worker in workers:

        async def is_ready(url: str = worker.url) -> bool:
            async with session.get(f"{url}/readyz") as answer:
                return answer.status == 200

        await until(is_ready, f"{worker.name} ready", 60)


@dataclass
class Steered:
    """A run, and what has come of the requests to steer it: the reasons of those that counted."""

    run_id: str
    version: int
    paused: bool = False
    counted: list[str] = field(default_factory=list)


async def asked_until_told(
    session: aiohttp.ClientSession, worker: Worker, path: str, reason: str, version: int
) -> int:
    """The answer in the end, other than to ask again."""
    headers = {"If-Match": f'"{version}"', "Idempotency-Key": reason}
    async with asyncio.timeout(90):
        while True:
            try:
                async with session.post(
                    worker.url + path, json={"reason": reason}, headers=headers
                ) as answer:
                    told: dict[str, Any] = await answer.json(content_type=None)
                    if answer.status not in AGAIN:
                        assert answer.status in (200, 412), told
                        assert answer.status == 412 or told["version"] == version + 1, told
                        return answer.status
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def contend(
    session: aiohttp.ClientSession, workers: Sequence[Worker], run: Steered, enough: asyncio.Event
) -> None:
    """Two steer the run as of the same version, again and again; each time one of them counts."""
    while not enough.is_set():
        action = "resume" if run.paused else "pause"
        path = f"/api/v1/runs/{run.run_id}/{action}"
        reasons = [f"{run.version} by {worker.name}" for worker in workers]
        told = await asyncio.gather(
            *(
                asked_until_told(session, worker, path, reason, run.version)
                for worker, reason in zip(workers, reasons, strict=True)
            )
        )
        assert sorted(told) == [200, 412], (run, told)
        run.counted.append(reasons[told.index(200)])
        run.version += 1
        run.paused = not run.paused


async def history(session: aiohttp.ClientSession, worker: Worker, run: Steered) -> list[str]:
    async with session.get(f"{worker.url}/api/v1/runs/{run.run_id}/history") as answer:
        found = await answer.json()
        assert answer.status == 200, found
    return [event["reason"] for event in found["events"][1:]]


@pytest.mark.timeout(300)
async def test_what_is_steered_while_its_shard_moves_counts_once_or_is_refused(
    cluster: Cluster,
) -> None:
    first, second = (cluster.worker(name).start() for name in ("first", "second"))
    third, enough = cluster.worker("third"), asyncio.Event()
    async with aiohttp.ClientSession() as session:
        await ready(session, first, second)
        runs = []
        for number in range(8):
            body = {"foreign_id": f"o-{number}", "object": {}, "start_at": FAR}
            async with session.post(first.url + RUNS, json=body) as answer:
                runs.append(Steered((await answer.json())["run_id"], 1))
        async with asyncio.TaskGroup() as group:
            for run in runs:
                group.create_task(contend(session, (first, second), run, enough))
            third.start()
            await ready(session, third)
            await until(lambda: min(len(run.counted) for run in runs) > 2, "all steered", 60)
            third.stop()
            await ready(session, first, second)
            at_least = max(len(run.counted) for run in runs) + 2
            await until(lambda: min(len(r.counted) for r in runs) > at_least - 2, "again", 60)
            enough.set()
        for run in runs:
            for worker in (first, second):
                told = await history(session, worker, run)
                # Of a run that was steered this often it has the latest.
                assert told == run.counted[-len(told) :]


@pytest.mark.timeout(180)
async def test_a_worker_that_is_stopped_is_missed_in_every_list(cluster: Cluster) -> None:
    first, second = (cluster.worker(name).start() for name in ("first", "second"))
    async with aiohttp.ClientSession() as session:
        await ready(session, first, second)

        async def missing(path: str) -> list[str]:
            async with session.get(first.url + path) as answer:
                assert answer.status == 200
                return list((await answer.json())["missing"])

        second.signal(signal.SIGSTOP)
        try:
            found = await asyncio.gather(*map(missing, LISTS))
        finally:
            second.signal(signal.SIGCONT)
        assert dict(zip(LISTS, found, strict=True)) == {path: [second.url] for path in LISTS}


@pytest.mark.timeout(180)
async def test_a_worker_answers_as_its_document_says(cluster: Cluster) -> None:
    worker = cluster.worker("first").start()
    async with aiohttp.ClientSession() as session:
        await ready(session, worker)
        body = {"foreign_id": "o-1", "object": {}}
        async with session.post(worker.url + RUNS, json=body) as answer:
            assert answer.status == 201
        await made_up_requests(worker.url, 2, "--phases", "fuzzing")
        async with session.get(f"{worker.url}/readyz") as answer:
            assert answer.status == 200
