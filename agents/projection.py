"""Following a workflow's changelog into a table of a database, for people to query."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.kafka.reader import BATCH, IDLE_MS, consumer, stop_consumer
from streamwf.adapters.kafka.topics import Topics, partitions_of
from streamwf.adapters.sql.projection import Place, Projection
from streamwf.definition import Workflow
from streamwf.errors import StoreUnreachable
from streamwf.settings import Settings
from streamwf.tables.changelog import MARKER_KEY, Marker

logger = structlog.get_logger("streamwf.projection")

#: Seconds until a database or a broker that was out of reach is tried again.
AGAIN = 1.0

#: Rows that are read before they are written without waiting for the end of their checkpoint, as
#: long as the table is being filled.
MANY = 5_000


@dataclass
class _Shard:
    """place: of what is written. rows: read after it. sure: whether a marker was met since."""

    place: Place
    rows: dict[str, bytes | None] = field(default_factory=dict)
    sure: bool = False


class _Stale(Exception):
    """The changelog is another than the one that was followed."""


async def project(
    workflow: Workflow[Any, Any], settings: Settings, engine: AsyncEngine, *, search: bool
) -> None:
    """Follow the changelog until cancelled.

    Raises BrokerUnreachable and WorkflowNotFound, and StoreUnreachable if the database is not there
    at the beginning; later it waits for both of them.
    """
    workflow.validate()
    partitions = await partitions_of(workflow.name, settings)
    projection = Projection(engine, workflow, search=search)
    await projection.prepare()
    reader = consumer(settings, committed=True, follows=True)
    await reader.start()
    try:
        topic = Topics.of(workflow.name, settings).changelog
        follower = _Follower(projection, reader, topic, partitions)
        logger.info("projecting", workflow=workflow.name, table=projection.table.name)
        await follower.run()
    finally:
        await stop_consumer(reader)


class _Follower:
    def __init__(
        self, projection: Projection, reader: AIOKafkaConsumer, topic: str, partitions: int
    ) -> None:
        self._projection = projection
        self._reader = reader
        self._logs = [TopicPartition(topic, number) for number in range(partitions)]
        self._shards: dict[int, _Shard] = {}
        self._reachable = True

    async def run(self) -> None:
        self._reader.assign(self._logs)
        while True:
            try:
                await self._go_on()
            except (StoreUnreachable, KafkaError) as error:
                # What is written is only known to the table now.
                self._shards.clear()
                self._say_reachable(False, str(error) or repr(error))
                await asyncio.sleep(AGAIN)

    async def _go_on(self) -> None:
        for log in self._logs:
            if log.partition not in self._shards:
                await self._begin(log)
        batches = await self._reader.getmany(timeout_ms=IDLE_MS, max_records=BATCH)
        for log, records in batches.items():
            try:
                await self._take(log.partition, records)
            except _Stale:
                logger.warning("projection_begins_anew", shard=log.partition)
                await self._projection.forget(log.partition)
                del self._shards[log.partition]
        self._say_reachable(True)

    def _say_reachable(self, reachable: bool, cause: str = "") -> None:
        if reachable != self._reachable:
            self._reachable = reachable
            if reachable:
                logger.info("projection_goes_on")
            else:
                logger.warning("projection_waits", cause=cause)

    async def _begin(self, log: TopicPartition) -> None:
        place = await self._projection.place(log.partition)
        end = (await self._reader.end_offsets([log]))[log]
        # Half filled, it may be of any incarnation.
        half = place.next_offset and not place.table_id
        if half or place.next_offset > end:
            logger.warning("projection_begins_anew", shard=log.partition)
            await self._projection.forget(log.partition)
            place = await self._projection.place(log.partition)
        self._reader.seek(log, place.next_offset)
        self._shards[log.partition] = _Shard(place, sure=not place.table_id)

    async def _take(self, number: int, records: Sequence[ConsumerRecord]) -> None:
        """Write what whole checkpoints have led to. Raises _Stale."""
        shard = self._shards[number]
        written, after = dict[str, bytes | None](), shard.place
        for record in records:
            if record.offset < after.next_offset:
                raise _Stale
            if record.key != MARKER_KEY:
                shard.rows[(record.key or b"").decode()] = record.value
                if not shard.sure or len(shard.rows) < MANY:
                    continue
            elif record.value is not None:
                marker = msgspec.json.decode(record.value, type=Marker)
                if after.table_id not in ("", marker.table_id):
                    raise _Stale
                shard.sure, after = True, after._replace(table_id=marker.table_id)
            after = after._replace(next_offset=record.offset + 1)
            written |= shard.rows
            shard.rows = {}
        if after == shard.place:
            return
        if await self._projection.write(number, shard.place, after, written):
            shard.place = after
        else:
            # Another process has written it; go on from there.
            del self._shards[number]
