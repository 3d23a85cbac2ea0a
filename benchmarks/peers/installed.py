"""The peers' software: fetched once from the registries, pinned, and kept out of this environment.

What is of Python is the dependency group `bench` of pyproject.toml, in a virtual environment of its
own, so that its pins clash with nobody's; Restate's server comes by npm. Both stay in the cache
directory, under a name made of the pins: `$STREAMWF_CACHE`, or `~/.cache/streamwf`.
"""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from streamwf.adapters.kafka_jars import cache_dir
from streamwf.errors import StreamwfError
from tests.servers import Postgres, ServerMissing

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
GROUP = "bench"
RESTATE_SERVER = "@restatedev/restate-server@1.7.12"


class PeersMissing(StreamwfError):
    """The peers can't be measured on this machine:
    {missing}"""


class NotInstalled(StreamwfError):
    """{what} could not be installed. The last lines that {program} said:
    {lines}"""


@dataclass(frozen=True)
class Installed:
    """The peers' interpreter, and Restate's server."""

    python: Path
    restate_server: Path


def check() -> None:
    """Raises PeersMissing with all that has to be installed first."""
    missing = []
    if shutil.which("npm") is None:
        missing.append("npm is not on PATH: Restate's server comes by it (Debian: npm).")
    try:
        Postgres().close()
    except ServerMissing:
        missing.append("PostgreSQL's server is not found: DBOS needs it (Debian: postgresql).")
    if missing:
        raise PeersMissing(missing="\n".join(missing))


def install() -> Installed:
    """Install what is not yet in the cache; the first time takes about a minute.

    Raises PeersMissing, NotInstalled.
    """
    check()
    folder = cache_dir() / f"peers-{_pins()}"
    python, modules = folder / "python" / "bin" / "python", folder / "node_modules"
    ready = folder / ".ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run("The virtual environment", sys.executable, "-m", "venv", str(folder / "python"))
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        # Older ones know no dependency groups.
        _run("pip", *pip, "--upgrade", "pip")
        _run(f"The group {GROUP}", *pip, "--group", f"{PYPROJECT}:{GROUP}")
        # A dependency of it has an install script, which only tells its maker of the installation.
        npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        _run("Restate's server", *npm, "--prefix", str(folder), RESTATE_SERVER)
        ready.touch()
    [server] = modules.glob("@restatedev/restate-server-*/bin/restate-server")
    return Installed(python, server)


def _pins() -> str:
    group = tomllib.loads(PYPROJECT.read_text())["dependency-groups"][GROUP]
    named = "\n".join([sys.version, RESTATE_SERVER, *group])
    return hashlib.sha256(named.encode()).hexdigest()[:12]


def _run(what: str, *command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        last = done.stdout.decode(errors="replace").splitlines()[-20:]
        raise NotInstalled(what=what, program=Path(command[0]).name, lines="\n".join(last))
