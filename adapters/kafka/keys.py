"""The keys of runs on Kafka: a compacted topic of their own for each workflow that encrypts.

Any worker may add a key to a run: it is durable before anything is sealed under it, and each sealed
payload names its key, so that it does not matter who else adds one. A key that is not known here
has been added by another worker, and is found by reading on.

To destroy a run's keys, a mark is appended, then a tombstone for each key before it. The owner of
the shard takes away what others add after the mark, and what a worker that died left to do.

How soon a destroyed key has left the disk: the broker compacts only closed segments, and closes one
when something is appended to it after `SEGMENT_MS`. The owner sees to that. So a key is compacted
away within `SEGMENT_MS` and the broker's next look (`log.cleaner.backoff.ms`, 15 s) on each
replica: about a quarter of an hour in all, while a worker runs.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from streamwf.adapters.kafka.append import producer
from streamwf.adapters.kafka.outages import outages
from streamwf.adapters.kafka.reach import unreachable
from streamwf.adapters.kafka.reader import consumer, read_to, stop_consumer
from streamwf.adapters.kafka.topics import SEGMENT_MS, Topics, partition_of
from streamwf.ports import Key, Logger
from streamwf.settings import Settings
from streamwf.tables.keys import DESTROYED, KeyTable, fresh_key, record_key

_logger: Logger = structlog.get_logger("streamwf.keys")

#: Seconds between two looks at what other workers have added.
SWEEP = 5.0

#: Seconds after a destruction at which its segment is old enough to be closed.
CLOSE = SEGMENT_MS / 1000 + 5

#: Milliseconds after which a mark goes: nothing that was under way then is under way any more.
MARK_MS = 24 * 3_600_000

#: The key of a record that says nothing, and only closes a segment.
_CLOSES = b"\0close"


@dataclass(slots=True)
class _Shard:
    """What is known here of the keys in a partition.

    position: up to where it was read. close_at: when its segment is to be closed, if it has to be.
    """

    table: KeyTable = field(default_factory=KeyTable)
    position: int = 0
    owned: bool = False
    close_at: float | None = None


class KafkaKeys:
    """Implements `streamwf.ports.KeyProvider`.

    The keys of a shard are held in memory while this worker owns it, or has needed one of them:
    about 300 bytes for each run that has not been deleted or forgotten.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sweep: float = SWEEP,
        close: float = CLOSE,
        logger: Logger | None = None,
    ) -> None:
        """sweep, close: seconds, as above."""
        self._logger = logger or _logger
        self._settings = settings
        self._sweep_every = sweep
        self._close_after = close
        self._shards: dict[TopicPartition, _Shard] = {}
        self._turn = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None
        self._reader: AIOKafkaConsumer | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises KafkaError."""
        self._producer = producer(self._settings)
        await self._producer.start()
        self._reader = consumer(self._settings)
        await self._reader.start()
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        if self._reader is not None:
            await stop_consumer(self._reader)
        if self._producer is not None:
            await self._producer.stop()

    async def open(self, workflow: str, partition: int) -> None:
        """This worker owns a shard from now on. All keys that it has are known then.

        Raises BrokerUnreachable.
        """
        log = self._log(workflow, partition)
        shard = self._shards.setdefault(log, _Shard())
        shard.owned = True
        await self._settle(log, shard)

    def close(self, workflow: str, partition: int) -> None:
        """This worker does not own the shard any more."""
        self._shards.pop(self._log(workflow, partition), None)

    async def has_keys(self, workflow: str) -> bool:
        """Whether a workflow has a topic of keys. Raises BrokerUnreachable."""
        assert self._producer is not None
        try:
            await self._producer.partitions_for(self._log(workflow, 0).topic)
            return True
        except UnknownTopicOrPartitionError:
            return False
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error

    # ---- what the port asks

    async def obtain(self, workflow: str, foreign_id: str, run_id: str) -> Key:
        """Raises KeyDestroyed and BrokerUnreachable."""
        log = await self._log_of(workflow, foreign_id)
        shard = self._shards.get(log)
        known = None if shard is None else shard.table.first(foreign_id, run_id)
        if known is not None:
            return known
        key = fresh_key()
        name = record_key(foreign_id, run_id, key.id)
        await self._append(log, [(name, key.secret)])
        if shard is not None:
            shard.table.apply(name, key.secret, _now_ms())
            # It may have been destroyed meanwhile.
            shard.table.first(foreign_id, run_id)
        return key

    async def get(self, workflow: str, foreign_id: str, run_id: str, key_id: str) -> Key | None:
        """Raises BrokerUnreachable."""
        log = await self._log_of(workflow, foreign_id)
        shard = self._shards.setdefault(log, _Shard())
        key = shard.table.get(foreign_id, run_id, key_id)
        if key is not None or shard.table.destroyed(foreign_id, run_id):
            return key
        async with self._turn:
            # Whoever had the turn before may have read it.
            if shard.table.get(foreign_id, run_id, key_id) is None:
                await self._read_on(log, shard)
        return shard.table.get(foreign_id, run_id, key_id)

    async def destroy(self, workflow: str, foreign_id: str, run_id: str) -> None:
        """Raises BrokerUnreachable."""
        log = await self._log_of(workflow, foreign_id)
        shard = self._shards.setdefault(log, _Shard())
        await self._append(log, [(record_key(foreign_id, run_id), DESTROYED)])
        await self._settle(log, shard)

    # ---- reading and mending

    async def _settle(self, log: TopicPartition, shard: _Shard) -> None:
        """Read on to the end, and take away the keys that are stray."""
        async with self._turn:
            await self._read_on(log, shard)
        await self._bury(log, shard, sorted(shard.table.stray))

    async def _bury(self, log: TopicPartition, shard: _Shard, names: Iterable[bytes]) -> None:
        tombstones: list[tuple[bytes, bytes | None]] = [(name, None) for name in names]
        if tombstones:
            await self._append(log, tombstones)
            for name, nothing in tombstones:
                shard.table.apply(name, nothing, 0)

    async def _read_on(self, log: TopicPartition, shard: _Shard) -> None:
        """Read up to the end of now. The caller has the turn: there is one reader."""
        assert self._reader is not None
        try:
            end = (await self._reader.end_offsets([log]))[log]
            async for records in read_to(self._reader, log, shard.position, end):
                for record in records:
                    key = record.key or b""
                    shard.table.apply(key, record.value, record.timestamp)
                    if key != _CLOSES and record.value in (None, DESTROYED):
                        shard.close_at = time.monotonic() + self._close_after
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error
        shard.position = max(shard.position, end)

    async def _append(self, log: TopicPartition, records: list[tuple[bytes, bytes | None]]) -> None:
        assert self._producer is not None
        try:
            # One by one: what several ask for at the same time goes in one batch.
            waiting = [
                await self._producer.send(log.topic, value, key=key, partition=log.partition)
                for key, value in records
            ]
            await asyncio.gather(*waiting)
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error

    # ---- from time to time

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every)
            for log, shard in list(self._shards.items()):
                try:
                    await self._look_after(log, shard)
                except Exception as error:
                    # Whatever it was: the next look comes soon, and no other does this.
                    outages.warn("keys_not_swept", error, self._logger, topic=log.topic)

    async def _look_after(self, log: TopicPartition, shard: _Shard) -> None:
        if not shard.owned:
            async with self._turn:
                await self._read_on(log, shard)
            return
        await self._settle(log, shard)
        await self._bury(log, shard, shard.table.old_marks(_now_ms() - MARK_MS))
        if shard.close_at is not None and time.monotonic() >= shard.close_at:
            shard.close_at = None
            await self._append(log, [(_CLOSES, None)])

    def _log(self, workflow: str, partition: int) -> TopicPartition:
        return TopicPartition(Topics.of(workflow, self._settings).keys, partition)

    async def _log_of(self, workflow: str, foreign_id: str) -> TopicPartition:
        # Another workflow may be another group's, and have a number of partitions of its own.
        partitions = await self._partitions_of(workflow)
        return self._log(workflow, partition_of(foreign_id, partitions))

    async def _partitions_of(self, workflow: str) -> int:
        assert self._producer is not None
        try:
            return len(await self._producer.partitions_for(self._log(workflow, 0).topic))
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
