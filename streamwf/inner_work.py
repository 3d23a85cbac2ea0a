"""The work of an inner run whose step lasts for as long as its shard is here.

It moves the run on by events of its own, waits for what is outside, and stops as soon as somebody
pauses or cancels the run.
"""

import asyncio
import random
from collections.abc import Coroutine
from contextlib import ExitStack
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from . import events
from .definition import Workflow
from .errors import NotReady
from .events import Event
from .failures import Failures
from .fold import Verdict
from .looking import Host
from .record import Record, State
from .telling import told

T = TypeVar("T")

_AT_WORK = (State.INITIATED, State.RUNNING)


class Stopped(Exception):
    """The inner run was paused or cancelled, or somebody else has moved it on."""


class InnerWork:
    """What the step of an inner run does it with. record: the run as it is."""

    def __init__(self, host: Host, workflow: Workflow[Any, Any], record: Record) -> None:
        self.record = record
        self._host = host
        self._workflow = workflow
        self._results = Failures(workflow, host.clock, host.max_record_bytes, random.random)
        self._watching = ExitStack()

    async def __aenter__(self) -> Self:
        """Raises NotReady if its shard is not here."""
        shard = self._host.shard_of(self._workflow.name, self.record.foreign_id)
        if shard is None:
            raise NotReady(what=f"the shard of {self.record.foreign_id!r}")
        self._shard = shard
        self._changes = self._watching.enter_context(shard.waiting.watch(self.record.run_id))
        self._stopped = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watching.close()
        self._stopped.cancel()
        await asyncio.gather(self._stopped, return_exceptions=True)

    async def _watch(self) -> None:
        """Return once somebody has stopped the run."""
        while True:
            change = await self._changes.get()
            if change is None or change.state not in _AT_WORK:
                return

    # ---- moving on

    def event(self, kind: str, **fields: Any) -> Event:
        return self._results.event(self.record, kind, **fields)

    def again(self) -> Event:
        """An event that changes nothing if it counts: the step is due again at once."""
        return self.event(events.REPEATED, dueat=self._host.clock.now())

    def put_off(self, error: BaseException) -> Event:
        """The step has failed, and is tried again, later each time."""
        return self._results.put_off(self.record, error)

    def told(self, error: BaseException, of: bytes) -> dict[str, str]:
        """An error, as the attributes of an event. of: what it was made of."""
        redaction = self._results.redaction_of(of)
        return told(error) if redaction is None else told(error, redaction.of)

    def failed(self, error: BaseException, after: timedelta, data: bytes, of: bytes) -> Event:
        """The step has failed, and is tried again after so long. data: the object.

        of: what was to be used.
        """
        event = self.event(
            events.FAILED,
            dueat=self._host.clock.now() + after,
            attempt=self.record.attempt + 1,
            data=msgspec.Raw(data),
            **self.told(error, of),
        )
        return self._results.bounded(event)

    async def repeat(self, data: bytes) -> None:
        """Return once the object is durable. The step goes on.

        Raises Stopped, and what `Host.append` does.
        """
        event = self.event(events.REPEATED, data=msgspec.Raw(data), dueat=self._host.clock.now())
        answer = self._shard.waiting.answer(event.id)
        try:
            await self._host.append(self._workflow.name, event)
            judged = await answer
        finally:
            answer.cancel()
        if judged.verdict is not Verdict.ACCEPTED or judged.record is None:
            raise Stopped
        self.record = judged.record

    # ---- waiting

    def check(self) -> None:
        """Raises Stopped."""
        if self._stopped.done():
            raise Stopped

    async def until(self, what: Coroutine[Any, Any, T], seconds: float | None = None) -> T | None:
        """Wait for something outside, for so long. None if it has not come to be.

        Nobody waits for this meanwhile: not who stops the shard, and not a test that settles.

        Raises Stopped.
        """
        task = asyncio.ensure_future(what)
        try:
            with self._shard.dispatcher.idling(self.record.run_id):
                await asyncio.wait(
                    {task, self._stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
            self.check()
            return task.result() if task.done() else None
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def rest(self, seconds: float | None) -> None:
        """Do nothing for so long; without end if None. Raises Stopped."""
        await self.until(asyncio.Event().wait(), seconds)

    async def pause(self, seconds: float) -> None:
        """The same, but what waits for this step waits. Raises Stopped."""
        await asyncio.wait({self._stopped}, timeout=seconds)
        self.check()
