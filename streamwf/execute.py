"""Executing what is due: from a record to the event that says what became of it.

This is the only place where users' functions run. It decides by the definition and the clock, and
states the decision in an event; the fold only applies it.
"""

import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Generic, TypeVar, cast

import msgspec

from . import events
from .calling import call, of_the_loop
from .definition import Run, Step, StepResult, Timeout, Workflow
from .errors import (
    Fatal,
    InvalidObject,
    NaiveDeadline,
    RecordTooLarge,
    RequestRefused,
    UndeclaredTransition,
)
from .events import Event, derived_id, encode_event, pack_timers, source_of
from .outcome import Cancel, Pause, Repeat, Skip
from .ports import Clock
from .record import Record, State, Timer
from .retry import Retry
from .telling import text, told

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

#: What is left of an error's message where a whole one has no room.
SHORT_MESSAGE = 200

_COMPLETED = State.COMPLETED


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
        self._statuses = dict(workflow.status_type.__members__)
        # Entered without more ado: there is a step, and no timer to set.
        self._plain = workflow.steps.keys() - workflow.timeouts.keys()

    async def step(self, record: Record) -> Event:
        """Run the step that is due, and say what became."""
        status = record.status or self.start_name
        if not record.entered and status not in self._plain:
            entering = self._enter(record)
            if entering is not None:
                return entering
        step = self.workflow.steps.get(status)
        if step is None:
            return self._event(record, events.SKIPPED)
        try:
            run = self.run(record)
        except InvalidObject as error:
            # No attempt can mend this: only other code or another object can.
            if record.version > 1:
                paused = self._paused_by(record, error, record.attempt + 1, resume_at=None)
                return self._bounded(paused)
            return self._rejected(record, error)
        except Exception as error:
            return self._failed(record, step, error)
        try:
            if step.is_async and step.timeout is None:
                result = await cast("Awaitable[StepResult[StatusT]]", step.function(run))
            else:
                result = await call(step, run, step.timeout, self._threads)
            return self._limited(self._moved(record, run, step, result))
        except BaseException as error:
            if of_the_loop(error):
                raise
            return self._failed(record, step, error)

    async def timer(self, record: Record, name: str) -> Event:
        """Run the timeout of that name, and say what became."""
        timeout = self.workflow.timeouts.get(record.status, {}).get(name)
        if timeout is None:
            return self._expired(record, name)
        try:
            run = self.run(record)
            run.attempt = _answered(record, name).attempt + 1
            run.idempotency_key += f"-{name}"
            result = await call(timeout, run, None, self._threads)
            return self._limited(self._moved(record, run, timeout, result))
        except BaseException as error:
            if of_the_loop(error):
                raise
            return self._bounded(self._timer_failed(record, name, error))

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
            status=self._statuses[status],
            object=self.workflow.load(bytes(record.object)),
            version=record.version,
            attempt=record.attempt + 1,
            created_at=record.created_at,
            updated_at=record.updated_at,
            idempotency_key=f"{record.run_id}-{record.since}",
        )

    # ---- entering a status

    def _enter(self, record: Record) -> Event | None:
        """What the start of a run leads to before its step; None if its step can run at once."""
        try:
            status = self.workflow.check_start(record.status).name
        except RequestRefused as error:
            return self._rejected(record, error)
        if status in self._plain:
            return None
        try:
            timers = self._timers(self.run(record))
        except InvalidObject as error:
            return self._rejected(record, error)
        except Exception as error:
            return self._bounded(self._again(record, self._retry, error))
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
                if due.tzinfo is None:
                    raise NaiveDeadline(name=timeout.name, due=due)
                timers.append(Timer(name=timeout.name, due_at=due.astimezone(UTC)))
        return tuple(timers)

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
        if isinstance(result, Skip):
            return self._expired(record, timer) if timer else self._event(record, events.SKIPPED)
        data = self._saved(record, run)
        now = self._clock.now()
        match result:
            case Pause(reason):
                return self._event(
                    record,
                    events.PAUSED,
                    state=State.PAUSED,
                    data=data,
                    reason=text(reason),
                    dueat=record.due_at if timer else now,
                    timer=timer,
                )
            case Cancel(reason):
                return self._event(
                    record,
                    events.CANCELLED,
                    state=State.CANCELLED,
                    data=data,
                    reason=text(reason),
                    timer=timer,
                )
            case Repeat(after):
                if timer:
                    # A step in flight need not know of it if the object is as it was.
                    also = {} if data == record.object else {"data": data}
                    return self._expired(record, timer, Timer(timer, now + after), **also)
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
        now = self._clock.now()
        timers: tuple[Timer, ...] = ()
        if name in workflow.timeouts:
            run.status = status
            timers = self._timers(run)
        return Event(
            specversion="1.0",
            id=f"{record.run_id}-{record.version}",
            source=self._source,
            type=events.MOVED,
            subject=record.foreign_id,
            time=now,
            runid=record.run_id,
            version=record.version,
            status=name,
            state=_COMPLETED if workflow.terminal(name) else None,
            data=self._saved(record, run),
            dueat=now if name in workflow.steps else None,
            timers=pack_timers(timers) if timers else "",
            timer=timer,
            **also,
        )

    def _saved(self, record: Record, run: Run[ObjectT, StatusT]) -> msgspec.Raw:
        """The object as it has become. Raises InvalidObject before one is lost that fits."""
        data = self.workflow.dump(run.object)
        if data != bytes(record.object):
            self.workflow.load(data)
        return msgspec.Raw(data)

    def _failed(self, record: Record, step: Step[ObjectT, StatusT], error: BaseException) -> Event:
        try:
            return self._bounded(self._judged(record, step, error))
        except Exception as worse:
            # What the error should have led to is impossible. People have to see to it.
            paused = self._paused_by(record, worse, record.attempt + 1, resume_at=None)
            return self._bounded(paused)

    def _judged(self, record: Record, step: Step[ObjectT, StatusT], error: BaseException) -> Event:
        attempt = record.attempt + 1
        final = isinstance(error, step.fatal)
        if final or step.retry.exhausted(attempt):
            if step.on_error is not None:
                return self._to(record, self.run(record), step.on_error, **told(error))
            return self._paused_by(record, error, attempt, None if final else self._resume_at())
        if step.pause_after is not None and attempt >= step.pause_after:
            return self._paused_by(record, error, attempt, self._resume_at())
        return self._again(record, step.retry, error)

    def _again(self, record: Record, retry: Retry, error: BaseException) -> Event:
        return self._event(
            record,
            events.FAILED,
            dueat=self._clock.now() + retry.delay(record.attempt + 1, self._chance()),
            attempt=record.attempt + 1,
            **told(error),
        )

    def _timer_failed(self, record: Record, name: str, error: BaseException) -> Event:
        if isinstance(error, Fatal):
            return self._event(
                record,
                events.PAUSED,
                state=State.PAUSED,
                dueat=record.due_at,
                attempt=record.attempt,
                reason=f"paused by timeout {name}",
                timer=name,
                **told(error),
            )
        attempt = _answered(record, name).attempt + 1
        due_at = self._clock.now() + self._retry.delay(attempt, self._chance())
        return self._expired(record, name, Timer(name, due_at, attempt), **told(error))

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
            **told(error),
        )

    def _rejected(self, record: Record, why: RequestRefused) -> Event:
        return self._event(record, events.REJECTED, state=State.CANCELLED, reason=text(str(why)))

    def _expired(self, record: Record, name: str, again: Timer | None = None, **also: Any) -> Event:
        """A timer was answered without a move: it is gone, or due again. All else goes on."""
        return self._event(
            record,
            events.EXPIRED,
            timer=name,
            timers=pack_timers((again,)) if again else "",
            dueat=_answered(record, name).due_at,
            **also,
        )

    def _event(self, record: Record, kind: str, timer: str = "", **fields: Any) -> Event:
        event_id = f"{record.run_id}-{record.version}"
        return Event(
            specversion="1.0",
            id=f"{event_id}-{timer}" if timer else event_id,
            source=self._source,
            type=kind,
            subject=record.foreign_id,
            time=self._clock.now(),
            runid=record.run_id,
            version=record.version,
            timer=timer,
            **fields,
        )

    def _bounded(self, event: Event) -> Event:
        """An event that tells of an error, with as much of its traceback as it has room for."""
        excess = len(encode_event(event)) - self._max_bytes
        if excess > 0:
            event = msgspec.structs.replace(
                event,
                errortrace=event.errortrace[excess:],
                errormessage=event.errormessage[:SHORT_MESSAGE],
            )
        return self._limited(event)

    def _limited(self, event: Event) -> Event:
        """Raises RecordTooLarge if the object could push the event past the limit."""
        if isinstance(event.data, msgspec.Raw):
            size = len(memoryview(event.data))
            if size > self._max_bytes // 2 and len(encode_event(event)) > self._max_bytes:
                raise RecordTooLarge(what="object", size=size, limit=self._max_bytes)
        return event


def _answered(record: Record, name: str) -> Timer:
    return next(timer for timer in record.timers if timer.name == name)


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
