"""A table of a workflow's runs for people to query, and how far it has followed the changelog.

It has no object, but the fields that runs can be searched by, if they are asked for. What is masked
can't be among these, and what is sealed is not opened for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateColumn

from streamwf.adapters.sql.engine import writing
from streamwf.adapters.sql.schema import NAME, digest
from streamwf.definition import Workflow
from streamwf.record import DELETED, Record, decode_record
from streamwf.searched import values_at

T = TypeVar("T")

#: Characters that every database takes for a table's name.
_IDENTIFIER = 63
_SUFFIX = "_projection"

#: How many rows one statement has.
_MANY = 500

_name = String(NAME)
_text = Text().with_variant(mysql.MEDIUMTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")
_digest = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
_instant = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


class Place(NamedTuple):
    """Where a projection is in the changelog of a shard.

    table_id: the incarnation of the changelog; empty as long as it has told none.
    next_offset: of the first record that is not in the table.
    """

    table_id: str = ""
    next_offset: int = 0


def table_name(workflow: str) -> str:
    """The workflow's name with `_projection`, each `-` and `.` as `_`; shortened if it is long."""
    name = "".join(c if c.isalnum() else "_" for c in workflow)
    room = _IDENTIFIER - len(_SUFFIX)
    short = name if len(name) <= room else f"{name[: room - 9]}_{digest(workflow).hex()[:8]}"
    return short + _SUFFIX


