"""The raw limit: consume, decode, encode, produce, once for each hop, and nothing else.

`python benchmarks/raw_loop.py BROKERS SOURCE SINK GROUP HOPS` prints the seconds it took, and those
of its main thread and of its process on a CPU.
"""

import sys
import time

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streamwf.events import Event

decode = msgspec.json.Decoder(Event).decode
encode = msgspec.json.Encoder().encode


def used() -> tuple[float, float, float]:
    return time.perf_counter(), time.thread_time(), time.process_time()


async def main(brokers: str, source: str, sink: str, group: str, hops: int) -> tuple[float, ...]:
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=brokers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    # With the default of 16 KiB the loop waits for batches more than it works.
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, acks="all", linger_ms=5, max_batch_size=256 << 10
    )
    await consumer.start()
    await producer.start()
    begun: tuple[float, ...] = ()
    done = 0
    while done < hops:
        for partition, records in (await consumer.getmany(timeout_ms=1_000)).items():
            begun = begun or used()
            for record in records:
                value = encode(decode(record.value))
                await producer.send(sink, value, key=record.key, partition=partition.partition)
            done += len(records)
            await producer.flush()
            await consumer.commit()
    seconds = tuple(now - before for now, before in zip(used(), begun, strict=True))
    await consumer.stop()
    await producer.stop()
    return seconds


if __name__ == "__main__":
    brokers, source, sink, group, hops = sys.argv[1:]
    print(*uvloop.run(main(brokers, source, sink, group, int(hops))))
