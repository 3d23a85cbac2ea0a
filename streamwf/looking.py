"""Looking at the runs that a host owns: one, its history, all that fit a query.

What another worker owns is asked of that one, by the web views.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from . import events
from .access import check_role, is_seen
from .broadcast import Broadcast
from .definition import Workflow
from .errors import (
    AwaitFailed,
    DeadlineExceeded,
    NotReady,
    RunNotFound,
    WorkflowNotFound,
)
from .events import Event
from .listing import Listing
from .lists import Cursor, encoded, read_cursor, selections
from .masked_views import events_for_who_asks, for_who_asks
from .measures import Measures
from .moment import Moment
from .ports import Clock, Letter, LetterLog, Logger, LogRecord, Tracing
from .record import DELETED, LIVE, Record, State
from .settings import Settings
from .shard import Shard
from .vaults import Vaults
from .views import (
    Count,
    Filter,
    History,
    Order,
    Page,
    Query,
    RunView,
    event_view,
    run_view,
    without_data,
)


class Host(Protocol):
    """What the operations ask of the host that runs the shards."""

    @property
    def workflows(self) -> Mapping[str, Workflow[Any, Any]]: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def max_record_bytes(self) -> int: ...
    @property
    def partitions(self) -> int:
        """How many shards each workflow has, here and elsewhere."""

    @property
    def vaults(self) -> Vaults: ...
    @property
    def tracing(self) -> Tracing: ...
    @property
    def logger(self) -> Logger:
        """Takes what the host has to say."""

    @property
    def settings(self) -> Settings:
        """They say where Kafka is, and how to connect to it. Raises InvalidSettings."""

    def shards(self, workflow: str) -> Iterable[Shard]:
        """The shards of a workflow that this process owns."""

    def shard_of(self, workflow: str, foreign_id: str) -> Shard | None:
        """The shard of a foreign id, if this process owns it."""

    def measures(self, workflow: str) -> Measures:
        """What the shards of a workflow have counted in this process."""

    @property
    def broadcast(self) -> Broadcast:
        """Where the shards of this process tell of moves."""

    def end(self, workflow: str, partition: int) -> int | None:
        """The end of a log that is read here, as far as is known: the offset of the next event."""

    def opening(self, workflow: str) -> Mapping[int, int]:
        """The shards that are being opened, and how many records of the changelog each has still
        to read for its table."""

    async def append(self, workflow: str, event: Event) -> None:
        """Return once the event is in the log; sealed, if the workflow encrypts."""

    async def append_all(self, workflow: str, events: Sequence[Event]) -> None:
        """Return once the events are in the log, as `append` does; those of one run in their
        order."""

    @property
    def letters(self) -> LetterLog:
        """The dead letters."""

    async def bury(self, workflow: str, letters: Sequence[Letter]) -> None:
        """Return once the letters are among the dead letters."""

    async def begin(self, workflow: str, partition: int) -> int:
        """The first offset that a log still has, or a lower one."""

    async def log(
        self, workflow: str, partition: int, offsets: Sequence[int]
    ) -> Sequence[LogRecord]:
        """The records at these ascending offsets, as they lie in the log. What it does not have is
        left out."""

    async def read(self, workflow: str, partition: int, offsets: tuple[int, ...]) -> list[Event]:
        """The events at these offsets, in plain. What can't be opened any more is null."""


