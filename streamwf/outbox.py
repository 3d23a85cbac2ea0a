"""The outbox: requests that are written in a transaction of one's own, and ride on its commit.

They are judged here as a worker would judge them. The streamwf relay brings them to the log.
"""

import uuid
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from .callback_views import CallbackRequest
from .changing import run_id_of
from .definition import Workflow
from .errors import InvalidQuery
from .events import Event
from .record import CORRELATION
from .requesting import (
    callback_event,
    callback_request,
    check_payload,
    correlation_subject,
    payload_of,
    trigger_event,
    trigger_request,
)
from .settings import load
from .vault import room

if TYPE_CHECKING:
    from .adapters.sql.transactions import SyncTransaction, Transaction

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

#: How long a callback waits to be wanted: what was committed is on its way for a while.
WAIT = timedelta(hours=1)


class Outbox:
    """Writes requests to the table `streamwf_outbox` of the caller's database.

    Nothing is connected to, and no worker need run. connection: a connection or a session of
    SQLAlchemy, or a connection of asyncpg or psycopg, in a transaction; what is written counts if
    that commits, and is as good as never asked if it does not.

    max_record_bytes: the largest record that the workers accept; as in the settings, unless given.
    """

    def __init__(self, *, max_record_bytes: int | None = None) -> None:
        self._limit = max_record_bytes or load().max_record_bytes

    async def trigger(
        self,
        workflow: Workflow[ObjectT, StatusT],
        foreign_id: str,
        object: ObjectT,
        *,
        connection: "Transaction",
        at: StatusT | None = None,
        start_at: datetime | None = None,
        key: str | None = None,
    ) -> str:
        """Ask for a run, and return the id that it will have. The rest is as in `Client.trigger`.

        Raises InvalidObject, InvalidForeignId, UnknownStatus, TerminalStart, RecordTooLarge,
        NoTransaction and UnknownConnection, and what the driver says.
        """
        from .adapters.sql.transactions import write

        event = self._trigger(workflow, foreign_id, object, at, start_at, key)
        await write(connection, event, workflow.name)
        return event.runid

    def trigger_sync(
        self,
        workflow: Workflow[ObjectT, StatusT],
        foreign_id: str,
        object: ObjectT,
        *,
        connection: "SyncTransaction",
        at: StatusT | None = None,
        start_at: datetime | None = None,
        key: str | None = None,
    ) -> str:
        """The same where nothing can be awaited."""
        from .adapters.sql.transactions import write_sync

        event = self._trigger(workflow, foreign_id, object, at, start_at, key)
        write_sync(connection, event, workflow.name)
        return event.runid

    async def callback(
        self,
        workflow: Workflow[ObjectT, StatusT],
        name: str,
        payload: object = None,
        *,
        connection: "Transaction",
        foreign_id: str | None = None,
        run_id: str | None = None,
        correlation: str | None = None,
        key: str | None = None,
        wait_for: timedelta = WAIT,
    ) -> None:
        """Answer a run that waits for a callback of that name, or will within `wait_for`.

        foreign_id, correlation: which run; one of them. run_id: which one of the foreign id, if
        not the latest. The rest is as in `Client.callback`.

        Raises InvalidPayload, UnknownCallback, InvalidForeignId, InvalidQuery, RecordTooLarge,
        NoTransaction and UnknownConnection, and what the driver says.
        """
        from .adapters.sql.transactions import write

        asked = callback_request(name, payload, foreign_id, run_id, correlation, key, wait_for)
        await write(connection, self._callback(workflow, asked), workflow.name)

    def callback_sync(
        self,
        workflow: Workflow[ObjectT, StatusT],
        name: str,
        payload: object = None,
        *,
        connection: "SyncTransaction",
        foreign_id: str | None = None,
        run_id: str | None = None,
        correlation: str | None = None,
        key: str | None = None,
        wait_for: timedelta = WAIT,
    ) -> None:
        """The same where nothing can be awaited."""
        from .adapters.sql.transactions import write_sync

        asked = callback_request(name, payload, foreign_id, run_id, correlation, key, wait_for)
        write_sync(connection, self._callback(workflow, asked), workflow.name)

    # ---- the events

    def _trigger(
        self,
        workflow: Workflow[ObjectT, StatusT],
        foreign_id: str,
        object: ObjectT,
        at: StatusT | None,
        start_at: datetime | None,
        key: str | None,
    ) -> Event:
        asked = trigger_request(workflow, foreign_id, object, at, start_at, key)
        return trigger_event(
            workflow,
            asked,
            datetime.now(UTC),
            event_id=str(uuid.uuid4()),
            run_id=run_id_of(workflow.name, asked),
            limit=self._most(workflow),
            unheard=True,
        )

    def _callback(self, workflow: Workflow[Any, Any], asked: CallbackRequest) -> Event:
        kind = ""
        if asked.foreign_id is None:
            if asked.correlation is None:
                why = "nobody looks it up before the commit: give it with the run_id"
                raise InvalidQuery("foreign_id", why)
            kind = CORRELATION
            subject = correlation_subject(workflow, asked)
            asked = asked.model_copy(update={"foreign_id": subject})
        event = callback_event(
            workflow,
            asked,
            datetime.now(UTC),
            event_id=str(uuid.uuid4()),
            limit=self._most(workflow),
            kind=kind,
            unheard=True,
        )
        # Whoever asks hears nothing of it later.
        check_payload(workflow, asked.name, payload_of(event))
        return event

    def _most(self, workflow: Workflow[Any, Any]) -> int:
        """Bytes of an event. The relay seals those of a workflow that encrypts."""
        return room(self._limit) if workflow.encrypt else self._limit
