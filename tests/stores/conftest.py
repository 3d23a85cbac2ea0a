"""Databases for stores, with their tables made."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.migrations import upgrade

SETTING = "DATABASE_URL"
SQL = ("sqlite_url", "postgres_url", "mariadb_url")


@pytest.fixture(params=SQL)
def sql_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of each kind."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def engine(sql_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine of a database that has its tables and nothing in them."""
    made = create(sql_url, SETTING)
    await upgrade(made, SETTING)
    yield made
    await made.dispose()
