"""Roles of the one process that has a file: whoever has locked it has all roles that it asks for.

The system frees the lock with the process, however that ends, so nobody waits for a lease.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from streamwf.adapters.roles.claim import Claim
from streamwf.adapters.roles.memory import MemoryRoles, MemoryRoleScheduler

#: Seconds until a file that another process has is tried again.
AGAIN = 0.1

#: Tokens that one holder of the file can give out.
TOKENS = 1 << 24


class FileRoleScheduler:
    """Implements `streamwf.ports.RoleScheduler`.

    path: of the lock, which counts who has had it. It is kept until the last role is given back.
    """

    def __init__(self, path: Path, *, address: str = "") -> None:
        """address: where others reach this process, if they are to."""
        self._path = path
        self._address = address
        self._roles = MemoryRoleScheduler(MemoryRoles())
        self._turn = asyncio.Lock()
        self._lock: IO[str] | None = None
        self._generation = 0
        self._held = 0

    @asynccontextmanager
    async def hold(self, role: str) -> AsyncIterator[Claim]:
        async with self._turn:
            while self._lock is None:
                self._try()
                if self._lock is None:
                    await asyncio.sleep(AGAIN)
            self._held += 1
        try:
            async with self._roles.hold(role) as claim:
                claim.token += self._generation * TOKENS
                yield claim
        finally:
            self._held -= 1
            if not self._held:
                self._release()

    def address_of(self, role: str) -> str | None:
        """Where the holder of a role is reached; None if it is not this process."""
        return self._address if self._lock is not None else None

    async def close(self) -> None:
        """All roles are lost, and free for others."""
        await self._roles.close()
        self._release()

    def _try(self) -> None:
        # Not opened to be written anew: what another holder has counted stays.
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return
        self._generation = int(file.read() or 0) + 1
        file.seek(0)
        file.write(str(self._generation))
        file.flush()
        os.fsync(file.fileno())
        self._lock = file

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None
