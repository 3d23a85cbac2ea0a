"""Roles in memory, for what runs in one process."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from streamwf.adapters.roles.claim import Claim
from streamwf.adapters.roles.spreading import Held, to_ask_for
from streamwf.errors import RolesClosed


@dataclass
class _Role:
    """heir: who gets it next, as the holder was asked to give it up."""

    token: int = 0
    claim: Claim | None = None
    holder: "MemoryRoleScheduler | None" = None
    heir: "MemoryRoleScheduler | None" = None
    waiting: deque[tuple["MemoryRoleScheduler", asyncio.Future[Claim]]] = field(
        default_factory=deque
    )


class MemoryRoles:
    """Roles that several schedulers of this process share."""

    def __init__(self) -> None:
        self._roles: dict[str, _Role] = {}

    def wait(self, role: str, who: "MemoryRoleScheduler") -> "asyncio.Future[Claim]":
        place: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        self._roles.setdefault(role, _Role()).waiting.append((who, place))
        self._pass_on(role)
        return place

    def give_back(self, role: str, claim: Claim) -> None:
        claim.lose()
        if self._roles[role].claim is claim:
            self._roles[role].claim = self._roles[role].holder = None
            self._pass_on(role)

    def leave(self, who: "MemoryRoleScheduler") -> None:
        for role in self._roles.values():
            for other, place in role.waiting:
                if other is who and not place.done():
                    place.set_exception(RolesClosed())
        for name, role in self._roles.items():
            if role.holder is who and role.claim is not None:
                self.give_back(name, role.claim)

    def _pass_on(self, name: str) -> None:
        role = self._roles[name]
        live = [(who, place) for who, place in role.waiting if not place.done()]
        # The heir's first; otherwise in the order in which they came.
        live.sort(key=lambda waiting: waiting[0] is not role.heir)
        role.waiting = deque(live)
        if role.claim is None and role.waiting:
            role.holder, place = role.waiting.popleft()
            role.heir = None
            role.token += 1
            role.claim = Claim(name, role.token)
            place.set_result(role.claim)
        for who in {who for who, _ in role.waiting}:
            self._spread(who)

    def _spread(self, who: "MemoryRoleScheduler") -> None:
        """Ask for a share of what others have, if they have more."""
        seen = [
            Held(name, role.holder, role.heir)
            for name, role in self._roles.items()
            if role.holder is who or (role.holder and any(w is who for w, _ in role.waiting))
        ]
        for name in to_ask_for(who, seen):
            role = self._roles[name]
            role.heir = who
            if role.claim is not None:
                role.claim.lose()


class MemoryRoleScheduler:
    """Implements `streamwf.ports.RoleScheduler`, in the order in which roles are asked for.

    roles: what other schedulers have too; its own unless given. `hold` raises RolesClosed.
    """

    def __init__(self, roles: MemoryRoles | None = None) -> None:
        self._roles = roles or MemoryRoles()
        self._closed = False

    @asynccontextmanager
    async def hold(self, role: str) -> AsyncIterator[Claim]:
        if self._closed:
            raise RolesClosed()
        place = self._roles.wait(role, self)
        try:
            claim = await place
        except asyncio.CancelledError:
            # Both may have come at once.
            if not place.cancelled() and place.exception() is None:
                self._roles.give_back(role, place.result())
            raise
        try:
            yield claim
        finally:
            self._roles.give_back(role, claim)

    async def close(self) -> None:
        self._closed = True
        self._roles.leave(self)
