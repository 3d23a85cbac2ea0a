"""What goes wrong with databases: what is said of it, and what becomes of the rows."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.sql.engine import create, writing
from streamwf.adapters.sql.migrations import upgrade
from streamwf.adapters.sql.records import SqlStore
from streamwf.errors import (
    StoreDenied,
    StoreFull,
    StoreNotFound,
    StoreReadOnly,
    StoreUnreachable,
)
from streamwf.ports import Checkpoint, Due
from streamwf.testing.contracts.records import (
    LATER,
    NOW,
    SHARD,
    changed,
    fill,
    followed,
    new,
    removed,
    rows_of,
    run,
)
from tests.servers import MariaDB, Postgres, PrivateServer
from tests.stores.conftest import SETTING


def text_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


async def failure(url: str) -> StoreUnreachable:
    """What becomes of an attempt to use a database."""
    engine = create(url, SETTING)
    with pytest.raises(StoreUnreachable) as raised:
        await upgrade(engine, SETTING)
    await engine.dispose()
    error = raised.value
    assert SETTING in str(error)
    assert str(make_url(url).password) not in str(error)
    return error


@pytest.mark.parametrize("which", ["postgres_url", "mariadb_url"])
async def test_a_wrong_password(which: str, request: pytest.FixtureRequest) -> None:
    url = make_url(request.getfixturevalue(which)).set(password="not-the-one")

    assert type(await failure(text_of(url))) is StoreDenied


@pytest.mark.parametrize("which", ["postgres_url", "mariadb_url"])
async def test_a_database_that_does_not_exist(which: str, request: pytest.FixtureRequest) -> None:
    url = make_url(request.getfixturevalue(which)).set(database="nowhere")
    error = await failure(text_of(url))

    assert type(error) is StoreNotFound
    assert "nowhere" in str(error)


async def test_a_file_that_can_not_be_made(tmp_path: Path) -> None:
    error = await failure(f"sqlite:///{tmp_path / 'no such folder' / 'orders.db'}")

    assert type(error) is StoreNotFound
    assert "no such folder" in str(error)


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "orders.py"
    path.write_text("print('this is a program')\n" * 100)

    assert type(await failure(f"sqlite:///{path}")) is StoreNotFound
    assert path.read_text().startswith("print")


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
async def test_nobody_is_there(scheme: str, host: str) -> None:
    assert type(await failure(f"{scheme}://me:secret@{host}/orders")) is StoreUnreachable


# ---- a database that can't be written


async def test_a_database_that_can_only_be_read(sql_url: str, engine: AsyncEngine) -> None:
    await fill(SqlStore(engine), run())
    read_only = _read_only(sql_url, engine)
    # Its tables are as they have to be.
    await upgrade(read_only, SETTING)
    store = SqlStore(read_only)
    with pytest.raises(StoreReadOnly, match=SETTING):
        await store.store(SHARD, Checkpoint([new(run("o-2"))], 2), 1)

    assert await rows_of(store) == {"o-1": run()}
    await read_only.dispose()


def _read_only(url: str, engine: AsyncEngine) -> AsyncEngine:
    if engine.dialect.name == "sqlite":
        path = make_url(url).database
        return create(f"sqlite:///file:{path}?mode=ro&uri=true", SETTING)
    made = create(url, SETTING)
    statement = "SET SESSION TRANSACTION READ ONLY"
    if engine.dialect.name == "postgresql":
        statement = "SET default_transaction_read_only = on"

    @event.listens_for(made.sync_engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.cursor().execute(statement)
        connection.commit()

    return made


_FULL = {
    # As the servers say it when their disks are full.
    "postgresql": """CREATE FUNCTION full_disk() RETURNS trigger AS $$
        BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END
        $$ LANGUAGE plpgsql;
        CREATE TRIGGER full_disk BEFORE INSERT ON streamwf_timeouts
        FOR EACH ROW EXECUTE FUNCTION full_disk()""",
    "mariadb": """CREATE TRIGGER full_disk BEFORE INSERT ON streamwf_timeouts FOR EACH ROW
        SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'Disk full'""",
}


async def test_a_full_disk(engine: AsyncEngine) -> None:
    store = SqlStore(engine)
    await fill(store, run())
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine.sync_engine, "checkout")
        def used(connection: Any, _: object, __: object) -> None:
            # Fewer than there are: as if no more could be had.
            connection.cursor().execute("PRAGMA max_page_count = 1")

    else:
        for statement in _FULL[engine.dialect.name].split(";\n"):
            async with writing(engine) as connection:
                await connection.exec_driver_sql(statement)
    large = [run(f"o-{n}", reason="x" * 10_000, due_at=NOW) for n in range(2, 9)]
    with pytest.raises(StoreFull, match=SETTING):
        await store.store(SHARD, Checkpoint([new(one) for one in large], 2), 1)

    assert await rows_of(store) == {"o-1": run()}


# ---- a checkpoint that is broken off


class Crashed(BaseException):
    """The process ends here."""


@contextmanager
def crash_at(engine: AsyncEngine, statement: int) -> Iterator[list[str]]:
    """Break off before the statement, or commit, of that number. Gives those that were reached."""
    seen: list[str] = []

    def executing(_: Any, __: Any, said: str, *___: Any) -> None:
        seen.append(said)
        if len(seen) == statement:
            raise Crashed

    def committing(connection: Any) -> None:
        executing(connection, None, "COMMIT")

    event.listen(engine.sync_engine, "before_cursor_execute", executing)
    event.listen(engine.sync_engine, "commit", committing)
    try:
        yield seen
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", executing)
        event.remove(engine.sync_engine, "commit", committing)


async def test_a_checkpoint_that_is_broken_off_at_any_statement(engine: AsyncEngine) -> None:
    store = SqlStore(engine)
    before = [run("a", due_at=NOW), run("b", due_at=NOW)]
    await fill(store, *before)
    gone = removed(before[1])
    checkpoint = Checkpoint([*followed(before[0], run("a", "2nd", due_at=LATER)), gone], 9)

    statement = 0
    while True:
        statement += 1
        with crash_at(engine, statement) as seen:
            try:
                await store.store(SHARD, checkpoint, 1)
            except Crashed:
                pass
            else:
                break
        assert await rows_of(store) == {"a": before[0], "b": before[1]}
        assert await store.open(SHARD, 1) == 1
        due = await store.due(SHARD, LATER, 10)
        assert sorted(due) == [Due(NOW, "a"), Due(NOW, "b")]

    assert len(seen) >= 6
    assert seen.count("COMMIT") == 1
    assert set(await rows_of(store)) == {"a", "a\0run of a"}
    assert await store.open(SHARD, 1) == 9


# ---- a server that goes and comes


@pytest.fixture(params=["own_postgres", "own_mariadb"])
def server(request: pytest.FixtureRequest) -> PrivateServer:
    found: Postgres | MariaDB = request.getfixturevalue(request.param)
    return found


async def test_a_server_that_is_stopped_and_started(server: PrivateServer) -> None:
    engine = create(server.url, SETTING)
    await upgrade(engine, SETTING)
    store = SqlStore(engine)
    await fill(store, run(due_at=NOW))
    await asyncio.to_thread(server.stop)
    for asked in (
        lambda: store.store(SHARD, Checkpoint([new(run("o-2"))], 2), 1),
        lambda: store.open(SHARD, 1),
        lambda: rows_of(store),
        lambda: store.latest("orders", "o-1"),
        lambda: store.next_due(SHARD),
    ):
        with pytest.raises(StoreUnreachable, match=SETTING) as raised:
            await asked()
        assert server.password not in str(raised.value)
    await asyncio.to_thread(server.start)

    await store.store(SHARD, Checkpoint([new(run("o-2"))], 2), 1)
    assert await store.open(SHARD, 1) == 2
    assert set(await rows_of(store)) == {"o-1", "o-2"}
    await engine.dispose()


async def test_a_server_that_crashes_while_it_is_written_to(server: PrivateServer) -> None:
    engine = create(server.url, SETTING)
    await upgrade(engine, SETTING)
    store = SqlStore(engine)
    runs = [run(f"o-{n}", version=0) for n in range(50)]
    await fill(store, *runs)
    for crash in range(3):
        stored = await _store_until_it_fails(store, server, (await store.open(SHARD, 1)) or 0)
        await asyncio.to_thread(server.start)

        position = await store.open(SHARD, 1)
        assert position in (stored, stored + 1), crash
        rows = (await rows_of(store)).values()
        assert {one.version for one in rows} == {position}
        assert {each.due_at - NOW for each in await store.due(SHARD, LATER, 100)} == {
            position * (LATER - NOW) / 1_000_000
        }
    await engine.dispose()


async def _store_until_it_fails(store: SqlStore, server: PrivateServer, position: int) -> int:
    """Store checkpoints, of all rows each, while the server is killed. Gives the last stored."""
    step = (LATER - NOW) / 1_000_000
    killing = None
    begun = position
    while True:
        version = position + 1
        changes = [
            changed(run(f"o-{n}"), version=version, due_at=NOW + version * step) for n in range(50)
        ]
        try:
            await store.store(SHARD, Checkpoint(changes, version), 1)
        except StoreUnreachable:
            assert killing is not None
            await killing
            return position
        position = version
        if position == begun + 5:
            killing = asyncio.ensure_future(asyncio.to_thread(server.kill))
