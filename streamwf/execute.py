"""Executing what is due: from a record to the event that says what became of it.

This is the only place where users' functions run.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET
from pydantic import ValidationError
from pydantic_core import from_json

from . import events
from .agenda import Kind
from .calling import call, of_the_loop
from .declared import Callback, ChildRun, HookOn, Run, StepResult
from .definition import Workflow
from .errors import InvalidObject, InvalidPayload, NotWaiting, RequestRefused
from .events import Event, derived_id, request
from .failures import Failures
from .ports import Clock
from .record import CORRELATION, DELETED, MAIL, NOTHING, Call, Child, Record, State, Timer
from .results import answered, brought

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

#: Does what is due of an inner run.
Inner = Callable[[Record, Kind], Awaitable[Event]]


class SystemClock:
    """The time of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Executor(Generic[ObjectT, StatusT]):
    """Runs what one workflow has declared.

    threads: where plain functions run; shared, so that a worker's threads are bounded.
    max_bytes: the largest event; a step whose result is larger has failed.
    inner: what does the work of inner runs, by their kind.
    """

    def __init__(
        self,
        workflow: Workflow[ObjectT, StatusT],
        clock: Clock,
        threads: ThreadPoolExecutor,
        max_bytes: int,
        chance: Callable[[], float] = random.random,
        inner: Mapping[str, Inner] | None = None,
    ) -> None:
        self.workflow = workflow
        self.results = Failures(workflow, clock, max_bytes, chance)
        self._clock = clock
        self._threads = threads
        self._statuses = dict(workflow.status_type.__members__)
        self._inner = {**dict.fromkeys(MAIL, self._mailbox), **(inner or {})}
        self._jobs: dict[Kind, Callable[[Record, str], Awaitable[Event]]] = {
            Kind.STEP: self._step,
            Kind.TIMER: self._timer,
            Kind.CALL: self._call,
            Kind.HOOK: self._hook,
            Kind.RESUME: self._resume,
            Kind.DELETE: self._delete,
            Kind.FORGET: self._forget,
        }

    def run_job(self, record: Record, kind: Kind, name: str) -> Awaitable[Event]:
        """Do what is due of a run, and say what became. name: as in the agenda's entry."""
        # Not a coroutine around another: there would be two for each job.
        if record.kind and (kind is Kind.STEP or kind is Kind.CALL):
            return self._inner[record.kind](record, kind)
        return self._jobs[kind](record, name)

    # ---- the run as users' functions see it

    def run(self, record: Record) -> Run[ObjectT, StatusT]:
        """Raises InvalidObject, and UnknownStatus."""
        return self._run(record, self.workflow.load(bytes(record.object)))

    def _run(self, record: Record, carried: ObjectT) -> Run[ObjectT, StatusT]:
        workflow, status = self.workflow, record.status
        return Run(
            workflow=workflow.name,
            foreign_id=record.foreign_id,
            run_id=record.run_id,
            status=self._statuses.get(status) or workflow.member(status),
            object=carried,
            version=record.version,
            attempt=record.attempt + 1,
            created_at=record.created_at,
            updated_at=record.updated_at,
            idempotency_key=f"{record.run_id}-{record.since}",
            state=record.state,
            reason=record.reason,
            children=tuple(map(_child_run, record.children)) if record.children else (),
        )

    # ---- steps

    async def _step(self, record: Record, name: str) -> Event:
        status = self.workflow.current(record.status)
        if not record.entered and not self.results.plain(status):
            entering = self._enter(record)
            if entering is not None:
                return entering
        step = self.workflow.steps.get(status)
        if step is None:
            return self.results.event(record, events.SKIPPED)
        try:
            run = self.run(record)
        except InvalidObject as error:
            if record.version > 1:
                return self.results.stuck(record, error)
            return self.results.rejected(record, error)
        except Exception as error:
            return self.results.failed(record, step, error, lambda: self.run(record))
        try:
            if step.is_async and step.limit is None:
                result = await cast("Awaitable[StepResult[StatusT]]", step.function(run))
            else:
                result = await call(step, self._threads, run)
            return self.results.returned(record, run, step, result)
        except BaseException as error:
            if of_the_loop(error):
                raise
            redaction = self.results.redaction(record, run)
            return self.results.failed(record, step, error, lambda: self.run(record), redaction)

    def _enter(self, record: Record) -> Event | None:
        """What the start of a run leads to before its step; None if its step can run at once."""
        try:
            status = self.workflow.check_start(record.status).name
        except RequestRefused as error:
            return self.results.rejected(record, error)
        if self.results.plain(status):
            return None
        try:
            run = self.run(record)
            return self.results.started(record, run)
        except InvalidObject as error:
            return self.results.rejected(record, error)
        except Exception as error:
            return self.results.not_entered(record, error)

    # ---- timeouts, callbacks, hooks

    async def _timer(self, record: Record, name: str) -> Event:
        status = self.workflow.current(record.status)
        timeout = self.workflow.timeouts.get(status, {}).get(name)
        if timeout is None:
            return self.results.expired(record, name)
        run = None
        try:
            run = self.run(record)
            timer = answered(record, name)
            run.attempt = timer.attempt + 1
            run.idempotency_key = _key_of(record, timer)
            result = await call(timeout, self._threads, run)
            return self.results.returned(record, run, timeout, result)
        except BaseException as error:
            if of_the_loop(error):
                raise
            redaction = self.results.redaction(record, run)
            return self.results.timer_failed(record, timeout, error, redaction)

    async def _call(self, record: Record, name: str) -> Event:
        waiting = next(call for call in record.calls if call.id == name)
        status = self.workflow.current(record.status)
        if not record.entered and not self.results.plain(status):
            entering = self._enter(record)
            if entering is not None:
                return entering
        callback = _wanted(self.workflow.callbacks.get(status, {}), waiting)
        if callback is None:
            if waiting.until > self._clock.now():
                return self.results.postponed(record, waiting)
            error = NotWaiting(
                name=waiting.name, run_id=record.run_id, state=record.state, status=status
            )
            return self.results.declined(record, waiting, error)
        try:
            payload = self._payload(callback, waiting)
        except InvalidPayload as error:
            return self.results.declined(record, waiting, error)
        except Exception as error:
            return self.results.call_failed(record, waiting, callback, error)
        run = None
        try:
            run = self.run(record)
            run.attempt = waiting.attempt + 1
            # The run may have moved on and back between two tries.
            run.idempotency_key = f"{record.run_id}-{waiting.id}"
            result = await call(callback, self._threads, run, payload)
            return self.results.returned(record, run, callback, result, waiting.id)
        except BaseException as error:
            if of_the_loop(error):
                raise
            redaction = self.results.redaction(record, run, waiting.id)
            return self.results.call_failed(record, waiting, callback, error, redaction)

    async def _hook(self, record: Record, name: str) -> Event:
        # Of several for the same, one that has failed waits for its time.
        due = min((hook for hook in record.hooks if hook.on == name), key=lambda hook: hook.due_at)
        hook = {str(on): hook for on, hook in self.workflow.hooks.items()}.get(name)
        if hook is None:
            return self.results.hooked(record, due)
        # Of an object whose data was deleted nothing may be left.
        gone = record.state in DELETED and record.object == NOTHING
        run = None
        try:
            run = self._run(record, cast("ObjectT", None)) if gone else self.run(record)
            run.attempt = due.attempt + 1
            run.idempotency_key = f"{record.run_id}-on_{name}-{due.id}"
            await call(hook, self._threads, run)
        except BaseException as error:
            if of_the_loop(error):
                raise
            # Those that are for other changes can't do much without, and were tried before; and
            # what was rejected can't be read by any of them.
            again = not gone or name == HookOn.DATA_DELETED
            again = again and (run is not None or record.entered)
            redaction = self.results.redaction(record, run)
            return self.results.hooked(record, due, error, redaction, again=again)
        return self.results.hooked(record, due)

    def _payload(self, callback: Callback[ObjectT, StatusT], waiting: Call) -> Any:
        """What came, as the callback wants it. Raises InvalidPayload."""
        try:
            data = brought(waiting)
        except ValueError as error:
            fields = [{"field": "data_base64", "message": str(error)}]
            raise InvalidPayload(name=callback.name, detail=str(error), errors=fields) from None
        if callback.payload is None:
            nothing = not waiting.bytes64 and data == bytes(NOTHING)
            return b"" if nothing else data
        try:
            return callback.payload.validate_json(data)
        except ValidationError as error:
            raise callback.misfit(self.workflow.objects.masking, error, data) from None

    # ---- what needs no user's function, or hardly

    async def _resume(self, record: Record, name: str) -> Event:
        """A pause has lasted long enough."""
        return self.results.event(record, events.RESUMED)

    async def _delete(self, record: Record, name: str) -> Event:
        """What is left of an object is what `custom_delete` makes of it: if that fails, nothing."""
        fields: dict[str, Any] = {}
        custom = self.workflow.custom_delete
        if custom is not None:
            try:
                left = self.workflow.dump(custom(self.workflow.load(bytes(record.object))))
                # What could never be read again would only be kept.
                self.workflow.load(left)
                fields["data"] = msgspec.Raw(left)
            except Exception as error:
                fields["reason"] = f"custom_delete raised {type(error).__name__}: all is deleted"
        return self.results.event(record, events.DELETED, **fields)

    async def _forget(self, record: Record, name: str) -> Event:
        return self.results.event(record, events.FORGOTTEN)

    async def _mailbox(self, record: Record, kind: Kind) -> Event:
        """What has waited for too long leaves the mailbox."""
        now = self._clock.now()
        late = [waiting.id for waiting in record.calls if waiting.until <= now]
        return request(
            self.workflow.name,
            events.RELEASED,
            record.foreign_id,
            now,
            event_id=derived_id(events.RELEASED, record.run_id, record.version),
            inner=record.kind,
            call=" ".join(late),
            reason="no run that waits for it came in time",
        )


