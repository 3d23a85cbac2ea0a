"""A relay at work on a database and an engine in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf import Outbox, Workflow
from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.outbox import SqlOutbox
from streamwf.events import Event
from streamwf.relay import Relay
from tests.outbox.books import Book, books


class Listed:
    """A log that is a list for each workflow, and fails as it is told. Implements `relay.Log`.

    fails: what the next appends raise, after they have appended what is in `first`.
    """

    def __init__(self, *workflows: Workflow[Any, Any], max_record_bytes: int = 1_000_000) -> None:
        self.workflows: Mapping[str, Workflow[Any, Any]] = {each.name: each for each in workflows}
        self.max_record_bytes = max_record_bytes
        self.events: dict[str, list[Event]] = {name: [] for name in self.workflows}
        self.fails: list[Exception] = []

    async def append_all(self, workflow: str, events: Sequence[Event]) -> None:
        self.events[workflow] += events
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)

    def subjects(self, workflow: str = "books") -> list[str]:
        return [event.subject for event in self.events[workflow]]


@asynccontextmanager
async def relaying(url: str, log: Any) -> AsyncIterator[Relay]:
    """A relay that runs until the block ends."""
    store = SqlOutbox(create(url, "store"), "store")
    relay = Relay(store, log)
    running = asyncio.create_task(relay.run())
    try:
        yield relay
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()


async def ask(engine: AsyncEngine, *foreign_ids: str) -> list[str]:
    """Ask for a run of each, in one transaction; their ids."""
    outbox = Outbox()
    async with engine.begin() as connection:
        return [
            await outbox.trigger(books, name, Book(title=name), connection=connection)
            for name in foreign_ids
        ]


async def insert(engine: AsyncEngine, event: bytes, workflow: str = "books") -> None:
    """Write a row as other programs do."""
    statement = text(
        "INSERT INTO streamwf_outbox (workflow, foreign_id, event, created_at)"
        " VALUES (:workflow, 'x', :event, 1700000000000000)"
    )
    async with engine.begin() as connection:
        await connection.execute(statement, {"workflow": workflow, "event": event})
