"""Streams in memory, for trying and testing: they keep every obligation but outliving the process.

All of it runs on one event loop, so nothing here is locked.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamwf.adapters.kafka.topics import partition_of
from streamwf.errors import StreamClosed
from streamwf.execute import SystemClock
from streamwf.ports import Clock, LogRecord, Outgoing, Received


class MemoryRecord(NamedTuple):
    offset: int
    key: bytes
    value: bytes
    timestamp: int


@dataclass(slots=True, eq=False)
class _Stream:
    partitions: list[list[MemoryRecord]]
    committed: dict[str, dict[int, int]] = field(default_factory=dict)
    receivers: set["_Receiver"] = field(default_factory=set)

    @property
    def ends(self) -> list[int]:
        return [len(records) for records in self.partitions]


class MemoryStreams:
    """What streamers have in common that are to see the same streams."""

    def __init__(self, *, partitions: int = 1, clock: Clock | None = None) -> None:
        self._partitions = partitions
        self._clock = clock or SystemClock()
        self._streams: dict[str, _Stream] = {}

    def get(self, stream: str) -> _Stream:
        if stream not in self._streams:
            self._streams[stream] = _Stream([[] for _ in range(self._partitions)])
        return self._streams[stream]

    def append(self, stream: str, records: Sequence[Outgoing]) -> None:
        to = self.get(stream)
        timestamp = int(self._clock.now().timestamp() * 1000)
        for key, value in records:
            log = to.partitions[partition_of(key.decode(), len(to.partitions))]
            log.append(MemoryRecord(len(log), key, value, timestamp))
        for receiver in to.receivers:
            receiver.woken.set()


class MemoryStreamer:
    """An EventStreamer of streams in memory."""

    def __init__(self, streams: MemoryStreams | None = None) -> None:
        """streams: those of other streamers, to be shared with them."""
        self._streams = streams or MemoryStreams()
        self._opened: list[_Sender | _Receiver] = []

    async def sender(self, stream: str) -> "_Sender":
        self._opened.append(sender := _Sender(self._streams, stream))
        return sender

    async def receiver(
        self,
        stream: str,
        name: str,
        *,
        since: Mapping[int, int] | None = None,
        only: Collection[int] | None = None,
        from_latest: bool = False,
    ) -> "_Receiver":
        source = self._streams.get(stream)
        start = [0] * len(source.partitions)
        if since is not None:
            start = [since.get(partition, 0) for partition in range(len(start))]
        elif name in source.committed:
            committed = source.committed[name]
            start = [committed.get(partition, 0) for partition in range(len(start))]
        elif from_latest:
            start = source.ends
        followed = range(len(start)) if only is None else sorted(only)
        positions = {partition: start[partition] for partition in followed}
        self._opened.append(receiver := _Receiver(source, stream, name, positions))
        return receiver

    async def ends(self, stream: str) -> Mapping[int, int]:
        return dict(enumerate(self._streams.get(stream).ends))

    async def read(self, stream: str, partition: int, offsets: Sequence[int]) -> list[LogRecord]:
        log = self._streams.get(stream).partitions[partition]
        return [log[offset] for offset in offsets if 0 <= offset < len(log)]

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()
        self._opened.clear()


class _Sender:
    def __init__(self, streams: MemoryStreams, stream: str) -> None:
        self._streams = streams
        self._stream = stream
        self._closed = False

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self._closed:
            raise StreamClosed(what="sender", stream=self._stream)
        self._streams.append(self._stream, records)

    async def close(self) -> None:
        self._closed = True


class _Receiver:
    def __init__(self, source: _Stream, stream: str, name: str, start: dict[int, int]) -> None:
        self.woken = asyncio.Event()
        self._source = source
        self._stream = stream
        self._name = name
        self._next = start
        self._closed = False
        source.receivers.add(self)

    async def recv(self) -> Sequence[Received]:
        while not self._closed:
            logs = self._source.partitions
            received = [
                Received(partition, record)
                for partition, position in self._next.items()
                for record in logs[partition][position:]
            ]
            if received:
                self._next = {partition: len(logs[partition]) for partition in self._next}
                return received
            self.woken.clear()
            await self.woken.wait()
        raise StreamClosed(what="receiver", stream=self._stream)

    async def ack(self) -> None:
        self._source.committed.setdefault(self._name, {}).update(self._next)

    async def lag(self) -> int:
        ends = self._source.ends
        return sum(ends[partition] - position for partition, position in self._next.items())

    async def close(self) -> None:
        self._closed = True
        self._source.receivers.discard(self)
        self.woken.set()
