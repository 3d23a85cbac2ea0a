"""The raw limit of producing: records that lie ready in memory, one `send` for each, or batches.

`python benchmarks/raw_producer.py BROKERS TOPIC PARTITIONS FILE send|batch` prints the seconds from
the first record to the last one's acknowledgement. The file has a record in a line: key, TAB,
value.
"""

import sys
import time
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

Record = tuple[bytes, bytes]


def read(path: Path) -> list[Record]:
    lines = path.read_bytes().splitlines()
    return [(key, value) for key, _, value in (line.partition(b"\t") for line in lines)]


async def one_by_one(to: AIOKafkaProducer, topic: str, records: list[Record]) -> None:
    for key, value in records:
        await to.send(topic, value, key=key)
    await to.flush()


async def in_batches(
    to: AIOKafkaProducer, topic: str, records: list[Record], partitions: int
) -> None:
    batches = {number: to.create_batch() for number in range(partitions)}
    for key, value in records:
        number = (murmur2(key) & 0x7FFFFFFF) % partitions
        if batches[number].append(key=key, value=value, timestamp=None) is None:
            await to.send_batch(batches[number], topic, partition=number)
            batches[number] = to.create_batch()
            batches[number].append(key=key, value=value, timestamp=None)
    for number, batch in batches.items():
        await to.send_batch(batch, topic, partition=number)
    await to.flush()


async def main(brokers: str, topic: str, partitions: int, path: Path, way: str) -> float:
    records = read(path)
    # With the default of 16 KiB it waits for batches more than it works.
    to = AIOKafkaProducer(
        bootstrap_servers=brokers, acks="all", linger_ms=5, max_batch_size=256 << 10
    )
    await to.start()
    try:
        begun = time.perf_counter()
        if way == "send":
            await one_by_one(to, topic, records)
        else:
            await in_batches(to, topic, records, partitions)
        return time.perf_counter() - begun
    finally:
        await to.stop()


if __name__ == "__main__":
    brokers, topic, partitions, path, way = sys.argv[1:]
    print(uvloop.run(main(brokers, topic, int(partitions), Path(path), way)))
