"""What a Go service with luno/reflex has and does in its database, as plain SQL.

The tables are those of reflex's own tests and examples. It runs on MySQL alone; on the other
databases it is the same, in their words.
"""

from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import writing

EVENTS = {
    "mysql": """
create table order_events (
  id bigint not null auto_increment,
  foreign_id varchar(255) not null,
  timestamp datetime not null,
  type int not null,
  metadata blob null,
  primary key (id)
)""",
    "postgresql": """
create table order_events (
  id bigserial primary key,
  foreign_id varchar(255) not null,
  timestamp timestamptz not null,
  type int not null,
  metadata bytea null
)""",
    "sqlite": """
create table order_events (
  id integer primary key autoincrement,
  foreign_id varchar(255) not null,
  timestamp datetime not null,
  type int not null,
  metadata blob null
)""",
}

NOW = {"mysql": "now(6)", "postgresql": "now()", "sqlite": "datetime('now')"}

#: As `rsql` selects the next events, with metadata and without a field for the trace.
NEXT = (
    "select id, foreign_id, timestamp, type , metadata, null from {} where id>:after"
    " order by id asc limit 1000"
)


def dialect(engine: AsyncEngine) -> str:
    return "mysql" if engine.dialect.name == "mariadb" else engine.dialect.name


async def create_events(engine: AsyncEngine) -> None:
    await run(engine, EVENTS[dialect(engine)])


async def run(engine: AsyncEngine, statement: str, **values: Any) -> None:
    async with writing(engine) as connection:
        await connection.execute(text(statement), values)


async def insert(
    connection: AsyncConnection, foreign_id: str, kind: int, metadata: bytes | None = None
) -> None:
    name = "mysql" if connection.dialect.name == "mariadb" else connection.dialect.name
    statement = (
        "insert into order_events (foreign_id, timestamp, type, metadata)"
        f" values (:foreign_id, {NOW[name]}, :type, :metadata)"
    )
    values = {"foreign_id": foreign_id, "type": kind, "metadata": metadata}
    await connection.execute(text(statement), values)


async def rows(engine: AsyncEngine, table: str = "order_events", after: int = 0) -> list[Row[Any]]:
    async with engine.connect() as connection:
        return list((await connection.execute(text(NEXT.format(table)), {"after": after})).all())
