"""Writing and reading the changelog of one shard on Kafka.

Whoever opens a shard's changelog fences all who had it open before: a worker that was stopped for
so long that it lost the shard can't write a row any more, even if it does not know yet.
"""

import asyncio
import contextlib
import uuid

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from streamwf.adapters.kafka.append import append_batch, producer
from streamwf.adapters.kafka.reader import consumer, read_to, stop_consumer
from streamwf.ports import Checkpoint
from streamwf.settings import Settings
from streamwf.tables.changelog import ChangelogRecord, Recovery, StaleTable, records_of
from streamwf.tables.runs import AsOf, RunsTable

#: Seconds to wait for a producer to say goodbye.
GOODBYE = 2.0


class Changelog:
    """The changelog of one shard, opened for writing by its owner."""

    def __init__(self, topic: str, partition: int, settings: Settings) -> None:
        self._topic = topic
        self._partition = partition
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        #: How many records are left to read until the table is as of the end.
        self.left = 0

    async def open(self) -> None:
        """Fence the former owner. Raises KafkaError."""
        self._producer = producer(self._settings, f"{self._topic}-{self._partition}")
        await self._producer.start()

    async def close(self) -> None:
        if self._producer is not None:
            closing, self._producer = self._producer, None
            with contextlib.suppress(KafkaError, TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(closing.stop(), GOODBYE)

    async def recover(self, table: RunsTable) -> None:
        """Bring a table up to the changelog's end."""
        reader = consumer(self._settings, committed=True)
        await reader.start()
        try:
            partition = TopicPartition(self._topic, self._partition)
            while True:
                recovery = Recovery(table)
                try:
                    end = (await reader.end_offsets([partition]))[partition]
                    self.left = end - recovery.start
                    async for records in read_to(reader, partition, recovery.start, end):
                        recovery.apply(
                            [ChangelogRecord(r.offset, r.key or b"", r.value) for r in records]
                        )
                        if records:
                            self.left = end - records[-1].offset - 1
                    recovery.finish()
                    self.left = 0
                    return
                except StaleTable:
                    table.wipe()
        finally:
            await stop_consumer(reader)

    async def write(self, checkpoint: Checkpoint, table: RunsTable) -> None:
        """Make a checkpoint durable, and then write it to the table.

        Raises KafkaError if it may not have come to be: ProducerFenced and the like if another
        owner has opened the changelog. Nothing may be written here after that: open it anew.
        """
        assert self._producer is not None
        table_id = table.as_of.table_id if table.as_of else str(uuid.uuid4())
        rows, records = records_of(checkpoint, table_id)
        await self._producer.begin_transaction()
        marker = await append_batch(self._producer, self._topic, self._partition, records)
        await self._producer.commit_transaction()
        table.write(checkpoint.changes, rows, AsOf(table_id, marker, checkpoint.position))
