"""Whoever lacks a right on Kafka hears which, and what to grant."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.settings import Settings
from tests.kafka.guarded import GuardedKafka

#: Seconds that a command may take.
PATIENCE = 120.0

TARGET = "tests.cli.sample"

#: Who it is, what they do, and what they are told.
REFUSED = {
    "no topic may be made": (
        *("anything", ("worker", TARGET)),
        "use topic {prefix}parcels.events. Grant it Create, Read and Write there",
    ),
    "the group may not be joined": (
        *("groups", ("worker", TARGET)),
        "use group {prefix}streamwf-parcels. Grant it Read and Describe there",
    ),
    "no transaction may be begun": (
        *("transactions", ("worker", TARGET)),
        "use transactional id {prefix}parcels.runs-changelog-",
    ),
    "nothing may be written": (
        *("writing", ("trigger", "parcels", "--from", "PILE", "--brokers", "BROKERS")),
        "use the cluster. Grant it IdempotentWrite",
    ),
    "who has which group may not be known": (
        *("groups", ("rebuild", TARGET)),
        "use group {prefix}streamwf-parcels. Grant it Read and Describe there",
    ),
}


@pytest.fixture(scope="module")
def guarded_kafka() -> Iterator[GuardedKafka]:
    with GuardedKafka() as broker:
        asyncio.run(broker.grant_all())
        yield broker


@pytest.mark.timeout(240)
@pytest.mark.parametrize("case", REFUSED)
def test_what_may_not_be_done_is_told(
    guarded_kafka: GuardedKafka, tmp_path: Path, case: str
) -> None:
    user, arguments, told = REFUSED[case]
    prefix = f"t{uuid.uuid4().hex[:8]}."
    environment = {
        **guarded_kafka.settings(user),
        "STREAMWF_TOPIC_PREFIX": prefix,
        "STREAMWF_PARTITIONS": "2",
        "STREAMWF_WEB_PORT": "0",
        "STREAMWF_DATA_DIR": str(tmp_path / "data"),
    }
    if user == "writing":
        settings = Settings(brokers=guarded_kafka.bootstrap, topic_prefix=prefix, partitions=2)
        asyncio.run(ensure_topics(["parcels"], settings))
    pile = tmp_path / "pile.jsonl"
    pile.write_text('{"foreign_id": "p-1", "object": {}}\n')
    given = {"PILE": str(pile), "BROKERS": guarded_kafka.guarded}
    done = subprocess.run(
        [sys.executable, "-m", "streamwf.cli", *(given.get(each, each) for each in arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    said = " ".join(done.stderr.split())
    assert done.returncode == 1, said
    assert told.format(prefix=prefix) in said
    assert not [line for line in done.stderr.splitlines() if line.startswith("Traceback")]
