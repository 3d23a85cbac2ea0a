"""The operations of a host: triggering, steering and looking at the runs that it owns.

The web views and the client call these; what another worker owns they ask of that one.
"""

import asyncio
import base64
import binascii
import heapq
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from . import events
from .definition import Workflow
from .errors import (
    AwaitFailed,
    DeadlineExceeded,
    InvalidQuery,
    NotReady,
    RecordTooLarge,
    RunInProgress,
    RunNotFound,
    TransitionRefused,
    WorkflowNotFound,
)
from .events import Event, derived_id, encode_event
from .fold import Verdict
from .graph import counts
from .ports import Clock
from .record import LIVE, Record, State
from .shard import Shard
from .views import (
    History,
    Page,
    Query,
    RunView,
    Trigger,
    WorkflowView,
    event_view,
    run_view,
)
from .waiting import Answer

#: How many rows are looked at before others on the loop have their turn.
TURN = 500


class Host(Protocol):
    """What the operations ask of the host that runs the shards."""

    @property
    def workflows(self) -> Mapping[str, Workflow[Any, Any]]: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def max_record_bytes(self) -> int: ...

    def shards(self, workflow: str) -> Iterable[Shard]:
        """The shards of a workflow that this process owns."""

    def shard_of(self, workflow: str, foreign_id: str) -> Shard | None:
        """The shard of a foreign id, if this process owns it."""

    async def append(self, workflow: str, event: Event) -> None:
        """Return once the event is in the log."""

    async def read(self, workflow: str, partition: int, offsets: tuple[int, ...]) -> list[Event]:
        """The events at these offsets."""


def run_id_of(workflow: str, trigger: Trigger) -> str:
    """The id of the run that a trigger asks for: the same each time if it has a key."""
    if trigger.key:
        return derived_id(workflow, trigger.foreign_id, trigger.key)
    return str(uuid.uuid4())