class Looking:
    """Looks at the runs that a host owns."""

    def __init__(self, host: Host) -> None:
        self.host = host

    @property
    def workflows(self) -> Mapping[str, Workflow[Any, Any]]:
        """Those that are there for whoever asks."""
        return {name: found for name, found in self.host.workflows.items() if is_seen(name)}

    def workflow(self, name: str) -> Workflow[Any, Any]:
        """Raises WorkflowNotFound, and RoleMissing if whoever asks may see it and no more."""
        workflows = self.workflows
        if name not in workflows:
            raise WorkflowNotFound(workflow=name, known=", ".join(sorted(workflows)) or "none")
        check_role(name)
        return workflows[name]

    async def get(self, run_id: str) -> RunView:
        """Raises RunNotFound and RoleMissing."""
        return await self._view(*self._find(run_id))

    async def history(self, run_id: str) -> History:
        """The events of a run; without what it carried, once its data is deleted.

        Raises RunNotFound.
        """
        shard, record = self._find(run_id)
        found = await self.host.read(shard.workflow.name, shard.partition, record.offsets)
        first = record.version - len(record.offsets) + 1
        told = [
            event_view(offset, version, event)
            for version, (offset, event) in enumerate(
                zip(record.offsets, found, strict=True), first
            )
        ]
        if record.state in DELETED:
            deleted = max((n for n, e in enumerate(told) if e.type == events.DELETED), default=None)
            told[:deleted] = map(without_data, told[:deleted])
        told = events_for_who_asks(shard.workflow, record.kind, found, told)
        return History(run_id=run_id, truncated=first > 1, events=told)

    async def find(self, query: Query) -> Page:
        """A page of the runs that fit a query.

        What holds from page to page, however many runs are started or change in between:

        - By foreign id, and by when they were created, every run that fits all the time is on
          exactly one page. A run that is new is on none, or on one that is still to come.
        - By when they were updated, this holds of every run that does not change. One that does
          is on no second page; it may be on none.

        Raises WorkflowNotFound, InvalidForeignId and InvalidQuery, and NotReady if it asks for a
        foreign id whose shard is not live here.
        """
        after = read_cursor(query.cursor, query.order)
        found, cursor = await self._listing(query, query.order, after).page(query.limit)
        runs = [await self._view(shard, record) for shard, record in found]
        return Page(runs=runs, cursor=None if cursor is None else encoded(cursor))

    async def count(self, asked: Filter) -> Count:
        """How many runs fit a filter. Raises what `find` does."""
        chosen = selections(asked, self.workflows)
        if not all(selection.by_standing for _, selection in chosen):
            return Count(count=await self._listing(asked, "created", None).count())
        # These are counted all along.
        count = 0
        for name, selection in chosen:
            for shard in self.host.shards(name):
                counts = shard.counts().items()
                count += sum(n for standing, n in counts if selection.stands(*standing))
        return Count(count=count)

    def _listing(self, asked: Filter, order: Order, after: Cursor | None) -> Listing:
        if asked.workflow and asked.foreign_id is not None:
            self._shard_of(asked.workflow, asked.foreign_id)
        chosen = [
            (name, selection, list(self.host.shards(name)))
            for name, selection in selections(asked, self.workflows)
        ]
        return Listing(asked, chosen, order, after, self._finds)

    async def _finds(self, moment: Moment, record: Record) -> bool:
        return moment.selection.finds(await self._shown(moment.shard, record))

    async def await_(self, run_id: str, status: str | None, timeout: float) -> RunView:
        """Wait until a run is at a status, or has passed it; without one, until it has ended.

        timeout: seconds.

        Raises RunNotFound, UnknownStatus, DeadlineExceeded, and AwaitFailed once it can't get
        there any more.
        """
        shard, record = self._find(run_id)
        if status is not None:
            status = shard.workflow.member(status).name
        with shard.waiting.watch(run_id) as changes:
            record = self._find(run_id)[1]
            current = shard.workflow.current(record.status)
            if status not in (None, current) and await self._passed(shard, run_id, status):
                return await self._view(shard, record)
            deadline = time.monotonic() + timeout
            while not self._reached(shard, await self._shown(shard, record), status):
                try:
                    async with asyncio.timeout(deadline - time.monotonic()):
                        change = await changes.get()
                except TimeoutError:
                    raise DeadlineExceeded(what=f"run {run_id}", seconds=timeout) from None
                if change is None:
                    raise NotReady(what=f"run {run_id}")
                record = change
            return await self._view(shard, record)

    async def _passed(self, shard: Shard, run_id: str, status: str | None) -> bool:
        history = await self.history(run_id)
        # A trigger that names no status means the start; any other event, no change.
        return any(
            shard.workflow.current(event.status) == status
            for event in history.events
            if event.status or event.type == events.TRIGGER
        )

    def _reached(self, shard: Shard, record: Record, status: str | None) -> bool:
        """Raises AwaitFailed if it will never be."""
        ended = record.state not in LIVE
        current = shard.workflow.current(record.status)
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
        for name in self.workflows:
            for shard in self.host.shards(name):
                record = shard.lookup(run_id)
                if record is not None:
                    check_role(name)
                    return shard, record
                recovering = recovering or not shard.live
        if recovering:
            raise NotReady(what="a part of the runs")
        raise RunNotFound(run_id=run_id)

    async def _view(self, shard: Shard, record: Record) -> RunView:
        held_until = shard.dispatcher.held_until(record)
        shown, workflow = await self._shown(shard, record), shard.workflow
        shown = msgspec.structs.replace(shown, status=workflow.current(shown.status))
        view = run_view(workflow.name, workflow.start_name, shown, held_until)
        return for_who_asks(workflow, shown, view)

    async def _shown(self, shard: Shard, record: Record) -> Record:
        """The run in plain."""
        vault = self.host.vaults.of(shard.workflow.name)
        return record if vault is None else await vault.shown(record)
