"""`faust -A MODULE worker`: Faust's own command line, and an agent of the user's beside."""

import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from streamwf.adapters.kafka.topics import admin, create
from tests.kafka.cluster import HERE, PARTITIONS, Cluster, until
from tests.kafka.test_kills import all_complete


@pytest.mark.timeout(120)
async def test_a_module_with_an_agent_of_its_own(cluster: Cluster, tmp_path: Path) -> None:
    numbers = f"{cluster.settings.topic_prefix}numbers"
    client = await admin(cluster.settings)
    await create(client, NewTopic(numbers, PARTITIONS, 1))
    await client.close()
    seen, data = tmp_path / "numbers", tmp_path / "data"
    command = [sys.executable, "-m", "faust", "--datadir", str(data), "-A", "faust_module"]
    environment = {**os.environ, **cluster.environment, "NUMBERS": str(seen)}
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, "worker", "-l", "info"], cwd=HERE, env=environment, stdout=log, stderr=log
        )
    try:
        await cluster.trigger(["order"])
        await all_complete(cluster, 1)
        producer = AIOKafkaProducer(bootstrap_servers=cluster.settings.brokers)
        await producer.start()
        await producer.send_and_wait(numbers, b"7")
        await producer.stop()
        await until(lambda: seen.exists() and seen.read_text() == "7\n", "the user's own agent", 30)
        assert (data / "tables" / "orders").is_dir()
    finally:
        worker.terminate()
        assert worker.wait(30) == 0


@pytest.mark.timeout(180)
async def test_a_standby_takes_over_without_its_own_recovery(cluster: Cluster) -> None:
    standby = {"STREAMWF_STANDBY_REPLICAS": "1"}
    workers = [cluster.worker(name, **standby).start() for name in ("first", "second")]
    await until(lambda: sum(w.says("shard_opened") for w in workers) >= 4, "ready", 30)
    await until(lambda: all(w.says("shard_opened") for w in workers), "both own shards", 60)
    await cluster.trigger(f"order-{n}" for n in range(200))
    await all_complete(cluster, 200)
    await cluster.checkpointed()
    copies = cluster.workers[1].data_dir / "tables" / "orders"
    assert len(list(copies.iterdir())) == PARTITIONS, "its own shards, and copies of the others"
    workers[0].kill()
    await cluster.trigger(f"late-{n}" for n in range(100))
    await all_complete(cluster, 300)
    await cluster.checkpointed()
    assert (await cluster.verify()).differences == []


@pytest.mark.timeout(120)
async def test_any_worker_answers_for_every_run(cluster: Cluster) -> None:
    workers = [cluster.worker(name).start() for name in ("first", "second")]
    await until(lambda: all(w.says("shard_opened") for w in workers), "both own shards", 60)
    async with aiohttp.ClientSession() as session:
        for worker in workers:

            async def ready(url: str = worker.url) -> bool:
                async with session.get(f"{url}/readyz") as answer:
                    return answer.status == 200

            await until(ready, f"{worker.name} ready", 30)
        runs = f"{workers[0].url}/api/v1/workflows/orders/runs"
        made = []
        for number in range(20):
            trigger = {"foreign_id": f"order-{number}", "object": {"item": "book"}}
            async with session.post(runs, json=trigger) as answer:
                assert answer.status == 201, await answer.text()
                made.append((await answer.json())["run_id"])
        for worker in workers:
            for run_id in made:
                address = f"{worker.url}/api/v1/runs/{run_id}"
                async with session.get(f"{address}/await?timeout=20") as answer:
                    assert (await answer.json())["status"] == "SHIPPED"
                async with session.get(f"{address}/history") as answer:
                    events = (await answer.json())["events"]
                    assert [event["type"] for event in events] == ["trigger", *["moved"] * 3]
            async with session.get(f"{worker.url}/api/v1/runs?limit=100") as answer:
                page = await answer.json()
                assert {run["run_id"] for run in page["runs"]} == set(made)
                assert page["missing"] == []
            async with session.get(f"{worker.url}/api/v1/workflows/orders") as answer:
                assert (await answer.json())["counts"] == {"SHIPPED": {"COMPLETED": 20}}
