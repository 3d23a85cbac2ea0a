"""Roles as leases in SQL: whoever holds one renews it, or loses it before another can get it."""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.roles.claim import Claim, elapsed
from streamwf.adapters.roles.lease_rows import Lease, LeaseRows
from streamwf.adapters.roles.spreading import Held, to_ask_for
from streamwf.errors import RolesClosed, StoreUnreachable

logger = structlog.get_logger("streamwf.roles")

#: A process that is silent for so long is replaced.
LEASE = timedelta(seconds=10)

# Parts of the lease: between two renewals; how long one may take; until whoever could not renew
# counts it as lost; until others may take it. Between these two the holder has time to stop. A role
# that was given up is kept for whoever has asked for it.
RENEWED, PATIENCE, LOST, TAKEN, KEPT = 0.1, 0.2, 0.6, 0.9, 0.3


class SqlRoleScheduler:
    """Implements `streamwf.ports.RoleScheduler`, for this process.

    engine: its own, so that no renewal waits for a connection; it is disposed of by `close`.
    lease: the same in all processes that share the roles.

    `hold` raises RolesClosed, and what the database says of the statements if it refuses them.
    While it can't be reached, it waits.
    """

    def __init__(self, engine: AsyncEngine, *, lease: timedelta = LEASE, address: str = "") -> None:
        """address: where others reach this process, if they are to."""
        self._engine = engine
        self._address = address
        self._lease = lease.total_seconds()
        self._rows = LeaseRows(engine, f"{uuid.uuid4().hex} {address}", lease * TAKEN, lease * KEPT)
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
            with contextlib.suppress(StoreUnreachable, TimeoutError, SQLAlchemyError):
                async with asyncio.timeout(self._lease * PATIENCE):
                    await self._rows.release_all()
        await self._engine.dispose()

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
            await self._rows.release(leaving)
            # Another that was let go meanwhile has another token.
            self._leaving = dict(self._leaving.items() - leaving.items())
        due = started >= self._due_at
        held = {role: claim for role, claim in self._claims.items() if claim.held}
        if due and held:
            await self._rows.renew(held)
        wanted = self._wanted()
        leases = await self._rows.look([*held, *wanted]) if held or wanted else {}
        self._holders = {role: lease.holder for role, lease in leases.items() if lease.holder}
        if due:
            self._renewed(held, leases, started)
            self._due_at = started + self._lease * RENEWED
        free = [role for role in wanted if role not in leases or leases[role].free]
        if free:
            await self._take(free, leases, started)
        elif due and (asked := to_ask_for(self._rows.me, _held(leases))):
            await self._rows.ask(asked)

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
            mine = lease and lease.holder == self._rows.me and lease.token == claim.token
            if lease and mine and lease.heir is None:
                claim.renew(started + self._lease * LOST)
                continue
            claim.lose()
            if claim is self._claims.get(role):
                why = "another process is to have its share" if mine else "the lease has run out"
                logger.info("role_lost", role=role, why=why)

    async def _take(self, free: Sequence[str], leases: Mapping[str, Lease], started: float) -> None:
        if unknown := [role for role in free if role not in leases]:
            await self._rows.add(unknown)
        until = started + self._lease * LOST
        for role, token in (await self._rows.take(free)).items():
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
