"""The operations of a host: triggering, steering, calling and looking at the runs that it owns.

The web views and the client call these; what another worker owns they ask of that one.
"""

import asyncio
import base64
import binascii
import time
import uuid
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import UNSET
from pydantic_core import to_json

from . import events
from .connected import Connected
from .errors import (
    CallbackFailed,
    DeadlineExceeded,
    ForeignIdNotFound,
    InvalidPayload,
    InvalidQuery,
    NothingCorrelated,
    NotWaiting,
    RunInProgress,
    TooManyCallbacks,
    UnknownCallback,
    VersionNotFound,
)
from .events import Event, derived_id, keyed_id
from .fold import Verdict
from .graph import counts
from .pacing import Held
from .record import CORRELATION, LIVE, Record, State, row_key
from .roles import roles_of
from .scheduling import Scheduling
from .shard import Shard
from .views import (
    CallbackRequest,
    CallbackView,
    Correlated,
    ErrorView,
    Fork,
    HeldView,
    Outcome,
    RoleView,
    RunView,
    WorkflowView,
)
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


class Operations(Connected, Scheduling):
    """Operations on the runs that a host owns. patience: seconds to wait for a fold."""

    def describe(self, name: str) -> WorkflowView:
        """Raises WorkflowNotFound."""
        workflow = self.workflow(name)
        total: dict[tuple[str, str], int] = {}
        held: dict[str, Held] = {}
        for shard in self.host.shards(name):
            held |= shard.dispatcher.held()
            for (status, state), count in shard.counts().items():
                pair = (workflow.current(status), state)
                total[pair] = total.get(pair, 0) + count
        statuses = list(workflow.status_type.__members__)
        return WorkflowView(
            name=name,
            start=workflow.start_name,
            statuses=statuses,
            terminal=[status for status in statuses if workflow.terminal(status)],
            counts=counts(total),
            mermaid=workflow.mermaid(),
            held={status: HeldView(**told._asdict()) for status, told in held.items()},
        )

    def roles(self) -> list[RoleView]:
        """What this process does in the shards that it holds."""
        return [
            role
            for name in self.host.workflows
            for shard in self.host.shards(name)
            for role in roles_of(shard, self.host.partitions)
        ]

    async def latest(self, name: str, foreign_id: str) -> RunView:
        """The latest run of a foreign id. Raises WorkflowNotFound, NotReady, ForeignIdNotFound."""
        self.workflow(name)
        shard = self._shard_of(name, foreign_id)
        record = shard.latest(foreign_id)
        if record is None:
            raise ForeignIdNotFound(workflow=name, foreign_id=foreign_id)
        return await self._view(shard, record)

    # ---- callbacks

    def callback_event(self, name: str, asked: CallbackRequest) -> Event:
        """The event of a callback to a run or to the latest of a foreign id.

        Raises WorkflowNotFound, UnknownCallback, InvalidPayload, InvalidForeignId, InvalidQuery and
        RecordTooLarge.
        """
        workflow = self.workflow(name)
        known = {each for at_status in workflow.callbacks.values() for each in at_status}
        if asked.name and asked.name not in known:
            told = ", ".join(sorted(known)) or "none"
            raise UnknownCallback(workflow=name, name=asked.name, known=told)
        now = self.host.clock.now()
        foreign_id = asked.foreign_id or ""
        run = asked.run_id or foreign_id
        event = events.request(
            name,
            events.CALLBACK,
            foreign_id,
            now,
            event_id=keyed_id(events.CALLBACK, name, run, asked.name, asked.key)
            if asked.key
            else str(uuid.uuid4()),
            runid=asked.run_id or "",
            call=asked.name,
            until=now + timedelta(seconds=asked.wait_for) if asked.wait_for else None,
            **_payload(asked),
        )
        self._check_size("payload", event)
        return event

    async def callback(self, name: str, asked: CallbackRequest) -> CallbackView:
        """Answer a run that waits for a callback, and return what came of it.

        asked: by a foreign id; a run id may say which run of it.

        Raises what `callback_event` does, ForeignIdNotFound, NotWaiting, CallbackFailed,
        TooManyCallbacks, and DeadlineExceeded if nothing answered it in time.
        """
        event = self.callback_event(name, asked)
        shard = self._shard_of(name, event.subject)
        if shard.workflow.encrypt:
            event = _told_whom(shard, event)
        outcome = shard.waiting.outcome(event.id)
        try:
            answer = await self._submit(shard, event)
            record = _accepted(name, event, answer)
            if record.kind or record.state is State.PAUSED:
                run = None if record.kind else await self._view(shard, record)
                return CallbackView(outcome="kept", run=run)
            if answer.verdict is Verdict.DUPLICATE and not _waits(record, event):
                return CallbackView(outcome="duplicate", run=await self._view(shard, record))
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

    async def _outcome(self, shard: Shard, event: Event, answer: Answer) -> CallbackView:
        """Raises NotWaiting, InvalidPayload and CallbackFailed."""
        record = answer.record
        if record is None or answer.verdict is not Verdict.ACCEPTED:
            raise _not_waiting(event, record)
        [said] = await self.host.vaults.shown(shard.workflow.name, [answer.event])
        if said.type == events.DECLINED:
            if said.errortype == NotWaiting.__name__:
                raise _not_waiting(event, record)
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

    async def correlated(self, name: str, asked: CallbackRequest) -> Correlated:
        """The run that a callback's correlation value leads to; or none, and it is kept for one.

        Raises what `callback_event` does, and NothingCorrelated.
        """
        subject = self.workflow(name).correlation(asked.name, asked.correlation or "")
        shard = self._shard_of(name, subject)
        found = await self._target(shard, name, subject, max(asked.wait_for, ON_ITS_WAY))
        if found is not None:
            return found
        if asked.wait_for <= self.patience:
            raise NothingCorrelated(name=asked.name, value=asked.correlation)
        kept = asked.model_copy(update={"foreign_id": subject})
        event = msgspec.structs.replace(self.callback_event(name, kept), kind=CORRELATION)
        await self._submit(shard, event)
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

    # ---- forking

    async def fork(self, run_id: str, asked: Fork) -> str:
        """Start a new run from what a run was at a version; return its id.

        It is accepted when this returns, unless its foreign id's shard is not here.

        Raises RunNotFound, VersionNotFound, TerminalStart, UnknownStatus, RunInProgress,
        InvalidForeignId and DeadlineExceeded.
        """
        shard, record = self._find(run_id)
        name = shard.workflow.name
        status, data = await self._as_of(shard, record, asked.version)
        foreign_id = asked.foreign_id or record.foreign_id
        event = events.request(
            name,
            events.TRIGGER,
            foreign_id,
            self.host.clock.now(),
            event_id=str(uuid.uuid4()),
            runid=derived_id(run_id, foreign_id, asked.key) if asked.key else str(uuid.uuid4()),
            status=shard.workflow.check_start(status).name,
            data=data,
            origin=f"{run_id}@{asked.version}",
            reason=asked.reason,
        )
        here = self.host.shard_of(name, foreign_id)
        if here is None or not here.live:
            await self.host.append(name, event)
            return event.runid
        answer = await self._submit(here, event)
        if answer.verdict is Verdict.RUN_IN_PROGRESS and answer.record is not None:
            raise RunInProgress(foreign_id=foreign_id, run_id=answer.record.run_id)
        return event.runid

    async def _as_of(self, shard: Shard, record: Record, version: int) -> tuple[str, bytes]:
        """The status and the object of a run at a version. Raises VersionNotFound."""
        first = record.version - len(record.offsets) + 1
        offsets = record.offsets[: max(version - first + 1, 0)]
        found = await self.host.read(shard.workflow.name, shard.partition, offsets)
        status = next((event.status for event in reversed(found) if event.status), "")
        data = next((e.data for e in reversed(found) if isinstance(e.data, msgspec.Raw)), UNSET)
        if not first <= version <= record.version or data is UNSET or (first > 1 and not status):
            raise VersionNotFound(
                run_id=record.run_id, version=version, first=first, last=record.version
            )
        return status, bytes(data)


