"""Gaps in ids that a database counts up, filled as reflex fills them.

An id is taken when a row is written and seen when its transaction is committed, so a greater one
may be seen first; one whose transaction was rolled back is never seen. Nothing after a gap is
received before it is closed: by its row, or by a noop once nobody can write that row any more.
"""

import asyncio
import time
from typing import NamedTuple

from sqlalchemy import Table, literal, select, text
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import writing

from .reflex_tables import NOOP_FOREIGN_ID, NOOP_TYPE, now

#: Seconds that a gap is left alone: its row may have an id, and not be written yet.
PATIENCE = 0.5

#: Noops that are written at once.
BATCH = 1_000

_LOCK_TIMEOUT = "55P03"


class Gap(NamedTuple):
    """The ids in [start, end) are not to be seen."""

    start: int
    end: int


class GapFiller:
    """Closes the gaps that one receiver meets."""

    def __init__(self, engine: AsyncEngine, table: Table) -> None:
        self._engine = engine
        self._table = table
        self._gap: Gap | None = None
        self._met = 0.0

    async def close(self, gap: Gap) -> None:
        """Do what can be done about a gap now. Whoever has met it looks again afterwards."""
        if gap != self._gap:
            self._gap, self._met = gap, time.monotonic()
        part = Gap(gap.start, min(gap.end, gap.start + BATCH))
        if self._is_young() or await self._is_being_written(part):
            await asyncio.sleep(PATIENCE / 10)
        else:
            await self._fill(part)

    def _is_young(self) -> bool:
        # SQLite's writers come one after the other: there is nothing to wait for.
        young = time.monotonic() < self._met + PATIENCE
        return young and self._engine.dialect.name != "sqlite"

    async def _is_being_written(self, gap: Gap) -> bool:
        """Whether there are rows, committed or not. PostgreSQL shows that to nobody, but waits."""
        if self._engine.dialect.name not in ("mysql", "mariadb"):
            return False
        ids = self._table.c.id
        dirty = self._engine.execution_options(isolation_level="READ UNCOMMITTED")
        async with dirty.connect() as connection:
            there = select(literal(1)).where(ids >= gap.start, ids < gap.end).limit(1)
            return (await connection.execute(there)).first() is not None

    async def _fill(self, gap: Gap) -> None:
        try:
            async with writing(self._engine) as connection:
                await self._write_noops(connection, gap)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_TIMEOUT:
                raise

    async def _write_noops(self, connection: AsyncConnection, gap: Gap) -> None:
        name = connection.dialect.name
        at = await connection.scalar(select(now(name)))
        rows = [
            {"id": number, "foreign_id": NOOP_FOREIGN_ID, "timestamp": at, "type": NOOP_TYPE}
            for number in range(gap.start, gap.end)
        ]
        table = self._table
        if name == "postgresql":
            # It waits for whoever is about to write one of these rows, but not for long, so that
            # a receiver that is closed meanwhile ends.
            await connection.execute(text("SET LOCAL lock_timeout = '500ms'"))
            await connection.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
        elif name == "sqlite":
            await connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
        else:
            same = {"id": table.c.id}
            await connection.execute(mysql.insert(table).on_duplicate_key_update(same), rows)
