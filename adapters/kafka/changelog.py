"""Writing and reading the changelog of one shard on Kafka.

Whoever opens a shard's changelog fences all who had it open before: a worker that was stopped for
so long that it lost the shard can't write a row any more, even if it does not know yet.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerClosed

from streamwf.adapters.kafka.append import append_batch, producer
from streamwf.adapters.kafka.reader import consumer, read_to, stop_consumer
from streamwf.ports import Checkpoint
from streamwf.settings import Settings
from streamwf.tables.changelog import ChangelogRecord, Recovery, StaleTable, records_of
from streamwf.tables.runs import AsOf, RunsTable

#: Seconds to wait for a producer to say goodbye.
GOODBYE = 2.0

#: Writes by the producer that it is given.
Beside = Callable[[AIOKafkaProducer], Awaitable[None]]


class Changelog:
    """The changelog of one shard, opened for writing by its owner."""

    def __init__(self, topic: str, partition: int, settings: Settings) -> None:
        self._topic = topic
        self._partition = partition
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        #: Of a recovery: how many records were read, and how many are left until the table is as of
        #: the end; and then, of how many rows what is derived from them is made.
        self.read = self.left = self.derived = 0

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
            end = (await reader.end_offsets([partition]))[partition]
            while True:
                try:
                    await self._read(reader, partition, end, Recovery(table, whole=True))
                    break
                except StaleTable:
                    table.wipe()
        finally:
            await stop_consumer(reader)
        for rows in table.derive():
            self.derived += rows
            # The other shards, and whoever asks, have their turn.
            await asyncio.sleep(0)

    async def _read(
        self, reader: AIOKafkaConsumer, partition: TopicPartition, end: int, recovery: Recovery
    ) -> None:
        """Raises StaleTable."""
        self.left = end - recovery.start
        async for records in read_to(reader, partition, recovery.start, end):
            recovery.apply([ChangelogRecord(r.offset, r.key or b"", r.value) for r in records])
            self.read += len(records)
            if records:
                self.left = end - records[-1].offset - 1
        recovery.finish()
        self.left = 0

    async def write(
        self, checkpoint: Checkpoint | None, table: RunsTable, beside: Beside | None = None
    ) -> None:
        """Make a checkpoint durable, and then write it to the table.

        beside: writes to other topics what becomes readable together with the checkpoint, or what
        there is alone if no row has changed.

        Raises KafkaError if it may not have come to be: ProducerFenced and the like if another
        owner has opened the changelog. Nothing may be written here after that: open it anew.
        """
        async with self._transaction() as producer:
            if beside is not None:
                await beside(producer)
            if checkpoint is not None:
                rows, as_of = await self._append(producer, checkpoint, table)
        if checkpoint is not None:
            for _ in table.writing(checkpoint.changes, rows, as_of):
                await asyncio.sleep(0)
                if self._producer is not producer:
                    # The table may be another's by now, who reads these rows in the changelog.
                    raise ProducerClosed

    async def write_bare(self, checkpoint: Checkpoint, table: RunsTable) -> None:
        """The same for a table that is filled from nothing, and has to be derived at the end."""
        async with self._transaction() as producer:
            rows, as_of = await self._append(producer, checkpoint, table)
        keys = (change.key.encode() for change in checkpoint.changes)
        table.write_bare(dict(zip(keys, rows, strict=True)), as_of)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AIOKafkaProducer]:
        """What is written in the block becomes readable at its end, all at once. After an error
        nothing does: whoever opens the changelog next, or time, has it undone."""
        assert self._producer is not None
        await self._producer.begin_transaction()
        yield self._producer
        await self._producer.commit_transaction()

    async def _append(
        self, producer: AIOKafkaProducer, checkpoint: Checkpoint, table: RunsTable
    ) -> tuple[list[bytes | None], AsOf]:
        """The JSON of each row, and what the table is as of with them."""
        table_id = table.as_of.table_id if table.as_of else str(uuid.uuid4())
        rows, records = records_of(checkpoint, table_id)
        marker = await append_batch(producer, self._topic, self._partition, records)
        return rows, AsOf(table_id, marker, checkpoint.position)
