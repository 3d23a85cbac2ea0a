"""The topics of a workflow: their names, and creating them as they have to be.

Every topic exists, with the right number of partitions, before a worker joins its group: the first
workers would otherwise race on each other's topics.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from streamwf.adapters.kafka.murmur2 import murmur2
from streamwf.adapters.kafka.reach import DENIED, PATIENCE, connect, denied, unreachable
from streamwf.errors import AccessDenied, PartitionMismatch, TopicRefused, WorkflowNotFound
from streamwf.settings import Settings

#: Milliseconds after which what was replaced in a topic of keys is compacted away.
SEGMENT_MS = 600_000

#: Milliseconds that a tombstone of a key is kept: longer than reading all keys of a shard takes.
TOMBSTONE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of a workflow's topics. keys: there only if it encrypts."""

    events: str
    changelog: str
    dead_letters: str
    keys: str

    @classmethod
    def of(cls, workflow: str, settings: Settings) -> "Topics":
        base = f"{settings.topic_prefix}{workflow}"
        return cls(
            f"{base}.events", f"{base}.runs-changelog", f"{base}.dead-letters", f"{base}.keys"
        )


def app_id_of(workflows: Iterable[str], settings: Settings) -> str:
    """The worker group of these workflows: as set, or named after them."""
    names = sorted(workflows)
    return settings.app_id or f"{settings.topic_prefix}streamwf-{'-'.join(names)}"


def partition_of(foreign_id: str, partitions: int) -> int:
    """The shard of a foreign id: as Java's and aiokafka's producers place its key."""
    return (murmur2(foreign_id.encode()) & 0x7FFFFFFF) % partitions


async def admin(settings: Settings) -> AIOKafkaAdminClient:
    """A started admin client. Raises BrokerUnreachable and InvalidSettings."""
    return await connect(settings.brokers, settings)


async def ensure_topics(workflows: Iterable[str], settings: Settings) -> None:
    """Create the topics of these workflows, or check those that are there.

    Raises BrokerUnreachable, PartitionMismatch and TopicRefused.
    """
    client = await admin(settings)
    try:
        for workflow in workflows:
            topics = Topics.of(workflow, settings)
            await _ensure(client, _wanted(topics, settings), settings)
    finally:
        await client.close()


async def ensure_keys(workflows: Iterable[str], settings: Settings) -> None:
    """Create the topics of the keys of these workflows, which encrypt, or check them.

    Raises BrokerUnreachable, PartitionMismatch and TopicRefused.
    """
    compacted_soon = {
        "cleanup.policy": "compact",
        "segment.ms": str(SEGMENT_MS),
        "max.compaction.lag.ms": str(SEGMENT_MS),
        "delete.retention.ms": str(TOMBSTONE_MS),
        "file.delete.delay.ms": "1000",
    }
    wanted = [
        NewTopic(
            Topics.of(workflow, settings).keys,
            settings.partitions,
            settings.replication_factor,
            topic_configs=compacted_soon,
        )
        for workflow in workflows
    ]
    if wanted:
        client = await admin(settings)
        try:
            await _ensure(client, wanted, settings)
        finally:
            await client.close()


async def ensure_events(workflow: str, settings: Settings) -> tuple[str, int]:
    """The topic of a workflow's events, and how many partitions it has; created if need be.

    Raises BrokerUnreachable and TopicRefused.
    """
    topics = Topics.of(workflow, settings)
    client = await admin(settings)
    try:
        if topics.events not in await client.list_topics():
            wanted = {topic.name: topic for topic in _wanted(topics, settings)}
            await create(client, wanted[topics.events])
        return topics.events, (await _described(client, [topics.events]))[topics.events]
    except (KafkaError, OSError, TimeoutError) as error:
        raise unreachable(settings.brokers, error) from error
    finally:
        await client.close()


def _wanted(topics: Topics, settings: Settings) -> list[NewTopic]:
    # A record over the limit must still reach the log, to be set aside there with its reason.
    largest = str(max(4 * settings.max_record_bytes, 4_000_000))
    kept = {"retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": largest}
    compacted = {
        "cleanup.policy": "compact",
        "max.message.bytes": largest,
        # Only closed segments are compacted.
        "segment.bytes": str(64 << 20),
        "min.cleanable.dirty.ratio": "0.3",
    }
    configs = {topics.events: kept, topics.changelog: compacted, topics.dead_letters: kept}
    return [
        NewTopic(name, settings.partitions, settings.replication_factor, topic_configs=config)
        for name, config in configs.items()
    ]


