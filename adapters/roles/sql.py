"""Roles as leases in SQL."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    Integer,
    and_,
    case,
    cast,
    extract,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.roles.leases import LEASE, Lease, LeaseRoleScheduler
from streamwf.adapters.sql.engine import writing
from streamwf.adapters.sql.schema import digest, roles

_MICROSECOND = timedelta(microseconds=1)

# Microseconds since 1970. MariaDB's UNIX_TIMESTAMP goes by the session's time zone, and back in
# autumn.
_NOW = {
    "postgresql": cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger),
    "mysql": literal_column("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"),
    "sqlite": cast((func.julianday("now") - 2_440_587.5) * 86_400_000_000, Integer),
}


class SqlRoleScheduler(LeaseRoleScheduler):
    """engine: its own; it is disposed of by `close`."""

    def __init__(self, engine: AsyncEngine, *, lease: timedelta = LEASE, address: str = "") -> None:
        super().__init__(partial(SqlLeases, engine), lease=lease, address=address)


class SqlLeases:
    """Rows, by the database's clock. Implements `streamwf.adapters.roles.leases.Leases`."""

    def __init__(self, engine: AsyncEngine, me: str, lasts: timedelta, kept: timedelta) -> None:
        self._me = me
        self._engine = engine
        self._known: set[str] = set()
        self._lasts = lasts // _MICROSECOND
        self._kept = kept // _MICROSECOND
        self._dialect = "mysql" if engine.dialect.name == "mariadb" else engine.dialect.name
        now: ColumnElement[Any] = _NOW[self._dialect]
        self._now = now
        self._free = or_(
            roles.c.held_until < now,
            roles.c.holder == me,
            and_(roles.c.holder.is_(None), roles.c.wanted_by == me),
        )

    async def look(self, names: Iterable[str]) -> dict[str, Lease]:
        known = {digest(name): name for name in names}
        live = roles.c.held_until >= self._now
        query = select(
            roles.c.role_digest,
            case((live, roles.c.holder)).label("holder"),
            case((live, roles.c.wanted_by)).label("heir"),
            roles.c.token,
            self._free.label("free"),
        ).where(roles.c.role_digest.in_(known))
        async with self._engine.connect() as connection:
            found = (await connection.execute(query)).all()
        return {
            known[bytes(row.role_digest)]: Lease(row.holder, row.heir, row.token, bool(row.free))
            for row in found
        }

    async def take(self, names: Sequence[str]) -> dict[str, int]:
        await self._add(set(names) - self._known)
        known = {digest(name): name for name in names}
        mine = and_(roles.c.role_digest.in_(known), roles.c.holder == self._me)
        taken = (
            update(roles)
            .where(roles.c.role_digest.in_(known), self._free)
            .values(
                holder=self._me,
                wanted_by=None,
                token=roles.c.token + 1,
                held_until=self._now + self._lasts,
            )
        )
        async with writing(self._engine) as connection:
            await connection.execute(taken)
            found = await connection.execute(select(roles.c.role_digest, roles.c.token).where(mine))
            return {known[bytes(key)]: token for key, token in found}

    async def _add(self, names: set[str]) -> None:
        """Make rows for roles that may have none."""
        if not names:
            return
        rows = [
            # A readable name: PostgreSQL has no NUL in a text.
            {
                "role_digest": digest(name),
                "role": name.replace("\0", "\N{SYMBOL FOR NULL}"),
                "token": 0,
                "held_until": 0,
            }
            for name in sorted(names)
        ]
        async with writing(self._engine) as connection:
            await connection.execute(self._insert(), rows)
        self._known |= names

    def _insert(self) -> Insert:
        if self._dialect == "mysql":
            return mysql.insert(roles).prefix_with("IGNORE")
        if self._dialect == "postgresql":
            return postgresql.insert(roles).on_conflict_do_nothing()
        return sqlite.insert(roles).on_conflict_do_nothing()

    async def renew(self, names: Iterable[str]) -> None:
        await self._write(
            update(roles)
            .where(roles.c.role_digest.in_(map(digest, names)), roles.c.holder == self._me)
            .values(held_until=self._now + self._lasts)
        )

    async def ask(self, names: Iterable[str]) -> None:
        await self._write(
            update(roles)
            .where(
                roles.c.role_digest.in_(map(digest, names)),
                roles.c.holder.is_not(None),
                roles.c.wanted_by.is_(None),
            )
            .values(wanted_by=self._me)
        )

    async def release(self, tokens: Mapping[str, int] | None) -> None:
        for_another = (roles.c.wanted_by.is_not(None), self._now + self._kept)
        released = (
            update(roles)
            .where(roles.c.holder == self._me)
            .values(holder=None, held_until=case(for_another, else_=0))
        )
        if tokens is not None:
            let_go = [(digest(name), token) for name, token in tokens.items()]
            released = released.where(tuple_(roles.c.role_digest, roles.c.token).in_(let_go))
        await self._write(released)

    async def close(self) -> None:
        await self._engine.dispose()

    async def _write(self, statement: Any) -> None:
        async with writing(self._engine) as connection:
            await connection.execute(statement)
