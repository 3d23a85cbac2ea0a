"""The tables of the stores in SQL, made and changed by Alembic.

Whoever opens a store calls `upgrade`. Each version of the tables is a file in `versions`; the
latest of them gives those of `schema`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import name_of, writing
from streamwf.errors import NothingStored, SchemaNewer, StoreUnreachable

#: Not Alembic's own name: users may have their own migrations in the same database.
VERSION_TABLE = "streamwf_version"

#: What processes that start at once wait for, on PostgreSQL: any number that others don't use.
_LOCK = 7_310_579_620_148_391_207
_LOCK_SECONDS = 60


async def upgrade(engine: AsyncEngine, setting: str, *, make: bool = True) -> None:
    """Bring the tables to the version that this streamwf knows, whoever else does so at once.

    setting: the name of the one that has the database's URL, for what errors say.
    make: whether they are made where there are none.
    Raises SchemaNewer, and NothingStored if they are not to be made, with nothing changed; and
    StoreUnreachable.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    known, newest = {script.revision for script in scripts.walk_revisions()}, scripts.get_heads()[0]
    async with engine.connect() as connection:
        found = await connection.run_sync(_version)
    if found == newest:
        return
    if found is None and not make:
        raise NothingStored(store=name_of(engine.url), setting=setting)
    async with _alone(engine, setting) as connection:
        found = await connection.run_sync(_version)
        if found is not None and found not in known:
            store = name_of(engine.url)
            raise SchemaNewer(store=store, found=found, known=newest, setting=setting)
        config.attributes["connection"] = connection.sync_connection
        await connection.run_sync(lambda _: command.upgrade(config, newest))


def _version(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


@asynccontextmanager
async def _alone(engine: AsyncEngine, setting: str) -> AsyncIterator[AsyncConnection]:
    """A transaction in which no other process changes the tables."""
    async with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        if engine.dialect.name not in ("mysql", "mariadb"):
            # That of SQLite has begun by waiting for its turn.
            yield connection
            return
        # There each change of a table is committed by itself, and the lock is the server's.
        name = func.concat("streamwf.", func.sha1(func.database()))
        if not await connection.scalar(select(func.get_lock(name, _LOCK_SECONDS))):
            cause = "another process has been changing its tables for a minute"
            raise StoreUnreachable(store=name_of(engine.url), cause=cause, setting=setting)
        # The driver logs warnings, such as that a primary key has no name of its own there.
        await connection.execute(text("SET max_error_count = 0"))
        try:
            yield connection
        finally:
            await connection.execute(text("SET max_error_count = DEFAULT"))
            await connection.execute(select(func.release_lock(name)))
