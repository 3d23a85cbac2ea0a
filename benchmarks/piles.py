"""Logs of very many runs, written without running them: each is the story of one, renamed."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.load import trigger_record
from streamwf.adapters.kafka.append import append_batch, producer
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, ensure_topics, partition_of
from streamwf.events import decode_event
from streamwf.settings import Settings

#: Runs that go through the log side by side, as they do on a worker that has much to do.
SIDE_BY_SIDE = 2_000

#: Seconds that one run may take.
PATIENCE = 60.0


async def one_run(settings: Settings, record: tuple[bytes, bytes], events: int) -> list[bytes]:
    """Start a run, and return its events once the log has so many of them.

    record: the key and value of its trigger.
    """
    topic = Topics.of("orders", settings).events
    key, value = record
    partition = TopicPartition(topic, partition_of(key.decode(), settings.partitions))
    to = producer(settings)
    await to.start()
    await to.send_and_wait(topic, value, key=key, partition=partition.partition)
    await to.stop()
    reader = AIOKafkaConsumer(bootstrap_servers=settings.brokers)
    await reader.start()
    try:
        async with asyncio.timeout(PATIENCE):
            while (await reader.end_offsets([partition]))[partition] < events:
                await asyncio.sleep(0.1)
        read = read_to(reader, partition, 0, events)
        return [record.value async for records in read for record in records]
    finally:
        await stop_consumer(reader)


def renamed(story: Sequence[bytes], numbers: range) -> Iterator[tuple[bytes, bytes]]:
    """The events of runs that go side by side, with their keys."""
    first = decode_event(
        story[0], workflow="orders", partition=0, offset=0, timestamp_ms=0, limit=1 << 20
    )
    name, run_id = b'"%s"' % first.subject.encode(), first.runid.encode()
    for event in story:
        for number in numbers:
            key = b"order-%d" % number
            told = event.replace(name, b'"%s"' % key)
            yield key, told.replace(run_id, b"%s-%012x" % (run_id[:23], number))


async def write_pile(
    settings: Settings,
    story: Sequence[bytes],
    runs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    first: int = 0,
) -> None:
    """Write the log of so many runs that have gone as the one of the story has.

    first: the number of the first of them.
    """
    await ensure_topics(["orders"], settings)
    topic = Topics.of("orders", settings).events
    to = producer(settings)
    await to.start()
    try:
        for begin in range(first, first + runs, SIDE_BY_SIDE):
            numbers = range(begin, min(begin + SIDE_BY_SIDE, first + runs))
            piles: dict[int, list[tuple[bytes, bytes]]] = {}
            for key, value in renamed(story, numbers):
                shard = partition_of(key.decode(), settings.partitions)
                piles.setdefault(shard, []).append((key, value))
            async with asyncio.TaskGroup() as group:
                for shard, pile in piles.items():
                    group.create_task(append_batch(to, topic, shard, pile))
            progress(numbers.stop - first, runs)
    finally:
        await to.stop()


async def write_triggers(settings: Settings, runs: int, *, first: int = 0) -> None:
    """Ask for so many runs. That costs a tenth of making each request by itself."""
    await write_pile(settings, [trigger_record(0)[1]], runs, first=first)
