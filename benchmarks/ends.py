"""Runs that end, as anybody outside sees it in the log."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from streamwf.adapters.kafka.reader import stop_consumer
from streamwf.adapters.kafka.topics import Topics
from streamwf.settings import Settings

COMPLETED = b'"state":"COMPLETED"'
MOVED = b'"type":"moved"'


class Took(NamedTuple):
    """begun: by `time.perf_counter`. seconds: from there until its end was seen."""

    begun: float
    seconds: float

    def within(self, begin: float, end: float) -> bool:
        """Whether it was under way at some time between these."""
        return self.begun <= end and self.begun + self.seconds >= begin


class Ends:
    """Reads some partitions of the log of `orders` from where they end now.

    ended: called with each record that says that a run has ended. took: the runs that were told of
    by `begins`, in the order of their ends. steps: how long each of their steps took, from what it
    began after to its result, as both were seen here.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: Iterable[int],
        ended: Callable[[ConsumerRecord], None] = lambda record: None,
    ) -> None:
        topic = Topics.of("orders", settings).events
        self._partitions = [TopicPartition(topic, number) for number in partitions]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.brokers, fetch_max_wait_ms=200, max_poll_records=2_000
        )
        self._ended = ended
        self._begun: dict[bytes, float] = {}
        self._last: dict[bytes, float] = {}
        self.took: list[Took] = []
        self.steps: list[Took] = []

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_end(*self._partitions)
        for partition in self._partitions:
            await self._consumer.position(partition)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await stop_consumer(self._consumer)

    @property
    def under_way(self) -> int:
        """How many of those that were told of have not ended."""
        return len(self._begun)

    def begins(self, key: bytes) -> None:
        """A run is being asked for."""
        self._begun[key] = self._last[key] = time.perf_counter()

    async def look(self) -> None:
        """Look at what has come since the last time; wait for it, for a second at most."""
        for records in (await self._consumer.getmany(timeout_ms=1_000)).values():
            now = time.perf_counter()
            for record in records:
                if record.key in self._begun and MOVED in record.value:
                    self._moved(record, now)
                if COMPLETED in record.value:
                    self._ended(record)

    def _moved(self, record: ConsumerRecord, now: float) -> None:
        last, self._last[record.key] = self._last[record.key], now
        self.steps.append(Took(last, now - last))
        if COMPLETED in record.value:
            begun = self._begun.pop(record.key)
            del self._last[record.key]
            self.took.append(Took(begun, now - begun))

    async def watch(self) -> None:
        """Look, for as long as it is let."""
        while True:
            await self.look()


def percentile(seconds: Iterable[float], share: float) -> float:
    """In milliseconds. share: 0.5 for the median. Not a number if there is nothing."""
    ordered = sorted(seconds)
    return 1_000 * ordered[int(share * (len(ordered) - 1))] if ordered else float("nan")
