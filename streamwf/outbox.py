"""The outbox: requests that are written in a transaction of one's own, and ride on its commit.

They are judged here as a worker would judge them. The streamwf relay brings them to the log.
"""

import uuid
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from .callback_views import CallbackRequest
from .definition import Workflow
from .errors import InvalidQuery
from .events import Event
from .ids import run_id_of
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
from .views import Trigger

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

        asked = trigger_request(workflow, foreign_id, object, at, start_at, key)
        event = unheard_trigger(workflow, asked, self._limit)
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

        asked = trigger_request(workflow, foreign_id, object, at, start_at, key)
        event = unheard_trigger(workflow, asked, self._limit)
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
        event = unheard_callback(workflow, asked, self._limit)
        await write(connection, event, workflow.name)

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
        write_sync(connection, unheard_callback(workflow, asked, self._limit), workflow.name)


# ---- the events of those who hear nothing later


def unheard_trigger(workflow: Workflow[Any, Any], asked: Trigger, limit: int) -> Event:
    """A trigger that nobody waits for: if it is refused, it goes to the dead letters.

    limit: the most bytes of a record. Raises what `trigger_event` does.
    """
    return trigger_event(
        workflow,
        asked,
        datetime.now(UTC),
        event_id=str(uuid.uuid4()),
        run_id=run_id_of(workflow.name, asked),
        limit=_most(workflow, limit),
        unheard=True,
    )


def unheard_callback(workflow: Workflow[Any, Any], asked: CallbackRequest, limit: int) -> Event:
    """The same of a callback. Raises what `callback_event` and `check_payload` do."""
    kind = ""
    if asked.foreign_id is None:
        if asked.correlation is None:
            why = "nobody looks it up here: give it with the run_id"
            raise InvalidQuery("foreign_id", why)
        kind = CORRELATION
        subject = correlation_subject(workflow, asked)
        asked = asked.model_copy(update={"foreign_id": subject})
    event = callback_event(
        workflow,
        asked,
        datetime.now(UTC),
        event_id=str(uuid.uuid4()),
        limit=_most(workflow, limit),
        kind=kind,
        unheard=True,
    )
    # Whoever asks hears nothing of it later.
    check_payload(workflow, asked.name, payload_of(event))
    return event


def _most(workflow: Workflow[Any, Any], limit: int) -> int:
    """Bytes of an event in plain: who brings it to the log of a workflow that encrypts seals it."""
    return room(limit) if workflow.encrypt else limit
