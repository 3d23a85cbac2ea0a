"""Runs as they were, on a real broker: at places in the topic, over HTTP, and as test data."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streamwf import Client
from streamwf.adapters.kafka.topics import partition_of
from streamwf.cli import main
from streamwf.testing import replay
from tests.kafka.cluster import HERE, PARTITIONS, Cluster, until
from tests.kafka.flows import Status, orders

pytestmark = pytest.mark.timeout(150)

NAMES = [f"o-{number}" for number in range(12)]


async def call(*arguments: str) -> Result:
    """A command, in a thread: it runs a loop of its own."""
    result: Result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    return result


async def replayed(cluster: Cluster, *options: str) -> Result:
    settings = cluster.settings
    place = ("--brokers", settings.brokers, "--topic-prefix", settings.topic_prefix)
    return await call("replay", str(HERE / "flows.py"), *options, *place, "--json")


def partition(name: str) -> int:
    return partition_of(name, PARTITIONS)


async def test_runs_as_they_were_at_places_in_the_topic(cluster: Cluster, tmp_path: Path) -> None:
    for name in ("first", "second"):
        cluster.worker(name).start()
    await cluster.trigger(NAMES)

    async def all_ended() -> bool:
        return await cluster.completed() == len(NAMES)

    await until(all_ended, "all runs")
    records = await cluster.records(cluster.topics.events)
    events = [(r.partition, r.offset, json.loads(r.value)) for r in records]
    picked = [
        (partition, offset, event)
        for partition, offset, event in events
        if event["type"] == "moved" and event["status"] == "PACKED"
    ]
    number, offset, event = picked[-1]
    name = event["subject"]

    # A run at a place, with its partition and without.
    for moment in (f"{number}:{offset}", str(offset)):
        told = json.loads((await replayed(cluster, "--run", name, "--until", moment)).stdout)
        assert (told["status"], told["object"]["trail"]) == ("PACKED", ["CREATED", "PICKED"])
    version = told["version"]

    # Only what is in the partitions that are named is there.
    there = [each for each in NAMES if partition(each) == number]
    end = max(offset for place, offset, _ in events if place == number)
    told = json.loads((await replayed(cluster, "--until", f"{number}:{end}")).stdout)
    assert told["counts"] == {"SHIPPED": {"COMPLETED": len(there)}}
    alone = await replayed(cluster, "--until", str(end))
    assert (alone.exit_code, alone.stdout) == (1, "")
    assert f"Offset {end} may be in any of {PARTITIONS} partitions." in alone.stderr
    far = await replayed(cluster, "--until", "9:1")
    assert "has no partition 9: its partitions are 0 to 3." in far.stderr

    # Between two places.
    diff = ("--diff", f"{number}:{offset}", f"{number}:{end}")
    told = json.loads((await replayed(cluster, *diff)).stdout)
    listed = [run["foreign_id"] for kind in ("new", "changed") for run in told[kind]["runs"]]
    assert name in listed
    assert set(listed) <= set(there)
    assert told["gone"] == {"count": 0, "runs": []}
    told = json.loads((await replayed(cluster, *diff, "--run", name)).stdout)
    assert [line for line in told["object"] if line.startswith("+")] == [
        '+    "PICKED",',
        '+    "PACKED"',
    ]

    # Whichever worker is asked.
    for worker in cluster.workers:
        await look(worker.url, event["runid"], version, tmp_path / f"{worker.name}.json")


async def look(url: str, run_id: str, version: int, file: Path) -> None:
    async with Client.over_http(url) as client:
        then = await client.get(orders, run_id, version=version)
        assert (then.status, then.version) == (Status.PACKED, version)
        assert then.object.trail == ["CREATED", "PICKED"]
    shown = await call("runs", "show", run_id, "--version", str(version), "--json", "--url", url)
    told: dict[str, Any] = json.loads(shown.stdout)
    assert (told["status"], told["version"]) == ("PACKED", version)
    done = await call("runs", "history", run_id, "--export", str(file), "--url", url)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    replayed = replay(orders, file)
    assert (replayed.status, replayed.warnings) == (Status.SHIPPED, ())
