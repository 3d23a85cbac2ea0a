"""Requests are committed with what they belong to, or not at all, by whichever driver."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from streamwf import Client, Outbox, embedded
from streamwf.embedded import EmbeddedApp
from streamwf.errors import (
    InvalidForeignId,
    InvalidObject,
    InvalidPayload,
    InvalidQuery,
    NoTransaction,
    RecordTooLarge,
    StreamwfError,
    TerminalStart,
    UnknownCallback,
    UnknownConnection,
)
from streamwf.events import decode_event
from streamwf.vault import room
from tests.outbox.books import Book, Letter, Status, books, left, letters, shelf

BOOK = Book(title="Emma")


def plain(engine: AsyncEngine) -> str:
    """The URL of its database, as drivers take it that are used without SQLAlchemy."""
    url = engine.url.set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


# ---- transactions of users, by each driver: they put a book on the shelf, and ask for a run


async def by_connection(engine: AsyncEngine, fail: bool) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("INSERT INTO shelf VALUES ('Emma')"))
        await Outbox().trigger(books, "b-1", BOOK, connection=connection)
        await (connection.rollback() if fail else connection.commit())


async def by_session(engine: AsyncEngine, fail: bool) -> None:
    async with async_sessionmaker(engine)() as session:
        await session.execute(text("INSERT INTO shelf VALUES ('Emma')"))
        await Outbox().trigger(books, "b-1", BOOK, connection=session)
        await (session.rollback() if fail else session.commit())


async def by_client(engine: AsyncEngine, fail: bool) -> None:
    # Nothing listens there, and nothing needs to.
    async with Client.over_http("http://127.0.0.1:9") as client, AsyncSession(engine) as session:
        await session.execute(text("INSERT INTO shelf VALUES ('Emma')"))
        await client.trigger(books, "b-1", BOOK, connection=session)
        await (session.rollback() if fail else session.commit())


async def by_plain_connection(engine: AsyncEngine, fail: bool) -> None:
    def run() -> None:
        with blocking(engine) as plain, plain.connect() as connection:
            connection.execute(text("INSERT INTO shelf VALUES ('Emma')"))
            Outbox().trigger_sync(books, "b-1", BOOK, connection=connection)
            connection.rollback() if fail else connection.commit()

    await asyncio.to_thread(run)


async def by_plain_connection_on_the_loop(engine: AsyncEngine, fail: bool) -> None:
    with blocking(engine) as plain, plain.connect() as connection:
        connection.execute(text("INSERT INTO shelf VALUES ('Emma')"))
        await Outbox().trigger(books, "b-1", BOOK, connection=connection)
        connection.rollback() if fail else connection.commit()


async def by_plain_session(engine: AsyncEngine, fail: bool) -> None:
    def run() -> None:
        with blocking(engine) as plain:
            session = scoped_session(sessionmaker(plain))
            session.execute(text("INSERT INTO shelf VALUES ('Emma')"))
            Outbox().trigger_sync(books, "b-1", BOOK, connection=session)
            session.rollback() if fail else session.commit()
            session.remove()

    await asyncio.to_thread(run)


@contextmanager
def blocking(engine: AsyncEngine) -> Iterator[Engine]:
    driver = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}
    url = make_url(engine.url).set(drivername=driver[engine.dialect.name])
    made = create_engine(url)
    yield made
    made.dispose()


SQLALCHEMY = [
    *(by_connection, by_session, by_client),
    *(by_plain_connection, by_plain_connection_on_the_loop, by_plain_session),
]


async def by_asyncpg(engine: AsyncEngine, fail: bool) -> None:
    async with asyncpg.create_pool(plain(engine), min_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("INSERT INTO shelf VALUES ('Emma')")
        await Outbox().trigger(books, "b-1", BOOK, connection=connection)
        await (transaction.rollback() if fail else transaction.commit())


async def by_psycopg(engine: AsyncEngine, fail: bool) -> None:
    async with await psycopg.AsyncConnection.connect(plain(engine)) as connection:
        await connection.execute("INSERT INTO shelf VALUES ('Emma')")
        await Outbox().trigger(books, "b-1", BOOK, connection=connection)
        await (connection.rollback() if fail else connection.commit())


async def by_blocking_psycopg(engine: AsyncEngine, fail: bool) -> None:
    def run() -> None:
        with psycopg.connect(plain(engine)) as connection:
            connection.execute("INSERT INTO shelf VALUES ('Emma')")
            Outbox().trigger_sync(books, "b-1", BOOK, connection=connection)
            connection.rollback() if fail else connection.commit()

    await asyncio.to_thread(run)


DRIVERS = [by_asyncpg, by_psycopg, by_blocking_psycopg]

Transaction = Callable[[AsyncEngine, bool], Any]


async def is_all_or_nothing(engine: AsyncEngine, transaction: Transaction) -> None:
    await transaction(engine, True)
    assert (await shelf(engine), await left(engine)) == ([], [])
    await transaction(engine, False)
    assert await shelf(engine) == ["Emma"]
    [event] = await left(engine)
    assert (event["type"], event["subject"]) == ("trigger", "b-1")
    assert event["data"] == {"title": "Emma", "pages": 100}


@pytest.mark.parametrize("transaction", SQLALCHEMY)
async def test_sqlalchemy_on_each_database(engine: AsyncEngine, transaction: Transaction) -> None:
    await is_all_or_nothing(engine, transaction)


@pytest.mark.parametrize("transaction", DRIVERS)
async def test_drivers_alone(on_postgres: AsyncEngine, transaction: Transaction) -> None:
    await is_all_or_nothing(on_postgres, transaction)


# ---- connections that can't serve


async def test_nothing_is_written_without_a_transaction(on_postgres: AsyncEngine) -> None:
    outbox = Outbox()
    connection = await asyncpg.connect(plain(on_postgres))
    with pytest.raises(NoTransaction):
        await outbox.trigger(books, "b-1", BOOK, connection=connection)
    await connection.close()
    async with await psycopg.AsyncConnection.connect(plain(on_postgres), autocommit=True) as one:
        with pytest.raises(NoTransaction):
            await outbox.trigger(books, "b-1", BOOK, connection=one)
        async with one.transaction():
            await outbox.trigger(books, "b-1", BOOK, connection=one)
    async with on_postgres.connect() as each:
        automatic = await each.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(NoTransaction):
            await outbox.trigger(books, "b-1", BOOK, connection=automatic)
    assert len(await left(on_postgres)) == 1


async def test_other_connections_are_refused(on_postgres: AsyncEngine) -> None:
    outbox: Any = Outbox()
    with pytest.raises(UnknownConnection, match="by a object"):
        await outbox.trigger(books, "b-1", BOOK, connection=object())
    async with await psycopg.AsyncConnection.connect(plain(on_postgres)) as connection:
        with pytest.raises(UnknownConnection, match="AsyncConnection"):
            outbox.trigger_sync(books, "b-1", BOOK, connection=connection)
    async with on_postgres.connect() as one:
        with pytest.raises(UnknownConnection, match="AsyncConnection"):
            outbox.trigger_sync(books, "b-1", BOOK, connection=one)


# ---- what is refused, is refused as a worker does


async def refusal(asked: Any) -> tuple[type[StreamwfError], str]:
    with pytest.raises(StreamwfError) as caught:
        await asked
    return caught.type, str(caught.value)


WRONG: list[tuple[dict[str, Any], type[StreamwfError]]] = [
    ({"object": Book.model_construct(title=7)}, InvalidObject),
    ({"foreign_id": ""}, InvalidForeignId),
    ({"foreign_id": "x" * 501}, InvalidForeignId),
    ({"foreign_id": "line\nbreak"}, InvalidForeignId),
    ({"at": Status.SOLD}, TerminalStart),
    ({"start_at": datetime(2030, 1, 1)}, InvalidQuery),
    ({"object": Book(title="x" * 1_000_000)}, RecordTooLarge),
]


@pytest.mark.parametrize(("given", "kind"), WRONG)
async def test_a_trigger_is_judged_as_by_a_worker(
    on_postgres: AsyncEngine, given: dict[str, Any], kind: type[StreamwfError]
) -> None:
    asked = {"foreign_id": "b-1", "object": BOOK, **given}
    async with embedded(books) as app, on_postgres.begin() as connection:
        there = await refusal(app.client.trigger(books, **asked))
        here = await refusal(Outbox().trigger(books, **asked, connection=connection))
        client = await refusal(app.client.trigger(books, **asked, connection=connection))
    assert here == client
    assert here[0] is there[0] is kind
    # An event of the outbox says one thing more.
    assert kind is RecordTooLarge or here == there
    assert await left(on_postgres) == []


async def test_nobody_can_wait_for_what_is_not_committed(on_postgres: AsyncEngine) -> None:
    async with embedded(books) as app, on_postgres.begin() as connection:
        with pytest.raises(InvalidQuery, match="commits"):
            await app.client.trigger(books, "b-1", BOOK, connection=connection, wait=True)


async def test_a_callback_is_judged_before_it_is_written(on_postgres: AsyncEngine) -> None:
    outbox = Outbox()
    async with on_postgres.begin() as connection:
        for kind, given in (
            (UnknownCallback, {"name": "bought", "foreign_id": "b-1"}),
            (InvalidPayload, {"name": "sold", "foreign_id": "b-1", "payload": "dear"}),
            (InvalidPayload, {"name": "sold", "foreign_id": "b-1", "payload": object()}),
            (InvalidQuery, {"name": "sold"}),
            (InvalidQuery, {"name": "sold", "run_id": "r-1", "payload": 1}),
            (InvalidForeignId, {"name": "sold", "foreign_id": "", "payload": 1}),
            (InvalidQuery, {"name": "sold", "correlation": "x" * 500, "payload": 1}),
        ):
            with pytest.raises(kind):
                await outbox.callback(books, connection=connection, **given)  # type: ignore[arg-type]
    assert await left(on_postgres) == []


async def test_what_is_to_be_sealed_leaves_room_for_the_seals(on_postgres: AsyncEngine) -> None:
    outbox = Outbox(max_record_bytes=10_000)
    async with on_postgres.begin() as connection:
        await outbox.trigger(books, "b-1", Book(title="x" * 9_000), connection=connection)
        with pytest.raises(RecordTooLarge, match=str(room(10_000))):
            await outbox.trigger(letters, "l-1", Letter(secret="x" * 9_000), connection=connection)


# ---- what is written


async def test_a_run_has_the_id_that_its_key_leads_to_by_any_way(engine: AsyncEngine) -> None:
    async with embedded(books) as app, engine.begin() as connection:
        there = await app.client.trigger(books, "b-1", BOOK, key="k")
        here = await Outbox().trigger(books, "b-1", BOOK, key="k", connection=connection)
        other = await Outbox().trigger(books, "b-1", BOOK, connection=connection)
    assert here == there != other
    assert [event["runid"] for event in await left(engine)] == [here, other]


async def test_all_that_was_asked_is_in_the_event(engine: AsyncEngine) -> None:
    name = "ein 'Foreign' id „mit“ 字 \\ % " + "x" * 470
    start = datetime(2031, 5, 6, tzinfo=UTC)
    async with engine.begin() as connection:
        await Outbox().trigger(
            books, name, BOOK, at=Status.BOUND, start_at=start, connection=connection
        )
        await Outbox().callback(
            books, "sold", b"7", foreign_id=name, run_id="r-1", connection=connection
        )
    trigger, callback = await left(engine)
    assert (trigger["subject"], trigger["status"]) == (name, "BOUND")
    assert datetime.fromisoformat(trigger["startat"]) == start
    assert (callback["runid"], callback["call"], callback["data_base64"]) == ("r-1", "sold", "Nw==")
    until, at = (datetime.fromisoformat(callback[field]) for field in ("until", "time"))
    assert until - at == timedelta(hours=1)


async def test_a_key_of_a_callback_is_the_same_by_any_way(on_postgres: AsyncEngine) -> None:
    async with embedded(books) as app, on_postgres.begin() as connection:
        run_id = await app.client.trigger(books, "b-1", BOOK)
        await app.client.await_(books, run_id, Status.BOUND)
        view = await app.client.callback(books, "sold", 7, foreign_id="b-1", key="k")
        assert view.outcome == "moved"
        told = await app.client.callback(
            books, "sold", 7, foreign_id="b-1", key="k", connection=connection
        )
        assert (told.outcome, told.run) == ("kept", None)
    [event] = await left(on_postgres)
    await append(app, event)


async def append(app: EmbeddedApp, event: dict[str, Any]) -> None:
    """The log has the id of the callback already."""
    known = [
        decode_event(
            record.value,
            workflow="books",
            partition=0,
            offset=record.offset,
            timestamp_ms=0,
            limit=10_000,
        ).id
        for record in app.host.logs["books"].records
    ]
    assert event["id"] in known


def test_the_session_of_a_web_application_that_only_blocks(sqlite_url: str) -> None:
    """Nothing is awaited anywhere."""
    engine = create_engine(sqlite_url)
    from streamwf.adapters.sql.schema import metadata, outbox

    metadata.create_all(engine)
    with Session(engine) as session:
        run_id = Outbox().trigger_sync(books, "b-1", BOOK, connection=session)
        Outbox().callback_sync(books, "sold", 7, foreign_id="b-1", connection=session)
        session.commit()
        rows = session.execute(outbox.select()).all()
    assert len(rows) == 2
    assert run_id.encode() in rows[0].event
    engine.dispose()
