"""The dead letters of workflows in their topics, as they are looked at and settled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streamwf.adapters.kafka.reach import unreachable
from streamwf.adapters.kafka.reader import OffsetReader, consumer, read_to, started, stop_consumer
from streamwf.adapters.kafka.topics import Topics
from streamwf.ports import Filed, Letter
from streamwf.settings import Settings

#: The headers that say what a letter is; all others are those of what was set aside.
_OURS = ("topic", "partition", "offset", "reason", "settles")


class KafkaLetters:
    """Implements `streamwf.ports.LetterLog`. append: adds letters to those of a workflow."""

    def __init__(
        self, settings: Settings, append: Callable[[str, Sequence[Letter]], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._append = append
        self._consumer: AIOKafkaConsumer | None = None
        self._turn = asyncio.Lock()
        self._offsets = OffsetReader(settings)

    async def stop(self) -> None:
        await self._offsets.stop()
        if self._consumer is not None:
            await stop_consumer(self._consumer)

    async def since(
        self, workflow: str, positions: Mapping[int, int]
    ) -> AsyncIterator[Sequence[Filed]]:
        topic = Topics.of(workflow, self._settings).dead_letters
        partitions = [TopicPartition(topic, n) for n in range(self._settings.partitions)]
        try:
            async with self._turn:
                if self._consumer is None:
                    self._consumer = await started(consumer(self._settings, committed=True))
                reader = self._consumer
                ends = await reader.end_offsets(partitions)
                for at in partitions:
                    start = positions.get(at.partition, 0)
                    if start < ends[at]:
                        async for records in read_to(reader, at, start, ends[at]):
                            yield [_filed(record) for record in records]
        except (KafkaError, OSError) as error:
            raise unreachable(self._settings.brokers, error) from error

    async def read(self, workflow: str, partition: int, offset: int) -> Filed | None:
        topic = Topics.of(workflow, self._settings).dead_letters
        if partition >= self._settings.partitions:
            return None
        try:
            found = await self._offsets.read(TopicPartition(topic, partition), [offset])
        except (KafkaError, OSError) as error:
            raise unreachable(self._settings.brokers, error) from error
        return _filed(found[0]) if found else None

    async def settle(self, workflow: str, letter: Letter) -> None:
        try:
            await self._append(workflow, [letter])
        except (KafkaError, OSError) as error:
            raise unreachable(self._settings.brokers, error) from error


def _filed(record: ConsumerRecord) -> Filed:
    said: dict[str, str] = {}
    others: list[tuple[str, bytes]] = []
    # Ours come last: what was set aside may have had some of the same names.
    for name, value in reversed(record.headers):
        if name in _OURS and name not in said:
            said[name] = value.decode(errors="replace")
        else:
            others.append((name, value))
    letter = Letter(
        record.key,
        record.value,
        said.get("reason", ""),
        said.get("topic", ""),
        said.get("partition", ""),
        said.get("offset", ""),
        tuple(reversed(others)),
        said.get("settles", ""),
    )
    return Filed(record.partition, record.offset, record.timestamp, letter)
