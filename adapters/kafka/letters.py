"""What connectors give a workflow's topics: many events at a time, and dead letters."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from streamwf.adapters.kafka.append import append_batch
from streamwf.adapters.kafka.topics import partition_of
from streamwf.errors import TooLargeForTopic
from streamwf.events import Event, encode_event

if TYPE_CHECKING:
    from streamwf.ports import Letter


async def append_events(
    to: AIOKafkaProducer, topic: str, partitions: int, events: Sequence[Event]
) -> None:
    """Append events where they belong, in their order. Raises TooLargeForTopic and KafkaError."""
    piles: dict[int, list[tuple[bytes, bytes]]] = {}
    for event in events:
        pile = piles.setdefault(partition_of(event.subject, partitions), [])
        pile.append((event.subject.encode(), encode_event(event)))
    try:
        await asyncio.gather(
            *(append_batch(to, topic, partition, pile) for partition, pile in piles.items())
        )
    except MessageSizeTooLargeError as error:
        size = max(len(value) for pile in piles.values() for _, value in pile)
        raise TooLargeForTopic(topic=topic, size=size) from error


async def bury(
    to: AIOKafkaProducer, topic: str, partitions: int, letters: "Sequence[Letter]"
) -> None:
    """Append letters with their own headers, and the reason and the place. Raises KafkaError."""
    await asyncio.gather(*(_bury(to, topic, partitions, letter) for letter in letters))


async def _bury(to: AIOKafkaProducer, topic: str, partitions: int, letter: "Letter") -> None:
    place = {"partition": letter.partition, "offset": letter.position, "reason": letter.reason}
    settles = {"settles": letter.settles} if letter.settles else {}
    told = {"topic": letter.source, **place, **settles}
    headers = [*letter.headers, *((name, text.encode()) for name, text in told.items())]
    # Those of one partition stay in their order.
    partition = partition_of(f"{letter.source}/{letter.partition}", partitions)
    await append_batch(to, topic, partition, [(letter.key, letter.value)], headers)
