"""The testing kit: a run built by hand, and an engine whose clock the test steps.

It needs no test library. Its expectations raise AssertionError, and tell what became of the run.
`streamwf.pytest_plugin` has the fixtures for pytest.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NoReturn, TypeVar

from streamwf.agenda import Entry, Kind, entries
from streamwf.client import Client
from streamwf.definition import Run, Workflow
from streamwf.embedded import EmbeddedHost
from streamwf.errors import AwaitFailed, DeadlineExceeded
from streamwf.events import CALLBACK
from streamwf.gateway import LocalGateway
from streamwf.operations import Operations
from streamwf.record import Record
from streamwf.run_info import RunInfo
from streamwf.shard import Shard
from streamwf.testing.looks import Looks
from streamwf.testing.replaying import AnyHistory, Replayed, ReplayProblem, replay
from streamwf.testing.resuming import logs_of
from streamwf.views import EventView, TimerView

__all__ = [
    "START",
    "Engine",
    "ReplayProblem",
    "Replayed",
    "SteppedClock",
    "build_run",
    "engine",
    "replay",
]

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

#: The instant at which a stepped clock begins, unless told.
START = datetime(2030, 1, 1, tzinfo=UTC)

#: How long, by the machine's clock, an engine waits for what is due at one instant.
PATIENCE = timedelta(seconds=5)

#: Seconds that steps in progress get to finish in when the test has ended.
GRACE = 0.05

#: How many runs a failure tells of.
MAX_TOLD = 10

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SteppedClock:
    """Stands still until it is stepped. Implements `streamwf.ports.Clock`."""

    def __init__(self, now: datetime = START) -> None:
        if now.tzinfo is None:
            raise ValueError(f"give the clock's time a time zone: {now}")
        self.start = self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        """Step it. `Engine.advance` stops at each instant at which something is due."""
        if by < timedelta(0):
            raise ValueError(f"a clock goes forward only: {by}")
        self._now += by


def build_run(
    workflow: Workflow[ObjectT, StatusT],
    object: ObjectT,
    *,
    status: StatusT | None = None,
    attempt: int = 1,
    foreign_id: str = "test",
    run_id: str = "test-run",
    version: int = 1,
    now: datetime = START,
) -> Run[ObjectT, StatusT]:
    """A run to call a step's function with.

    status: the workflow's start, unless given. now: when it was created and updated.
    """
    return Run(
        workflow=workflow.name,
        foreign_id=foreign_id,
        run_id=run_id,
        status=workflow.member(workflow.start_name) if status is None else status,
        object=object,
        version=version,
        attempt=attempt,
        created_at=now,
        updated_at=now,
        idempotency_key=f"{run_id}-{version}",
    )


@asynccontextmanager
async def engine(
    *workflows: Workflow[Any, Any],
    clock: SteppedClock | None = None,
    patience: timedelta = PATIENCE,
    former: "Engine | None" = None,
    histories: Iterable[AnyHistory] = (),
) -> AsyncIterator["Engine"]:
    """Run workflows in this process, in memory, on a clock that stands still.

    patience: how long, by the machine's clock, to wait for what is due at one instant.
    former: an engine that has ended: its runs go on here, by the definitions that are given now,
        at the time at which it ended.
    histories: of runs that were exported: these go on here, too, at the time of the last event.

    Raises InvalidDefinition, and LiveRunsInUnknownStatus if a former run is at a status that is
    gone; of histories HistoryUnreadable, HistoryNewer, HistoryOfAnother and HistoryHidden.
    """
    logs, times = logs_of(workflows, histories, former.host.logs if former else {})
    times += [former.clock.now()] if former else []
    clock = clock or SteppedClock(max(times, default=START))
    host = EmbeddedHost(
        *workflows,
        clock=clock,
        logs=logs,
        key_provider=former.host.key_provider if former else None,
    )
    try:
        await host.start()
        yield Engine(host, clock, patience)
    finally:
        await host.stop(GRACE)


class Engine:
    """Workflows that run on a stepped clock. Made by `engine`.

    client: for all else that can be asked: to pause, resume and cancel, to find, to look back.
    """

    def __init__(self, host: EmbeddedHost, clock: SteppedClock, patience: timedelta) -> None:
        self.host = host
        self.clock = clock
        self.patience = patience
        self.client = Client(LocalGateway(Operations(host, patience.total_seconds())))

    # ---- driving

    async def trigger(
        self,
        workflow: Workflow[ObjectT, StatusT],
        foreign_id: str,
        object: ObjectT,
        *,
        at: StatusT | None = None,
        start_at: datetime | None = None,
        key: str | None = None,
    ) -> RunInfo[ObjectT, StatusT]:
        """Start a run, and return it once it is accepted. Raises what `Client.trigger` does."""
        run_id = await self.client.trigger(
            workflow, foreign_id, object, at=at, start_at=start_at, key=key, wait=True
        )
        return await self.client.get(workflow, run_id)

    async def advance(self, by: timedelta) -> None:
        """Step the clock from due time to due time, and do at each all that is due.

        Raises AssertionError if that does not come to an end.
        """
        __tracebackhide__ = True
        until = self.clock.now() + by
        await self.settle()
        while (due_at := self._next_due(until)) is not None:
            self._go_on_to(due_at)
            await self.settle()
        self._go_on_to(until)

    def _go_on_to(self, instant: datetime) -> None:
        # Another part of the test may have stepped the clock further meanwhile.
        self.clock.advance(max(instant - self.clock.now(), timedelta(0)))

    async def settle(self) -> None:
        """Return once all that is due now was done and folded.

        Raises AssertionError if that does not come to an end.
        """
        __tracebackhide__ = True
        looks = Looks(self.patience)
        while not self._settled():
            if looks.over:
                raise AssertionError(self._unsettled())
            await looks.next()

    async def get(self, run: RunInfo[ObjectT, StatusT]) -> RunInfo[ObjectT, StatusT]:
        """The run as it is once all that is due now was done."""
        __tracebackhide__ = True
        await self.settle()
        return await self._now(run)

    async def callback_when(
        self,
        run: RunInfo[ObjectT, StatusT],
        status: StatusT,
        name: str,
        payload: object = None,
        *,
        key: str | None = None,
    ) -> RunInfo[ObjectT, StatusT]:
        """Call a run back once it is at the status, and return it once all is done that is due.

        name, payload, key: as for `Client.callback`, which also says what is raised.
        Raises AssertionError as soon as nothing is left that could lead to the status.
        """
        __tracebackhide__ = True
        await self.await_status(run, status)
        workflow = self._workflow(run)
        await self.client.callback(workflow, name, payload, run_id=run.run_id, key=key)
        return await self.get(run)

    # ---- expecting

    async def await_status(
        self, run: RunInfo[ObjectT, StatusT], status: StatusT
    ) -> RunInfo[ObjectT, StatusT]:
        """The run, once it is at the status or has passed it, at the clock's present time.

        Raises AssertionError as soon as nothing is left that could lead there.
        """
        __tracebackhide__ = True
        workflow, looks = self._workflow(run), Looks(self.patience)
        while True:
            last = self._settled() or looks.over
            try:
                return await self.client.await_(workflow, run.run_id, status, timeout=timedelta(0))
            except AwaitFailed:
                await self._fail(run, f"it will not reach {status.name}")
            except DeadlineExceeded:
                if last:
                    await self._fail(run, f"it has not reached {status.name}")
            await looks.next()

    async def expect_object(
        self, run: RunInfo[ObjectT, StatusT], expected: ObjectT | Callable[[ObjectT], object]
    ) -> RunInfo[ObjectT, StatusT]:
        """The run, whose object is as expected once all that is due now was done.

        expected: what it is to be equal to, or a function of it that is to be true.
        """
        __tracebackhide__ = True
        found = await self.get(run)
        if callable(expected):
            if not expected(found.object):
                name = getattr(expected, "__name__", repr(expected))
                await self._fail(run, f"{name} is not true of its object")
        elif found.object != expected:
            await self._fail(run, f"its object is not the expected {expected!r}")
        return found

    async def expect_timeout(
        self, run: RunInfo[ObjectT, StatusT], name: str, *, due_at: datetime | None = None
    ) -> TimerView:
        """The timeout of that name, which waits for its time once all that is due now was done.

        due_at: when it is to be due, if that is expected too.
        """
        __tracebackhide__ = True
        timers = {timer.name: timer for timer in (await self.get(run)).timers}
        if name not in timers:
            waiting = ", ".join(timers) or "none"
            await self._fail(run, f"timeout {name!r} does not wait (those that do: {waiting})")
        timer = timers[name]
        if due_at is not None and timer.due_at != due_at:
            found, wanted = self._when(timer.due_at), self._when(due_at)
            await self._fail(run, f"timeout {name!r} is due at {found}, and not at {wanted}")
        return timer

    # ---- whether all is done

    def _shards(self) -> Iterable[Shard]:
        return (shard for name in self.host.workflows for shard in self.host.shards(name))

    def _settled(self) -> bool:
        """Begin what is due, and say whether nothing was, and nothing is under way."""
        self.host.run_due()
        return all(
            # Set as long as a shard has something to append, or the log something to fold.
            not self.host.logs[shard.workflow.name].grown.is_set()
            and shard.checkpointed == len(self.host.logs[shard.workflow.name].records)
            and not shard.dispatcher.backlog
            and not shard.dispatcher.running
            and not self._overdue(shard)
            for shard in self._shards()
        )

    def _overdue(self, shard: Shard) -> bool:
        """Whether something is due but for the steps that are held back."""
        now, held_back = self.clock.now(), shard.dispatcher.held_back()
        for _, key in shard.table.due(_BEGINNING, now + _MICROSECOND, len(held_back) + 1):
            record = shard.rows.get(key)
            if record is None or record.run_id not in held_back:
                return True
            if any(due.kind is not Kind.STEP for due in entries(record) if due.due_at <= now):
                return True
        return False

    def _next_due(self, until: datetime) -> datetime | None:
        """When the first is due of what waits until then. All that is due now was done."""
        now, due = self.clock.now(), list[datetime]()
        for shard in self._shards():
            found = shard.table.due(now + _MICROSECOND, until + _MICROSECOND, 1)
            due += [due_at for due_at, _ in found[:1]]
            goes_on = shard.dispatcher.next_due(now)
            due += [goes_on] if goes_on is not None and goes_on <= until else []
        return min(due, default=None)

    def _unsettled(self) -> str:
        overdue = [
            f"{shard.workflow.name} {record.foreign_id!r}: {self._entry(shard, record, entry)}"
            for shard in self._shards()
            for _, record in shard.scan("")
            for entry in entries(record)
            if entry.due_at <= self.clock.now()
        ]
        running = sum(shard.dispatcher.running for shard in self._shards())
        told = [*overdue[:MAX_TOLD], *(["…"] if len(overdue) > MAX_TOLD else [])]
        if running:
            told.append(f"still running: {running}")
        return "\n  ".join(
            [
                f"what is due at {self._when(self.clock.now())} was not done within "
                f"{self.patience.total_seconds():g} s. Does a step wait for the test, or repeat "
                "itself at once?",
                *told,
            ]
        )

    # ---- telling

    async def _now(self, run: RunInfo[ObjectT, StatusT]) -> RunInfo[ObjectT, StatusT]:
        return await self.client.get(self._workflow(run), run.run_id)

    def _workflow(self, run: RunInfo[ObjectT, StatusT]) -> Workflow[ObjectT, StatusT]:
        return self.host.workflows[run.workflow]

    async def _fail(self, run: RunInfo[Any, Any], what: str) -> NoReturn:
        """Say what was expected, what the run is like and how it came there."""
        __tracebackhide__ = True
        history = await self.client.history(run.run_id)
        found = await self._now(run)
        lines = [
            f"{run.workflow} {run.foreign_id!r}: {what}; "
            f"it is {found.state} at {found.status.name}",
            f"  now     {self._when(self.clock.now())}",
            f"  object  {found.object!r}",
            *(f"  waits   {waits}" for waits in self._waits(run)),
            "  history" + (", without its beginning" if history.truncated else ""),
            *(f"    {self._event(event)}" for event in history.events),
        ]
        raise AssertionError("\n".join(lines)) from None

    def _waits(self, run: RunInfo[Any, Any]) -> list[str]:
        for shard in self.host.shards(run.workflow):
            record = shard.lookup(run.run_id)
            if record is not None:
                return [self._entry(shard, record, entry) for entry in entries(record)]
        return []

    def _entry(self, shard: Shard, record: Record, entry: Entry) -> str:
        status = record.status or shard.workflow.start_name
        what = f"{entry.kind} {entry.name}".rstrip()
        held_back = entry.kind is Kind.STEP and record.run_id in shard.dispatcher.held_back()
        why = ", held back by its rate or its breaker" if held_back else ""
        return f"{what} at {status}, due {self._when(entry.due_at)}{why}"

    def _event(self, event: EventView) -> str:
        told = event.call if event.type == CALLBACK else event.hook and f"on_{event.hook}"
        parts = [f"{event.version:>3}", self._when(event.time), f"{event.type:<9}"]
        parts += [event.status, told, event.timer and f"by timeout {event.timer}"]
        if event.attempt:
            parts.append(f"attempt {event.attempt}")
        if event.due_at is not None and event.due_at > event.time:
            parts.append(f"due {self._when(event.due_at)}")
        parts.append(event.reason)
        if event.error is not None:
            parts.append(f"{event.error.type}: {event.error.message}")
        return "  ".join(part for part in parts if part).rstrip()

    def _when(self, instant: datetime) -> str:
        """How far an instant is from the clock's start."""
        apart = instant - self.clock.start
        return f"-{-apart}" if apart < timedelta(0) else f"+{apart}"
