"""The tables are luno/reflex's: its services read ours, and we read theirs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.sql.engine import writing
from streamwf.adapters.streams.reflex import ReflexStreamer
from streamwf.adapters.streams.reflex_errors import ReflexErrors
from streamwf.adapters.streams.reflex_tables import OTHER, TYPES, ReflexRecord, name_of
from streamwf.errors import RecordRefused
from streamwf.events import (
    MOVED,
    REQUESTS,
    RESULTS,
    TRIGGER,
    Event,
    decode_event,
    encode_event,
    request,
)
from streamwf.ports import Outgoing, Received
from streamwf.testing.contracts.streams import outgoing, recv, values

from . import reflex_sql

WHEN = datetime(2030, 1, 1, tzinfo=UTC)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@asynccontextmanager
async def following(engine: AsyncEngine, **tables: str) -> AsyncIterator[ReflexStreamer]:
    streamer = ReflexStreamer(engine, tables=tables)
    try:
        yield streamer
    finally:
        await streamer.close()


def read(received: Received) -> Event:
    assert received.record.value is not None
    return decode_event(
        received.record.value,
        workflow="orders",
        partition=received.partition,
        offset=received.record.offset,
        timestamp_ms=received.record.timestamp,
        limit=1_000_000,
    )


async def test_a_workflow_follows_what_a_service_writes(engine: AsyncEngine) -> None:
    await reflex_sql.create_events(engine)
    short = b'{"type": "trigger", "subject": "o-1", "data": {"lines": 2}}'
    async with writing(engine) as connection:
        await reflex_sql.insert(connection, "o-1", 7, short)
        await reflex_sql.insert(connection, "98327498324", 3)
    async with following(engine, orders="order_events") as streamer:
        one, other = await recv(await streamer.receiver("orders", "one"), 2)

    event = read(one)
    assert isinstance(event.data, msgspec.Raw)
    assert (event.type, event.subject, bytes(event.data)) == (TRIGGER, "o-1", b'{"lines": 2}')
    assert isinstance(one.record, ReflexRecord)
    assert isinstance(other.record, ReflexRecord)
    assert (one.record.offset, one.record.key, one.record.type) == (1, b"o-1", 7)
    assert (other.record.key, other.record.value, other.record.type) == (b"98327498324", None, 3)


async def test_rows_of_a_service_are_seen_while_a_receiver_waits(engine: AsyncEngine) -> None:
    await reflex_sql.create_events(engine)
    async with following(engine, orders="order_events") as streamer:
        receiver = await streamer.receiver("orders", "one")
        for number in range(3):
            async with writing(engine) as connection:
                await reflex_sql.insert(connection, "o-1", 1, str(number).encode())

            assert values(await recv(receiver, 1)) == [str(number)]


async def test_a_service_reads_what_a_workflow_appends(engine: AsyncEngine) -> None:
    trigger = request("orders", TRIGGER, "o-1", WHEN, event_id="e-1", runid="r-1", data=b"{}")
    value = encode_event(trigger)
    await reflex_sql.create_events(engine)
    async with following(engine, orders="order_events") as streamer:
        await (await streamer.sender("orders")).send([Outgoing(b"o-1", value)])
    [row] = await reflex_sql.rows(engine)

    assert (row.id, row.foreign_id, row.type, row.metadata) == (1, "o-1", TYPES[TRIGGER], value)


async def test_a_trace_is_told_as_reflex_tells_it(engine: AsyncEngine) -> None:
    trigger = request(
        "orders", TRIGGER, "o-1", WHEN, event_id="e-1", traceparent=f"00-{TRACE}-{SPAN}-01"
    )
    async with following(engine) as streamer:
        sender = await streamer.sender("orders")
        await sender.send([Outgoing(b"o-1", encode_event(trigger)), Outgoing(b"o-1", b"{}")])
    async with engine.connect() as connection:
        table = name_of("orders")
        traces = (await connection.execute(text(f"select trace, type from {table}"))).all()

    # The fields 1 and 2 of its message Trace, as texts.
    assert tuple(traces[0]) == (
        b"\x0a\x20" + TRACE.encode() + b"\x12\x10" + SPAN.encode(),
        TYPES[TRIGGER],
    )
    assert tuple(traces[1]) == (None, OTHER)


async def test_noops_are_not_received(engine: AsyncEngine) -> None:
    await reflex_sql.create_events(engine)
    async with writing(engine) as connection:
        for foreign_id, kind in (("0", 0), ("0", 1), ("1", 0), ("0", 0), ("0", 0)):
            await reflex_sql.insert(connection, foreign_id, kind)
    async with following(engine, orders="order_events") as streamer:
        receiver = await streamer.receiver("orders", "one")
        assert await receiver.lag() == 2
        received = await recv(receiver, 2)

        assert [item.record.offset for item in received] == [2, 3]
        assert await receiver.lag() == 0
        # Whoever waits for all before the ends does not wait for a noop.
        assert await streamer.ends("orders") == {0: 4}
        assert await streamer.read("orders", 0, [1, 2, 4]) == [received[0].record]


async def test_cursors_are_reflexs(engine: AsyncEngine) -> None:
    async with following(engine) as streamer:
        sender = await streamer.sender("orders")
        await sender.send(outgoing("o-1", "a", "b"))
        late = await streamer.receiver("orders", "one")
        early = await streamer.receiver("orders", "one")
        await recv(late, 2)
        await late.ack()
        await sender.send(outgoing("o-1", "c"))
        await recv(late, 1)
        await recv(early, 3)
        await late.ack()
        long = await streamer.receiver("orders", "x" * 400)
        await recv(long, 3)
        await long.ack()
    async with engine.connect() as connection:
        statement = "select id, last_event_id from streamwf_cursors order by id"
        found = {row.id: row.last_event_id for row in await connection.execute(text(statement))}

    assert found.pop("streamwf_orders_events/one") == 3
    [(other, at)] = found.items()
    assert (len(other), at) == (255, 3)


async def test_a_cursor_never_goes_back(engine: AsyncEngine) -> None:
    async with following(engine) as streamer:
        sender = await streamer.sender("orders")
        await sender.send(outgoing("o-1", "a"))
        slow = await streamer.receiver("orders", "one")
        await recv(slow, 1)
        await sender.send(outgoing("o-1", "b"))
        fast = await streamer.receiver("orders", "one")
        await recv(fast, 2)
        await fast.ack()
        await slow.ack()
        await sender.send(outgoing("o-1", "c"))

        assert values(await recv(await streamer.receiver("orders", "one"), 1)) == ["c"]


@pytest.mark.parametrize("database_url", ["postgres", "mariadb"], indirect=True)
async def test_what_a_table_of_others_has_no_room_for(engine: AsyncEngine) -> None:
    await reflex_sql.create_events(engine)
    async with following(engine, orders="order_events") as streamer:
        sender = await streamer.sender("orders")
        with pytest.raises(RecordRefused, match="order_events"):
            await sender.send(outgoing("x" * 300, "a"))
        if reflex_sql.dialect(engine) == "mysql":
            with pytest.raises(RecordRefused, match="metadata"):
                await sender.send(outgoing("o-1", "x" * 70_000))
        await sender.send(outgoing("o-1", "b"))

        assert values(await recv(await streamer.receiver("orders", "one"), 1)) == ["b"]


def test_every_kind_of_event_has_a_number_of_its_own() -> None:
    assert set(TYPES) == REQUESTS | RESULTS
    numbers = list(TYPES.values())
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) > 0
    assert OTHER not in numbers
    # They are stored.
    assert (TYPES[TRIGGER], TYPES[MOVED]) == (1, 102)


def test_names_of_tables_need_no_quotes_and_are_apart() -> None:
    streams = ["orders", "a-b", "a_b", "a.b", "9lives", "select", "w" * 100, "w" * 99 + "x"]
    tables = [name_of(stream) for stream in streams]
    assert tables[0] == "streamwf_orders_events"
    assert len(set(tables)) == len(streams)
    for table in tables:
        assert re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", table)


async def test_errors_are_set_aside_and_told(engine: AsyncEngine) -> None:
    errors = ReflexErrors(engine)
    one = await errors.record("billing", 7, "no such customer")
    again = await errors.record("billing", 7, "no such customer")
    other = await errors.record("billing", 8, 'it\'s "broken" 注')
    async with engine.connect() as connection:
        statement = (
            "select consumer, event_id, error_msg, error_status from consumer_errors order by id"
        )
        found = [tuple(row) for row in await connection.execute(text(statement))]
    told = await reflex_sql.rows(engine, "consumer_errors_events")

    assert one == again != other
    assert found == [
        ("billing", 7, "no such customer", 1),
        ("billing", 8, 'it\'s "broken" 注', 1),
    ]
    assert [(row.foreign_id, row.type, row.metadata) for row in told] == [
        (str(error), 1, b"billing") for error in (one, one, other)
    ]
