"""What errors lead to: another attempt, another status, or a pause that people end."""

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from . import events
from .declared import Callback, Run, Step, Timeout
from .errors import Fatal, InvalidObject, InvalidPayload, ObjectUnreadable, RequestRefused
from .events import Event
from .record import Call, DueHook, Record, State, Timer
from .redaction import Redaction
from .results import Results, answered
from .retry import Retry
from .telling import text, told

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

_RETRY = Retry()

#: Errors that tell nothing of masked fields.
_DISCREET = (InvalidObject, InvalidPayload, ObjectUnreadable)


class Failures(Results[ObjectT, StatusT]):
    """Makes the results of steps, timeouts, callbacks and hooks that have failed, too."""

    # ---- steps

    def failed(
        self,
        record: Record,
        step: Step[ObjectT, StatusT],
        error: BaseException,
        again: Callable[[], Run[ObjectT, StatusT]],
        redaction: Redaction | None = None,
    ) -> Event:
        """again: makes the run as it was before the step. redaction: of the run as it is now."""
        try:
            return self.bounded(self._judged(record, step, error, again, redaction))
        except Exception as worse:
            # What the error should have led to is impossible. People have to see to it.
            return self.stuck(record, worse, redaction)

    def _told(
        self, record: Record, error: BaseException, redaction: Redaction | None
    ) -> dict[str, str]:
        redaction = redaction or self.redaction(record)
        if redaction is None:
            return told(error)
        return told(error, redaction.known if isinstance(error, _DISCREET) else redaction.of)

    def _judged(
        self,
        record: Record,
        step: Step[ObjectT, StatusT],
        error: BaseException,
        again: Callable[[], Run[ObjectT, StatusT]],
        redaction: Redaction | None,
    ) -> Event:
        attempt = record.attempt + 1
        final = isinstance(error, step.fatal)
        if final or step.retry.exhausted(attempt):
            if step.on_error is not None:
                why = self._told(record, error, redaction)
                return self.moved(record, again(), step.on_error, step, **why)
            resume_at = None if final else self._resume_at()
            return self._paused_by(record, error, attempt, resume_at, redaction)
        if step.pause_after is not None and attempt >= step.pause_after:
            return self._paused_by(record, error, attempt, self._resume_at(), redaction)
        return self._try_again(record, step.retry, error, redaction)

    def put_off(self, record: Record, error: BaseException, **also: Any) -> Event:
        """The step of an inner run failed: it is tried again."""
        return self.bounded(self._try_again(record, _RETRY, error, **also))

    def not_entered(self, record: Record, error: BaseException) -> Event:
        """The run could not enter its start: that is tried again."""
        return self.bounded(self._try_again(record, _RETRY, error))

    def _try_again(
        self,
        record: Record,
        retry: Retry,
        error: BaseException,
        redaction: Redaction | None = None,
        **also: Any,
    ) -> Event:
        attempt = record.attempt + 1
        return self.event(
            record,
            events.FAILED,
            dueat=self._later(retry, attempt),
            attempt=attempt,
            **self._told(record, error, redaction),
            **also,
        )

    def _later(self, retry: Retry, attempt: int) -> datetime:
        return self.clock.now() + retry.delay(attempt, self.chance())

    def stuck(
        self, record: Record, error: BaseException, redaction: Redaction | None = None
    ) -> Event:
        """No attempt can mend this: only other code or another object can."""
        return self.bounded(self._paused_by(record, error, record.attempt + 1, None, redaction))

    def _paused_by(
        self,
        record: Record,
        error: BaseException,
        attempt: int,
        resume_at: datetime | None,
        redaction: Redaction | None,
    ) -> Event:
        return self.event(
            record,
            events.PAUSED,
            state=State.PAUSED,
            dueat=self.clock.now(),
            attempt=attempt,
            reason=f"paused after {attempt} failed attempts",
            resumeat=resume_at,
            **self._told(record, error, redaction),
        )

    def rejected(self, record: Record, why: RequestRefused) -> Event:
        return self.event(
            record,
            events.REJECTED,
            state=State.CANCELLED,
            reason=text(str(why)),
        )

    def _resume_at(self) -> datetime | None:
        after = self.workflow.auto_resume
        return None if after is None else self.clock.now() + after

    # ---- timeouts, callbacks and hooks

    def timer_failed(
        self,
        record: Record,
        timeout: Timeout[ObjectT, StatusT],
        error: BaseException,
        redaction: Redaction | None = None,
    ) -> Event:
        timer = answered(record, timeout.name)
        why = self._told(record, error, redaction)
        name, attempt = timer.name, timer.attempt + 1
        if isinstance(error, Fatal) or timeout.retry.exhausted(attempt):
            paused = self.event(
                record,
                events.PAUSED,
                answers=name,
                state=State.PAUSED,
                dueat=record.due_at,
                attempt=record.attempt,
                reason=f"paused by timeout {name}",
                timer=name,
                **why,
            )
            return self.bounded(paused)
        again = Timer(name, self._later(timeout.retry, attempt), attempt, timer.rounds)
        return self.bounded(self.expired(record, name, again, **why))

    def declined(
        self,
        record: Record,
        call: Call,
        error: BaseException,
        redaction: Redaction | None = None,
    ) -> Event:
        """A callback is answered with an error, and changes nothing."""
        why = self._told(record, error, redaction or self.redaction(record, call=call.id))
        event = self.event(record, events.DECLINED, answers=call.id, call=call.id, **why)
        return self.bounded(event)

    def call_failed(
        self,
        record: Record,
        call: Call,
        callback: Callback[ObjectT, StatusT],
        error: BaseException,
        redaction: Redaction | None = None,
    ) -> Event:
        attempt = call.attempt + 1
        redaction = redaction or self.redaction(record, call=call.id)
        if isinstance(error, Fatal) or callback.retry.exhausted(attempt):
            return self.declined(record, call, error, redaction)
        failed = self.event(
            record,
            events.POSTPONED,
            answers=call.id,
            call=call.id,
            dueat=self._later(callback.retry, attempt),
            attempt=attempt,
            **self._told(record, error, redaction),
        )
        return self.bounded(failed)

    def hooked(
        self,
        record: Record,
        hook: DueHook,
        error: BaseException | None = None,
        redaction: Redaction | None = None,
        *,
        again: bool = True,
    ) -> Event:
        """A hook has run; or it has failed, and is tried again unless that is of no use."""
        fields: dict[str, Any] = {}
        if error is not None:
            fields |= self._told(record, error, redaction)
            if again and not isinstance(error, Fatal):
                attempt = hook.attempt + 1
                fields |= {"dueat": self._later(_RETRY, attempt), "attempt": attempt}
        return self.bounded(
            self.event(record, events.HOOKED, answers=hook.on, hook=hook.on, call=hook.id, **fields)
        )
