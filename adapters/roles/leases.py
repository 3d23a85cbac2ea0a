"""Roles as leases: whoever holds one renews it, or loses it before another can get it."""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple, Protocol

import structlog

from streamwf.adapters.roles.claim import Claim, elapsed
from streamwf.adapters.roles.spreading import Held, to_ask_for
from streamwf.errors import RolesClosed, StoreUnreachable

logger = structlog.get_logger("streamwf.roles")

#: A process that is silent for so long is replaced.
LEASE = timedelta(seconds=10)

# Parts of the lease: between two renewals; how long one may take; until whoever could not renew
# counts it as lost; until others may take it. Between these two the holder has time to stop. A role
# that was given up is kept for whoever has asked for it.
RENEWED, PATIENCE, LOST, TAKEN, KEPT = 0.1, 0.2, 0.6, 0.9, 0.3


class Lease(NamedTuple):
    """A lease as it lies there.

    holder: who has it and has not let it run out. heir: who is to have it next.
    free: whether this process may take it.
    """

    holder: str | None
    heir: str | None
    token: int
    free: bool


class Leases(Protocol):
    """The leases of roles, as one process reads and writes them.

    All instants are by the clock of where they lie, so the processes' own are of no account.
    All methods raise StoreUnreachable; what they were to write may or may not be written then.
    """

    async def look(self, names: Iterable[str]) -> dict[str, Lease]:
        """The leases of these roles, as far as there are any."""

    async def take(self, names: Sequence[str]) -> dict[str, int]:
        """Those of these roles that it has got, with their tokens.

        Free is what has run out, what nobody has unless it is kept for another, and what it holds
        itself: whoever asks for that again does not know to have it, as an answer was lost.
        """

    async def renew(self, names: Iterable[str]) -> None:
        """Renew what it holds of these."""

    async def ask(self, names: Iterable[str]) -> None:
        """Ask the holders of these to give them up, where nobody else has."""

    async def release(self, tokens: Mapping[str, int] | None) -> None:
        """Let go these roles, as far as it holds them by these tokens; None: all that it holds.

        By the token: one that is late on its way must not end a lease that came after it.
        """

    async def close(self) -> None:
        """Let go the connections."""


#: What makes them: for a process, by a name that no other has or had; how long a lease lasts unless
#: it is renewed; how long a role that was given up is kept for the one that has asked for it.
MakeLeases = Callable[[str, timedelta, timedelta], Leases]


