"""Triggers from a file, against a raw producer of the same bytes in the same run.

`python -m benchmarks.bulk [--lines N] [--repeat N] [--json]` starts a broker of its own. What is
measured is the command that people call, `streamwf trigger orders --from FILE --brokers …`, with
the start of its process. The raw producer has the very records that the command has left in the
topic, ready in memory, and is timed from the first one to the last acknowledgement: it neither
reads JSON nor checks it, makes no ids, and starts nothing.
"""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

import click
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from benchmarks.cpu import output
from benchmarks.figures import Bench, Figure, benchmark
from benchmarks.load import PARTITIONS
from benchmarks.order_flow import OBJECT
from benchmarks.throughput import HERE
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, admin, create, ensure_topics
from streamwf.settings import Settings

FIGURES = {
    "bulk_ratio": Figure("triggers from a file, against `send`"),
    "bulk_lines_per_second": Figure("triggers from a file", "lines/s"),
    "bulk_start_s": Figure("of that, with a file of one line", "s"),
    "send_records_per_second": Figure("a raw producer, one `send` for each", "records/s"),
    "send_batch_records_per_second": Figure("a raw producer, by `send_batch`", "records/s"),
    "bulk_ratio_to_send_batch": Figure("triggers from a file, against `send_batch`"),
}


def write_lines(path: Path, lines: int) -> None:
    with path.open("w") as file:
        for number in range(lines):
            file.write(json.dumps({"foreign_id": f"order-{number}", "object": OBJECT}) + "\n")


async def command(settings: Settings, path: Path) -> float:
    """Seconds that the command takes."""
    arguments = ["-m", "streamwf.cli", "trigger", "orders", "--from", str(path)]
    arguments += ["--brokers", settings.brokers, "--topic-prefix", settings.topic_prefix]
    begun = time.perf_counter()
    await output(*arguments)
    return time.perf_counter() - begun


async def raw(brokers: str, topic: str, records: Path, way: str) -> float:
    """Seconds that a raw producer takes, to a topic that it makes."""
    client = await admin(Settings(brokers=brokers))
    await create(client, NewTopic(topic, PARTITIONS, 1))
    await client.close()
    producer = str(HERE / "raw_producer.py")
    return float(await output(producer, brokers, topic, str(PARTITIONS), str(records), way))


async def copy_records(settings: Settings, path: Path) -> int:
    """Write what a log has into a file, as the raw producer reads it, and return how many."""
    partitions = [
        TopicPartition(Topics.of("orders", settings).events, number) for number in range(PARTITIONS)
    ]
    reader = AIOKafkaConsumer(bootstrap_servers=settings.brokers)
    await reader.start()
    count = 0
    try:
        with path.open("wb") as file:
            for partition in partitions:
                end = (await reader.end_offsets([partition]))[partition]
                async for records in read_to(reader, partition, 0, end):
                    file.writelines(b"%s\t%s\n" % (each.key, each.value) for each in records)
                    count += len(records)
    finally:
        await stop_consumer(reader)
    return count


async def measured(bench: Bench, lines: int, repeat: int) -> None:
    pile, one, records = (bench.folder / name for name in ("pile", "one", "records"))
    await asyncio.to_thread(write_lines, pile, lines)
    write_lines(one, 1)
    settings = [bench.of(f"bulk-{number}.") for number in range(repeat)]
    for each in [bench.of("start."), *settings]:
        await ensure_topics(["orders"], each)
    # A broker's first thousands of requests are slow; this also makes the records.
    await command(bench.of("start."), one)
    bench.found["bulk_start_s"] = await command(bench.of("start."), one)
    seconds: dict[str, list[float]] = {"bulk": [], "send": [], "batch": []}
    with bench.progress("files") as progress:
        for number, each in enumerate(settings):
            seconds["bulk"].append(await command(each, pile))
            if await copy_records(each, records) != lines:
                sys.exit("The topic has not as many records as the file has lines.")
            for way in ("send", "batch"):
                topic = f"raw-{way}-{number}"
                seconds[way].append(await raw(bench.broker.bootstrap, topic, records, way))
            progress(number + 1, repeat)
    paces = {way: lines / statistics.median(each) for way, each in seconds.items()}
    bench.found["bulk_ratio"] = paces["bulk"] / paces["send"]
    bench.found["bulk_lines_per_second"] = paces["bulk"]
    bench.found["send_records_per_second"] = paces["send"]
    bench.found["send_batch_records_per_second"] = paces["batch"]
    bench.found["bulk_ratio_to_send_batch"] = paces["bulk"] / paces["batch"]


@click.command()
@click.option("--lines", default=300_000, show_default=True, help="Runs in the file.")
@click.option("--repeat", default=3, show_default=True, help="How often each is measured.")
@click.option("--json", "as_json", is_flag=True)
def main(lines: int, repeat: int, as_json: bool) -> None:
    """Measure triggers from a file against a raw producer."""
    benchmark(
        f"{lines:,} triggers from a file",
        FIGURES,
        lambda bench: measured(bench, lines, repeat),
        as_json=as_json,
    )


if __name__ == "__main__":
    main()
