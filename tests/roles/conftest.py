"""Where processes share roles."""

import pytest

from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.schema import metadata

DATABASES = ["sqlite_url", "postgres_url", "mariadb_url"]


async def made_ready(url: str) -> str:
    """The URL, of a database with the tables of streamwf if it is one that has tables."""
    if not url.startswith("redis:"):
        engine = create(url, "store")
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()
    return url


@pytest.fixture(params=DATABASES)
async def url(request: pytest.FixtureRequest) -> str:
    """The URL of a database of each kind."""
    return await made_ready(request.getfixturevalue(request.param))


@pytest.fixture(params=[*DATABASES, "redis_url"])
async def shared_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database of each kind, or of Redis."""
    return await made_ready(request.getfixturevalue(request.param))
