"""Databases with the tables of streamwf."""

import pytest

from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.schema import metadata


async def with_tables(url: str) -> str:
    engine = create(url, "store")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    return url


@pytest.fixture(params=["sqlite_url", "postgres_url", "mariadb_url"])
async def url(request: pytest.FixtureRequest) -> str:
    """The URL of a database of each kind."""
    return await with_tables(request.getfixturevalue(request.param))
