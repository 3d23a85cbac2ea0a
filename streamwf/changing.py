"""Changing runs: a request is appended to the log, and answered once it is folded."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from . import events
from .access import who_asks
from .bulk import steer_all
from .errors import (
    DeadlineExceeded,
    KeyReused,
    NotReady,
    RunInProgress,
    RunNotFound,
    TransitionRefused,
    VersionDiffers,
)
from .events import Event, derived_id, encode_event
from .fold import Verdict
from .ids import run_id_of
from .logs import steered
from .looking import Host, Looking
from .record import DELETED, Trace
from .requesting import check_size, is_repeat, trigger_event
from .shard import Shard
from .views import Bulk, BulkSteering, RunView, Trigger
from .waiting import Answer

#: The types of the requests of actions, where they are not called the same.
_ACTION_TYPES = {"delete-data": events.DELETE}


def check_version(action: str, event: Event, answer: Answer) -> None:
    """Raises VersionDiffers if a request was for another version of its run."""
    if answer.verdict is Verdict.OTHER_VERSION and answer.record is not None:
        raise VersionDiffers(
            action=action,
            run_id=answer.record.run_id,
            expected=event.ifversion,
            version=answer.record.version,
        )


class Changing(Looking):
    """Triggers and steers the runs of a host. patience: seconds to wait for a fold."""

    def __init__(self, host: Host, patience: float = 10.0) -> None:
        super().__init__(host)
        self.patience = patience

    def trigger_event(self, name: str, trigger: Trigger) -> Event:
        """The event of a request to start a run, checked against the definition.

        Raises WorkflowNotFound, InvalidObject, UnknownStatus, TerminalStart, InvalidForeignId,
        InvalidQuery and RecordTooLarge.
        """
        return trigger_event(
            self.workflow(name),
            trigger,
            self.host.clock.now(),
            event_id=str(uuid.uuid4()),
            run_id=run_id_of(name, trigger),
            limit=self.host.max_record_bytes,
        )

    async def trigger(self, name: str, trigger: Trigger) -> RunView:
        """Start a run, and return it once it is accepted.

        Raises what `trigger_event` does, RunInProgress, KeyReused, and DeadlineExceeded if nothing
        judged it in time.
        """
        event = self.trigger_event(name, trigger)
        shard = self._shard_of(name, trigger.foreign_id)
        answer = await self._submit(shard, event)
        record = answer.record
        if answer.verdict is Verdict.RUN_IN_PROGRESS and record is not None:
            raise RunInProgress(foreign_id=trigger.foreign_id, run_id=record.run_id)
        if record is None:
            raise NotReady(what=name)
        await self._check_repeat(shard, answer, event, trigger.key)
        return await self._view(shard, record)

    async def append_trigger(self, name: str, trigger: Trigger) -> str:
        """Request a run, and return its id once the log has the request.

        Raises what `trigger_event` does.
        """
        with self._asking(name, self.trigger_event(name, trigger)) as event:
            await self.host.append(name, event)
        self._tell(name, event, "appended")
        return event.runid

    async def steer(
        self,
        action: str,
        run_id: str,
        reason: str = "",
        key: str | None = None,
        if_version: int | None = None,
    ) -> RunView:
        """Do something to a run. action: one of `views.Action`. key: makes a repeat harmless.

        if_version: only if the run has this version when it is done, as the log's order decides.

        Raises RunNotFound, TransitionRefused, VersionDiffers, KeyReused, RecordTooLarge and
        DeadlineExceeded.
        """
        shard, record = self._find(run_id)
        event = events.request(
            shard.workflow.name,
            _ACTION_TYPES.get(action, action),
            record.foreign_id,
            self.host.clock.now(),
            event_id=derived_id(run_id, action, key) if key else str(uuid.uuid4()),
            inner=record.kind,
            runid=run_id,
            reason=reason,
            ifversion=if_version,
        )
        self._check_size("reason", event)
        answer = await self._submit(shard, event)
        check_version(action, event, answer)
        await self._check_repeat(shard, answer, event, key)
        if answer.verdict is Verdict.STATE_FORBIDS and answer.record is not None:
            raise TransitionRefused(action=action, run_id=run_id, state=answer.record.state)
        if answer.record is None:
            raise RunNotFound(run_id=run_id)
        return await self._view(shard, answer.record)

    async def bulk(self, asked: BulkSteering) -> Bulk:
        """Do the same to a part of the runs that fit a filter: those after the cursor.

        By foreign id, so that none is passed over and none comes twice, whatever changes.

        Raises what `find` does. What is refused is told of each run.
        """
        page = await self.find(asked.page())
        return await steer_all(
            page, lambda run: self.steer(asked.action, run.run_id, asked.reason, asked.key)
        )

    async def _check_repeat(
        self, shard: Shard, answer: Answer, event: Event, key: str | None
    ) -> None:
        """A duplicate has to be a repeat of what was accepted under its key. Raises KeyReused.

        What the log has no more, or nobody can open any more, is not compared.
        """
        record = answer.record
        if answer.verdict is not Verdict.DUPLICATE or record is None or record.state in DELETED:
            return
        of_trigger = event.type == events.TRIGGER
        offsets = record.offsets[:1] if of_trigger else record.offsets
        for first in await self.host.read(shard.workflow.name, shard.partition, offsets):
            same = first.runid == event.runid if of_trigger else first.id == event.id
            if same and first.type == event.type and not is_repeat(shard.workflow, first, event):
                raise KeyReused(key=key)

    def _check_size(self, what: str, event: Event) -> None:
        check_size(what, event, self.host.max_record_bytes)

    @contextmanager
    def _asking(self, workflow: str, event: Event, after: Trace | None = None) -> Iterator[Event]:
        """A request as it is to be appended: with who asks, and with its trace, if there is room
        for that too.

        after: what it is linked to.

        Raises RecordTooLarge if there is no room for who asks.
        """
        signed = self.signed(event)
        with self.host.tracing.request(workflow, signed, after=after) as traced:
            yield traced if len(encode_event(traced)) <= self.host.max_record_bytes else signed

    def signed(self, event: Event) -> Event:
        """A request that says who asks for it. Raises RecordTooLarge."""
        by = who_asks()
        if not by:
            return event
        signed = replace(event, by=by)
        self._check_size("request", signed)
        return signed

    def _tell(self, workflow: str, event: Event, outcome: str) -> None:
        steered(self.host.logger, self.host.workflows[workflow], event, outcome)

    async def _submit(self, shard: Shard, event: Event, after: Trace | None = None) -> Answer:
        """What became of a request. after: what it is linked to in its trace.

        The error of a passed deadline says whether the log has the request, and of which run.
        """
        name = shard.workflow.name
        with self._asking(name, event, after) as asked:
            try:
                answer = await self._judged(shard, asked)
            except DeadlineExceeded:
                self._tell(name, asked, "unanswered")
                raise
        self._tell(name, asked, answer.verdict.name.lower())
        return answer

    async def _judged(self, shard: Shard, event: Event) -> Answer:
        future = shard.waiting.answer(event.id)
        logged = False
        try:
            async with asyncio.timeout(self.patience):
                await self.host.append(shard.workflow.name, event)
                logged = True
                return await future
        except TimeoutError:
            raise DeadlineExceeded(
                what=f"the {event.type} of {event.subject}",
                seconds=self.patience,
                logged=logged,
                run_id=event.runid,
            ) from None
        finally:
            future.cancel()
