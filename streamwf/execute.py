"""Executing what is due: from a record to the event that says what became of it.

This is the only place where users' functions run. It decides by the definition and the clock, and
states the decision in an event; the fold only applies it.
"""

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar, cast

import msgspec

from . import events
from .definition import Run, Step, StepResult, Timeout, Workflow
from .errors import (
    Fatal,
    InvalidObject,
    RecordTooLarge,
    RequestRefused,
    StepTimedOut,
    UndeclaredTransition,
)
from .events import Event, derived_id, encode_event, pack_timers, source_of
from .outcome import Cancel, Pause, Repeat, Skip
from .ports import Clock
from .record import Record, State, Timer
from .retry import Retry

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

MAX_TRACEBACK = 8_000
MAX_MESSAGE = 2_000


class SystemClock:
    """The time of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Executor(Generic[ObjectT, StatusT]):
    """Runs the steps and timeouts of one workflow.

    threads: where plain functions run; shared, so that a worker's threads are bounded.
    max_bytes: the largest event; a step whose result is larger has failed.
    """

    def __init__(
        self,
        workflow: Workflow[ObjectT, StatusT],
        clock: Clock,
        threads: ThreadPoolExecutor,
        max_bytes: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.workflow = workflow
        self.start_name = workflow.start_name
        self._clock = clock
        self._threads = threads
        self._max_bytes = max_bytes
        self._chance = chance
        self._source = source_of(workflow.name)
        self._retry = Retry()

    async def step(self, record: Record) -> Event:
        """Run the step that is due, and say what became."""
        if not record.entered:
            entering = self._enter(record)
            if entering is not None:
                return entering
        status = record.status or self.start_name
        step = self.workflow.steps.get(status)
        if step is None:
            return self._event(record, events.SKIPPED)
        try:
            run = self.run(record)
        except InvalidObject as error:
            # No attempt can mend this: only other code or another object can.
            if record.entered:
                return self._paused_by(record, error, record.attempt + 1, resume_at=None)
            return self._rejected(record, str(error))
        try:
            if step.is_async and step.timeout is None:
                result = await cast("Awaitable[StepResult[StatusT]]", step.function(run))
            else:
                result = await self._call(step, run, step.timeout)
            return self._limited(self._moved(record, run, step, result))
        except (Exception, SystemExit) as error:
            return self._failed(record, step, error)
        except asyncio.CancelledError as error:
            if cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise
            return self._failed(record, step, error)

    async def timer(self, record: Record, name: str) -> Event:
        """Run the timeout of that name, and say what became."""
        timeout = self.workflow.timeouts.get(record.status, {}).get(name)
        if timeout is None:
            return self._expired(record, name)
        try:
            run = self.run(record)
            result = await self._call(timeout, run, None)
            return self._limited(self._moved(record, run, timeout, result))
        except (Exception, SystemExit) as error:
            again = self._clock.now() + self._retry.delay(record.attempt + 1, self._chance())
            return self._expired(record, name, again, record.attempt + 1, error)
        except asyncio.CancelledError as error:
            if cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise
            return self._expired(record, name, self._clock.now() + timedelta(seconds=1), 1, error)

    def resume(self, record: Record) -> Event:
        """Resume a run whose pause has lasted long enough."""
        return self._event(record, events.RESUMED)

    def run(self, record: Record) -> Run[ObjectT, StatusT]:
        """The run as a step sees it. Raises InvalidObject."""
        status = record.status or self.start_name
        return Run(
            workflow=self.workflow.name,
            foreign_id=record.foreign_id,
            run_id=record.run_id,
            status=self.workflow.status_type[status],
            object=self.workflow.load(bytes(record.object)),
            version=record.version,
            attempt=record.attempt + 1,
            created_at=record.created_at,
            updated_at=record.updated_at,
            # The attempts of one try share what the run has done before them.
            idempotency_key=f"{record.run_id}-{record.version - record.attempt}",
        )

    # ---- entering a status

    def _enter(self, record: Record) -> Event | None:
        """What the start of a run leads to before its step; None if its step can run at once."""
        try:
            status = self.workflow.check_start(record.status).name
        except RequestRefused as error:
            return self._rejected(record, str(error))
        if status in self.workflow.steps and status not in self.workflow.timeouts:
            return None
        try:
            timers = self._timers(self.run(record))
        except InvalidObject as error:
            return self._rejected(record, str(error))
        except Exception as error:
            delay = self._retry.delay(record.attempt + 1, self._chance())
            return self._event(
                record,
                events.FAILED,
                dueat=self._clock.now() + delay,
                attempt=record.attempt + 1,
                **_told(error),
            )
        return self._event(
            record,
            events.STARTED,
            status=status,
            timers=pack_timers(timers),
            dueat=self._clock.now() if status in self.workflow.steps else None,
        )

    def _timers(self, run: Run[ObjectT, StatusT]) -> tuple[Timer, ...]:
        """The timers of the status that the run has just entered."""
        now = self._clock.now()
        timers = []
        for timeout in self.workflow.timeouts.get(run.status.name, {}).values():
            after = timeout.after(run) if callable(timeout.after) else timeout.after
            if after is not None:
                due = now + after if isinstance(after, timedelta) else after
                timers.append(Timer(name=timeout.name, due_at=due.astimezone(UTC)))
        return tuple(timers)

    # ---- calling

    async def _call(
        self,
        called: Step[ObjectT, StatusT] | Timeout[ObjectT, StatusT],
        run: Run[ObjectT, StatusT],
        limit: timedelta | None,
    ) -> StepResult[StatusT]:
        seconds = None if limit is None else limit.total_seconds()
        try:
            async with asyncio.timeout(seconds) as deadline:
                if called.is_async:
                    return await cast("Awaitable[StepResult[StatusT]]", called.function(run))
                loop = asyncio.get_running_loop()
                call = cast("Callable[[], StepResult[StatusT]]", partial(called.function, run))
                return await loop.run_in_executor(self._threads, call)
        except TimeoutError:
            if deadline.expired():
                raise StepTimedOut(status=called.status.name, seconds=seconds) from None
            raise

    # ---- what became

    def _moved(
        self,
        record: Record,
        run: Run[ObjectT, StatusT],
        called: Step[ObjectT, StatusT] | Timeout[ObjectT, StatusT],
        result: StepResult[StatusT],
    ) -> Event:
        timer = called.name if isinstance(called, Timeout) else ""
        if isinstance(result, called.status.__class__) and result in called.to:
            return self._to(record, run, result, timer)
        data = msgspec.Raw(self.workflow.dump(run.object))
        now = self._clock.now()
        match result:
            case Pause(reason):
                return self._event(
                    record, events.PAUSED, state=State.PAUSED, data=data, reason=reason, dueat=now
                )
            case Cancel(reason):
                return self._event(
                    record, events.CANCELLED, state=State.CANCELLED, data=data, reason=reason
                )
            case Skip():
                return self._expired(record, timer) if timer else self._event(record, "skipped")
            case Repeat(after):
                if timer:
                    return self._expired(record, timer, now + after)
                return self._event(record, events.REPEATED, data=data, dueat=now + after)
        raise UndeclaredTransition(
            status=called.status.name,
            returned=getattr(result, "name", result),
            declared=", ".join(status.name for status in called.to),
        )

    def _to(
        self,
        record: Record,
        run: Run[ObjectT, StatusT],
        status: StatusT,
        timer: str = "",
        **also: Any,
    ) -> Event:
        name, workflow = status.name, self.workflow
        timers: tuple[Timer, ...] = ()
        if name in workflow.timeouts:
            run.status = status
            timers = self._timers(run)
        has_step = name in workflow.steps
        return self._event(
            record,
            events.MOVED,
            status=name,
            state=None if has_step or timers or not workflow.terminal(name) else State.COMPLETED,
            data=msgspec.Raw(workflow.dump(run.object)),
            dueat=self._clock.now() if has_step else None,
            timers=pack_timers(timers) if timers else "",
            timer=timer,
            **also,
        )

    def _failed(self, record: Record, step: Step[ObjectT, StatusT], error: BaseException) -> Event:
        attempt = record.attempt + 1
        final = isinstance(error, Fatal)
        if final or step.retry.exhausted(attempt):
            if step.on_error is not None:
                return self._to(record, self.run(record), step.on_error, **_told(error))
            return self._paused_by(record, error, attempt, None if final else self._resume_at())
        if step.pause_after is not None and attempt >= step.pause_after:
            return self._paused_by(record, error, attempt, self._resume_at())
        return self._event(
            record,
            events.FAILED,
            dueat=self._clock.now() + step.retry.delay(attempt, self._chance()),
            attempt=attempt,
            **_told(error),
        )

    def _resume_at(self) -> datetime | None:
        after = self.workflow.auto_resume
        return None if after is None else self._clock.now() + after

    def _paused_by(
        self, record: Record, error: BaseException, attempt: int, resume_at: datetime | None
    ) -> Event:
        return self._event(
            record,
            events.PAUSED,
            state=State.PAUSED,
            dueat=self._clock.now(),
            attempt=attempt,
            reason=f"paused after {attempt} failed attempts",
            resumeat=resume_at,
            **_told(error),
        )

    def _rejected(self, record: Record, why: str) -> Event:
        return self._event(record, events.REJECTED, state=State.CANCELLED, reason=why)

    def _expired(
        self,
        record: Record,
        name: str,
        again: datetime | None = None,
        attempt: int | None = None,
        error: BaseException | None = None,
    ) -> Event:
        """A timer was answered without a move: it is gone, or due again; the rest goes on."""
        timers = [timer for timer in record.timers if timer.name != name]
        if again is not None:
            timers.append(Timer(name=name, due_at=again))
        told = _told(error) if error else _kept(record)
        return self._event(
            record,
            events.EXPIRED,
            timer=name,
            timers=pack_timers(tuple(timers)),
            dueat=record.due_at,
            attempt=record.attempt if attempt is None else attempt,
            **told,
        )

    def _event(self, record: Record, kind: str, **fields: Any) -> Event:
        return Event(
            specversion="1.0",
            id=f"{record.run_id}-{record.version}",
            source=self._source,
            type=kind,
            subject=record.foreign_id,
            time=self._clock.now(),
            runid=record.run_id,
            version=record.version,
            **fields,
        )

    def _limited(self, event: Event) -> Event:
        """Raises RecordTooLarge if the object could push the event past the limit."""
        if isinstance(event.data, msgspec.Raw):
            size = len(memoryview(event.data))
            if size > self._max_bytes // 2 and len(encode_event(event)) > self._max_bytes:
                raise RecordTooLarge(what="object", size=size, limit=self._max_bytes)
        return event


def _told(error: BaseException) -> dict[str, str]:
    text = "".join(traceback.format_exception(error))
    return {
        "errortype": type(error).__name__,
        "errormessage": str(error)[:MAX_MESSAGE],
        "errortrace": text[-MAX_TRACEBACK:],
    }


def _kept(record: Record) -> dict[str, str]:
    if record.error is None:
        return {}
    error = record.error
    return {
        "errortype": error.type,
        "errormessage": error.message,
        "errortrace": error.traceback,
    }


def rejected_trigger(record: Record, event: Event) -> Event:
    """The trigger of a run that was rejected, for the dead letters: it can be sent again."""
    return Event(
        specversion="1.0",
        id=derived_id("rejected", record.run_id),
        source=event.source,
        type=events.TRIGGER,
        subject=record.foreign_id,
        time=record.created_at,
        status=record.status,
        data=record.object,
    )
