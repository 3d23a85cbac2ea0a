"""A broker as Kafka's is, as far as workers can tell: topics, transactions, fences, and the end of
what is committed. It never loses what it has acknowledged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced, UnknownTopicOrPartitionError

Header = tuple[str, bytes]


class Written(NamedTuple):
    """A record as it lies in a partition. Implements `streamwf.ports.LogRecord`.

    timestamp: milliseconds since 1970. writer: the transaction that it is of, if any.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
    writer: "Transaction | None" = None


class Given(NamedTuple):
    """A record that is to be appended."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[Header, ...] = ()


@dataclass(eq=False)
class Transaction:
    """state: open, committed or aborted. first: where it begins in each partition."""

    state: str = "open"
    first: dict[TopicPartition, int] = field(default_factory=dict)


@dataclass(eq=False)
class Partition:
    """slots: by offset; None for the end of a transaction, and for what was compacted away."""

    slots: list[Written | None] = field(default_factory=list)
    open: list[Transaction] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)

    @property
    def end(self) -> int:
        return len(self.slots)


class Broker:
    """partitions: how many each topic has."""

    def __init__(self, topics: dict[str, int]) -> None:
        self._partitions = {
            TopicPartition(topic, n): Partition()
            for topic, count in topics.items()
            for n in range(count)
        }
        self._counts = dict(topics)
        self._epochs: dict[str, int] = {}
        self._current: dict[str, Transaction | None] = {}

    def count(self, topic: str) -> int:
        """Raises UnknownTopicOrPartitionError."""
        if topic not in self._counts:
            raise UnknownTopicOrPartitionError(topic)
        return self._counts[topic]

    def partition(self, at: TopicPartition) -> Partition:
        """Raises UnknownTopicOrPartitionError."""
        if at not in self._partitions:
            raise UnknownTopicOrPartitionError(at)
        return self._partitions[at]

    # ---- transactions

    def fence(self, name: str) -> int:
        """Begin a producer's next epoch: what the one before has not committed is undone."""
        transaction = self._current.get(name)
        if transaction is not None:
            self._finish(name, transaction, "aborted")
        self._epochs[name] = self._epochs.get(name, -1) + 1
        return self._epochs[name]

    def check(self, name: str, epoch: int) -> None:
        """Raises ProducerFenced."""
        if self._epochs[name] != epoch:
            raise ProducerFenced(name)

    def finish(self, name: str, epoch: int, state: str) -> None:
        """Commit or abort what a producer has written. Raises ProducerFenced."""
        self.check(name, epoch)
        transaction = self._current.get(name)
        if transaction is not None:
            self._finish(name, transaction, state)

    def _finish(self, name: str, transaction: Transaction, state: str) -> None:
        transaction.state = state
        self._current[name] = None
        for at in transaction.first:
            partition = self._partitions[at]
            partition.open.remove(transaction)
            partition.slots.append(None)
            self._tell(partition)

    # ---- writing

    def append(
        self, at: TopicPartition, records: list[Given], name: str | None = None, epoch: int = 0
    ) -> int:
        """Append a batch, and return the offset of its first record.

        name, epoch: of the producer, if it is in a transaction. Raises ProducerFenced.
        """
        transaction = None if name is None else self._in(name, epoch, at)
        partition = self.partition(at)
        first = partition.end
        for n, given in enumerate(records):
            partition.slots.append(
                Written(
                    at.topic,
                    at.partition,
                    first + n,
                    given.timestamp,
                    given.key,
                    given.value,
                    given.headers,
                    transaction,
                )
            )
        self._tell(partition)
        return first

    def _in(self, name: str, epoch: int, at: TopicPartition) -> Transaction:
        self.check(name, epoch)
        transaction = self._current.get(name)
        if transaction is None:
            transaction = self._current[name] = Transaction()
        if at not in transaction.first:
            partition = self.partition(at)
            transaction.first[at] = partition.end
            partition.open.append(transaction)
        return transaction

    def _tell(self, partition: Partition) -> None:
        watchers, partition.watchers = partition.watchers, []
        for watcher in watchers:
            watcher()

    def compact(self, at: TopicPartition) -> int:
        """Leave of each key only the last record; return how many are gone."""
        slots, seen, gone = self.partition(at).slots, set[bytes | None](), 0
        for offset in reversed(range(self.end(at, committed=True))):
            slot = slots[offset]
            if slot is None:
                continue
            aborted = slot.writer is not None and slot.writer.state != "committed"
            if aborted or slot.key in seen:
                slots[offset] = None
                gone += 1
            elif not aborted:
                seen.add(slot.key)
        return gone

    # ---- reading

    def end(self, at: TopicPartition, *, committed: bool) -> int:
        """Where the log ends; or what is committed of it."""
        partition = self.partition(at)
        if committed and partition.open:
            return min(transaction.first[at] for transaction in partition.open)
        return partition.end

    def read(
        self, at: TopicPartition, start: int, limit: int, *, committed: bool
    ) -> tuple[list[Written], int]:
        """At most so many records from an offset on, and the offset to go on from."""
        slots, end = self.partition(at).slots, self.end(at, committed=committed)
        found: list[Written] = []
        offset = start
        while offset < end and len(found) < limit:
            slot = slots[offset]
            if slot is not None and (not committed or _committed(slot)):
                found.append(slot)
            offset += 1
        return found, offset

    def all(self, at: TopicPartition, *, committed: bool = False) -> Iterator[Written]:
        """Every record of a partition."""
        yield from self.read(at, 0, self.partition(at).end, committed=committed)[0]


def _committed(slot: Written) -> bool:
    return slot.writer is None or slot.writer.state == "committed"
