"""Doing what is due of runs that are sealed: users' functions see plain objects, and the results go
to the log sealed."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import partial
from typing import Any, TypeVar

import msgspec

from .agenda import Kind
from .definition import Workflow
from .errors import InvalidObject, KeyDestroyed, RecordTooLarge, SealBroken
from .events import Event, encode_event
from .execute import Executor
from .logs import fields_here
from .ports import Clock, Logger
from .record import MAIL, Record
from .vault import Of, Vault, room

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)
DoneT = TypeVar("DoneT")

#: Seconds until a provider of keys that gave no answer is asked again.
PAUSE = 1.0

_replace = msgspec.structs.replace


async def certainly(ask: Callable[[], Awaitable[DoneT]], logger: Logger | None) -> DoneT:
    """Ask for something of a vault until there is an answer. logger: told of none.

    Raises KeyDestroyed and SealBroken.
    """
    while True:
        try:
            return await ask()
        except (KeyDestroyed, SealBroken):
            raise
        except Exception as error:
            # Whatever it was: without its keys nothing can be done or told of a run.
            if logger is not None:
                logger.warning("keys_unreachable", **fields_here(), error=repr(error))
            await asyncio.sleep(PAUSE)


class SealedExecutor(Executor[ObjectT, StatusT]):
    """Does what is due of the runs of a workflow that encrypts."""

    def __init__(
        self,
        vault: Vault,
        logger: Logger | None,
        workflow: Workflow[ObjectT, StatusT],
        clock: Clock,
        threads: ThreadPoolExecutor,
        max_bytes: int,
        **options: Any,
    ) -> None:
        super().__init__(workflow, clock, threads, room(max_bytes), **options)
        self._vault = vault
        self._logger = logger
        self._max_sealed = max_bytes

    async def run_job(self, record: Record, kind: Kind, name: str) -> Event:
        if record.kind:
            return await self._inner_job(record, kind, name)
        if kind is Kind.RESUME:
            return await super().run_job(record, kind, name)
        if kind is Kind.DELETE or kind is Kind.FORGET:
            return await self._last_job(record, kind, name)
        try:
            # There are hooks for runs whose data was deleted, too.
            look = self._vault.shown if kind is Kind.HOOK else self._vault.opened
            plain = await certainly(partial(look, record), self._logger)
        except (KeyDestroyed, SealBroken) as error:
            return self._unopened(record, error)
        return await self._seal(plain, kind, await super().run_job(plain, kind, name))

    async def _seal(self, plain: Record, kind: Kind, event: Event) -> Event:
        try:
            sealed = await certainly(partial(self._vault.sealed, event), self._logger)
        except KeyDestroyed as error:
            # Nothing that it says of the object may be told.
            if kind is not Kind.HOOK:
                return self._unopened(plain, error)
            return _replace(event, errormessage="", errortrace="")
        size = len(encode_event(sealed)) if event.starts else 0
        if size > self._max_sealed:
            too_large = RecordTooLarge(what="result", size=size, limit=self._max_sealed)
            return self.results.stuck(plain, too_large)
        return sealed

    async def _inner_job(self, record: Record, kind: Kind, name: str) -> Event:
        event = await super().run_job(record, kind, name)
        if record.kind in MAIL:
            for call in event.call.split():
                of = Of(record.foreign_id, call)
                await certainly(partial(self._vault.destroy, of), self._logger)
        return event

    async def _last_job(self, record: Record, kind: Kind, name: str) -> Event:
        """The end of a run's data, or of the run: it is told only once the keys are destroyed.

        What `custom_delete` leaves of an object is no secret. If this worker dies between the two,
        nothing is left.
        """
        plain = await certainly(partial(self._vault.shown, record), self._logger)
        event = await super().run_job(plain, kind, name)
        of = Of(record.foreign_id, record.run_id)
        await certainly(partial(self._vault.destroy, of), self._logger)
        return event

    def _unopened(self, record: Record, error: KeyDestroyed | SealBroken) -> Event:
        """What the log says of the object can't be read, and no attempt can mend that."""
        if record.version > 1:
            return self.results.stuck(record, error)
        unread = InvalidObject(workflow=self.workflow.name, detail=str(error), errors=[])
        return self.results.rejected(record, unread)


def executor_of(vault: Vault | None, logger: Logger | None) -> Callable[..., Executor[Any, Any]]:
    """What makes the executor of a workflow. vault: of one that encrypts."""
    return Executor if vault is None else partial(SealedExecutor, vault, logger)