class LeaseRoleScheduler:
    """Implements `streamwf.ports.RoleScheduler`, for this process.

    make: the leases, with connections of their own, so that no renewal waits for one.
    lease: the same in all processes that share the roles.

    `hold` raises RolesClosed, and what the store says if it refuses what it is asked.
    While it can't be reached, it waits.
    """

    def __init__(self, make: MakeLeases, *, lease: timedelta = LEASE, address: str = "") -> None:
        """address: where others reach this process, if they are to."""
        self._address = address
        self._lease = lease.total_seconds()
        self._me = f"{uuid.uuid4().hex} {address}"
        self._leases = make(self._me, lease * TAKEN, lease * KEPT)
        self._holders: dict[str, str] = {}
        self._claims: dict[str, Claim] = {}
        self._leaving: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[Claim]]] = {}
        self._wake = asyncio.Event()
        self._due_at = 0.0
        self._reachable = True
        self._closed = False
        self._keeper: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def hold(self, role: str) -> AsyncIterator[Claim]:
        claim = await self._wait_for(role)
        try:
            yield claim
        finally:
            self._let_go(claim)

    async def _wait_for(self, role: str) -> Claim:
        if self._closed:
            raise RolesClosed()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        place: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(role, deque()).append(place)
        self._wake.set()
        try:
            return await place
        except asyncio.CancelledError:
            # Both may have come at once.
            if not place.cancelled() and place.exception() is None:
                self._let_go(place.result())
            raise

    def _let_go(self, claim: Claim) -> None:
        claim.lose()
        if self._claims.get(claim.role) is claim:
            del self._claims[claim.role]
            self._leaving[claim.role] = claim.token
            self._wake.set()

    def address_of(self, role: str) -> str | None:
        """Where the holder of a role is reached, as it was a moment ago; None if there is none."""
        if role in self._claims:
            return self._address
        holder = self._holders.get(role)
        return None if holder is None else holder.partition(" ")[2]

    async def close(self) -> None:
        """All roles are lost, and free for others at once if the database can be reached."""
        self._closed = True
        self._refuse(RolesClosed())
        self._wake.set()
        if self._keeper is not None:
            # Not cancelled: what it has under way could come after the release.
            await self._keeper
            for claim in self._claims.values():
                claim.lose()
            # If it can't be told, they run out.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._lease * PATIENCE):
                    await self._leases.release(None)
        await self._leases.close()

    def _refuse(self, error: Exception) -> None:
        for places in self._waiting.values():
            for place in places:
                if not place.done():
                    place.set_exception(error)
        self._waiting.clear()

    # ---- keeping

    async def _keep(self) -> None:
        """All that is read and written is so here, one thing after the other."""
        while not self._closed:
            self._wake.clear()
            try:
                async with asyncio.timeout(self._lease * PATIENCE):
                    await self._turn()
                self._say_reachable(True)
            except TimeoutError:
                self._say_reachable(False, "no answer in time")
            except StoreUnreachable as error:
                self._say_reachable(False, str(error))
            except Exception as error:
                self._say_reachable(False, str(error).partition("\n")[0])
                self._refuse(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._lease * RENEWED):
                    await self._wake.wait()

    def _say_reachable(self, reachable: bool, cause: str = "") -> None:
        if reachable != self._reachable:
            self._reachable = reachable
            if reachable:
                logger.info("roles_reachable")
            else:
                logger.warning("roles_unreachable", cause=cause)

    async def _turn(self) -> None:
        started = elapsed()
        if leaving := dict(self._leaving):
            await self._leases.release(leaving)
            # Another that was let go meanwhile has another token.
            self._leaving = dict(self._leaving.items() - leaving.items())
        due = started >= self._due_at
        held = {role: claim for role, claim in self._claims.items() if claim.held}
        if due and held:
            await self._leases.renew(held)
        wanted = self._wanted()
        leases = await self._leases.look([*held, *wanted]) if held or wanted else {}
        self._holders = {role: lease.holder for role, lease in leases.items() if lease.holder}
        if due:
            self._renewed(held, leases, started)
            self._due_at = started + self._lease * RENEWED
        free = [role for role in wanted if role not in leases or leases[role].free]
        if free:
            await self._take(free, started)
        elif due and (asked := to_ask_for(self._me, _held(leases))):
            await self._leases.ask(asked)

    def _wanted(self) -> list[str]:
        """The roles that somebody here waits for, and nobody here has."""
        for role, places in list(self._waiting.items()):
            while places and places[0].done():
                places.popleft()
            if not places:
                del self._waiting[role]
        had = self._claims.keys() | self._leaving.keys()
        return [role for role in self._waiting if role not in had]

    def _renewed(
        self, held: Mapping[str, Claim], leases: Mapping[str, Lease], started: float
    ) -> None:
        for role, claim in held.items():
            lease = leases.get(role)
            mine = lease and lease.holder == self._me and lease.token == claim.token
            if lease and mine and lease.heir is None:
                claim.renew(started + self._lease * LOST)
                continue
            claim.lose()
            if claim is self._claims.get(role):
                why = "another process is to have its share" if mine else "the lease has run out"
                logger.info("role_lost", role=role, why=why)

    async def _take(self, free: Sequence[str], started: float) -> None:
        until = started + self._lease * LOST
        for role, token in (await self._leases.take(free)).items():
            claim = self._claims[role] = Claim(role, token, until)
            place = next((p for p in self._waiting.get(role, ()) if not p.done()), None)
            if place is None:
                self._let_go(claim)
            else:
                place.set_result(claim)


def _held(leases: Mapping[str, Lease]) -> list[Held]:
    return [
        Held(role, lease.holder, lease.heir)
        for role, lease in leases.items()
        if lease.holder is not None or lease.heir is not None
    ]
