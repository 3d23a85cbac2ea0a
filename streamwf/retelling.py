"""Telling again what was in a shard's log: the moves of a part of it, read back.

Which of its events have changed a run, the rows say: they know where in the log the events of
their runs are. What each has made of its run, the fold says.
"""

from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

import msgspec
from msgspec import UNSET

from .errors import StreamwfError
from .events import CHILD, Event, decode_event
from .fold import Verdict, fold
from .moves import Batch, Gap, Move, move_of
from .ports import LogRecord, ShardId
from .record import SEPARATOR, Record
from .shard import Shard

#: How far back the log is read, in records of one shard.
FARTHEST = 10_000

#: Records that are read at a time.
PILE = 500

GONE = "the log does not go back so far any more"
TOO_FAR = f"it is more than {FARTHEST:,} events ago"
TOO_MANY = "run {run_id} has had too many events since to tell what each has changed"


class Log(Protocol):
    """What is asked of the host. Both raise StreamwfError if the log can't be reached."""

    @property
    def max_record_bytes(self) -> int: ...

    async def begin(self, workflow: str, partition: int) -> int:
        """The first offset that a log still has, or a lower one."""

    async def log(
        self, workflow: str, partition: int, offsets: Sequence[int]
    ) -> Sequence[LogRecord]:
        """The records at these ascending offsets, as they lie in the log. What it does not have is
        left out."""


async def retell(host: Log, shard: Shard, begin: int, end: int) -> AsyncIterator[Batch | Gap]:
    """The moves of [begin, end), in order. end: at most the shard's position.

    Raises StreamwfError if the log can't be read.
    """
    name, number = shard.workflow.name, shard.partition
    kept = await host.begin(name, number)
    start = min(max(begin, kept, end - FARTHEST), end)
    if start > begin:
        yield Gap(name, number, begin, start, GONE if kept == start else TOO_FAR)
    retelling = _Retelling(host, shard, start)
    for first in range(start, end, PILE):
        last = min(first + PILE, end)
        moves, gaps = await retelling.moves(range(first, last))
        for gap in gaps:
            yield gap
        yield Batch(ShardId(name, number), first, last, moves)


class _Retelling:
    """Folds anew the runs that a part of the log is about. start: where the part begins."""

    def __init__(self, host: Log, shard: Shard, start: int) -> None:
        self._host = host
        self._shard = shard
        self._start = start
        self._runs: dict[str, Record | None] = {}
        self._lost: set[str] = set()

    async def moves(self, offsets: range) -> tuple[list[tuple[int, Move]], list[Gap]]:
        found = [
            (event, offset, run)
            for offset, event in await self._events(offsets)
            if (run := self._changed(event, offset)) is not None
        ]
        await self._begin({run.run_id: run for _, _, run in found})
        moves: list[tuple[int, Move]] = []
        gaps: dict[str, Gap] = {}
        workflow = self._shard.workflow
        for event, offset, run in found:
            before = self._runs[run.run_id]
            after, verdict = fold(before, event, offset)
            if run.run_id in self._lost or verdict is not Verdict.ACCEPTED or after is None:
                self._lost.add(run.run_id)
                why = TOO_MANY.format(run_id=run.run_id)
                place = (workflow.name, self._shard.partition, offsets.start, offsets.stop)
                gaps[run.run_id] = Gap(*place, why)
                continue
            self._runs[run.run_id] = after
            moves.append((offset + 1, move_of(workflow, before, after, event)))
        return moves, [*gaps.values()]

    async def _begin(self, runs: dict[str, Record]) -> None:
        """Make runs what they were where the part of the log begins."""
        fresh = [run for run_id, run in runs.items() if run_id not in self._runs]
        earlier = {
            run.run_id: run.offsets[: bisect_left(run.offsets, self._start)] for run in fresh
        }
        wanted = sorted(offset for offsets in earlier.values() for offset in offsets)
        events: dict[int, Event] = {}
        for first in range(0, len(wanted), PILE):
            events |= dict(await self._events(wanted[first : first + PILE]))
        for run in fresh:
            self._runs[run.run_id] = None
            if run.version != len(run.offsets) or not set(earlier[run.run_id]) <= events.keys():
                self._lost.add(run.run_id)
                continue
            for offset in earlier[run.run_id]:
                self._runs[run.run_id], _ = fold(self._runs[run.run_id], events[offset], offset)

    async def _events(self, offsets: Sequence[int]) -> Iterable[tuple[int, Event]]:
        place = (self._shard.workflow.name, self._shard.partition)
        records = await self._host.log(*place, offsets)
        return [(r.offset, event) for r in records if (event := self._event(r)) is not None]

    def _event(self, record: LogRecord) -> Event | None:
        try:
            event = decode_event(
                record.value,
                workflow=self._shard.workflow.name,
                partition=self._shard.partition,
                offset=record.offset,
                timestamp_ms=record.timestamp,
                limit=self._host.max_record_bytes,
            )
        except StreamwfError:
            # It has gone to the dead letters, and has changed nothing.
            return None
        # What runs carry is told to nobody.
        return event if event.type == CHILD else msgspec.structs.replace(event, data=UNSET)

    def _changed(self, event: Event, offset: int) -> Record | None:
        """The run that an event has changed."""
        if event.kind:
            return None
        if event.runid:
            run = self._shard.lookup(event.runid)
            return run if run is not None and _has(run, offset) else None
        return next((run for run in self._runs_of(event.subject) if _has(run, offset)), None)

    def _runs_of(self, foreign_id: str) -> Iterable[Record]:
        latest = self._shard.latest(foreign_id)
        if latest is not None:
            yield latest
        earlier = f"{foreign_id}{SEPARATOR}"
        for key, run in self._shard.scan(earlier):
            if not key.startswith(earlier):
                return
            yield run


def _has(run: Record, offset: int) -> bool:
    """Whether the event there has changed a run; of the oldest ones that is not known, and they
    are told to be lost."""
    if run.offsets[0] > offset:
        return run.version != len(run.offsets)
    at = bisect_left(run.offsets, offset)
    return at < len(run.offsets) and run.offsets[at] == offset
