"""A shard: the runs of one partition of a workflow's log, folded in its order.

The shard folds batches synchronously and keeps changed rows in memory, where every reader sees
them, until a checkpoint has made them durable. What is due is offered to the dispatcher only
once the shard is live: when it has folded all that was in the log when it was opened.

Whoever drives the shard (a host) reads the log into `fold`, appends what `take_appends` hands
out, makes checkpoints durable, and calls `tick`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any

import msgspec

from .agenda import Kind, entries
from .broadcast import Broadcast
from .connections import unmade
from .connector import MARK
from .debugging import debugging
from .definition import Workflow
from .dispatch import Dispatcher
from .emit import Emission, emissions, handed_on, handed_over, needed_no_more, refused
from .errors import (
    LiveRunsInUnknownStatus,
    NotReady,
    RecordTooLarge,
    RequestRefused,
    UnreadableRecord,
)
from .events import (
    CALLBACK,
    HOOKED,
    REJECTED,
    RELEASED,
    REQUESTS,
    TRIGGER,
    Event,
    decode_event,
    encode_event,
    trace_id_of,
)
from .execute import Inner, rejected_trigger, unwanted
from .fold import Verdict, fold
from .in_turn import InTurn
from .lanes import Paces
from .measures import FORWARDED, UNREADABLE, Measures
from .moves import Batch, Move, move_of
from .objects import has_own_key
from .ports import Checkpoint, Clock, Logger, LogRecord, ShardId, ShardTable, Tracing
from .record import LIVE, MAIL, MAILBOX, SEPARATOR, Record, State, Target, archive_key, row_key
from .rows import Rows
from .schedules import made_sure_of, undeclared
from .sealing import executor_of
from .timetable import GIVEN, LEAST, Timetable
from .vault import Vault
from .waiting import Waiting

#: Jobs that wait for a runner. What else is due waits in the table: the log is read on, so that
#: what waits can be seen and steered, and results come back.
MAX_QUEUED = 20_000

#: Results that are on their way back from the log before no more jobs are started. So what is under
#: way is moved on before more is begun: runs are soon done, little waits in the log, and a row that
#: changes several times within a checkpoint is written once.
MAX_UNFOLDED = 250

#: Ticks in which nothing was folded until no more results are waited for.
STILL = 50


class Append(msgspec.Struct, frozen=True, gc=False):
    """A record to be appended to the shard's own partition of the log, and its traceparent."""

    key: bytes
    value: bytes
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Aside:
    """A record for another place, from the record at `offset` of the log.

    workflow: for whose log it is; None if it is for the dead letters, with the reason.
    traceparent: that of the event.
    """

    key: bytes | None
    value: bytes
    offset: int
    workflow: str | None = None
    reason: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """max_record_bytes: the largest record that is read or appended."""

    max_record_bytes: int = 1_000_000


_ACCEPTED = Verdict.ACCEPTED

#: What becomes of an event that has done, or will do, what it is for.
_HEEDED = frozenset({Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.HANDED_ON})

#: What brings a run and its mailbox together, by kind and type.
_MEET = (("", TRIGGER), (MAILBOX, CALLBACK))


def _has_own_key(event: Event) -> bool:
    return has_own_key(event.data, event.data_base64)


