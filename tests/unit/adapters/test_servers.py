"""The servers that tests use, and the engine that everybody reaches them by."""

import socket
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.sql.engine import create, writing
from streamwf.errors import InvalidSettings, StoreUnreachable
from tests.servers import MariaDB, Postgres, PrivateServer, Redis, ServerMissing

SETTING = "DATABASE_URL"


async def put(engine: AsyncEngine, number: int) -> None:
    async with writing(engine) as connection:
        await connection.execute(text("INSERT INTO seen (id) VALUES (:id)"), {"id": number})


async def put_and_fail(engine: AsyncEngine) -> None:
    async with writing(engine) as connection:
        await connection.execute(text("INSERT INTO seen (id) VALUES (8)"))
        raise RuntimeError("no")


async def numbers(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as connection:
        return list((await connection.scalars(text("SELECT id FROM seen ORDER BY id"))).all())


@pytest.mark.parametrize("which", ["sqlite_url", "postgres_url", "mariadb_url"])
async def test_an_engine_writes_and_reads(which: str, request: pytest.FixtureRequest) -> None:
    engine = create(request.getfixturevalue(which), SETTING)
    async with writing(engine) as connection:
        await connection.execute(text("CREATE TABLE seen (id integer primary key)"))
    await put(engine, 7)
    with pytest.raises(RuntimeError, match="no"):
        await put_and_fail(engine)

    assert await numbers(engine) == [7]
    await engine.dispose()


@pytest.mark.parametrize("which", ["own_postgres", "own_mariadb"])
async def test_a_server_that_is_away_and_comes_back(
    which: str, request: pytest.FixtureRequest
) -> None:
    server: PrivateServer = request.getfixturevalue(which)
    engine = create(server.url, SETTING)
    async with writing(engine) as connection:
        await connection.execute(text("CREATE TABLE seen (id integer primary key)"))
    for number, end in enumerate((server.stop, server.kill)):
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            end()
            with pytest.raises(StoreUnreachable, match=SETTING):
                await connection.execute(text("SELECT 1"))
        with pytest.raises(StoreUnreachable, match=SETTING) as caught:
            await put(engine, number)
        assert server.password not in str(caught.value)
        assert caught.value.__cause__ is None or server.password not in str(caught.value.__cause__)
        server.start()
        await put(engine, number)

    assert await numbers(engine) == [0, 1]
    await engine.dispose()


@pytest.mark.parametrize("which", ["own_postgres", "own_mariadb"])
async def test_a_server_that_was_away_unnoticed(which: str, request: pytest.FixtureRequest) -> None:
    server: PrivateServer = request.getfixturevalue(which)
    engine = create(server.url, SETTING)
    async with writing(engine) as connection:
        await connection.execute(text("CREATE TABLE seen (id integer primary key)"))
    for number, end in enumerate((server.stop, server.kill)):
        end()
        server.start()
        await put(engine, number)

    assert await numbers(engine) == [0, 1]
    await engine.dispose()


@pytest.mark.parametrize("which", ["postgres", "mariadb"])
async def test_a_wrong_password(which: str, request: pytest.FixtureRequest) -> None:
    url: str = request.getfixturevalue(which)
    head, _, tail = url.rpartition("@")
    engine = create(f"{head}wrong@{tail}", SETTING)

    with pytest.raises(StoreUnreachable, match=SETTING) as caught:
        async with engine.connect():
            pass
    assert head.rpartition(":")[2] not in str(caught.value)


@pytest.mark.parametrize("which", ["sqlite_url", "postgres_url", "mariadb_url"])
@pytest.mark.parametrize("statement", ["SELECT * FROM nowhere", "SELECT nowhere"])
async def test_a_mistake_in_a_statement_is_no_outage(
    which: str, statement: str, request: pytest.FixtureRequest
) -> None:
    engine = create(request.getfixturevalue(which), SETTING)
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError, match="nowhere"):
            await connection.execute(text(statement))
    await engine.dispose()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Milk, bread, eggs. " * 100)
    engine = create(f"sqlite:///{path}", SETTING)
    with pytest.raises(StoreUnreachable, match="file is not a database"):
        await put(engine, 1)


async def test_a_database_that_can_only_be_read(sqlite_url: str) -> None:
    engine = create(sqlite_url, SETTING)
    async with writing(engine) as connection:
        await connection.execute(text("CREATE TABLE seen (id integer primary key)"))
    async with engine.connect() as connection:
        await connection.execute(text("PRAGMA query_only=ON"))
        with pytest.raises(StoreUnreachable, match="readonly"):
            await connection.execute(text("INSERT INTO seen (id) VALUES (1)"))
    await engine.dispose()


@pytest.mark.parametrize(
    "url", ["oracle://u:s3cret@host/x", "::s3cret", "postgresql://u:s3cret@:x"]
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(InvalidSettings, match=SETTING) as caught:
        create(url, SETTING)
    assert "s3cret" not in str(caught.value)


def test_a_server_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(Postgres, "places", ())
    with pytest.raises(ServerMissing, match="apt-get install postgresql"):
        Postgres()
    monkeypatch.setattr(MariaDB, "places", ())
    with pytest.raises(ServerMissing, match="STREAMWF_TEST_MARIADB"):
        MariaDB()


def test_redis_wants_its_password(own_redis: Redis) -> None:
    own_redis.kill()
    own_redis.start()
    with socket.create_connection(("127.0.0.1", own_redis.port), timeout=10) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")
        connection.sendall(f"AUTH {own_redis.password}\r\n".encode())
        assert connection.recv(100) == b"+OK\r\n"


def test_each_test_has_an_empty_redis(redis_url: str, redis: Redis | str) -> None:
    assert isinstance(redis, str) or redis.fresh() != redis_url
