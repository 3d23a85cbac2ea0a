"""The table in which consumers of luno/reflex set aside what they can't process, and its events."""

from sqlalchemy import Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import writing

from .reflex_tables import errors_table, events_table
from .reflex_turns import ensure, ensure_turn, take_turn

#: What reflex calls recorded: the status of a new error, and the type of its event.
RECORDED = 1


class ReflexErrors:
    """Errors of consumers, as `rsql.ErrorsTable` has them, made where they are missing.

    Each that is recorded is an event of the table `{name}_events`, too: its foreign id is the id
    of the error, its metadata the name of the consumer.
    """

    def __init__(self, engine: AsyncEngine, name: str = "consumer_errors") -> None:
        self._engine = engine
        self._errors = errors_table(name)
        self._events = events_table(f"{name}_events", trace=False)
        self._ready = False

    async def record(self, consumer: str, event_id: int, message: str) -> int:
        """Record that a consumer could not process an event; returns the id of the error.

        What is recorded already stays as it is, and is told again, as reflex does.
        """
        if not self._ready:
            await ensure(self._engine, self._errors, self._events)
            await ensure_turn(self._engine, self._events.name)
            self._ready = True
        async with writing(self._engine) as connection:
            at = await take_turn(connection, self._events)
            error = await _find(connection, self._errors, consumer, event_id)
            if error is None:
                row = {"consumer": consumer, "event_id": event_id, "error_msg": message}
                row |= {"created_at": at, "updated_at": at, "error_status": RECORDED}
                await connection.execute(insert(self._errors), row)
                error = await _find(connection, self._errors, consumer, event_id)
            assert error is not None
            event = {"foreign_id": str(error), "timestamp": at, "type": RECORDED}
            await connection.execute(insert(self._events), event | {"metadata": consumer.encode()})
            return error


async def _find(
    connection: AsyncConnection, errors: Table, consumer: str, event_id: int
) -> int | None:
    columns = errors.c
    this = select(columns.id).where(columns.consumer == consumer, columns.event_id == event_id)
    return await connection.scalar(this)
