"""The migrations, on each database: what they lead to, and what they leave alone."""

import asyncio
import logging

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.sql.engine import create, writing
from streamwf.adapters.sql.migrations import VERSION_TABLE, upgrade
from streamwf.adapters.sql.records import SqlStore
from streamwf.adapters.sql.schema import metadata
from streamwf.errors import SchemaNewer
from streamwf.testing.contracts.records import (
    SHARD,
    fill,
    rows_of,
    run,
)
from tests.stores.conftest import SETTING


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return list(compare_metadata(context, metadata))


async def differences(engine: AsyncEngine) -> list[object]:
    """Between the tables that there are and those that the stores use."""
    async with engine.connect() as connection:
        return await connection.run_sync(_differences)


async def test_they_lead_to_the_tables_of_the_stores(engine: AsyncEngine) -> None:
    assert await differences(engine) == []


async def test_a_difference_would_be_seen(engine: AsyncEngine) -> None:
    async with writing(engine) as connection:
        await connection.execute(text("DROP TABLE streamwf_outbox"))
        await connection.execute(text("ALTER TABLE streamwf_keys ADD COLUMN more INTEGER"))

    found = str(await differences(engine))
    assert "streamwf_outbox" in found
    assert "more" in found


async def test_they_change_nothing_that_is_done(engine: AsyncEngine) -> None:
    store = SqlStore(engine)
    await fill(store, run())
    await upgrade(engine, SETTING)

    assert await rows_of(store) == {"o-1": run()}


async def test_they_say_nothing(sql_url: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = create(sql_url, SETTING)
    await upgrade(engine, SETTING)
    await engine.dispose()

    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []


async def test_several_processes_may_start_at_once(sql_url: str) -> None:
    engines = [create(sql_url, SETTING) for _ in range(6)]
    await asyncio.gather(*(upgrade(engine, SETTING) for engine in engines))

    assert await differences(engines[0]) == []
    for engine in engines:
        await engine.dispose()


async def test_what_a_crash_left_half_done_is_completed(engine: AsyncEngine) -> None:
    """As on a database that commits each change of a table by itself."""
    index = "streamwf_runs_state"
    of = " ON streamwf_runs" if engine.dialect.name == "mariadb" else ""
    async with writing(engine) as connection:
        await connection.execute(text(f"DROP INDEX {index}{of}"))
        await connection.execute(text("DROP TABLE streamwf_timeouts"))
        await connection.execute(text(f"DELETE FROM {VERSION_TABLE}"))
    await upgrade(engine, SETTING)

    assert await differences(engine) == []


async def test_tables_of_a_newer_version_are_left_alone(engine: AsyncEngine) -> None:
    store = SqlStore(engine)
    await fill(store, run())
    async with writing(engine) as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        await connection.execute(text("DROP TABLE streamwf_outbox"))
    with pytest.raises(SchemaNewer) as raised:
        await upgrade(engine, SETTING)

    assert "9999" in str(raised.value)
    assert SETTING in str(raised.value)
    assert await rows_of(store) == {"o-1": run()}
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert "streamwf_outbox" not in names
        version = await connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    assert version == "9999"
    assert await store.open(SHARD, 1) == 1


async def test_migrations_of_the_users_own_are_left_alone(sql_url: str) -> None:
    engine = create(sql_url, SETTING)
    async with writing(engine) as connection:
        await connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        await connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    await upgrade(engine, SETTING)

    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == "theirs"
    await engine.dispose()
