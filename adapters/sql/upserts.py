"""Rows that are put into a table whether they are there or not, as each dialect says it."""

from typing import Any

from sqlalchemy import Insert, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine


def upsert(engine: AsyncEngine, table: Table) -> Insert:
    """Insert a row, or replace all of the one that has its key."""
    return _insert(engine, table, [c.name for c in table.columns if not c.primary_key])


def insert_missing(engine: AsyncEngine, table: Table) -> Insert:
    """Insert a row, or leave the one that has its key as it is."""
    return _insert(engine, table, [])


def _insert(engine: AsyncEngine, table: Table, replaced: list[str]) -> Insert:
    keys = [column.name for column in table.primary_key]
    if engine.dialect.name in ("mysql", "mariadb"):
        given = mysql.insert(table)
        # It has no words for doing nothing; IGNORE would pass over other errors, too.
        values: dict[str, Any] = {name: given.inserted[name] for name in replaced or keys[:1]}
        return given.on_duplicate_key_update(values)
    if engine.dialect.name == "postgresql":
        wanted = postgresql.insert(table)
        if not replaced:
            return wanted.on_conflict_do_nothing(index_elements=keys)
        values = {name: wanted.excluded[name] for name in replaced}
        return wanted.on_conflict_do_update(index_elements=keys, set_=values)
    local = sqlite.insert(table)
    if not replaced:
        return local.on_conflict_do_nothing(index_elements=keys)
    values = {name: local.excluded[name] for name in replaced}
    return local.on_conflict_do_update(index_elements=keys, set_=values)
