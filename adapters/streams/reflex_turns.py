"""Making tables that are missing, and appending to them one after the other.

Ids are seen in their order where all who append take turns. Who takes none leaves gaps that close
when its transaction ends; see `reflex_gaps`.
"""

from datetime import datetime

from sqlalchemy import Connection, Table, insert, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import writing

from .reflex_tables import now, turns


async def take_turn(connection: AsyncConnection, table: Table) -> datetime:
    """Wait for the turn to append to a table, held to the end of the transaction.

    Returns the database's time.
    """
    turn = select(now(connection.dialect.name)).select_from(turns)
    held = turn.where(turns.c.name == table.name).with_for_update()
    return (await connection.execute(held)).scalar_one()


async def ensure(engine: AsyncEngine, *tables: Table) -> None:
    """Create tables, or leave it to whoever did so first."""
    for table in tables:
        if await exists(engine, table):
            continue
        try:
            async with writing(engine) as connection:
                await connection.run_sync(table.create)
        except DBAPIError:
            if not await exists(engine, table):
                raise


async def ensure_turn(engine: AsyncEngine, name: str) -> None:
    """Make a row for the turns of a table."""
    await ensure(engine, turns)
    async with engine.connect() as connection:
        if await connection.scalar(select(turns.c.name).where(turns.c.name == name)):
            return
    try:
        async with writing(engine) as connection:
            await connection.execute(insert(turns).values(name=name))
    except IntegrityError:
        # Somebody else did it meanwhile.
        return


async def exists(engine: AsyncEngine, table: Table) -> bool:
    """Whether a table is there."""

    def look(connection: Connection) -> bool:
        return inspect(connection).has_table(table.name)

    async with engine.connect() as connection:
        return await connection.run_sync(look)