class Projection:
    """The table of one workflow. search: whether it has columns of its search fields.

    All methods raise StoreUnreachable; what they were to write may or may not be written then.
    """

    def __init__(self, engine: AsyncEngine, workflow: Workflow[Any, Any], *, search: bool) -> None:
        self._engine = engine
        self._workflow = workflow.name
        self._zoned = engine.dialect.name == "postgresql"
        self._search = {
            f"object_{field.replace('.', '__')}": field.split(".")
            for field in (workflow.search if search and not workflow.encrypt else ())
        }
        tables = MetaData()
        self.table = self._table(tables)
        self._places = Table(
            "streamwf_projections",
            tables,
            Column("workflow", _name, primary_key=True),
            Column("shard", Integer, primary_key=True, autoincrement=False),
            Column("table_id", _name, nullable=False),
            Column("next_offset", BigInteger, nullable=False),
        )

    def _table(self, tables: MetaData) -> Table:
        name = table_name(self._workflow)
        return Table(
            name,
            tables,
            Column("workflow", _name, primary_key=True),
            Column("key_digest", _digest, primary_key=True),
            Column("shard", Integer, nullable=False),
            Column("run_id", _text, nullable=False),
            Column("foreign_id", _text, nullable=False),
            Column("status", _name, nullable=False),
            Column("state", _name, nullable=False),
            Column("version", BigInteger, nullable=False),
            Column("created_at", _instant, nullable=False),
            Column("updated_at", _instant, nullable=False),
            *(Column(column, _text, nullable=True) for column in self._search),
            Index(f"{name[: _IDENTIFIER - 2]}_s", "status"),
            Index(f"{name[: _IDENTIFIER - 2]}_c", "created_at"),
        )

    async def prepare(self) -> None:
        """Make what is not there. Where a column is new, the shards are to be read again."""
        async with writing(self._engine) as connection:
            await connection.run_sync(self._prepare)

    def _prepare(self, connection: Connection) -> None:
        self.table.metadata.create_all(connection)
        there = {column["name"] for column in inspect(connection).get_columns(self.table.name)}
        missing = [column for column in self.table.columns if column.name not in there]
        for column in missing:
            told = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {self.table.name} ADD COLUMN {told}")
        if missing:
            connection.execute(
                delete(self._places).where(self._places.c.workflow == self._workflow)
            )

    async def place(self, shard: int) -> Place:
        """Where it is; at the beginning, without rows, if it never was or has to begin anew."""
        async with writing(self._engine) as connection:
            place = await self._place(connection, shard)
            if place is None:
                await connection.execute(delete(self.table).where(*self._of(self.table, shard)))
                await self._move(connection, shard, Place())
        return place or Place()

    async def forget(self, shard: int) -> None:
        """It followed a changelog that exists no more."""
        async with writing(self._engine) as connection:
            await connection.execute(delete(self._places).where(*self._of(self._places, shard)))

    async def write(
        self, shard: int, before: Place, after: Place, rows: Mapping[str, bytes | None]
    ) -> bool:
        """Bring the rows up to a place, in one transaction.

        rows: by their keys, as the changelog has them; None for those that are gone. Nothing is
        written, and the answer is False, if the projection is not at `before` any more.
        """
        async with writing(self._engine) as connection:
            if await self._place(connection, shard) != before:
                return False
            await self._replace(connection, shard, rows)
            await self._move(connection, shard, after)
        return True

    async def _place(self, connection: AsyncConnection, shard: int) -> Place | None:
        places = self._places
        found = await connection.execute(
            select(places.c.table_id, places.c.next_offset)
            .where(*self._of(places, shard))
            .with_for_update()
        )
        row = found.one_or_none()
        return None if row is None else Place(row.table_id, row.next_offset)

    async def _move(self, connection: AsyncConnection, shard: int, place: Place) -> None:
        here = self._of(self._places, shard)
        moved = await connection.execute(
            update(self._places).where(*here).values(**place._asdict())
        )
        if not moved.rowcount:
            row = {"workflow": self._workflow, "shard": shard, **place._asdict()}
            await connection.execute(insert(self._places), [row])

    async def _replace(
        self, connection: AsyncConnection, shard: int, rows: Mapping[str, bytes | None]
    ) -> None:
        for keys in _piles(rows):
            digests = self.table.c.key_digest.in_([digest(key) for key in keys])
            await connection.execute(
                delete(self.table).where(self.table.c.workflow == self._workflow, digests)
            )
        records = [(k, decode_record(row)) for k, row in rows.items() if row is not None]
        # Those of the engine itself are no runs of the workflow.
        kept = [self._row(shard, key, record) for key, record in records if not record.kind]
        for pile in _piles(kept):
            await connection.execute(insert(self.table), pile)

    def _row(self, shard: int, key: str, record: Record) -> dict[str, Any]:
        return {
            "workflow": self._workflow,
            "key_digest": digest(key),
            "shard": shard,
            "run_id": _readable(record.run_id),
            "foreign_id": _readable(record.foreign_id),
            "status": record.status,
            "state": record.state.value,
            "version": record.version,
            "created_at": self._time(record.created_at),
            "updated_at": self._time(record.updated_at),
            **dict(zip(self._search, self._found(record), strict=True)),
        }

    def _found(self, record: Record) -> list[str | None]:
        try:
            carried = None if record.state in DELETED else msgspec.json.decode(record.object)
        except (msgspec.DecodeError, ValueError, RecursionError):
            carried = None
        found = [list(values_at(carried, path)) for path in self._search.values()]
        return [_told(values) for values in found]

    def _time(self, instant: datetime) -> datetime:
        # Others have no time zones.
        return instant if self._zoned else instant.astimezone(UTC).replace(tzinfo=None)

    def _of(self, table: Table, shard: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return table.c.workflow == self._workflow, table.c.shard == shard


def _told(values: Sequence[str]) -> str | None:
    """One value as it is; several, of a list, as a JSON array."""
    if len(values) > 1:
        return _readable(msgspec.json.encode(values).decode())
    return _readable(values[0]) if values else None


def _readable(text: str) -> str:
    """PostgreSQL has no NUL in a text."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}")


def _piles(items: Iterable[T]) -> Iterable[list[T]]:
    left = iter(items)
    while pile := list(islice(left, _MANY)):
        yield pile
