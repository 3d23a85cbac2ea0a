"""Real PostgreSQL, MariaDB and Redis for tests: private servers from the system's packages.

Each keeps its data in a temporary directory and listens on a free port of 127.0.0.1.
"""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import ClassVar, Self

from streamwf.errors import StreamwfError

HOST = "127.0.0.1"
USER = "streamwf"
READY_SECONDS = 60
STOP_SECONDS = 30


class ServerMissing(StreamwfError):
    """{program} is not on this machine. Install it, on Debian with `apt-get install {package}`;
    or name a server that tests may use in {variable}."""


class ServerFailed(StreamwfError):
    """{program} {what}. The last lines of its log:
    {lines}"""


class PrivateServer:
    """A server process of one's own. It keeps its port and its data from start to start.

    Every method blocks: a coroutine calls it in a thread.
    """

    program: ClassVar[str]
    package: ClassVar[str]
    variable: ClassVar[str]
    #: Where it is besides PATH, the accounts it may run as, and what its log says once it serves.
    places: ClassVar[Sequence[str]]
    accounts: ClassVar[Sequence[str]]
    ready: ClassVar[str]

    def __init__(self, *settings: str) -> None:
        """settings: more of the command line, winning over what is there."""
        self.settings = settings
        self.port = free_port()
        self.password = uuid.uuid4().hex
        self.binary = self._find(self.program)
        self.account = self._account()
        self._temporary = tempfile.TemporaryDirectory(prefix="streamwf-server-")
        self.directory = Path(self._temporary.name)
        self.log_file = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.own(self.directory)

    @property
    def url(self) -> str:
        """The URL of a database that is always there, with the password."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it serves. Raises ServerFailed."""
        if not (self.directory / "data").exists():
            self.initialise()
        with self.log_file.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(
                self._as_account([*self.command(), *self.settings], die_with_parent=True),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_SECONDS
        while self.ready.encode() not in self.log_file.read_bytes()[before:]:
            if self._process.poll() is not None:
                raise self._failure(f"ended with exit code {self._process.returncode}")
            if time.monotonic() > deadline:
                self.kill()
                raise self._failure(f"was not ready after {READY_SECONDS} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it gracefully, without waiting for clients to go."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def initialise(self) -> None:
        """Make what lies in `directory` / data."""
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def _run(self, *command: str) -> None:
        with self.log_file.open("ab") as log:
            done = subprocess.run(
                self._as_account(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        if done.returncode:
            raise self._failure("could not make its data directory")

    def _write(self, name: str, content: str) -> Path:
        path = self.directory / name
        path.write_text(content)
        self.own(path)
        return path

    def own(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _find(self, program: str) -> str:
        path = os.pathsep.join([os.environ.get("PATH", ""), *self._places()])
        found = shutil.which(program, path=path)
        if found is None:
            raise ServerMissing(program=program, package=self.package, variable=self.variable)
        return found

    def _places(self) -> list[str]:
        return [place for pattern in self.places for place in sorted(glob(pattern), reverse=True)]

    def _account(self) -> pwd.struct_passwd | None:
        """Whom to run it as: root's servers run as somebody else."""
        if os.getuid():
            return None
        for name in (*self.accounts, "nobody"):
            with suppress(KeyError):
                return pwd.getpwnam(name)
        raise KeyError("nobody")

    def _as_account(
        self, command: Sequence[str], *, die_with_parent: bool = False
    ) -> Sequence[str]:
        launcher = []
        if self.account:
            launcher += [f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}"]
            launcher += ["--clear-groups"]
        # Linux ends a process with the thread that started it.
        main = threading.current_thread() is threading.main_thread()
        if die_with_parent and main and sys.platform == "linux":
            launcher += ["--pdeathsig=KILL"]
        return ["setpriv", *launcher, *command] if launcher else command

    def _failure(self, what: str) -> ServerFailed:
        last = self.log_file.read_text(errors="replace").splitlines()[-20:]
        return ServerFailed(program=self.program, what=what, lines="\n".join(last))


class Postgres(PrivateServer):
    program = "postgres"
    package = "postgresql"
    variable = "STREAMWF_TEST_POSTGRES"
    places = ("/usr/lib/postgresql/*/bin", "/usr/local/opt/postgresql*/bin", "/opt/homebrew/bin")
    accounts = ("postgres",)
    ready = "database system is ready to accept connections"

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password}@{HOST}:{self.port}/postgres"

    def initialise(self) -> None:
        secret = self._write("password", self.password)
        initdb = str(Path(self.binary).resolve().with_name("initdb"))
        how = ["--auth=scram-sha-256", f"--pwfile={secret}", f"--username={USER}"]
        how += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run(initdb, f"--pgdata={self.directory / 'data'}", *how)

    def command(self) -> list[str]:
        options = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            # A crash of the server loses nothing by this, only one of the machine does.
            "fsync": "off",
        }
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self.binary, "-D", str(self.directory / "data"), *given]

    def stop(self) -> None:
        self._end(signal.SIGINT)


class MariaDB(PrivateServer):
    program = "mariadbd"
    package = "mariadb-server"
    variable = "STREAMWF_TEST_MARIADB"
    places = ("/usr/sbin", "/usr/local/opt/mariadb/bin", "/opt/homebrew/bin")
    accounts = ("mysql",)
    ready = "ready for connections"

    @property
    def url(self) -> str:
        return f"mariadb://{USER}:{self.password}@{HOST}:{self.port}/mysql"

    def initialise(self) -> None:
        user = f"'{USER}'@'%'"
        grant = f"GRANT ALL ON *.* TO {user} IDENTIFIED BY '{self.password}' WITH GRANT OPTION;"
        self._write("users.sql", grant)
        install = self._find("mariadb-install-db")
        how = ("--auth-root-authentication-method=normal", "--skip-test-db")
        # The first argument counts as a default file otherwise.
        self._run(install, "--no-defaults", f"--datadir={self.directory / 'data'}", *how)

    def command(self) -> list[str]:
        return [
            self.binary,
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            # Two of them would take each other's files for their own.
            f"--tmpdir={self.directory}",
            f"--init-file={self.directory / 'users.sql'}",
            f"--socket={self.directory / 'socket'}",
            f"--bind-address={HOST}",
            f"--port={self.port}",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-buffer-pool-size=64M",
            "--max-allowed-packet=64M",
        ]


class Redis(PrivateServer):
    program = "redis-server"
    package = "redis-server"
    variable = "STREAMWF_TEST_REDIS"
    places = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
    accounts = ("redis",)
    ready = "Ready to accept connections"

    def __init__(self, *settings: str) -> None:
        super().__init__(*settings)
        self._used = 0

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    def fresh(self) -> str:
        """The URL of a database that nobody has used."""
        self._used += 1
        return f"redis://:{self.password}@{HOST}:{self.port}/{self._used}"

    def initialise(self) -> None:
        data = self.directory / "data"
        data.mkdir()
        self.own(data)
        lines = [f"bind {HOST}", f"port {self.port}", f"requirepass {self.password}"]
        lines += [f"dir {data}", "appendonly yes", "appendfsync everysec", "databases 10000"]
        self._write("redis.conf", "\n".join(lines))

    def command(self) -> list[str]:
        return [self.binary, str(self.directory / "redis.conf")]


def free_port() -> int:
    """A port below those that systems lend to outgoing connections, so that it stays free."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
