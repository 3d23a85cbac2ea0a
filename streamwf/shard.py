"""A shard: the runs of one partition of a workflow's log, folded in its order.

The shard folds batches synchronously and keeps changed rows in memory, where every reader sees
them, until a checkpoint has made them durable. What is due is offered to the dispatcher only
once the shard is live: when it has folded all that was in the log when it was opened.

Whoever drives the shard (a host) reads the log into `fold`, appends what `take_appends` hands
out, makes checkpoints durable, and calls `tick`.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from .agenda import entries
from .definition import Workflow
from .dispatch import Dispatcher
from .errors import (
    LiveRunsInUnknownStatus,
    NotReady,
    RecordTooLarge,
    RequestRefused,
    UnreadableRecord,
)
from .events import REJECTED, REQUESTS, TRIGGER, Event, decode_event, encode_event
from .execute import Executor, rejected_trigger
from .fold import Verdict, fold
from .ports import Change, Checkpoint, Clock, LogRecord, ShardTable
from .record import LIVE, Record, State
from .timetable import Timetable
from .waiting import Waiting

#: Jobs that wait for a runner before the log is read more slowly than it could be.
MAX_QUEUED = 20_000

#: Between a foreign id and the run id in the key of a run that is not its latest.
SEPARATOR = "\0"


class Append(NamedTuple):
    """A record to be appended to the shard's own partition of the log."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Aside:
    """A record that does not belong here. reason: why; None for one that is only forwarded."""

    key: bytes | None
    value: bytes
    offset: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """max_record_bytes: the largest record that is read or appended."""

    max_record_bytes: int = 1_000_000


_ACCEPTED = Verdict.ACCEPTED


def archive_key(record: Record) -> str:
    """The key of a run that is not the latest of its foreign id."""
    return f"{record.foreign_id}{SEPARATOR}{record.run_id}"


