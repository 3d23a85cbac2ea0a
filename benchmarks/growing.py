"""One point of `benchmarks.growth`, in a process of its own.

`python -m benchmarks.growing RUNS STEPS BROKERS PREFIX PARTITIONS FOLDER` works off runs
of so many steps that do nothing, whose triggers are in the log already. It prints the usage as
JSON, and what the log and the changelog have grown by for a transition.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.measured import Usage, between, transitions
from streamwf import Run, Workflow
from streamwf.adapters import loggers
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics
from streamwf.agents.app import faust_app
from streamwf.agents.worker import tune
from streamwf.settings import Settings


def flow(steps: int) -> Workflow[dict[str, Any], Any]:
    """From S0 to the last in so many steps that do nothing."""
    names = [f"S{number}" for number in range(steps + 1)]
    status: Any = Enum("Status", names)  # type: ignore[misc]
    made: Workflow[dict[str, Any], Any] = Workflow("growing", dict, status)

    def add(now: Any, then: Any) -> None:
        @made.step(now, to=then)
        async def move(run: Run[dict[str, Any], Any]) -> Any:
            return then

    for now, then in pairwise(names):
        add(status[now], status[then])

    return made


async def size_of(reader: AIOKafkaConsumer, topic: str, partitions: int) -> tuple[int, int]:
    """(records, bytes of keys and values) of a topic."""
    records = size = 0
    for number in range(partitions):
        partition = TopicPartition(topic, number)
        end = (await reader.end_offsets([partition]))[partition]
        async for batch in read_to(reader, partition, 0, end):
            records += len(batch)
            size += sum(len(each.key or b"") + len(each.value or b"") for each in batch)
    return records, size


async def sizes(settings: Settings, moved: float) -> dict[str, float]:
    """What one transition has written, triggers and all."""
    topics = Topics.of("growing", settings)
    reader = AIOKafkaConsumer(bootstrap_servers=settings.brokers)
    await reader.start()
    try:
        log = await size_of(reader, topics.events, settings.partitions)
        rows = await size_of(reader, topics.changelog, settings.partitions)
    finally:
        await stop_consumer(reader)
    return {
        "log_records": log[0] / moved,
        "log_bytes": log[1] / moved,
        "changelog_records": rows[0] / moved,
        "changelog_bytes": rows[1] / moved,
    }


async def main(runs: int, steps: int, settings: Settings) -> dict[str, float]:
    loggers.configure(settings.log_level)
    app = faust_app(flow(steps), settings=settings)
    app.finalize()
    running = asyncio.ensure_future(app.start())
    measures = app.host.measures("growing")
    usage: Usage = await between(lambda: transitions(measures), runs * steps)
    moved = transitions(measures)
    await app.stop()
    await running
    return asdict(usage) | await sizes(settings, max(moved, transitions(measures)))


if __name__ == "__main__":
    runs, steps, brokers, prefix, partitions, folder = sys.argv[1:]
    tune()
    told = uvloop.run(
        main(
            int(runs),
            int(steps),
            Settings(
                brokers=brokers,
                topic_prefix=prefix,
                partitions=int(partitions),
                data_dir=Path(folder),
                web_port=0,
                log_level="warning",
            ),
        )
    )
    print(json.dumps(told), flush=True)
