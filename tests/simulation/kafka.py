"""aiokafka's producer and consumer, as far as streamwf uses them, over the simulated broker.

They stand where the adapters make theirs, so that all that is built on them is the real code.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from tests.simulation.broker import Broker, Given, Header, Written
from tests.simulation.loop import PROCESS
from tests.simulation.network import Network


class Sent(NamedTuple):
    """Where a record, or the first of a batch, lies."""

    offset: int


@dataclass
class Cluster:
    """What the clients of a simulation share.

    now_ms: the time of a process by its own clock, in milliseconds since 1970.
    room: the most records of a batch. bite: the most records that are read at once.
    """

    broker: Broker
    network: Network
    now_ms: Callable[[], int]
    chance: Any
    room: int
    bite: int
    #: By process: how many records back a log is to be read again, and how many get lost on their
    #: way from there.
    rewinds: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    logs: frozenset[str] = frozenset()


class Batch:
    """Records on their way."""

    def __init__(self, room: int, now_ms: int) -> None:
        self._room = room
        self._now_ms = now_ms
        self.records: list[Given] = []

    def append(
        self,
        *,
        key: bytes | None,
        value: bytes | None,
        timestamp: int | None,
        headers: Sequence[Header] = (),
    ) -> object | None:
        """None if it is full."""
        if len(self.records) >= self._room:
            return None
        at = self._now_ms if timestamp is None else timestamp
        self.records.append(Given(key, value, at, tuple(headers)))
        return self

    def record_count(self) -> int:
        return len(self.records)

    def close(self) -> None:
        pass


class Producer:
    """Stands for AIOKafkaProducer: one that writes nothing twice, and keeps the order."""

    def __init__(self, cluster: Cluster, transactional_id: str | None) -> None:
        self._cluster = cluster
        self._name = transactional_id
        self._epoch = 0
        self._last: dict[TopicPartition, asyncio.Task[Sent]] = {}

    async def start(self) -> None:
        name = self._name
        if name is None:
            await self._cluster.network.ask("connect", lambda: None)
        else:
            self._epoch = await self._ask("fence", lambda: self._cluster.broker.fence(name))

    async def stop(self) -> None:
        # Who gives up waiting for it does not undo what is under way.
        under_way = [sending for sending in self._last.values() if not sending.done()]
        if under_way:
            await asyncio.wait(under_way)

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(await self._ask("metadata", lambda: self._cluster.broker.count(topic))))

    # ---- batches

    def create_batch(self) -> Batch:
        return Batch(self._cluster.room, self._cluster.now_ms())

    async def send_batch(
        self, batch: Batch, topic: str, *, partition: int
    ) -> "asyncio.Future[Sent]":
        at = TopicPartition(topic, partition)
        return self._send(at, batch.records)

    async def send_and_wait(self, *given: Any, **named: Any) -> Sent:
        """As `send`, and waits for it."""
        return await (await self.send(*given, **named))

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = 0,
        timestamp_ms: int | None = None,
        headers: Sequence[Header] = (),
    ) -> "asyncio.Future[Sent]":
        now_ms = self._cluster.now_ms() if timestamp_ms is None else timestamp_ms
        given = Given(key, value, now_ms, tuple(headers))
        return self._send(TopicPartition(topic, partition), [given])

    def _send(self, at: TopicPartition, records: list[Given]) -> "asyncio.Task[Sent]":
        sending = asyncio.ensure_future(self._sent(at, records, self._last.get(at)))
        self._last[at] = sending
        # Whether it is waited for is the caller's business.
        sending.add_done_callback(lambda task: task.cancelled() or task.exception())
        return sending

    async def _sent(
        self, at: TopicPartition, records: list[Given], before: "asyncio.Task[Sent] | None"
    ) -> Sent:
        if before is not None and not before.done():
            await asyncio.wait({before})
        name, epoch, broker = self._name, self._epoch, self._cluster.broker
        kind = "append" if at.topic in self._cluster.logs else "write"
        return Sent(await self._ask(kind, lambda: broker.append(at, records, name, epoch)))

    # ---- transactions

    async def begin_transaction(self) -> None:
        assert self._name is not None

    async def commit_transaction(self) -> None:
        await self._finish("committed")

    async def abort_transaction(self) -> None:
        await self._finish("aborted")

    async def _finish(self, state: str) -> None:
        name, epoch = self._name or "", self._epoch
        await self._ask("commit", lambda: self._cluster.broker.finish(name, epoch, state))

    async def _ask(self, kind: str, do: Callable[[], Any]) -> Any:
        return await self._cluster.network.ask(kind, do)


class Consumer:
    """Stands for AIOKafkaConsumer, without a group."""

    def __init__(self, cluster: Cluster, *, committed: bool) -> None:
        self._cluster = cluster
        self._committed = committed
        self._process = PROCESS.get()
        self._positions: dict[TopicPartition, int] = {}
        self._seen: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        await self._ask(lambda: None)

    async def stop(self) -> None:
        pass

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)
        self._seen = {}

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def last_stable_offset(self, partition: TopicPartition) -> int | None:
        """As it was told last; None if it was not told yet."""
        return self._seen.get(partition)

    async def end_offsets(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        broker = self._cluster.broker
        found: Mapping[TopicPartition, int] = await self._ask(
            lambda: {at: broker.end(at, committed=self._committed) for at in partitions}
        )
        return found

    async def beginning_offsets(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        found: Mapping[TopicPartition, int]
        found = await self._ask(lambda: dict.fromkeys(partitions, 0))
        return found

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int | None = None
    ) -> dict[TopicPartition, list[Written]]:
        network, loop = self._cluster.network, asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        await network.pause()
        while True:
            # What is followed may be other partitions by now.
            wanted = sorted(at for at in partitions or self._positions if at in self._positions)
            if not network.is_away(self._process):
                found = self._read(wanted, max_records or 500)
                if found:
                    return found
            left = deadline - loop.time()
            if left <= 0:
                return {}
            await self._grown(wanted, left)

    async def _grown(self, wanted: Sequence[TopicPartition], seconds: float) -> None:
        """Return once one of these may have grown, or the time is over."""
        loop, network = asyncio.get_running_loop(), self._cluster.network
        grown = loop.create_future()

        def told() -> None:
            if not grown.done():
                grown.set_result(None)

        if network.is_away(self._process):
            await asyncio.sleep(min(seconds, network.reachable_at(self._process) - loop.time()))
            return

        def grew() -> None:
            network.soon(told)

        partitions = [self._cluster.broker.partition(at) for at in wanted]
        for partition in partitions:
            partition.watchers.append(grew)
        timer = loop.call_later(seconds, told)
        try:
            await grown
        finally:
            timer.cancel()
            for partition in partitions:
                if grew in partition.watchers:
                    partition.watchers.remove(grew)

    def _read(
        self, wanted: Sequence[TopicPartition], most: int
    ) -> dict[TopicPartition, list[Written]]:
        cluster, found = self._cluster, {}
        limit = min(most, 1 + int(cluster.chance.random() * cluster.bite))
        # What is assigned may be other by now.
        for at in (each for each in wanted if each in self._positions):
            broker = cluster.broker
            position = self._rewound(at, self._positions[at])
            records, position = broker.read(at, position, limit, committed=self._committed)
            self._positions[at] = max(position, self._positions[at])
            self._seen[at] = broker.end(at, committed=self._committed)
            if records:
                found[at] = records
        return found

    def _rewound(self, at: TopicPartition, position: int) -> int:
        """Where a log is read on: earlier than it should, if that is made to happen."""
        cluster, name = self._cluster, self._process.name
        left = cluster.broker.end(at, committed=False) - position
        if at.topic in cluster.logs and left > 0 and name in cluster.rewinds:
            return max(position - cluster.rewinds.pop(name), 0)
        return position

    async def _ask(self, do: Callable[[], Any]) -> Any:
        return await self._cluster.network.ask("read", do)
