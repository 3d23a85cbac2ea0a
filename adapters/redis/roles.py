"""Roles as leases in Redis.

A lease is there for as long as its server is: one that forgets its last writes in a crash may give
a role out again before its holder has lost it. The tokens still grow, so what the first holder
stores is refused, wherever stores look at them. `appendfsync always` spares that.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from streamwf.adapters.redis.client import Server
from streamwf.adapters.redis.scripts import ASK, LOOK, RELEASE, RENEW, TAKE
from streamwf.adapters.roles.leases import LEASE, Lease, LeaseRoleScheduler

_ROLES = "streamwf:roles"
_MICROSECOND = timedelta(microseconds=1)


class RedisRoleScheduler(LeaseRoleScheduler):
    """server: its own; `close` closes it."""

    def __init__(self, server: Server, *, lease: timedelta = LEASE, address: str = "") -> None:
        super().__init__(partial(RedisLeases, server), lease=lease, address=address)


class RedisLeases:
    """One hash, by the server's clock. Implements `streamwf.adapters.roles.leases.Leases`."""

    def __init__(self, server: Server, me: str, lasts: timedelta, kept: timedelta) -> None:
        self._server = server
        self._me = me
        self._lasts = lasts // _MICROSECOND
        self._kept = kept // _MICROSECOND
        register: Any = server.client.register_script
        self._look, self._take, self._renew = map(register, (LOOK, TAKE, RENEW))
        self._ask, self._release = map(register, (ASK, RELEASE))

    async def look(self, names: Iterable[str]) -> dict[str, Lease]:
        asked = [*names]
        found = await self._do(self._look, *asked)
        return {
            name: Lease(lease[0].decode() or None, lease[1].decode() or None, lease[2], lease[3])
            for name, lease in zip(asked, found, strict=True)
            if lease is not None
        }

    async def take(self, names: Sequence[str]) -> dict[str, int]:
        found = await self._do(self._take, self._lasts, *names)
        return {name: token for name, token in zip(names, found, strict=True) if token}

    async def renew(self, names: Iterable[str]) -> None:
        await self._do(self._renew, self._lasts, *names)

    async def ask(self, names: Iterable[str]) -> None:
        await self._do(self._ask, *names)

    async def release(self, tokens: Mapping[str, int] | None) -> None:
        which = "all" if tokens is None else "these"
        named = [part for each in (tokens or {}).items() for part in each]
        await self._do(self._release, self._kept, which, *named)

    async def close(self) -> None:
        await self._server.close()

    async def _do(self, script: Any, *values: str | int) -> Any:
        with self._server.reached():
            return await script([_ROLES], [self._me, *values])