async def _ensure(client: AIOKafkaAdminClient, wanted: list[NewTopic], settings: Settings) -> None:
    existing = set(await client.list_topics())
    for topic in wanted:
        if topic.name not in existing:
            await create(client, topic)
    described = await _described(client, [topic.name for topic in wanted])
    for name, partitions in described.items():
        if partitions != settings.partitions:
            raise PartitionMismatch(topic=name, actual=partitions, expected=settings.partitions)


async def create(client: AIOKafkaAdminClient, topic: NewTopic) -> None:
    """Create a topic, or leave it to whoever did so first. Raises TopicRefused and AccessDenied."""
    response = await client.create_topics([topic])
    for _, code, *message in response.topic_errors:
        error = for_code(code)
        if error is TopicAuthorizationFailedError:
            raise AccessDenied(what=f"topic {topic.name}", operations="Create, Read and Write")
        if code and error is not TopicAlreadyExistsError:
            why = (message[0] if message else None) or error.__name__
            raise TopicRefused(topic=topic.name, why=why)


async def recreate_changelog(workflow: str, settings: Settings) -> None:
    """Replace the changelog by an empty one. Raises BrokerUnreachable and TopicRefused."""
    client = await admin(settings)
    topics = Topics.of(workflow, settings)
    wanted = {topic.name: topic for topic in _wanted(topics, settings)}[topics.changelog]
    try:
        if topics.changelog in await client.list_topics():
            await client.delete_topics([topics.changelog])
        async with asyncio.timeout(PATIENCE):
            # Deletion goes on after the answer to it.
            while topics.changelog in await client.list_topics():
                await asyncio.sleep(0.05)
        await create(client, wanted)
        await _described(client, [topics.changelog])
    finally:
        await client.close()


async def _described(client: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    """How many partitions each topic has, once all of them have a leader."""
    async with asyncio.timeout(PATIENCE):
        while True:
            topics = await client.describe_topics(names)
            ready = all(
                not topic["error_code"]
                and topic["partitions"]
                and all(not partition["error_code"] for partition in topic["partitions"])
                for topic in topics
            )
            if ready and len(topics) == len(names):
                return {topic["topic"]: len(topic["partitions"]) for topic in topics}
            await asyncio.sleep(0.05)


async def partitions_of(workflow: str, settings: Settings) -> int:
    """How many partitions a workflow's topics have, which are only looked at.

    Raises BrokerUnreachable, and WorkflowNotFound if the workflow has no topics yet.
    """
    topics = Topics.of(workflow, settings)
    client = await admin(settings)
    try:
        found = await client.list_topics()
        if not {topics.events, topics.changelog} <= set(found):
            known = ", ".join(sorted(name for name in found if name.endswith(".events")))
            raise WorkflowNotFound(workflow=workflow, known=known)
        return (await _described(client, [topics.events]))[topics.events]
    finally:
        await client.close()


async def encrypts(workflow: str, settings: Settings) -> bool:
    """Whether a workflow has a topic of keys. Raises BrokerUnreachable."""
    client = await admin(settings)
    try:
        return Topics.of(workflow, settings).keys in await client.list_topics()
    finally:
        await client.close()


async def running_workers(settings: Settings, app_id: str) -> int:
    """How many members the worker group has now. Raises BrokerUnreachable, and AccessDenied if
    this user may not know."""
    client = await admin(settings)
    try:
        [response] = await client.describe_consumer_groups([app_id])
        groups = response.to_object()["groups"]
        for group in groups:
            if (error := for_code(group["error_code"])) in DENIED:
                raise denied(error, app_id)
        return sum(len(group["members"]) for group in groups)
    except DENIED as error:
        raise denied(type(error), app_id) from error
    finally:
        await client.close()


async def check_group(app_id: str, settings: Settings) -> None:
    """Whether a worker may join its group: a consumer that may not waits for ever, and is silent.

    What keeps the brokers from telling so within `PATIENCE` is left to the consumer.

    Raises AccessDenied and BrokerUnreachable.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await running_workers(settings, app_id)
                    return
                except KafkaError:
                    # The first one of a cluster makes it create the topic of all groups.
                    await asyncio.sleep(0.1)
