"""Gaps in ids: nothing is received past one before it is closed, and none stays open."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.sql.engine import writing
from streamwf.adapters.streams import reflex_gaps
from streamwf.adapters.streams.reflex import ReflexStreamer
from streamwf.adapters.streams.reflex_gaps import Gap, GapFiller
from streamwf.adapters.streams.reflex_tables import events_table
from streamwf.adapters.streams.reflex_turns import take_turn
from streamwf.testing.contracts.streams import PATIENCE, outgoing, recv, values

from . import reflex_sql

#: More looks at a gap than it takes to fill one that can be filled.
LOOKS = 5


@pytest_asyncio.fixture
async def streamer(engine: AsyncEngine) -> AsyncIterator[ReflexStreamer]:
    await reflex_sql.create_events(engine)
    streamer = ReflexStreamer(engine, tables={"orders": "order_events"})
    yield streamer
    await streamer.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> "asyncio.Queue[Gap]":
    """The gaps that receivers did what they could about, at once."""
    seen: asyncio.Queue[Gap] = asyncio.Queue()
    close = GapFiller.close

    async def told(self: GapFiller, gap: Gap) -> None:
        await close(self, gap)
        seen.put_nowait(gap)

    monkeypatch.setattr(GapFiller, "close", told)
    monkeypatch.setattr(reflex_gaps, "PATIENCE", 0)
    return seen


async def ids(engine: AsyncEngine) -> list[tuple[int, str, int]]:
    return [(row.id, row.foreign_id, row.type) for row in await reflex_sql.rows(engine)]


# SQLite has one writer at a time.
BOTH = pytest.mark.parametrize("database_url", ["postgres", "mariadb"], indirect=True)


@BOTH
@pytest.mark.parametrize("before", [0, 1])
async def test_a_row_that_is_committed_late_is_received_first(
    engine: AsyncEngine, streamer: ReflexStreamer, looks: "asyncio.Queue[Gap]", before: int
) -> None:
    receiver = await streamer.receiver("orders", "one")
    sender = await streamer.sender("orders")
    for number in range(before):
        await sender.send(outgoing("o-1", str(number)))
    await recv(receiver, before)
    async with writing(engine) as connection:
        await reflex_sql.insert(connection, "o-1", 1, b"early")
        await sender.send(outgoing("o-1", "late"))
        receiving = asyncio.create_task(recv(receiver, 2))
        for _ in range(LOOKS):
            assert await looks.get() == (before + 1, before + 2)
        assert not receiving.done()

    assert values(await receiving) == ["early", "late"]
    assert [row[1:] for row in await ids(engine)] == [("o-1", 1000)] * before + [
        ("o-1", 1),
        ("o-1", 1000),
    ]


@BOTH
async def test_a_row_that_was_rolled_back_leaves_a_noop(
    engine: AsyncEngine, streamer: ReflexStreamer
) -> None:
    sender = await streamer.sender("orders")
    await sender.send(outgoing("o-1", "a"))
    async with engine.connect() as connection:
        for _ in range(3):
            await reflex_sql.insert(connection, "o-1", 1, b"never")
        await connection.rollback()
    await sender.send(outgoing("o-1", "b"))
    received = await recv(await streamer.receiver("orders", "one"), 2)

    assert values(received) == ["a", "b"]
    noops = [(number, "0", 0) for number in range(2, 5)]
    assert await ids(engine) == [(1, "o-1", 1000), *noops, (5, "o-1", 1000)]


async def test_two_receivers_may_fill_one_gap(
    engine: AsyncEngine, streamer: ReflexStreamer
) -> None:
    await (await streamer.sender("orders")).send(outgoing("o-1", *map(str, range(10))))
    await reflex_sql.run(engine, "delete from order_events where id in (3, 4, 8)")
    receivers = [await streamer.receiver("orders", f"r-{number}") for number in range(4)]
    for received in await asyncio.gather(*(recv(receiver, 7) for receiver in receivers)):
        assert values(received) == ["0", "1", "4", "5", "6", "8", "9"]
    assert [row[0] for row in await ids(engine) if row[1:] == ("0", 0)] == [3, 4, 8]


async def test_a_gap_of_thousands(engine: AsyncEngine, streamer: ReflexStreamer) -> None:
    sender = await streamer.sender("orders")
    await sender.send(outgoing("o-1", "a", "b"))
    await reflex_sql.run(engine, "update order_events set id = 2502 where id = 2")

    assert values(await recv(await streamer.receiver("orders", "one"), 2)) == ["a", "b"]
    assert len(await ids(engine)) == 1_000
    assert len(await reflex_sql.rows(engine, after=1_000)) == 1_000
    assert len(await reflex_sql.rows(engine, after=2_000)) == 502


async def test_what_was_deleted_long_ago_is_no_gap(
    engine: AsyncEngine, streamer: ReflexStreamer
) -> None:
    await (await streamer.sender("orders")).send(outgoing("o-1", "a"))
    await reflex_sql.run(engine, "update order_events set id = 90000 where id = 1")

    assert values(await recv(await streamer.receiver("orders", "one"), 1)) == ["a"]
    assert len(await ids(engine)) == 1


@BOTH
async def test_senders_take_turns(engine: AsyncEngine, streamer: ReflexStreamer) -> None:
    """Else what is appended later could be seen first, and receivers would wait at a gap."""
    sender = await streamer.sender("orders")
    table = events_table("order_events", trace=False)
    async with writing(engine) as connection:
        await take_turn(connection, table)
        await reflex_sql.insert(connection, "o-1", 1, b"early")
        sending = asyncio.create_task(sender.send(outgoing("o-1", "late")))
        async with asyncio.timeout(PATIENCE):
            while not await waiting(engine) and not sending.done():
                # MariaDB tells nothing new to who asks more often.
                await asyncio.sleep(0.15)
        assert not sending.done()
    await sending

    assert values(await recv(await streamer.receiver("orders", "one"), 2)) == ["early", "late"]


async def waiting(engine: AsyncEngine) -> bool:
    """Whether somebody waits for a lock."""
    statement = {
        "mysql": "select 1 from information_schema.innodb_trx where trx_state = 'LOCK WAIT'",
        "postgresql": "select 1 from pg_locks where not granted",
    }[reflex_sql.dialect(engine)]
    async with engine.connect() as connection:
        return (await connection.execute(text(statement))).first() is not None
