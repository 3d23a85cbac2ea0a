"""Fixtures of real databases, each server started with the first test that asks for it.

Servers named in STREAMWF_TEST_POSTGRES, STREAMWF_TEST_MARIADB and STREAMWF_TEST_REDIS, by URLs of
users who may create databases, are used instead of private ones; of Redis each test empties the
database in the URL.
"""

import asyncio
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from streamwf.adapters.sql.engine import create
from tests.servers import MariaDB, Postgres, PrivateServer, Redis


def _serve(kind: type[PrivateServer]) -> Iterator[str]:
    if named := os.environ.get(kind.variable):
        yield named
    else:
        with kind() as server:
            yield server.url


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of the session's PostgreSQL."""
    yield from _serve(Postgres)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The URL of the session's MariaDB."""
    yield from _serve(MariaDB)


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis | str]:
    """The session's Redis, or the URL of the one that is named."""
    if named := os.environ.get(Redis.variable):
        yield named
    else:
        with Redis() as server:
            yield server


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, of this test alone."""
    with postgres_database(postgres) as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb: str) -> Iterator[str]:
    """The URL of an empty MariaDB database, of this test alone."""
    with mariadb_database(mariadb) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'streamwf.db'}"


@pytest.fixture
def redis_url(redis: Redis | str) -> str:
    """The URL of an empty Redis database, of this test alone."""
    if isinstance(redis, Redis):
        return redis.fresh()
    # Only whoever names a Redis needs the client here.
    with import_module("redis").Redis.from_url(redis) as client:
        client.flushdb()
    return redis


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A started PostgreSQL of the test's own, to be stopped, killed and started again."""
    with Postgres() as server:
        yield server


@pytest.fixture
def own_mariadb() -> Iterator[MariaDB]:
    """A started MariaDB of the test's own, to be stopped, killed and started again."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A started Redis of the test's own, to be stopped, killed and started again."""
    with Redis() as server:
        yield server


def postgres_database(server: str) -> AbstractContextManager[str]:
    """The URL of an empty database on a PostgreSQL, while the block runs."""
    return _database(server, "DROP DATABASE {} WITH (FORCE)")


def mariadb_database(server: str) -> AbstractContextManager[str]:
    """The URL of an empty database on a MariaDB, while the block runs."""
    return _database(server, "DROP DATABASE {}")


@contextmanager
def _database(server: str, drop: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:12]}"
    _execute(server, f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    _execute(server, drop.format(name))


def _execute(server: str, statement: str) -> None:
    async def run() -> None:
        engine = create(server, "the URL of the server")
        autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with autocommit.connect() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    # In a thread, as a fixture may run where a loop does.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, run()).result()