class Shard:
    """One partition of one workflow, from the moment it is opened until it is lost.

    end: the end of the log when the shard was opened.
    misplaced: tells whether a foreign id belongs to another partition.
    may_start: whether a step may be started now; None for always.
    wake: called when there is something to append.
    inner: what does the work of inner runs, by their kind.
    paces: what paces the steps of the process; of this shard alone, unless given.
    vault: seals and opens what runs carry; None for a workflow that does not encrypt.
    measures: where it counts; its own, unless given.
    logger: takes what happens if the workflow is debugged. log_objects: with what runs carry.
    tracing: makes spans of what is executed, if there is one.
    broadcast: where moves are told; nowhere, unless given.
    once: whether no result is to be handed out that is sure to be refused.
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
        inner: Mapping[str, Inner] | None = None,
        paces: Paces | None = None,
        vault: Vault | None = None,
        measures: Measures | None = None,
        logger: Logger | None = None,
        log_objects: bool = False,
        tracing: Tracing | None = None,
        broadcast: Broadcast | None = None,
        once: bool = False,
    ) -> None:
        self.workflow = workflow
        self.partition = partition
        self.table = table
        #: Where it began to fold, and where it is.
        self.began = self.position = table.position or 0
        self.checkpointed = self.position
        self.end = end
        self.live = False
        self.open = True
        self.measures = measures or Measures()
        self._verdicts = self.measures.verdicts
        self._state_changes = self.measures.state_changes
        #: Up to when, in milliseconds since 1970, the log is folded, as far as is known.
        self.folded_to = int(clock.now().timestamp() * 1000)
        self.waiting = Waiting()
        self._clock = clock
        self._wake = wake
        self._misplaced = misplaced
        self._limits = limits
        self.rows = Rows(table)
        self._broadcast = broadcast or Broadcast()
        self._moves: list[tuple[int, Move]] | None = None
        self._changed = 0
        self._under_way = False
        self._begun_at = 0.0
        self._appends: list[Append] = []
        self._asked = may_start
        # How many results were handed out and not folded yet, and whether jobs wait for that.
        self._unfolded, self._full = 0, False
        # How many more jobs may be offered to the dispatcher.
        self._room = MAX_QUEUED
        self._position_before, self._still_for = self.position, 0
        self._in_turn = InTurn() if once else None
        self._asides: list[Aside] = []
        self._timetable = Timetable(table, self.rows.get_due)
        self._paces = paces or Paces(clock)
        naming = self._paces.naming(workflow, partition)
        self._debugging = debugging(logger, workflow, naming, log_objects)
        self.dispatcher = Dispatcher(
            executor_of(vault, logger)(
                workflow, clock, threads, max_bytes=limits.max_record_bytes, inner=inner
            ),
            self._result,
            self._recheck,
            self._may_start,
            shard=partition,
            lookup=self.lookup,
            paces=self._paces,
            measures=self.measures,
            debugging=self._debugging,
            tracing=tracing,
        )

    # ---- folding

    def fold(self, records: Sequence[LogRecord]) -> None:
        """Fold a batch, in the order of the log. What was folded before is passed over."""
        now = self._clock.now()
        if records and records[0].offset < self.position:
            records = [record for record in records if record.offset >= self.position]
        if records:
            self._measure(records, now)
        begin = self.position
        self._room = MAX_QUEUED - self.dispatcher.backlog
        self._moves = [] if self._broadcast.heard else None
        for record in records:
            event = self._fold_one(record, now)
            self.position = record.offset + 1
            if self._in_turn is not None and event is not None:
                for waited in self._in_turn.folded(event):
                    self._result(*waited)
        if self._changed and self.live:
            self.measures.recent.at(now).transitions += self._changed
        self._changed = 0
        self._tell(begin)
        if not self.live:
            self.maybe_live()
        if self._full and self._unfolded < MAX_UNFOLDED:
            self._full = False
            self.dispatcher.go_on()

    def _measure(self, records: Sequence[LogRecord], now: datetime) -> None:
        self.folded_to = records[-1].timestamp
        # What was in the log when the shard was opened may have been folded elsewhere before.
        if self.live:
            now_s = now.timestamp()
            waited = [now_s - record.timestamp / 1000 for record in records]
            # The clocks of machines differ.
            self.measures.latency.observe_all([0.0 if s < 0.0 else s for s in waited])

    def passed(self, position: int) -> None:
        """All that the log has before a position, and that was not folded, is for other shards."""
        begin, self.position = self.position, max(self.position, position)
        self._moves = [] if self._broadcast.heard else None
        self._tell(begin)
        if not self.live:
            self.maybe_live()

    def _tell(self, begin: int) -> None:
        """Tell what was folded since a position, if somebody listens."""
        moves, self._moves = self._moves, None
        if moves is not None and self.position > begin:
            shard = ShardId(self.workflow.name, self.partition)
            self._broadcast.tell(Batch(shard, begin, self.position, moves))

    def _fold_one(self, record: LogRecord, now: datetime) -> Event | None:
        """The event, if it was judged."""
        try:
            event = decode_event(
                record.value,
                workflow=self.workflow.name,
                partition=self.partition,
                offset=record.offset,
                timestamp_ms=record.timestamp,
                limit=self._limits.max_record_bytes,
            )
            if event.type not in REQUESTS:
                # Others may have appended some, too.
                self._unfolded -= self._unfolded > 0
            elif self._elsewhere(record, event):
                self.measures.passed_over[FORWARDED] += 1
                return None
            event, key, known = self._addressed(event)
            after, verdict = fold(known, event, record.offset)
        except (UnreadableRecord, RecordTooLarge, RequestRefused) as error:
            self.measures.passed_over[UNREADABLE] += 1
            self._put_aside(record, str(error))
            return None
        self._verdicts[event.type, verdict] += 1
        if event.traceparent and self.live:
            self._exemplify(event, record, now)
        if self._debugging is not None:
            self._debugging.judged(event, verdict, after)
        if verdict is _ACCEPTED:
            self._apply(key, known, after, event, now, record.offset)
        elif event.type == TRIGGER and event.parent and verdict is Verdict.RUN_IN_PROGRESS:
            why = f"{event.subject!r} has a run in progress"
            self._emit(refused(self.workflow.name, event, why), record.offset)
        elif event.type == CALLBACK and verdict is not Verdict.DUPLICATE and _has_own_key(event):
            self._emit(needed_no_more(self.workflow.name, [event.id], event), record.offset)
        elif verdict is Verdict.HANDED_ON:
            self._emit(handed_over(self.workflow.name, event), record.offset)
        if verdict not in _HEEDED and event.unheard:
            self._put_aside(record, f"{event.type} refused: {verdict}")
        elif verdict not in _HEEDED and event.id.startswith(MARK):
            self._put_aside(record, f"{event.type} of a connector refused: {verdict}")
        self.waiting.judged(event.id, verdict, after, event)
        return event

    def _addressed(self, event: Event) -> tuple[Event, str, Record | None]:
        """The event, the key of the run that it is judged by, and that run."""
        key = row_key(event.kind, event.subject)
        latest = self.rows.get(key)
        if not event.runid:
            # What an ended run has taken already is not kept for the next one.
            absent = latest is None or (
                latest.state not in LIVE and event.id not in latest.requests
            )
            if absent and event.type == CALLBACK and not event.kind and event.until is not None:
                return self._addressed(msgspec.structs.replace(event, kind=MAILBOX))
            return event, key, latest
        if (latest is not None and latest.run_id == event.runid) or event.kind in MAIL:
            return event, key, latest
        # The latest may be forgotten before an earlier one is.
        archived = f"{key}{SEPARATOR}{event.runid}"
        earlier = self.rows.get(archived)
        if earlier is None and event.type == TRIGGER:
            return event, key, latest
        return event, archived, earlier

    def _elsewhere(self, record: LogRecord, event: Event) -> bool:
        if not self._misplaced(event.subject):
            return False
        if event.forwarded:
            raise UnreadableRecord(why="it was forwarded, and is still in the wrong partition")
        value = encode_event(msgspec.structs.replace(event, forwarded=True))
        here = self.workflow.name
        self._asides.append(Aside(event.subject.encode(), value, record.offset, here))
        self._wake()
        return True

    def _put_aside(self, record: LogRecord, reason: str) -> None:
        self.measures.dead_letters += 1
        if self._debugging is not None:
            self._debugging.set_aside(record.offset)
        aside = Aside(record.key, record.value or b"", record.offset, reason=reason)
        self._asides.append(aside)
        self._wake()

    def _apply(
        self,
        key: str,
        before: Record | None,
        after: Record | None,
        event: Event,
        now: datetime,
        offset: int,
    ) -> None:
        if event.type == TRIGGER and before is not None:
            archived = archive_key(before)
            self.rows.change(archived, None, before)
            if self.live:
                self._plan(archived, before, now)
        self._changed += not event.kind
        self.rows.change(key, before, after)
        for emission in emissions(self.workflow, before, after, event):
            self._emit(emission, offset)
        if event.subject in self.rows.mailboxes and (event.kind, event.type) in _MEET:
            self._deliver_mail(event, offset)
        if event.type == RELEASED and event.reason and before is not None:
            self._bury_calls(before, event)
        if before is not None and (event.call or before.calls):
            self._tell_callers(before, after, event)
        if self.live and before is not None and event.type != TRIGGER:
            self.dispatcher.settled(before, after)
        if after is None:
            return
        former = None if before is None or event.type == TRIGGER else before.state
        if former is not after.state and not after.kind:
            self._state_changes[former, after.state] += 1
            if self.live:
                self._count(former, after.state, now)
        if event.type == REJECTED:
            self._bury(after, event)
        if self.live:
            self._plan(key, after, now)
        self.waiting.changed(after)
        if self._moves is not None and not after.kind:
            known = None if event.type == TRIGGER else before
            self._moves.append((offset + 1, move_of(self.workflow, known, after, event)))

    def _count(self, former: State | None, state: State, now: datetime) -> None:
        """A run has started, or ended."""
        if former is None:
            self.measures.recent.at(now).started += 1
        elif former in LIVE and state not in LIVE:
            self.measures.recent.at(now).ended += 1

    def _exemplify(self, event: Event, record: LogRecord, now: datetime) -> None:
        trace_id = trace_id_of(event.traceparent)
        if trace_id:
            waited = max(now.timestamp() - record.timestamp / 1000, 0.0)
            self.measures.latency.exemplify(trace_id, waited, now)

    def _emit(self, emission: Emission, offset: int) -> None:
        event = emission.event
        key, value = event.subject.encode(), self._encoded(event)
        aside = Aside(key, value, offset, emission.workflow, traceparent=event.traceparent)
        self._asides.append(aside)
        self._wake()

    def _deliver_mail(self, event: Event, offset: int) -> None:
        """What came before a run goes to it, be it that the run has come now, or the mail."""
        key = row_key(MAILBOX, event.subject)
        run, mailbox = self.rows.get(event.subject), self.rows.get(key)
        if run is None or run.state not in LIVE or mailbox is None:
            return
        self.rows.change(key, mailbox, None)
        if self.live:
            self.dispatcher.settled(mailbox, None)
        target = Target(run.foreign_id, run.run_id)
        for emission in handed_on(self.workflow.name, mailbox, target, event):
            self._emit(emission, offset)

    def _tell_callers(self, before: Record, after: Record | None, event: Event) -> None:
        """Those who wait for the answer to a callback hear it; or that it was left unanswered, or
        waits on for its run to be resumed."""
        left = set() if after is None else {call.id for call in after.calls}
        for call in before.calls:
            if call.id == event.call:
                self.waiting.answered(call.id, _ACCEPTED, after, event)
            elif call.id not in left:
                self.waiting.answered(call.id, Verdict.STATE_FORBIDS, after, event)
            elif after is not None and after.state is State.PAUSED:
                self.waiting.answered(call.id, _ACCEPTED, after, event)

    def _bury(self, record: Record, event: Event) -> None:
        self.measures.dead_letters += 1
        value = encode_event(rejected_trigger(record, event))
        key = record.foreign_id.encode()
        self._asides.append(Aside(key, value, record.offsets[0], reason=event.reason))

    def _bury_calls(self, mailbox: Record, event: Event) -> None:
        """What waited for too long."""
        for call in mailbox.calls:
            if call.id in event.call.split():
                self.measures.dead_letters += 1
                value = encode_event(unwanted(mailbox, call, event))
                key = mailbox.foreign_id.encode()
                self._asides.append(Aside(key, value, mailbox.offsets[0], reason=event.reason))
                self._wake()

    # ---- reading

    def latest(self, foreign_id: str) -> Record | None:
        """The latest run of a foreign id."""
        return self.rows.get(foreign_id)

    def lookup(self, run_id: str) -> Record | None:
        """The run of that id, whether it is the latest of its foreign id or not."""
        found = self.rows.lookup(run_id)
        return None if found is None else found[1]

    def scan(self, start: str) -> Iterator[tuple[str, Record]]:
        """All runs in the order of their keys, from `start` on, as they are now."""
        return self.rows.scan(start)

    def counts(self) -> Counter[tuple[str, str]]:
        """How many runs there are by (status, state), as they are now."""
        return self.rows.counts()

    def timers(self) -> Counter[str]:
        """How many timeouts wait to be answered, by the status of their runs."""
        return self.rows.timers()

    def overdue(self, now: datetime) -> int:
        """How many timeouts are due and not answered yet, as far as the timetable has looked."""
        due = self.dispatcher.due(Kind.TIMER)
        for record, kind, name in self._timetable.late(now):
            if kind is Kind.TIMER:
                due.add((record.run_id, name))
        return len(due)

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
        for change in tuple(self.rows.unwritten()):
            record = self.rows.get(change.key)
            if record is not None:
                self._plan(change.key, record, now)
        self._make_sure_of_connectors(now)
        self._make_sure_of_schedules(now)
        self.scan_agenda(now)
        self.tick(now)

    def _make_sure_of_connectors(self, now: datetime) -> None:
        for event in unmade(self.workflow, self.rows.get, self._misplaced, now):
            self._appends.append(Append(event.subject.encode(), encode_event(event)))
            self._wake()

    def _make_sure_of_schedules(self, now: datetime) -> None:
        for event in made_sure_of(self.workflow, self.rows.get, self._misplaced, now):
            self._appends.append(Append(event.subject.encode(), encode_event(event)))
            self._wake()
        for name in undeclared(self.workflow, self.rows.scan):
            self._paces.tell("schedule_not_declared", workflow=self.workflow.name, schedule=name)

    def _check_statuses(self) -> None:
        workflow = self.workflow
        known = workflow.status_type.__members__
        for (status, state), count in self.counts().items():
            unknown = workflow.current(status) not in known
            lost = count and state in LIVE and unknown and state != State.INITIATED
            if lost and status:
                raise LiveRunsInUnknownStatus(workflow=workflow.name, status=status, count=count)

    def _plan(self, key: str, record: Record, now: datetime) -> None:
        for entry in entries(record):
            if entry.due_at <= now and self._room > 0:
                self._room -= 1
                self.dispatcher.offer(record, entry.kind, entry.name)
            else:
                self._timetable.add(key, entry)

    def has_due(self, now: datetime) -> bool:
        """Whether something waits in the agenda that has come due."""
        return self.live and self._timetable.has_due(now)

    def tick(self, now: datetime, room: int = GIVEN) -> None:
        """Run what has come due. room: how many jobs may be under way, as `room_of_each` says."""
        if self.live:
            self._look_whether_anything_comes_back()
            queued = self.dispatcher.backlog
            most = max(room - queued - self._unfolded, LEAST) if queued < MAX_QUEUED else 0
            for record, kind, name in self._timetable.due(now, most):
                self.dispatcher.offer(record, kind, name)
            self.dispatcher.go_on()

    def _look_whether_anything_comes_back(self) -> None:
        """What the log has lost must not be waited for."""
        self._still_for = self._still_for + 1 if self.position == self._position_before else 0
        self._position_before = self.position
        if self._still_for == STILL:
            self._unfolded = len(self._appends)

    def scan_agenda(self, now: datetime) -> None:
        """Read what comes due in the next window from the table."""
        if self.live:
            self._timetable.scan(now)

    def _may_start(self) -> bool:
        if self._unfolded >= MAX_UNFOLDED:
            self._full = True
            return False
        return self._asked is None or self._asked()

    def _recheck(self, record: Record) -> None:
        found = self.rows.lookup(record.run_id)
        if found is not None and self.open:
            self._plan(*found, self._clock.now())

    def _result(self, record: Record, event: Event) -> None:
        if self.open and (self._in_turn is None or self._goes(self._in_turn, record, event)):
            key, value = record.foreign_id.encode(), self._encoded(event)
            self._appends.append(Append(key, value, event.traceparent))
            self._unfolded += 1
            self._wake()

    def _goes(self, in_turn: InTurn, record: Record, event: Event) -> bool:
        """Whether a result is to be handed out now: its run is not further than it, and no other
        one is before it."""
        if event.kind not in MAIL and event.type != HOOKED:
            known = self._addressed(event)[2]
            if known is None or known.run_id != event.runid:
                return False
            if not known.version - known.lag <= event.version:
                return False
        return in_turn.may_go(record, event)

    def _encoded(self, event: Event) -> bytes:
        """An event with its trace, if there is room for that too."""
        value = encode_event(event)
        if event.traceparent and len(value) > self._limits.max_record_bytes:
            return encode_event(msgspec.structs.replace(event, traceparent=""))
        return value

    # ---- what the host takes and gives back

    @property
    def has_output(self) -> bool:
        """Whether there is something to append here or elsewhere."""
        return bool(self._appends or self._asides)

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

        The asides that are taken just before must be durable before it is. It has to be answered by
        `committed` or `failed`.
        """
        if self._under_way or self._asides or self.position == self.checkpointed:
            return None
        self._under_way = True
        self._begun_at = perf_counter()
        self._timetable.writing()
        return Checkpoint(self.rows.take(), self.position)

    def committed(self, checkpoint: Checkpoint) -> None:
        """The table holds the checkpoint."""
        self.rows.written(checkpoint)
        self.checkpointed = checkpoint.position
        self.measures.checkpoints.observe(perf_counter() - self._begun_at)
        self._under_way = False
        self._timetable.written()

    def failed(self, checkpoint: Checkpoint) -> None:
        """Its rows go back among those that wait for a checkpoint."""
        self.rows.not_written(checkpoint)
        self.measures.checkpoints_failed += 1
        self._under_way = False
        self._timetable.not_written()

    @property
    def changed(self) -> int:
        """How many rows wait for a checkpoint."""
        return self.rows.changed

    async def close(self, grace: float) -> None:
        """Stop dispatching. The next owner derives anew from the rows what was in progress."""
        await self.dispatcher.close(grace)
        self.open = False
        self.waiting.close(NotReady(what=f"{self.workflow.name}, shard {self.partition}"))


def room_of_each(shards: Collection[Shard], now: datetime) -> int:
    """How many jobs each of a worker's shards may have under way before it takes more out of its
    agenda, so that others do not wait behind them: shared among those that have something due, as
    the one loop is."""
    return GIVEN // (sum(shard.has_due(now) for shard in shards) or 1)
