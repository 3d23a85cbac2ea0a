"""Namespaces of the machine that a process holds: a network and file systems of one's own.

All that is made in them is gone when that process is, and it ends with the one that started it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

#: What it is done with: of Debian's packages util-linux and iproute2.
TOOLS = ("unshare", "nsenter", "setpriv", "mount", "ip")

#: Seconds that the system may take for it.
PATIENCE = 10.0


class NotAllowed(Exception):
    """The machine does not let us do that; the text says what."""


def run(*command: str) -> None:
    """Raises NotAllowed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotAllowed(f"{' '.join(command)}: {done.stderr.strip()}")


def dying_with_parent(command: Sequence[str]) -> list[str]:
    """The command of a process that is killed when this one ends, where there are means to it."""
    return [*(("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()), *command]


class Space:
    """A process that does nothing but hold a network of its own, and its own view of the files.

    network: whether it has one.
    """

    def __init__(self, *, network: bool = True) -> None:
        """Raises NotAllowed."""
        missing = [tool for tool in TOOLS if not shutil.which(tool)]
        if missing:
            raise NotAllowed(f"not installed: {', '.join(missing)}")
        #: As unshare and nsenter call them, and as the system does.
        self._kinds = {"--mount": "mnt", **({"--net": "net"} if network else {})}
        command = ("unshare", *self._kinds, "sleep", "infinity")
        self._process = subprocess.Popen(dying_with_parent(command), stderr=subprocess.PIPE)
        self.pid = self._process.pid
        try:
            self._await()
        except BaseException:
            self.close()
            raise

    def _await(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while any(self._shares(kind) for kind in self._kinds.values()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotAllowed("the system gives no namespaces")
            time.sleep(0.01)

    def _shares(self, kind: str) -> bool:
        """Whether it has not yet what is to be its own."""
        try:
            return os.readlink(f"/proc/{self.pid}/ns/{kind}") == os.readlink(
                f"/proc/self/ns/{kind}"
            )
        except OSError:
            raise NotAllowed("the system gives no namespaces") from None

    @property
    def prefix(self) -> list[str]:
        """What the command of a process begins with that is to be in it."""
        return ["nsenter", f"--target={self.pid}", *self._kinds]

    def run(self, *command: str) -> None:
        """Raises NotAllowed."""
        run(*self.prefix, *command)

    def mount(self, place: Path, megabytes: int) -> None:
        """Mount a file system in memory at a directory that is there. Raises NotAllowed."""
        options = f"size={megabytes}m"
        self.run("mount", "-t", "tmpfs", "-o", options, "streamwf-chaos", str(place))

    def seen(self, path: Path) -> Path:
        """Where a path of the space is for those outside."""
        return Path(f"/proc/{self.pid}/root") / path.relative_to("/")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
