"""A workflow, and what is left of requests for it in an outbox."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import msgspec
from pydantic import BaseModel
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf import Run, Workflow
from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.schema import metadata, outbox


class Book(BaseModel):
    title: str
    pages: int = 100


class Status(Enum):
    ORDERED = "ordered"
    BOUND = "bound"
    SOLD = "sold"


books = Workflow("books", Book, Status)


@books.step(Status.ORDERED, to=Status.BOUND)
async def bind(run: Run[Book, Status]) -> Status:
    return Status.BOUND


@books.callback(Status.BOUND, to=Status.SOLD, payload=int, correlate=lambda book: book.title)
async def sold(run: Run[Book, Status], price: int) -> Status:
    run.object.pages = price
    return Status.SOLD


class Letter(BaseModel):
    secret: str


letters = Workflow("letters", Letter, Status, encrypt=True)


@letters.step(Status.ORDERED, to=Status.SOLD)
async def send(run: Run[Letter, Status]) -> Status:
    return Status.SOLD


@asynccontextmanager
async def tables(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database to which the tables are added, and one of a user's own."""
    engine = create(url, "the URL of the test")
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(text("CREATE TABLE shelf (title VARCHAR(100))"))
        yield engine
    finally:
        await engine.dispose()


async def left(engine: AsyncEngine) -> list[dict[str, Any]]:
    """The events in the outbox, in order."""
    async with engine.connect() as connection:
        rows = await connection.scalars(select(outbox.c.event).order_by(outbox.c.id))
        return [msgspec.json.decode(bytes(event)) for event in rows]


async def shelf(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list(await connection.scalars(text("SELECT title FROM shelf")))
