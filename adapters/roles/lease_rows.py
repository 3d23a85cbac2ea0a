"""The leases of roles as rows in SQL, as one process reads and writes them.

All instants are by the database's clock, so the processes' own clocks are of no account.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    Integer,
    Update,
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


class Lease(NamedTuple):
    """A lease as it lies there.

    holder: who has it and has not let it run out. heir: who is to have it next.
    free: whether this process may take it.
    """

    holder: str | None
    heir: str | None
    token: int
    free: bool


class LeaseRows:
    """me: the process, by a name that no other has or had. lasts: a lease, unless it is renewed.

    kept: how long a role that was given up is kept for the one that has asked for it.
    All methods raise StoreUnreachable; what they were to write may or may not be written then.
    """

    def __init__(self, engine: AsyncEngine, me: str, lasts: timedelta, kept: timedelta) -> None:
        self.me = me
        self.engine = engine
        self._lasts = lasts // _MICROSECOND
        self._kept = kept // _MICROSECOND
        self._dialect = "mysql" if engine.dialect.name == "mariadb" else engine.dialect.name
        now: ColumnElement[Any] = _NOW[self._dialect]
        self._now = now
        # What it holds itself and asks for again, it does not know to have: an answer was lost.
        self._free = or_(
            roles.c.held_until < now,
            roles.c.holder == me,
            and_(roles.c.holder.is_(None), roles.c.wanted_by == me),
        )

    async def look(self, names: Iterable[str]) -> dict[str, Lease]:
        """The leases of these roles, as far as there are any."""
        known = {digest(name): name for name in names}
        live = roles.c.held_until >= self._now
        query = select(
            roles.c.role_digest,
            case((live, roles.c.holder)).label("holder"),
            case((live, roles.c.wanted_by)).label("heir"),
            roles.c.token,
            self._free.label("free"),
        ).where(roles.c.role_digest.in_(known))
        async with self.engine.connect() as connection:
            found = (await connection.execute(query)).all()
        return {
            known[bytes(row.role_digest)]: Lease(row.holder, row.heir, row.token, bool(row.free))
            for row in found
        }

    async def take(self, names: Sequence[str]) -> dict[str, int]:
        """Those of these roles that it has got, with their tokens."""
        known = {digest(name): name for name in names}
        mine = and_(roles.c.role_digest.in_(known), roles.c.holder == self.me)
        taken = (
            update(roles)
            .where(roles.c.role_digest.in_(known), self._free)
            .values(
                holder=self.me,
                wanted_by=None,
                token=roles.c.token + 1,
                held_until=self._now + self._lasts,
            )
        )
        async with writing(self.engine) as connection:
            await connection.execute(taken)
            found = await connection.execute(select(roles.c.role_digest, roles.c.token).where(mine))
            return {known[bytes(key)]: token for key, token in found}

    async def add(self, names: Iterable[str]) -> None:
        """Make rows for roles that have none."""
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
        async with writing(self.engine) as connection:
            await connection.execute(self._insert(), rows)

    def _insert(self) -> Insert:
        if self._dialect == "mysql":
            return mysql.insert(roles).prefix_with("IGNORE")
        if self._dialect == "postgresql":
            return postgresql.insert(roles).on_conflict_do_nothing()
        return sqlite.insert(roles).on_conflict_do_nothing()

    async def renew(self, names: Iterable[str]) -> None:
        """Renew what it holds of these."""
        await self._write(
            update(roles)
            .where(roles.c.role_digest.in_(map(digest, names)), roles.c.holder == self.me)
            .values(held_until=self._now + self._lasts)
        )

    async def ask(self, names: Iterable[str]) -> None:
        """Ask the holders of these to give them up, where nobody else has."""
        await self._write(
            update(roles)
            .where(
                roles.c.role_digest.in_(map(digest, names)),
                roles.c.holder.is_not(None),
                roles.c.wanted_by.is_(None),
            )
            .values(wanted_by=self.me)
        )

    async def release(self, tokens: Mapping[str, int]) -> None:
        """Let go these roles, as far as it holds them by these tokens.

        By the token: one that is late on its way must not end a lease that came after it.
        """
        let_go = [(digest(name), token) for name, token in tokens.items()]
        await self._write(
            self._releasing().where(tuple_(roles.c.role_digest, roles.c.token).in_(let_go))
        )

    async def release_all(self) -> None:
        await self._write(self._releasing())

    def _releasing(self) -> Update:
        for_another = (roles.c.wanted_by.is_not(None), self._now + self._kept)
        return (
            update(roles)
            .where(roles.c.holder == self.me)
            .values(holder=None, held_until=case(for_another, else_=0))
        )

    async def _write(self, statement: Any) -> None:
        async with writing(self.engine) as connection:
            await connection.execute(statement)
