"""Lanes: where jobs wait for a runner, and what holds back those of a step.

What the shards of a process share to pace their steps is in `Paces`; what one shard has of it for
one step is a `Pace`. The lane of a step that declares nothing of the kind has none.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from .agenda import Kind
from .declared import Step
from .definition import Workflow
from .events import CANCELLED, MOVED, PAUSED, REPEATED, SKIPPED, Event
from .logs import Naming
from .measures import Histogram, Measures
from .objects import SEALED_TEXT
from .pacing import Allowance, Circuit, Held
from .ports import Clock, Logger
from .record import Record

#: How long a step that was warned of is not warned of again.
QUIET = timedelta(minutes=1)

#: The results of a step whose function has returned.
RAN = frozenset({MOVED, REPEATED, SKIPPED, PAUSED, CANCELLED})

#: What to do for a run: its step, the timer of that name, its resumption and so on.
Job: TypeAlias = tuple[Record, Kind, str]


def basis(record: Record) -> int:
    """The version that a result has to be computed from, or from a later one."""
    return record.version - record.lag


class RunQueue:
    """The runs that wait for a step which may be held for long; the greater rank goes first.

    Only which they are is kept, as there may be very many. lookup: gives a run by its id.
    """

    def __init__(
        self, lookup: Callable[[str], Record | None], rank: Callable[[Record], int]
    ) -> None:
        self._lookup = lookup
        self._rank = rank
        self._heap: list[tuple[int, int, str, int]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def append(self, job: Job) -> None:
        record = job[0]
        place = (-self._rank(record), next(self._numbers), record.run_id, basis(record))
        heapq.heappush(self._heap, place)

    def popleft(self) -> Job | None:
        """The next job; None if its run has moved on."""
        _, _, run_id, version = heapq.heappop(self._heap)
        record = self._lookup(run_id)
        if record is None or basis(record) != version:
            return None
        return record, Kind.STEP, ""

    def clear(self) -> None:
        self._heap.clear()

    @property
    def run_ids(self) -> set[str]:
        return {run_id for _, _, run_id, _ in self._heap}


class Pace:
    """What one shard's lane of a step goes by. late: called for each that started too late."""

    def __init__(
        self,
        clock: Clock,
        allowance: Allowance | None,
        circuit: Circuit | None,
        lag_alert: timedelta | None,
        late: Callable[[Record, timedelta], None],
    ) -> None:
        self._late = late
        self._clock = clock
        self._allowance = allowance
        self._circuit = circuit
        self._lag_alert = lag_alert

    @property
    def free(self) -> bool:
        """Whether a run may start now."""
        now = self._clock.now()
        return self.free_at(now) == now

    def free_at(self, now: datetime) -> datetime | None:
        """When a run may start; `now` if at once, None if that is not a matter of time."""
        free_at = now if self._allowance is None else self._allowance.free_at(now)
        if self._circuit is None:
            return free_at
        tried_at = self._circuit.free_at(now)
        return None if tried_at is None else max(free_at, tried_at)

    async def run(self, record: Record, job: Awaitable[Event]) -> Event:
        """What became of a job, which counts from here on."""
        now = self._clock.now()
        self._look_at_lag(record, now)
        if self._allowance is not None:
            self._allowance.take(now)
        if self._circuit is None:
            return await job
        begun = self._circuit.begin()
        try:
            event = await job
        except BaseException:
            self._circuit.untold(begun)
            raise
        if event.errortype:
            self._circuit.failed(begun, self._clock.now(), _reason(event))
        elif event.type in RAN:
            self._circuit.succeeded(begun)
        else:
            self._circuit.untold(begun)
        return event

    def _look_at_lag(self, record: Record, now: datetime) -> None:
        if self._lag_alert is None or record.due_at is None:
            return
        lag = now - record.due_at
        if lag > self._lag_alert:
            self._late(record, lag)


def _reason(event: Event) -> str:
    message = "" if event.errormessage.startswith(SEALED_TEXT) else event.errormessage
    first_line = message.partition("\n")[0]
    return f"{event.errortype}: {first_line}" if first_line else event.errortype


class Lane:
    """Where jobs wait for a runner. limit: how many run at once. took: how long they have taken.

    pace: what it goes by, if any.
    """

    __slots__ = ("limit", "pace", "queue", "runners", "starting", "took")

    def __init__(
        self,
        limit: int,
        queue: deque[Job] | RunQueue,
        took: Histogram,
        pace: Pace | None = None,
    ) -> None:
        self.limit = limit
        self.queue = queue
        self.took = took
        self.pace = pace
        self.runners = 0
        self.starting = False

    @property
    def held_back(self) -> bool:
        return self.pace is not None and not self.pace.free

    @property
    def has_room(self) -> bool:
        """Whether another runner may start."""
        return self.runners < self.limit and not self.held_back


class Paces:
    """What paces the steps of a process: its shards share the breakers, and what was warned of.

    shards: how many shards each workflow has, here and elsewhere.
    logger: takes what people are told, at most once a minute for each step.
    """

    def __init__(self, clock: Clock, shards: int = 1, logger: Logger | None = None) -> None:
        self._clock = clock
        self._shards = shards
        self._logger = logger
        self._circuits: dict[tuple[str, str], Circuit] = {}
        self._warned: dict[tuple[str, str, str], datetime] = {}

    def naming(self, workflow: Workflow[Any, Any], shard: int) -> Naming:
        """What names the runs of a shard."""
        return Naming(workflow, shard, self._shards, self._logger)

    def of(
        self, workflow: Workflow[Any, Any], step: Step[Any, Any], shard: int, measures: Measures
    ) -> Pace | None:
        """What paces a step in a shard; None if nothing does."""
        if step.rate is None and step.breaker is None and step.lag_alert is None:
            return None
        naming, status = self.naming(workflow, shard), step.status.name

        def late(record: Record, lag: timedelta) -> None:
            measures.late[status] += 1
            self.warn("step_late", naming, record, seconds=lag.total_seconds())

        return Pace(
            self._clock,
            None if step.rate is None else step.rate.share(shard, self._shards),
            self._circuit(workflow.name, step),
            step.lag_alert,
            late,
        )

    def _circuit(self, workflow: str, step: Step[Any, Any]) -> Circuit | None:
        if step.breaker is None:
            return None
        key = (workflow, step.status.name)
        if key not in self._circuits:
            self._circuits[key] = Circuit(step.breaker)
        return self._circuits[key]

    def held(self, workflow: str) -> dict[str, Held]:
        """The steps of a workflow that their breakers hold, by status."""
        return {
            status: held
            for (name, status), circuit in self._circuits.items()
            if name == workflow and (held := circuit.held) is not None
        }

    def tell(self, what: str, **told: Any) -> None:
        """Warn of something that no step is to blame for."""
        if self._logger is not None:
            self._logger.warning(what, **told)

    def warn(
        self, what: str, naming: Naming, record: Record, kind: Kind = Kind.STEP, **told: Any
    ) -> None:
        """Warn of what a run has met with. kind: of what was done for it."""
        if self._logger is None:
            return
        fields = naming.run(record, kind)
        step = (what, fields["workflow"], fields["status"])
        now, before = self._clock.now(), self._warned.get(step)
        if before is None or not before <= now < before + QUIET:
            self._warned[step] = now
            self._logger.warning(what, **fields, **told)
