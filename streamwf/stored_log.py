"""What a durable host asks of its log beside the streams: how they are shared out among shards,
where what can't be used goes, and who has the keys of runs.
"""

import contextlib
import zlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from .definition import Workflow
from .grouping import GroupingSender
from .ports import EventSender, EventStreamer, KeyProvider, Letter, LetterLog, ShardId
from .stored_letters import StoredLetters, encoded, letters_of


class Layout(Protocol):
    """How the stream of a workflow's events is shared out among its shards.

    It is the same in every process. shards: of each workflow.
    """

    @property
    def shards(self) -> int: ...

    def shard_of(self, foreign_id: str) -> int:
        """The shard that a foreign id belongs to."""

    def partition_of(self, shard: int) -> int:
        """The partition of the stream that has all of a shard."""

    def shard_at(self, partition: int, key: bytes | None) -> int:
        """The shard that folds a record of a partition, be it that it belongs there or not."""

    def source_of(self, workflow: str) -> str:
        """What the stream is called where people find it."""


class StoredLog(Protocol):
    """The log of a durable host. Each method but `explains` raises StoreUnreachable.

    streamer: has the stream of each workflow's events, by its name. keys: those of runs.
    """

    @property
    def streamer(self) -> EventStreamer: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def keys(self) -> KeyProvider: ...

    @property
    def letters(self) -> LetterLog: ...

    async def start(self, workflows: Iterable[Workflow[Any, Any]]) -> None:
        """Make all that these workflows need, unless it was made already.

        Raises what the adapter says of what is there.
        """

    async def sender(self, workflow: str) -> EventSender | None:
        """Appends to the events of a workflow, be it here or elsewhere; None if there is none."""

    async def bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        """Return once the letters are among the dead letters of a workflow."""

    async def encrypts(self, workflow: str) -> bool:
        """Whether a workflow encrypts that does not run here."""

    def owning(self, shard: ShardId) -> AbstractAsyncContextManager[None]:
        """Know the keys of a shard, and look after them, until the block ends."""

    def explains(self, error: Exception) -> bool:
        """Whether an error is a part of what was told of the log already."""


@dataclass(frozen=True, slots=True)
class OnePartition:
    """All shards lie in one partition, each with the foreign ids of its own."""

    shards: int

    def shard_of(self, foreign_id: str) -> int:
        return zlib.crc32(foreign_id.encode()) % self.shards

    def partition_of(self, shard: int) -> int:
        return 0

    def shard_at(self, partition: int, key: bytes | None) -> int:
        return self.shard_of((key or b"").decode(errors="replace"))

    def source_of(self, workflow: str) -> str:
        return workflow


class StreamLog:
    """A `StoredLog` in streams alone: of one partition each, with the dead letters in another.

    keys: of all runs. Workflows of others are not known here.
    """

    def __init__(self, streamer: EventStreamer, keys: KeyProvider, shards: int) -> None:
        self.streamer = streamer
        self.keys = keys
        self.layout = OnePartition(shards)
        self.letters = StoredLetters(streamer, self.bury)
        self._here: set[str] = set()
        self._to_letters: dict[str, EventSender] = {}

    async def start(self, workflows: Iterable[Workflow[Any, Any]]) -> None:
        self._here.update(workflow.name for workflow in workflows)

    async def sender(self, workflow: str) -> EventSender | None:
        return await self.streamer.sender(workflow) if workflow in self._here else None

    async def bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        if workflow not in self._to_letters:
            sender = await self.streamer.sender(letters_of(workflow))
            self._to_letters[workflow] = GroupingSender(sender)
        await self._to_letters[workflow].send([*map(encoded, letters)])

    async def encrypts(self, workflow: str) -> bool:
        return False

    def owning(self, shard: ShardId) -> AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    def explains(self, error: Exception) -> bool:
        return False
