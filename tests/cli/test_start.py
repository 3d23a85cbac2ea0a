"""A command loads what it needs and no more: that is most of the time until it answers."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.settings import Settings

#: What runs workflows, and the packages that it needs. They are in the way of whoever only asks.
OF_HOSTS = (
    *("faust", "rocksdict", "sqlalchemy", "alembic", "aiosqlite", "prometheus_client", "structlog"),
    *("streamwf.agents", "streamwf.adapters.web", "streamwf.embedded"),
)
OF_CLIENTS = ("aiohttp", "opentelemetry", "streamwf.client", "streamwf.gateway")
OF_WORKFLOWS = ("streamwf.definition", "streamwf.shard", "streamwf.cron", "cryptography")
OF_TERMINALS = ("rich",)


def without(modules: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process where these modules can't be imported."""
    code = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"
    command = [sys.executable, "-c", f"{code}; from streamwf.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.kafka
def test_a_trigger_over_kafka_starts_with_little(kafka: str, tmp_path: Path) -> None:
    settings = Settings(brokers=kafka, topic_prefix=f"{tmp_path.name}.", partitions=2)
    asyncio.run(ensure_topics(["parcels"], settings))
    pile = tmp_path / "pile.jsonl"
    pile.write_text(json.dumps({"foreign_id": "p-1", "object": {}}))
    place = ("--brokers", kafka, "--topic-prefix", settings.topic_prefix)
    modules = (*OF_HOSTS, *OF_CLIENTS, *OF_WORKFLOWS, *OF_TERMINALS)
    done = without(modules, "trigger", "parcels", "--from", str(pile), *place)
    assert (done.stdout, done.stderr) == ("1 requested, 0 refused\n", "")


@pytest.mark.parametrize(
    "arguments", [("trigger", "parcels", "p-1", "--data", "{}"), ("runs", "list"), ("roles",)]
)
def test_whoever_asks_a_worker_starts_without_one(url: str, arguments: tuple[str, ...]) -> None:
    done = without((*OF_HOSTS, "aiokafka"), *arguments, "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