def _key_of(record: Record, timer: Timer) -> str:
    """The key of a round of a timer: a step that is repeated meanwhile does not change it."""
    stay = record.since if record.stay is None else record.stay
    key = f"{record.run_id}-{stay}-{timer.name}"
    return f"{key}-{timer.rounds}" if timer.rounds else key


def _child_run(child: Child) -> ChildRun:
    return ChildRun(
        workflow=child.workflow,
        foreign_id=child.foreign_id,
        run_id=child.run_id,
        state=State(child.state) if child.state else None,
        status=child.status,
        reason=child.reason,
        object=from_json(bytes(child.object)),
    )


def _wanted(
    callbacks: Mapping[str, Callback[ObjectT, StatusT]], waiting: Call
) -> Callback[ObjectT, StatusT] | None:
    """The callback of that name; without a name, the only one that there is."""
    if not waiting.name and len(callbacks) == 1:
        [only] = callbacks.values()
        return only
    return callbacks.get(waiting.name)


def rejected_trigger(record: Record, event: Event) -> Event:
    """The trigger of a run that was rejected, for the dead letters: it can be sent again."""
    return Event(
        specversion="1.0",
        id=derived_id("rejected", record.run_id),
        source=event.source,
        type=events.TRIGGER,
        subject=record.foreign_id,
        time=record.created_at,
        kind=record.kind,
        status=record.status,
        data=record.object,
    )


def unwanted(mailbox: Record, call: Call, event: Event) -> Event:
    """A callback that nobody came for, for the dead letters: it can be sent again."""
    return Event(
        specversion="1.0",
        id=derived_id("unwanted", call.id),
        source=event.source,
        type=events.CALLBACK,
        subject=mailbox.foreign_id,
        time=event.time,
        kind=mailbox.kind if mailbox.kind == CORRELATION else "",
        call=call.name,
        data=UNSET if call.bytes64 else call.payload,
        data_base64=call.bytes64,
    )
