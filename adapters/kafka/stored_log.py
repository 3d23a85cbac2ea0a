"""The topics of workflows as the log of a durable host: the same as those of Kafka's own workers.

A shard is a partition. Its keys lie in Kafka, too, beside what is sealed under them: rows may lie
in a store that loses the last of what it was told, and who writes to the topic past all hosts has
to find the keys.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from streamwf.adapters.kafka.append import LazyProducer
from streamwf.adapters.kafka.keys import KafkaKeys
from streamwf.adapters.kafka.letter_log import KafkaLetters
from streamwf.adapters.kafka.letters import bury
from streamwf.adapters.kafka.outages import outages
from streamwf.adapters.kafka.reach import unreachable
from streamwf.adapters.kafka.topics import Topics, ensure_keys, ensure_topics, partition_of
from streamwf.adapters.streams.kafka import KafkaStreamer
from streamwf.definition import Workflow
from streamwf.ports import EventSender, Letter, ShardId
from streamwf.settings import Settings


@dataclass(frozen=True, slots=True)
class PartitionEach:
    """Each shard is a partition, and who belongs there is as Kafka's producers have it."""

    settings: Settings

    @property
    def shards(self) -> int:
        return self.settings.partitions

    def shard_of(self, foreign_id: str) -> int:
        return partition_of(foreign_id, self.shards)

    def partition_of(self, shard: int) -> int:
        return shard

    def shard_at(self, partition: int, key: bytes | None) -> int:
        return partition

    def source_of(self, workflow: str) -> str:
        return Topics.of(workflow, self.settings).events


class TopicLog:
    """Implements `streamwf.stored_log.StoredLog`."""

    def __init__(self, settings: Settings) -> None:
        self.streamer = KafkaStreamer(settings)
        self.layout = PartitionEach(settings)
        self.keys = KafkaKeys(settings)
        self.letters = KafkaLetters(settings, self.bury)
        self._settings = settings
        self._producer = LazyProducer(settings)
        self._here: set[str] = set()
        self._encrypting: set[str] = set()

    async def start(self, workflows: Iterable[Workflow[Any, Any]]) -> None:
        """Raises BrokerUnreachable, PartitionMismatch and TopicRefused."""
        added = [workflow for workflow in workflows if workflow.name not in self._here]
        names = {workflow.name for workflow in added}
        encrypting = {workflow.name for workflow in added if workflow.encrypt}
        try:
            await ensure_topics(names, self._settings)
            await ensure_keys(encrypting, self._settings)
            if encrypting and not self._encrypting:
                await self.keys.start()
            self._here |= names
            self._encrypting |= encrypting
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error

    async def close(self) -> None:
        await self.keys.stop()
        await self.letters.stop()
        await self._producer.stop()
        await self.streamer.close()

    async def sender(self, workflow: str) -> EventSender | None:
        if workflow in self._here or await self._is_elsewhere(workflow):
            return await self.streamer.sender(workflow)
        return None

    async def _is_elsewhere(self, workflow: str) -> bool:
        topic = Topics.of(workflow, self._settings).events
        async with self._producer.working() as asked:
            try:
                await asked.partitions_for(topic)
            except UnknownTopicOrPartitionError:
                return False
            return True

    async def bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        topic = Topics.of(workflow, self._settings).dead_letters
        async with self._producer.working() as to:
            await bury(to, topic, self._settings.partitions, letters)

    async def encrypts(self, workflow: str) -> bool:
        return bool(self._encrypting) and await self.keys.has_keys(workflow)

    @asynccontextmanager
    async def owning(self, shard: ShardId) -> AsyncIterator[None]:
        if shard.workflow not in self._encrypting:
            yield
            return
        await self.keys.open(*shard)
        try:
            yield
        finally:
            self.keys.close(*shard)

    def explains(self, error: Exception) -> bool:
        return outages.explains(error)


@asynccontextmanager
async def topic_log(settings: Settings) -> AsyncIterator[TopicLog]:
    """A log that is closed in the end. What Kafka's clients say of outages is told once."""
    log = TopicLog(settings)
    async with outages.followed(settings.brokers, lambda: log.streamer.heard_at):
        try:
            yield log
        finally:
            await log.close()
