"""Answering runs that wait for a callback, and saying what came of it."""

import asyncio
import time
import uuid

import msgspec
from msgspec import UNSET

from . import events
from .callback_views import CallbackRequest, CallbackView, Correlated, Outcome
from .changing import Changing, check_version
from .errors import (
    CallbackFailed,
    DeadlineExceeded,
    ForeignIdNotFound,
    InvalidPayload,
    InvalidQuery,
    KeyDestroyed,
    NothingCorrelated,
    NotWaiting,
    RunNotFound,
    TooManyCallbacks,
)
from .events import Event, derived_id
from .fold import Verdict
from .record import CORRELATION, LIVE, Record, State, row_key, unbegun
from .requesting import callback_event, correlation_subject
from .shard import Shard
from .views import ErrorView
from .waiting import Answer

#: Seconds for which the value that a callback is known by may be on its way to where it is kept.
ON_ITS_WAY = 2.0

_OUTCOMES: dict[str, Outcome] = {
    events.MOVED: "moved",
    events.SKIPPED: "skipped",
    events.POSTPONED: "kept",
    events.PAUSED: "paused",
    events.CANCELLED: "cancelled",
}


class Answering(Changing):
    """Answers the runs of a host."""

    def callback_event(self, name: str, asked: CallbackRequest) -> Event:
        """The event of a callback to a run or to the latest of a foreign id.

        Raises WorkflowNotFound, UnknownCallback, InvalidPayload, InvalidForeignId, InvalidQuery and
        RecordTooLarge.
        """
        return callback_event(
            self.workflow(name),
            asked,
            self.host.clock.now(),
            event_id=str(uuid.uuid4()),
            limit=self.host.max_record_bytes,
        )

    async def callback(
        self, name: str, asked: CallbackRequest, if_version: int | None = None
    ) -> CallbackView:
        """Answer a run that waits for a callback, and return what came of it.

        asked: by a foreign id; a run id may say which run of it. if_version: as for `steer`; the
        run has to be named.

        Raises what `callback_event` does, ForeignIdNotFound, RunNotFound, NotWaiting,
        VersionDiffers, KeyReused, CallbackFailed, TooManyCallbacks, and DeadlineExceeded if nothing
        answered it in time.
        """
        event = self.callback_event(name, asked)
        if if_version is not None:
            if asked.run_id is None:
                raise InvalidQuery("run_id", "a version is that of a run: name it")
            event = msgspec.structs.replace(event, ifversion=if_version)
        shard, whole = self._shard_of(name, event.subject), event
        if shard.workflow.encrypt:
            event = _told_whom(shard, event)
        outcome = shard.waiting.outcome(event.id)
        try:
            answer = await self._told(shard, event)
            check_version("call back", event, answer)
            record = _accepted(shard, event, answer)
            await self._check_repeat(shard, answer, whole, asked.key)
            if answer.verdict is Verdict.DUPLICATE and not _waits(record, event):
                return CallbackView(outcome="duplicate", run=await self._view(shard, record))
            if record.kind:
                return CallbackView(outcome="kept")
            if record.state is State.PAUSED or unbegun(record, event.time):
                return CallbackView(outcome="kept", run=await self._view(shard, record))
            async with asyncio.timeout(self.patience):
                return await self._outcome(shard, event, await outcome)
        except TimeoutError:
            raise DeadlineExceeded(
                what=f"callback {asked.name!r} of {event.subject!r}",
                seconds=self.patience,
                logged=True,
                run_id=event.runid,
            ) from None
        finally:
            outcome.cancel()

    async def _told(self, shard: Shard, event: Event) -> Answer:
        """What became of the event that brings a callback. Raises what `_submit` does."""
        try:
            return await self._submit(shard, event)
        except KeyDestroyed:
            if event.runid:
                raise
            # Only what is kept for a run to come is sealed by the id that a key leads to.
            why = "what came with it before was answered, or waited in vain: give another one"
            raise InvalidQuery("key", why) from None

    async def _outcome(self, shard: Shard, event: Event, answer: Answer) -> CallbackView:
        """Raises NotWaiting, InvalidPayload and CallbackFailed."""
        record = answer.record
        if record is None or answer.verdict is not Verdict.ACCEPTED:
            raise _not_waiting(shard, event, record)
        if answer.event.call != event.id:
            # Something else has paused the run.
            return CallbackView(outcome="kept", run=await self._view(shard, record))
        [said] = await self.host.vaults.shown(shard.workflow.name, [answer.event])
        if said.type == events.DECLINED:
            if said.errortype == NotWaiting.__name__:
                raise _not_waiting(shard, event, record)
            if said.errortype == InvalidPayload.__name__:
                _, _, detail = said.errormessage.partition(": ")
                raise InvalidPayload(name=event.call, detail=detail.rstrip("."), errors=[])
            raise CallbackFailed(
                name=event.call, run_id=record.run_id, type=said.errortype, error=said.errormessage
            )
        error = None
        if said.failure is not None:
            error = ErrorView(type=said.errortype, message=said.errormessage)
        return CallbackView(
            outcome=_OUTCOMES[said.type], run=await self._view(shard, record), error=error
        )

    # ---- by a value of the object

    def correlation(self, name: str, asked: CallbackRequest) -> str:
        """The foreign id of what leads from a correlation value to runs.

        Raises WorkflowNotFound, UnknownCallback and InvalidQuery.
        """
        return correlation_subject(self.workflow(name), asked)

    async def correlated(self, name: str, asked: CallbackRequest) -> Correlated:
        """The run that a callback's correlation value leads to; or none, and it is kept for one.

        Raises what `correlation` and `callback_event` do, NothingCorrelated and TooManyCallbacks.
        """
        subject = self.correlation(name, asked)
        kept = asked.model_copy(update={"foreign_id": subject})
        event = msgspec.structs.replace(self.callback_event(name, kept), kind=CORRELATION)
        shard = self._shard_of(name, subject)
        found = await self._target(shard, name, subject, 0 if asked.wait_for else ON_ITS_WAY)
        if found is not None:
            return found
        if not asked.wait_for:
            raise NothingCorrelated(name=asked.name, value=asked.correlation)
        _accepted(shard, event, await self._told(shard, event))
        return Correlated()

    async def _target(
        self, shard: Shard, name: str, subject: str, seconds: float
    ) -> Correlated | None:
        deadline = time.monotonic() + min(seconds, self.patience)
        mailbox_id = derived_id(CORRELATION, events.source_of(name), subject)
        with shard.waiting.watch(mailbox_id) as changes:
            record = shard.rows.get(row_key(CORRELATION, subject))
            while record is None or not record.targets:
                try:
                    async with asyncio.timeout(deadline - time.monotonic()):
                        record = await changes.get()
                except TimeoutError:
                    return None
            target = record.targets[0]
            return Correlated(foreign_id=target.foreign_id, run_id=target.run_id)