class Shard:
    """One partition of one workflow, from the moment it is opened until it is lost.

    end: the end of the log when the shard was opened.
    misplaced: tells whether a foreign id belongs to another partition.
    may_start: whether a step may be started now; None for always.
    wake: called when there is something to append.
    """

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        partition: int,
        table: ShardTable,
        *,
        end: int,
        clock: Clock,
        threads: ThreadPoolExecutor,
        wake: Callable[[], None],
        misplaced: Callable[[str], bool],
        limits: Limits,
        may_start: Callable[[], bool] | None = None,
    ) -> None:
        self.workflow = workflow
        self.partition = partition
        self.table = table
        self.position = table.position or 0
        self.checkpointed = self.position
        self.end = end
        self.live = False
        self.open = True
        self.verdicts: Counter[tuple[str, Verdict]] = Counter()
        self.set_aside = 0
        self.waiting = Waiting()
        self._clock = clock
        self._wake = wake
        self._misplaced = misplaced
        self._limits = limits
        self._changes: dict[str, Change] = {}
        self._writing: dict[str, Change] = {}
        self._under_way = False
        self._run_ids: dict[str, str] = {}
        self._appends: list[Append] = []
        self._asides: list[Aside] = []
        self._timetable = Timetable(table, self.latest)
        self.dispatcher = Dispatcher(
            Executor(workflow, clock, threads, limits.max_record_bytes),
            self._result,
            self._recheck,
            may_start,
        )

    # ---- folding

    def fold(self, records: Sequence[LogRecord]) -> None:
        """Fold a batch, in the order of the log. What was folded before is passed over."""
        now = self._clock.now()
        for record in records:
            if record.offset >= self.position:
                self._fold_one(record, now)
                self.position = record.offset + 1
        if not self.live:
            self.maybe_live()

    def _fold_one(self, record: LogRecord, now: datetime) -> None:
        try:
            event = decode_event(
                record.value,
                workflow=self.workflow.name,
                partition=self.partition,
                offset=record.offset,
                timestamp_ms=record.timestamp,
                limit=self._limits.max_record_bytes,
            )
            key, known = self._named(event)
            if event.type in REQUESTS and self._elsewhere(record, event):
                return
            after, verdict = fold(known, event, record.offset)
        except (UnreadableRecord, RecordTooLarge, RequestRefused) as error:
            self._put_aside(record, str(error))
            return
        self.verdicts[event.type, verdict] += 1
        if verdict is _ACCEPTED and after is not None:
            self._apply(key, known, after, event, now)
        self.waiting.judged(event.id, verdict, after)

    def _named(self, event: Event) -> tuple[str, Record | None]:
        """The run that an event is judged by, and its key."""
        foreign_id = event.subject
        latest = self._get(foreign_id)
        if latest is None or not event.runid or latest.run_id == event.runid:
            return foreign_id, latest
        key = f"{foreign_id}{SEPARATOR}{event.runid}"
        earlier = self._get(key)
        if earlier is None and event.type == TRIGGER:
            return foreign_id, latest
        return key, earlier

    def _elsewhere(self, record: LogRecord, event: Event) -> bool:
        if not self._misplaced(event.subject):
            return False
        if event.forwarded:
            raise UnreadableRecord(why="it was forwarded, and is still in the wrong partition")
        value = encode_event(msgspec.structs.replace(event, forwarded=True))
        self._asides.append(Aside(event.subject.encode(), value, record.offset, None))
        self._wake()
        return True

    def _put_aside(self, record: LogRecord, reason: str) -> None:
        self.set_aside += 1
        self._asides.append(Aside(record.key, record.value or b"", record.offset, reason))
        self._wake()

    def _apply(
        self, key: str, before: Record | None, after: Record, event: Event, now: datetime
    ) -> None:
        if event.type == TRIGGER:
            self._run_ids[after.run_id] = after.foreign_id
            if before is not None:
                self._change(archive_key(before), None, before)
        self._change(key, before, after)
        if self.live:
            if before is not None:
                self.dispatcher.settled(before, after)
            self._plan(after, now)
            if event.type == REJECTED:
                self._bury(after, event)
        self.waiting.changed(after)

    def _change(self, key: str, before: Record | None, after: Record) -> None:
        change = self._changes.get(key)
        self._changes[key] = Change(key, before if change is None else change.before, after)

    def _bury(self, record: Record, event: Event) -> None:
        self.set_aside += 1
        value = encode_event(rejected_trigger(record, event))
        self._asides.append(
            Aside(record.foreign_id.encode(), value, record.offsets[0], event.reason)
        )

    # ---- reading

    def latest(self, foreign_id: str) -> Record | None:
        """The latest run of a foreign id."""
        return self._get(foreign_id)

    def lookup(self, run_id: str) -> Record | None:
        """The run of that id, whether it is the latest of its foreign id or not."""
        foreign_id = self._run_ids.get(run_id) or self.table.foreign_id_of(run_id)
        if foreign_id is None:
            return None
        latest = self.latest(foreign_id)
        if latest is not None and latest.run_id == run_id:
            return latest
        return self._get(f"{foreign_id}{SEPARATOR}{run_id}")

    def scan(self, start: str) -> Iterator[tuple[str, Record]]:
        """All runs in the order of their keys, from `start` on, as they are now."""
        fresh = {key: change.after for key, change in self._writing.items() if key >= start}
        fresh |= {key: change.after for key, change in self._changes.items() if key >= start}
        recent = ((key, fresh[key]) for key in sorted(fresh))
        stored = ((key, row) for key, row in self.table.scan(start) if key not in fresh)
        for key, row in heapq.merge(recent, stored, key=lambda item: item[0]):
            if row is not None:
                yield key, row

    def counts(self) -> Counter[tuple[str, str]]:
        """How many runs there are by (status, state), as they are now."""
        found: Counter[tuple[str, str]] = Counter(self.table.counts())
        for change in itertools.chain(self._writing.values(), self._changes.values()):
            if change.before is not None:
                found[change.before.status, change.before.state] -= 1
            if change.after is not None:
                found[change.after.status, change.after.state] += 1
        return found

    def _get(self, key: str) -> Record | None:
        change = self._changes.get(key) or self._writing.get(key)
        return self.table.get(key) if change is None else change.after

    # ---- what is due

    def maybe_live(self) -> None:
        """Begin to dispatch if all that was in the log at the start has been folded.

        Raises LiveRunsInUnknownStatus before anything runs by a definition that lost a status.
        """
        if self.live or self.position < self.end:
            return
        self._check_statuses()
        self.live = True
        now = self._clock.now()
        for change in (*self._writing.values(), *self._changes.values()):
            record = self._get(change.key)
            if record is not None:
                self._plan(record, now)
        self.scan_agenda(now)
        self.tick(now)

    def _check_statuses(self) -> None:
        known = self.workflow.status_type.__members__
        for (status, state), count in self.counts().items():
            lost = count and state in LIVE and status not in known and state != State.INITIATED
            if lost and status:
                raise LiveRunsInUnknownStatus(
                    workflow=self.workflow.name, status=status, count=count
                )

    def _plan(self, record: Record, now: datetime) -> None:
        for entry in entries(record):
            if entry.due_at <= now:
                self.dispatcher.offer(record, entry.kind, entry.name)
            else:
                self._timetable.add(record.foreign_id, entry)

    def tick(self, now: datetime) -> None:
        """Run what has come due."""
        if self.live:
            for record, kind, name in self._timetable.due(now):
                self.dispatcher.offer(record, kind, name)
            self.dispatcher.go_on()

    def scan_agenda(self, now: datetime) -> None:
        """Read what comes due in the next window from the table."""
        if self.live and not self.busy:
            self._timetable.scan(now)

    def _recheck(self, foreign_id: str) -> None:
        record = self.latest(foreign_id)
        if record is not None and self.open:
            self._plan(record, self._clock.now())

    def _result(self, record: Record, event: Event) -> None:
        if self.open:
            self._appends.append(Append(record.foreign_id.encode(), encode_event(event)))
            self._wake()

    # ---- what the host takes and gives back

    def take_appends(self) -> list[Append]:
        taken, self._appends = self._appends, []
        return taken

    def return_appends(self, appends: list[Append]) -> None:
        """They could not be appended: they go first the next time."""
        self._appends[:0] = appends

    def take_asides(self) -> list[Aside]:
        taken, self._asides = self._asides, []
        return taken

    def return_asides(self, asides: list[Aside]) -> None:
        self._asides[:0] = asides

    def checkpoint(self) -> Checkpoint | None:
        """What has changed since the last one; None if nothing has, or one is under way.

        Its asides must be durable before it is. It has to be answered by `committed` or `failed`.
        """
        if self._under_way or self._asides or self.position == self.checkpointed:
            return None
        self._under_way = True
        self._writing, self._changes = self._changes, {}
        self._timetable.writing()
        return Checkpoint(list(self._writing.values()), self.position)

    def committed(self, checkpoint: Checkpoint) -> None:
        """The table holds the checkpoint."""
        for change in checkpoint.changes:
            if change.after is not None:
                self._run_ids.pop(change.after.run_id, None)
        self.checkpointed = checkpoint.position
        self._writing, self._under_way = {}, False
        self._timetable.written()

    def failed(self, checkpoint: Checkpoint) -> None:
        """Its rows go back among those that wait for a checkpoint."""
        for change in checkpoint.changes:
            newer = self._changes.get(change.key)
            after = change.after if newer is None else newer.after
            self._changes[change.key] = Change(change.key, change.before, after)
        self._writing, self._under_way = {}, False
        self._timetable.not_written()

    @property
    def changed(self) -> int:
        """How many rows wait for a checkpoint."""
        return len(self._changes)

    @property
    def busy(self) -> bool:
        """Whether so much waits for a runner that reading on would only pile up more."""
        return self.dispatcher.queued > MAX_QUEUED

    async def close(self, grace: float) -> None:
        """Stop dispatching. The next owner derives anew from the rows what was in progress."""
        await self.dispatcher.close(grace)
        self.open = False
        self.waiting.close(NotReady(what=f"{self.workflow.name}, shard {self.partition}"))
