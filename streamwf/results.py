"""Results: the events that say what became of a run. They are decided by the definition and the
time, once; the fold only applies them. Pure but for the clock and the chance that it is given.
"""

import base64
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from . import events
from .declared import Mover, Run, StepResult, Timeout
from .definition import Workflow
from .errors import (
    CorrelationInvalid,
    InvalidForeignId,
    NaiveDeadline,
    RecordTooLarge,
    UndeclaredTransition,
)
from .events import (
    Event,
    check_foreign_id,
    encode_event,
    pack_correlations,
    pack_starts,
    pack_timers,
    source_of,
)
from .outcome import Cancel, Pause, Repeat, Skip
from .ports import Clock
from .record import NOTHING, Call, Record, State, Timer
from .redaction import MASK, Redaction
from .telling import text

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

#: What is left of an error's message where a whole one has no room.
SHORT_MESSAGE = 200

_COMPLETED = State.COMPLETED


class Results(Generic[ObjectT, StatusT]):
    """Makes the results of one workflow's runs.

    max_bytes: the largest event. chance: gives random numbers in [0, 1).
    """

    def __init__(
        self,
        workflow: Workflow[ObjectT, StatusT],
        clock: Clock,
        max_bytes: int,
        chance: Callable[[], float],
    ) -> None:
        self.workflow = workflow
        self.clock = clock
        self._max_bytes = max_bytes
        self.chance = chance
        self._source = source_of(workflow.name)
        self._definition = workflow.definition
        self._masks = workflow.masks
        # Entered by their step alone: no timer is set, and nothing is waited for.
        self._plain = {
            name for name, step in workflow.steps.items() if not step.lag and not step.children
        } - (workflow.timeouts.keys() | workflow.callbacks.keys())

    def event(self, record: Record, kind: str, answers: str = "", **fields: Any) -> Event:
        """answers: tells the answers of several timers, callbacks and hooks apart."""
        event_id = f"{record.run_id}-{record.version}"
        return Event(
            specversion="1.0",
            id=f"{event_id}-{answers}" if answers else event_id,
            source=self._source,
            type=kind,
            subject=record.foreign_id,
            time=self.clock.now(),
            kind=record.kind,
            runid=record.run_id,
            version=record.version,
            definition=self._definition,
            **fields,
        )

    # ---- entering a status

    def plain(self, status: str) -> bool:
        """Whether a run can begin with the step of this status at once."""
        return status in self._plain

    def started(self, record: Record, run: Run[ObjectT, StatusT]) -> Event:
        """A run enters the status that it starts at."""
        status = run.status.name
        return self.event(record, events.STARTED, status=status, **self._entering(run))

    def _entering(self, run: Run[ObjectT, StatusT]) -> dict[str, Any]:
        """What the status leads to that a run has just entered."""
        name, workflow = run.status.name, self.workflow
        now = self.clock.now()
        fields: dict[str, Any] = {}
        step = workflow.steps.get(name)
        if step is not None and step.children:
            fields["waits"] = step.children
        elif step is not None:
            fields["dueat"] = now + step.lag
        if name in workflow.timeouts:
            fields["timers"] = pack_timers(self._timers(run, now))
        if name in workflow.callbacks:
            fields["correlations"] = pack_correlations(self._correlations(run))
        return fields

    def _timers(self, run: Run[ObjectT, StatusT], now: datetime) -> tuple[Timer, ...]:
        timers = []
        for timeout in self.workflow.timeouts[run.status.name].values():
            after = timeout.after(run) if callable(timeout.after) else timeout.after
            if after is not None:
                due = now + after if isinstance(after, timedelta) else after
                if due.tzinfo is None:
                    raise NaiveDeadline(name=timeout.name, due=due)
                timers.append(Timer(name=timeout.name, due_at=due.astimezone(UTC)))
        return tuple(timers)

    def _correlations(self, run: Run[ObjectT, StatusT]) -> list[str]:
        """By what the callbacks of the status are known outside. Raises CorrelationInvalid."""
        found = []
        for callback in self.workflow.callbacks[run.status.name].values():
            value = callback.correlate(run.object) if callback.correlate else None
            if value is not None:
                subject = self.workflow.correlation(callback.name, value)
                try:
                    check_foreign_id(subject)
                except InvalidForeignId:
                    # Cut, a masked value would not be known again.
                    shown = MASK if self._masks else subject[:80]
                    raise CorrelationInvalid(name=callback.name, value=shown) from None
                found.append(subject)
        return found

    # ---- what is masked

    def redaction(
        self, record: Record, run: Run[ObjectT, StatusT] | None = None, call: str = ""
    ) -> Redaction | None:
        """What takes the values of masked fields out of texts; None if there are none.

        run: as a function has left it. call: the id of the callback that it was told.
        """
        if not self._masks:
            return None
        # What inner runs carry is no object.
        data = bytes(NOTHING) if record.kind else bytes(record.object)
        redaction = self.workflow.objects.redaction(data, *([] if run is None else [run.object]))
        for told in record.calls:
            if told.id == call:
                with contextlib.suppress(ValueError):
                    self._redact(brought(told), redaction, told.name)
        return redaction

    def redaction_of(self, data: bytes) -> Redaction | None:
        """The same of what leads to objects, and to callbacks, and is neither yet."""
        if not self._masks:
            return None
        redaction = Redaction()
        self._redact(data, redaction)
        return redaction

    def _redact(self, data: bytes, redaction: Redaction, callback: str = "") -> None:
        for at_status in self.workflow.callbacks.values():
            for each in at_status.values():
                if each.masking is not None and callback in ("", each.name):
                    each.masking.shown_json(data, redaction)
        self.workflow.objects.masking.guess(data, redaction)

    def _reason(self, record: Record, run: Run[ObjectT, StatusT], call: str, said: str) -> str:
        redaction = self.redaction(record, run, call)
        return text(said if redaction is None else redaction.of(said))

    # ---- what a step, a timeout or a callback has returned

    def returned(
        self,
        record: Record,
        run: Run[ObjectT, StatusT],
        mover: Mover[ObjectT, StatusT],
        result: StepResult[StatusT],
        call: str = "",
    ) -> Event:
        """call: the id of the callback that is answered.

        Raises UndeclaredTransition, InvalidObject, RecordTooLarge, and what users' functions do.
        """
        if isinstance(result, mover.status.__class__) and result in mover.to:
            return self._limited(self.moved(record, run, result, mover, call))
        return self._limited(self._outcome(record, run, mover, result, call))

    def moved(
        self,
        record: Record,
        run: Run[ObjectT, StatusT],
        status: StatusT,
        mover: Mover[ObjectT, StatusT],
        call: str = "",
        **also: Any,
    ) -> Event:
        name, workflow, now = status.name, self.workflow, self.clock.now()
        fields: dict[str, Any] = also
        if name in self._plain:
            fields["dueat"] = now
        elif workflow.terminal(name):
            fields["state"] = _COMPLETED
        else:
            run.status = status
            fields |= self._entering(run)
        if run.starts:
            fields["starts"] = pack_starts(run.starts)
        return Event(
            specversion="1.0",
            id=f"{record.run_id}-{record.version}",
            source=self._source,
            type=events.MOVED,
            subject=record.foreign_id,
            time=now,
            runid=record.run_id,
            version=record.version,
            definition=self._definition,
            status=name,
            data=self._saved(record, run),
            timer=mover.name if isinstance(mover, Timeout) else "",
            call=call,
            **fields,
        )

    def _outcome(
        self,
        record: Record,
        run: Run[ObjectT, StatusT],
        mover: Mover[ObjectT, StatusT],
        result: object,
        call: str,
    ) -> Event:
        timer = mover.name if isinstance(mover, Timeout) else ""
        if isinstance(result, Skip):
            return self._skipped(record, timer, call, pack_starts(run.starts))
        data, starts, now = self._saved(record, run), pack_starts(run.starts), self.clock.now()
        beside = bool(timer or call)
        match result:
            case Pause(reason):
                return self.event(
                    record,
                    events.PAUSED,
                    answers=timer or call,
                    state=State.PAUSED,
                    data=data,
                    reason=self._reason(record, run, call, reason),
                    dueat=record.due_at if beside else now,
                    timer=timer,
                    call=call,
                    starts=starts,
                )
            case Cancel(reason):
                return self.event(
                    record,
                    events.CANCELLED,
                    answers=timer or call,
                    state=State.CANCELLED,
                    data=data,
                    reason=self._reason(record, run, call, reason),
                    timer=timer,
                    call=call,
                )
            case Repeat(after):
                if beside:
                    # A step in flight need not know of it if the object is as it was.
                    also = {} if data == record.object else {"data": data}
                    return self._again(record, timer, call, now + after, starts=starts, **also)
                return self.event(
                    record, events.REPEATED, data=data, dueat=now + after, starts=starts
                )
        raise UndeclaredTransition(
            status=mover.status.name,
            returned=getattr(result, "name", result),
            declared=", ".join(status.name for status in mover.to),
        )

    def _skipped(self, record: Record, timer: str, call: str, starts: str) -> Event:
        if timer:
            return self.expired(record, timer, starts=starts)
        return self.event(record, events.SKIPPED, answers=call, call=call, starts=starts)

    def _again(self, record: Record, timer: str, call: str, due_at: datetime, **also: Any) -> Event:
        if timer:
            again = Timer(timer, due_at, rounds=answered(record, timer).rounds + 1)
            return self.expired(record, timer, again, **also)
        return self.event(record, events.POSTPONED, answers=call, call=call, dueat=due_at, **also)

    def _saved(self, record: Record, run: Run[ObjectT, StatusT]) -> msgspec.Raw:
        """The object as it has become. Raises InvalidObject before one is lost that fits."""
        data = self.workflow.dump(run.object)
        if data != bytes(record.object):
            self.workflow.load(data)
        return msgspec.Raw(data)

    # ---- timeouts, callbacks and hooks

    def expired(self, record: Record, name: str, again: Timer | None = None, **also: Any) -> Event:
        """A timer was answered without a move: it is gone, or due again. All else goes on."""
        return self.event(
            record,
            events.EXPIRED,
            answers=name,
            timer=name,
            timers=pack_timers((again,)) if again else "",
            dueat=answered(record, name).due_at,
            **also,
        )

    def postponed(self, record: Record, call: Call) -> Event:
        """A callback that is not wanted yet waits as long as it may."""
        return self.event(record, events.POSTPONED, answers=call.id, call=call.id, dueat=call.until)

    # ---- how large they may be

    def bounded(self, event: Event) -> Event:
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
        size = len(event.starts)
        if isinstance(event.data, msgspec.Raw):
            size += len(memoryview(event.data))
        if size > self._max_bytes // 2 and len(encode_event(event)) > self._max_bytes:
            raise RecordTooLarge(what="object", size=size, limit=self._max_bytes)
        return event


def brought(call: Call) -> bytes:
    """What a callback has brought. Raises ValueError if it is no base64."""
    return base64.b64decode(call.bytes64, validate=True) if call.bytes64 else bytes(call.payload)


def answered(record: Record, name: str) -> Timer:
    """The timer of that name, which waits in this run."""
    return next(timer for timer in record.timers if timer.name == name)