def _told_whom(shard: Shard, event: Event) -> Event:
    """A callback that is to be sealed: it says for which run, if there is one.

    Raises ForeignIdNotFound and NotWaiting: what nobody takes does not go to the log.
    """
    run = shard.lookup(event.runid) if event.runid else shard.latest(event.subject)
    if run is not None and event.id in run.requests:
        # It has been taken: what it brings again is nobody's business.
        return msgspec.structs.replace(event, runid=run.run_id, data=UNSET, data_base64="")
    if run is not None and run.state in LIVE:
        return msgspec.structs.replace(event, runid=run.run_id)
    if event.until is not None and not event.runid:
        return event
    raise _not_waiting(shard, event, run)


def _accepted(shard: Shard, event: Event, answer: Answer) -> Record:
    """What took a callback: a run, or a mailbox.

    Raises ForeignIdNotFound, RunNotFound, NotWaiting and TooManyCallbacks.
    """
    record = answer.record
    if answer.verdict is Verdict.FULL and record is not None:
        raise TooManyCallbacks(foreign_id=record.foreign_id, count=len(record.calls))
    if record is None or answer.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
        raise _not_waiting(shard, event, record)
    return record


def _waits(record: Record, event: Event) -> bool:
    return any(call.id == event.id for call in record.calls)


def _not_waiting(
    shard: Shard, event: Event, record: Record | None
) -> NotWaiting | RunNotFound | ForeignIdNotFound:
    """record: the run that was meant; None if there is none."""
    if record is not None:
        status = shard.workflow.current(record.status)
        return NotWaiting(name=event.call, run_id=record.run_id, state=record.state, status=status)
    if event.runid:
        return RunNotFound(run_id=event.runid)
    return ForeignIdNotFound(workflow=shard.workflow.name, foreign_id=event.subject)
