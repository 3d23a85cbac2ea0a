"""The stores in SQL, by the contracts, on each database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.keys import SqlKeys
from streamwf.adapters.sql.migrations import upgrade
from streamwf.adapters.sql.records import SqlStore
from streamwf.ports import RecordQuery
from streamwf.testing.contracts.key_provider import KeyProviderContract
from streamwf.testing.contracts.record_store import RecordStoreContract
from streamwf.testing.contracts.records import (
    fill,
    run,
)
from streamwf.testing.contracts.timeout_store import TimeoutStoreContract
from tests.stores.conftest import SETTING


class InSql:
    @pytest.fixture
    def store(self, engine: AsyncEngine) -> SqlStore:
        return SqlStore(engine)

    @pytest.fixture
    def timeouts(self, store: SqlStore) -> SqlStore:
        return store

    @pytest.fixture
    async def reopen(
        self, engine: AsyncEngine, sql_url: str
    ) -> AsyncIterator[Callable[[], Awaitable[SqlStore]]]:
        another = create(sql_url, SETTING)

        async def anew() -> SqlStore:
            await engine.dispose()
            return SqlStore(another)

        yield anew
        await another.dispose()


class TestSqlRecords(InSql, RecordStoreContract):
    pass


class TestSqlTimeouts(InSql, TimeoutStoreContract):
    pass


class TestSqlKeys(KeyProviderContract):
    @pytest.fixture
    def keys(self, engine: AsyncEngine) -> SqlKeys:
        return SqlKeys(engine)

    @pytest.fixture
    async def elsewhere(self, engine: AsyncEngine, sql_url: str) -> AsyncIterator[SqlKeys]:
        another = create(sql_url, SETTING)
        yield SqlKeys(another)
        await another.dispose()


async def test_names_order_alike_whatever_the_language_of_the_database(postgres_url: str) -> None:
    made = f"{make_url(postgres_url).database}_icu"
    async with _autocommit(postgres_url) as connection:
        how = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        await connection.execute(text(f"CREATE DATABASE {made} {how}"))
    engine = create(make_url(postgres_url).set(database=made).render_as_string(False), SETTING)
    await upgrade(engine, SETTING)
    store = SqlStore(engine)
    await fill(store, *(run(f"o-{name}", name) for name in "bBaA_"))

    assert [one.run_id for one in await store.list(RecordQuery())] == sorted("bBaA_")
    await engine.dispose()
    async with _autocommit(postgres_url) as connection:
        await connection.execute(text(f"DROP DATABASE {made}"))


@asynccontextmanager
async def _autocommit(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create(url, SETTING)
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection
    await engine.dispose()
