"""Appending to topics: whole batches to a known partition."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from streamwf.adapters.kafka.reach import unreachable
from streamwf.adapters.kafka.security import client_arguments
from streamwf.settings import Settings

#: Bytes of a producer's batch.
BATCH_BYTES = 512 << 10

Header = tuple[str, bytes]


def producer(settings: Settings, transactional_id: str | None = None) -> AIOKafkaProducer:
    """A producer that waits for all replicas and writes nothing twice. Raises InvalidSettings."""
    return AIOKafkaProducer(
        **client_arguments(settings.brokers, settings),
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=max(BATCH_BYTES, settings.max_record_bytes + 64_000),
        max_request_size=max(4 * settings.max_record_bytes, 4_000_000),
        transactional_id=transactional_id,
        transaction_timeout_ms=60_000,
        request_timeout_ms=40_000,
    )


class LazyProducer:
    """A producer that is started when it is needed first, and anew after an error: one that numbers
    its batches can't go on past one that it has lost."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[AIOKafkaProducer]:
        """Raises BrokerUnreachable, for what fails in the block, too, but MessageSizeTooLargeError
        as it is."""
        try:
            yield await self._started()
        except MessageSizeTooLargeError:
            raise
        except (KafkaError, OSError) as error:
            await self.stop()
            raise unreachable(self._settings.brokers, error) from error

    async def _started(self) -> AIOKafkaProducer:
        async with self._turn:
            if self._producer is None:
                started = producer(self._settings)
                try:
                    await started.start()
                except BaseException:
                    await started.stop()
                    raise
                self._producer = started
            return self._producer

    async def stop(self) -> None:
        dropped, self._producer = self._producer, None
        if dropped is not None:
            await dropped.stop()


async def append_batch(
    to: AIOKafkaProducer,
    topic: str,
    partition: int,
    records: Iterable[tuple[bytes | None, bytes | None]],
    headers: Sequence[Header] = (),
) -> int:
    """Append (key, value) records in order, and return the offset of the last one.

    One future for each batch, not for each record: that is a quarter of the cost of producing.
    Raises aiokafka's KafkaError.
    """
    futures, marks = [], list(headers)
    batch = to.create_batch()
    for key, value in records:
        if batch.append(key=key, value=value, timestamp=None, headers=marks) is None:
            futures.append((await _send(to, batch, topic, partition), batch.record_count()))
            batch = to.create_batch()
            batch.append(key=key, value=value, timestamp=None, headers=marks)
    futures.append((await _send(to, batch, topic, partition), batch.record_count()))
    last = -1
    for future, count in futures:
        last = (await future).offset + count - 1
    return last


async def _send(
    to: AIOKafkaProducer, batch: BatchBuilder, topic: str, partition: int
) -> asyncio.Future[RecordMetadata]:
    batch.close()
    future: asyncio.Future[RecordMetadata] = await to.send_batch(batch, topic, partition=partition)
    return future
