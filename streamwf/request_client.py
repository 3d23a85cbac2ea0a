"""The part of the client that asks for runs, and answers those that wait."""

from collections import deque
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from .callback_views import CallbackView
from .definition import Workflow
from .errors import InvalidQuery
from .gateway import Gateway
from .outbox import WAIT, Outbox
from .requesting import callback_request, trigger_request

if TYPE_CHECKING:
    from .adapters.sql.transactions import Transaction

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)


class RequestClient:
    """Triggers and calls back, at once or by the outbox of the caller's database."""

    _gateway: Gateway
    _requested: deque[str]

    @cached_property
    def _outbox(self) -> Outbox:
        return Outbox()

    async def trigger(
        self,
        workflow: Workflow[ObjectT, StatusT],
        foreign_id: str,
        object: ObjectT,
        *,
        at: StatusT | None = None,
        start_at: datetime | None = None,
        key: str | None = None,
        wait: bool = False,
        connection: "Transaction | None" = None,
    ) -> str:
        """Start a run, and return its id once the log has the request.

        at: the status to start at, if not the workflow's start. start_at: when, if not now.
        key: makes a repeat harmless: the same key leads to the same run.
        wait: return only once the run is accepted.
        connection: one in a transaction that the request is to be committed with, as for `Outbox`;
            without waiting for anything else.

        Raises InvalidObject, InvalidForeignId, UnknownStatus, TerminalStart, RecordTooLarge; with
        `wait` also RunInProgress and DeadlineExceeded; with `connection` NoTransaction.
        """
        if connection is not None:
            if wait:
                raise InvalidQuery("wait", "nobody accepts it before the transaction commits")
            run_id = await self._outbox.trigger(
                workflow,
                foreign_id,
                object,
                connection=connection,
                at=at,
                start_at=start_at,
                key=key,
            )
        else:
            trigger = trigger_request(workflow, foreign_id, object, at, start_at, key)
            run_id = await self._gateway.trigger(workflow.name, trigger, wait)
        if not wait:
            self._requested.append(run_id)
        return run_id

    async def callback(
        self,
        workflow: Workflow[ObjectT, StatusT],
        name: str,
        payload: object = None,
        *,
        foreign_id: str | None = None,
        run_id: str | None = None,
        correlation: str | None = None,
        key: str | None = None,
        wait_for: timedelta | None = None,
        connection: "Transaction | None" = None,
    ) -> CallbackView:
        """Answer a run that waits for a callback of that name, and return what came of it.

        payload: bytes, or what JSON can hold, or anything that pydantic can make so.
        foreign_id, run_id, correlation: which run; one of them.
        key: makes a repeat harmless.
        wait_for: how long it may wait until it is wanted; not at all, unless given.
        connection: one in a transaction that the request is to be committed with, as for
            `Outbox.callback`. It is kept then, for an hour unless `wait_for` is given.

        Raises NotWaiting, InvalidPayload, CallbackFailed, UnknownCallback, ForeignIdNotFound,
        RunNotFound, NothingCorrelated, TooManyCallbacks, RecordTooLarge and DeadlineExceeded.
        """
        if connection is not None:
            await self._outbox.callback(
                workflow,
                name,
                payload,
                connection=connection,
                foreign_id=foreign_id,
                run_id=run_id,
                correlation=correlation,
                key=key,
                wait_for=WAIT if wait_for is None else wait_for,
            )
            return CallbackView(outcome="kept")
        asked = callback_request(
            name, payload, foreign_id, run_id, correlation, key, wait_for or timedelta(0)
        )
        return await self._gateway.callback(workflow.name, asked)
