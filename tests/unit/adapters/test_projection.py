"""The table that follows a workflow's runs, on each kind of database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf import Run, Workflow
from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.projection import Place, Projection, table_name
from streamwf.record import SCHEDULE, State, encode_record
from tests.support import NOW, record

BEGIN = Place()
NAMES = ["o-1", 'it\'s "one"; --', "ünï \N{GRINNING FACE}", "nul\0byte", "x" * 500]


class Status(Enum):
    CREATED = auto()
    DONE = auto()


class Order(BaseModel):
    item: str = ""
    address: dict[str, str] = {}
    tags: list[str] = []


def workflow(*search: str, name: str = "orders", encrypt: bool = False) -> Workflow[Any, Any]:
    made = Workflow(name, Order, Status, search=search, encrypt=encrypt)

    @made.step(Status.CREATED, to=Status.DONE)
    async def create(run: Run[Order, Status]) -> Status:
        return Status.DONE

    return made


@pytest.fixture(params=["sqlite_url", "postgres_url", "mariadb_url"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    made = create(request.getfixturevalue(request.param), "store")
    yield made
    await made.dispose()


async def prepared(engine: AsyncEngine, *search: str, **kwargs: Any) -> Projection:
    projection = Projection(engine, workflow(*search, **kwargs), search=bool(search))
    await projection.prepare()
    return projection


async def rows(engine: AsyncEngine, projection: Projection) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        found = await connection.execute(select(projection.table))
        return [dict(row) for row in found.mappings()]


def run(foreign_id: str = "o-1", data: object = None, **fields: Any) -> bytes:
    raw = msgspec.Raw(msgspec.json.encode(data))
    return encode_record(record(**{"foreign_id": foreign_id, "object": raw, **fields}))


async def test_rows_and_place_are_written_together(engine: AsyncEngine) -> None:
    projection = await prepared(engine)
    assert await projection.place(0) == BEGIN
    there = Place("table", 10)
    assert await projection.write(0, BEGIN, there, {name: run(name) for name in NAMES})

    found = {row["foreign_id"]: row for row in await rows(engine, projection)}
    assert found.keys() == {name.replace("\0", "␀") for name in NAMES}
    row = found["o-1"]
    assert (row["status"], row["state"], row["version"]) == ("CREATED", "RUNNING", 3)
    created: datetime = row["created_at"]
    assert (created if created.tzinfo else created.replace(tzinfo=UTC)) == NOW
    assert await projection.place(0) == there

    gone = dict.fromkeys(NAMES[1:])
    moved = {"o-1": run(version=4, state=State.COMPLETED), **gone}
    assert await projection.write(0, there, Place("table", 20), moved)
    [row] = await rows(engine, projection)
    assert (row["version"], row["state"]) == (4, "COMPLETED")


async def test_who_is_not_where_it_thinks_writes_nothing(engine: AsyncEngine) -> None:
    projection = await prepared(engine)
    await projection.place(0)
    assert await projection.write(0, BEGIN, Place("table", 10), {"o-1": run()})
    assert not await projection.write(0, BEGIN, Place("table", 10), {"o-2": run("o-2")})
    assert [row["foreign_id"] for row in await rows(engine, projection)] == ["o-1"]


async def test_what_is_forgotten_begins_anew_in_its_shard(engine: AsyncEngine) -> None:
    projection = await prepared(engine)
    for shard in (0, 1):
        await projection.place(shard)
        written = {f"o-{shard}": run(f"o-{shard}")}
        assert await projection.write(shard, BEGIN, Place("table", 10), written)
    await projection.forget(0)

    assert await projection.place(0) == BEGIN
    assert await projection.place(1) == Place("table", 10)
    assert [row["foreign_id"] for row in await rows(engine, projection)] == ["o-1"]


async def test_search_fields_are_columns(engine: AsyncEngine) -> None:
    projection = await prepared(engine, "item", "address.city", "tags")
    await projection.place(0)
    whole = {"item": "book", "address": {"city": "Zürich"}, "tags": ["a", "b"], "card": "4242"}
    await projection.write(
        *(0, BEGIN, Place("table", 10)),
        {
            "o-1": run("o-1", whole),
            "o-2": run("o-2", {"tags": ["one"]}),
            "o-3": run("o-3", whole, state=State.DATA_DELETION_REQUESTED),
        },
    )
    names = ("object_item", "object_address__city", "object_tags")
    found = await rows(engine, projection)
    assert {row["foreign_id"]: tuple(row[name] for name in names) for row in found} == {
        "o-1": ("book", "Zürich", '["a","b"]'),
        "o-2": (None, None, "one"),
        "o-3": (None, None, None),
    }
    assert "4242" not in repr(found)


async def test_a_new_column_fills_the_table_anew(engine: AsyncEngine) -> None:
    before = await prepared(engine)
    await before.place(0)
    await before.write(0, BEGIN, Place("table", 10), {"o-1": run("o-1", {"item": "book"})})
    after = await prepared(engine, "item")

    assert await after.place(0) == BEGIN
    await after.write(0, BEGIN, Place("table", 10), {"o-1": run("o-1", {"item": "book"})})
    assert [row["object_item"] for row in await rows(engine, after)] == ["book"]
    # And once it is there, it stays.
    assert await (await prepared(engine, "item")).place(0) == Place("table", 10)
    assert await (await prepared(engine)).place(0) == Place("table", 10)


async def test_what_the_engine_has_for_itself_is_left_out(engine: AsyncEngine) -> None:
    projection = await prepared(engine)
    await projection.place(0)
    inner = {"\x01schedule\0daily": run("daily", kind=SCHEDULE)}
    assert await projection.write(0, BEGIN, Place("table", 10), inner)
    assert await rows(engine, projection) == []


async def test_what_is_sealed_has_no_columns(engine: AsyncEngine) -> None:
    projection = await prepared(engine, "item", encrypt=True)
    assert "object_item" not in projection.table.columns


@pytest.mark.parametrize(
    ("workflow", "table"),
    [
        ("orders", "orders_projection"),
        ("order-processing.v2", "order_processing_v2_projection"),
        ("x" * 52, "x" * 52 + "_projection"),
    ],
)
def test_a_table_is_called_after_its_workflow(workflow: str, table: str) -> None:
    assert table_name(workflow) == table


async def test_long_names_are_told_apart(engine: AsyncEngine) -> None:
    tables = {(await prepared(engine, name="x" * 99 + last)).table.name for last in ("a", "b")}
    assert len(tables) == 2
    assert {len(name) for name in tables} == {63}