class Operations:
    """Operations on the runs that a host owns. patience: seconds to wait for a fold."""

    def __init__(self, host: Host, patience: float = 10.0) -> None:
        self.host = host
        self.patience = patience

    def workflow(self, name: str) -> Workflow[Any, Any]:
        """Raises WorkflowNotFound."""
        try:
            return self.host.workflows[name]
        except KeyError:
            known = ", ".join(sorted(self.host.workflows))
            raise WorkflowNotFound(workflow=name, known=known) from None

    def describe(self, name: str) -> WorkflowView:
        """Raises WorkflowNotFound."""
        workflow = self.workflow(name)
        total: dict[tuple[str, str], int] = {}
        for shard in self.host.shards(name):
            for (status, state), count in shard.counts().items():
                pair = (status or workflow.start_name, state)
                total[pair] = total.get(pair, 0) + count
        statuses = list(workflow.status_type.__members__)
        return WorkflowView(
            name=name,
            start=workflow.start_name,
            statuses=statuses,
            terminal=[status for status in statuses if workflow.terminal(status)],
            counts=counts(total),
            mermaid=workflow.mermaid(),
        )

    # ---- changing

    def trigger_event(self, name: str, trigger: Trigger) -> Event:
        """The event of a request to start a run, checked against the definition.

        Raises WorkflowNotFound, InvalidObject, UnknownStatus, TerminalStart, InvalidForeignId,
        InvalidQuery and RecordTooLarge.
        """
        workflow = self.workflow(name)
        if trigger.start_at is not None and trigger.start_at.tzinfo is None:
            raise InvalidQuery(field="start_at", why="it has no time zone")
        status = workflow.check_start(trigger.status or "").name
        event = events.request(
            name,
            events.TRIGGER,
            trigger.foreign_id,
            self.host.clock.now(),
            event_id=str(uuid.uuid4()),
            run_id=run_id_of(name, trigger),
            status=status,
            data=workflow.dump_checked(trigger.object),
            start_at=trigger.start_at,
        )
        self._check_size("object", event)
        return event

    async def trigger(self, name: str, trigger: Trigger) -> RunView:
        """Start a run, and return it once it is accepted.

        Raises what `trigger_event` does, RunInProgress, and DeadlineExceeded if nothing judged it
        in time.
        """
        event = self.trigger_event(name, trigger)
        shard = self._shard_of(name, trigger.foreign_id)
        answer = await self._submit(shard, event)
        record = answer.record
        if answer.verdict is Verdict.RUN_IN_PROGRESS and record is not None:
            raise RunInProgress(foreign_id=trigger.foreign_id, run_id=record.run_id)
        if record is None:
            raise NotReady(what=name)
        return self._view(shard, record)

    async def append_trigger(self, name: str, trigger: Trigger) -> str:
        """Request a run, and return its id once the log has the request.

        Raises what `trigger_event` does.
        """
        event = self.trigger_event(name, trigger)
        await self.host.append(name, event)
        return event.runid

    async def steer(
        self, action: str, run_id: str, reason: str = "", key: str | None = None
    ) -> RunView:
        """Pause, resume or cancel a run. key: makes a repeat harmless.

        Raises RunNotFound, TransitionRefused, RecordTooLarge and DeadlineExceeded.
        """
        shard, record = self._find(run_id)
        event = events.request(
            shard.workflow.name,
            action,
            record.foreign_id,
            self.host.clock.now(),
            event_id=derived_id(run_id, action, key) if key else str(uuid.uuid4()),
            run_id=run_id,
            reason=reason,
        )
        self._check_size("reason", event)
        answer = await self._submit(shard, event)
        if answer.verdict is Verdict.STATE_FORBIDS and answer.record is not None:
            raise TransitionRefused(action=action, run_id=run_id, state=answer.record.state)
        if answer.record is None:
            raise RunNotFound(run_id=run_id)
        return self._view(shard, answer.record)

    def _check_size(self, what: str, event: Event) -> None:
        size = len(encode_event(event))
        if size > self.host.max_record_bytes:
            raise RecordTooLarge(what=what, size=size, limit=self.host.max_record_bytes)

    async def _submit(self, shard: Shard, event: Event) -> Answer:
        """The error of a passed deadline says whether the log has the request, and of which run."""
        future = shard.waiting.answer(event.id)
        logged = False
        try:
            async with asyncio.timeout(self.patience):
                await self.host.append(shard.workflow.name, event)
                logged = True
                return await future
        except TimeoutError:
            raise DeadlineExceeded(
                what=f"the {event.type} of {event.subject}",
                seconds=self.patience,
                logged=logged,
                run_id=event.runid,
            ) from None
        finally:
            future.cancel()

    # ---- looking

    def get(self, run_id: str) -> RunView:
        """Raises RunNotFound."""
        return self._view(*self._find(run_id))

    async def history(self, run_id: str) -> History:
        """The events of a run. Raises RunNotFound."""
        shard, record = self._find(run_id)
        found = await self.host.read(shard.workflow.name, shard.partition, record.offsets)
        first = record.version - len(record.offsets) + 1
        return History(
            run_id=run_id,
            truncated=first > 1,
            events=[
                event_view(offset, version, event)
                for version, (offset, event) in enumerate(
                    zip(record.offsets, found, strict=True), first
                )
            ],
        )

    async def find(self, query: Query) -> Page:
        """Runs that fit a query, by workflow and foreign id, the newest of each first.

        Raises WorkflowNotFound and InvalidQuery, and NotReady if it asks for a foreign id whose
        shard is not live here.
        """
        after = read_cursor(query.cursor)
        if query.workflow and query.foreign_id is not None:
            self.workflow(query.workflow)
            self._shard_of(query.workflow, query.foreign_id)
        names = [query.workflow] if query.workflow else sorted(self.host.workflows)
        runs: list[RunView] = []
        for name in names:
            self.workflow(name)
            if after and name < after.workflow:
                continue
            if after and name > after.workflow:
                after = None
            async for shard, record in self._scan(name, _start(query, after)):
                if query.foreign_id is not None and record.foreign_id != query.foreign_id:
                    break
                if after and record.foreign_id == after.foreign_id:
                    after = None if record.run_id == after.run_id else after
                elif _fits(query, shard, record):
                    after = None
                    if len(runs) == query.limit:
                        return Page(runs=runs, cursor=cursor_of(runs[-1]))
                    runs.append(self._view(shard, record))
        return Page(runs=runs)

    async def _scan(self, name: str, start: str) -> AsyncIterator[tuple[Shard, Record]]:
        """The runs of a workflow in the order of their foreign ids, from `start` on.

        The newest run of a foreign id comes first, so that a run which is new shifts no page.
        """
        scans = [
            ((key, shard, record) for key, record in shard.scan(start))
            for shard in self.host.shards(name)
        ]
        merged = heapq.merge(*scans, key=lambda item: item[0])
        groups = itertools.groupby(merged, key=lambda item: item[2].foreign_id)
        # All that a run was told lies in the log before the next run's trigger.
        newest_first = itertools.chain.from_iterable(
            sorted(group, key=lambda item: item[2].offsets[-1], reverse=True) for _, group in groups
        )
        for number, (_, shard, record) in enumerate(newest_first, 1):
            yield shard, record
            if number % TURN == 0:
                await asyncio.sleep(0)

    async def await_(self, run_id: str, status: str | None, timeout: float) -> RunView:
        """Wait until a run is at a status, or has passed it; without one, until it has ended.

        timeout: seconds.

        Raises RunNotFound, UnknownStatus, DeadlineExceeded, and AwaitFailed once it can't get
        there any more.
        """
        shard, record = self._find(run_id)
        if status is not None:
            shard.workflow.member(status)
        with shard.waiting.watch(run_id) as changes:
            record = self._find(run_id)[1]
            if status not in (None, record.status) and await self._passed(shard, run_id, status):
                return self._view(shard, record)
            deadline = time.monotonic() + timeout
            while not self._reached(shard, record, status):
                try:
                    async with asyncio.timeout(deadline - time.monotonic()):
                        change = await changes.get()
                except TimeoutError:
                    raise DeadlineExceeded(what=f"run {run_id}", seconds=timeout) from None
                if change is None:
                    raise NotReady(what=f"run {run_id}")
                record = change
            return self._view(shard, record)

    async def _passed(self, shard: Shard, run_id: str, status: str | None) -> bool:
        history = await self.history(run_id)
        # A trigger that names no status means the start; any other event, no change.
        start = shard.workflow.start_name
        return any(
            (event.status or (start if event.type == events.TRIGGER else "")) == status
            for event in history.events
        )

    def _reached(self, shard: Shard, record: Record, status: str | None) -> bool:
        """Raises AwaitFailed if it will never be."""
        ended = record.state not in LIVE
        current = record.status or shard.workflow.start_name
        if current == status or (ended and status is None):
            return True
        paused = record.state is State.PAUSED and record.resume_at is None
        reachable = status is None or status in shard.workflow.graph.reachable(current)
        if ended or paused or not reachable:
            raise AwaitFailed(
                run_id=record.run_id,
                wanted=status or "its end",
                state=record.state,
                status=current,
                reason=record.reason,
            )
        return False

    # ---- finding

    def _shard_of(self, name: str, foreign_id: str) -> Shard:
        shard = self.host.shard_of(name, foreign_id)
        if shard is None or not shard.live:
            raise NotReady(what=f"the shard of {foreign_id!r}")
        return shard

    def _find(self, run_id: str) -> tuple[Shard, Record]:
        recovering = False
        for name in self.host.workflows:
            for shard in self.host.shards(name):
                record = shard.lookup(run_id)
                if record is not None:
                    return shard, record
                recovering = recovering or not shard.live
        if recovering:
            raise NotReady(what="a part of the runs")
        raise RunNotFound(run_id=run_id)

    def _view(self, shard: Shard, record: Record) -> RunView:
        return run_view(shard.workflow.name, shard.workflow.start_name, record)


def _fits(query: Query, shard: Shard, record: Record) -> bool:
    status = record.status or shard.workflow.start_name
    return (not query.status or status in query.status) and (
        not query.state or record.state in query.state
    )


class Cursor(NamedTuple):
    """The last run of a page."""

    workflow: str
    foreign_id: str
    run_id: str


def _start(query: Query, after: Cursor | None) -> str:
    return max(after.foreign_id if after else "", query.foreign_id or "")


def cursor_of(run: RunView) -> str:
    """Where the page after this run begins."""
    text = msgspec.json.encode(Cursor(run.workflow, run.foreign_id, run.run_id))
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def read_cursor(cursor: str | None) -> Cursor | None:
    """Raises InvalidQuery."""
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(text, type=Cursor)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise InvalidQuery(field="cursor", why=str(error)) from None
