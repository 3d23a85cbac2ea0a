"""Databases that have the table of the outbox."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.outbox.books import tables


@pytest.fixture(params=["sqlite_url", "postgres_url", "mariadb_url"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of each kind."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """The same with tables."""
    async with tables(url) as made:
        yield made


@pytest.fixture
async def on_postgres(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """PostgreSQL with tables."""
    async with tables(postgres_url) as made:
        yield made
