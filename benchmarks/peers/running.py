"""A process that is measured or serves one that is, and what its runs took."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streamwf.errors import StreamwfError

STOP_SECONDS = 10
READY_SECONDS = 60


class PeerFailed(StreamwfError):
    """{name} {what}. The last lines of its log:
    {lines}"""


@dataclass(frozen=True)
class Load:
    """What a peer did under load, or at idle: how many steps a second, and each run's seconds."""

    rate: float
    latencies: Sequence[float] = ()


class Running:
    """A process, with what it has started, for as long as the context lasts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] = {},
        *,
        answers: bool = False,
    ) -> None:
        """answers: what it prints is read by `told`, and does not go to the log."""
        self.name, self._log = name, log
        with log.open("wb") as written:
            # In a session of its own: Ctrl-C reaches us alone, and we end it whole.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if answers else written,
                stderr=written,
                cwd=Path(__file__).parent,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    async def told(self) -> str:
        """Its next line of output. Raises PeerFailed."""
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        if not line:
            raise self.failure("gave up")
        return line.decode()

    async def until(self, ready: Callable[[], Awaitable[bool]]) -> None:
        """Raises PeerFailed if it ends before it is ready, or is not soon."""
        deadline = time.monotonic() + READY_SECONDS
        while not await ready():
            if self.process.poll() is not None:
                raise self.failure("gave up")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {READY_SECONDS} s")
            await asyncio.sleep(0.05)

    def failure(self, what: str) -> PeerFailed:
        last = self._log.read_text(errors="replace").splitlines()[-20:]
        return PeerFailed(name=self.name, what=what, lines="\n".join(last))