def _payload(asked: CallbackRequest) -> dict[str, Any]:
    """Raises InvalidPayload."""
    if asked.payload_base64 is None:
        return {"data": to_json(asked.payload)}
    try:
        base64.b64decode(asked.payload_base64, validate=True)
    except binascii.Error as error:
        raise InvalidQuery(field="payload_base64", why=str(error)) from None
    return {"data_base64": asked.payload_base64}


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
    if run is None and not event.runid:
        raise ForeignIdNotFound(workflow=shard.workflow.name, foreign_id=event.subject)
    raise _not_waiting(event, run)


def _accepted(name: str, event: Event, answer: Answer) -> Record:
    """The run that took a callback. Raises ForeignIdNotFound, NotWaiting and TooManyCallbacks."""
    record = answer.record
    if answer.verdict is Verdict.FULL and record is not None:
        raise TooManyCallbacks(run_id=record.run_id, count=len(record.calls))
    if record is None:
        raise ForeignIdNotFound(workflow=name, foreign_id=event.subject)
    if answer.verdict not in (Verdict.ACCEPTED, Verdict.DUPLICATE):
        raise _not_waiting(event, record)
    return record


def _waits(record: Record, event: Event) -> bool:
    return any(call.id == event.id for call in record.calls)


def _not_waiting(event: Event, record: Record | None) -> NotWaiting:
    return NotWaiting(
        name=event.call,
        run_id=event.runid if record is None else record.run_id,
        state="gone" if record is None else record.state,
        status="" if record is None else record.status,
    )
