"""A real Kafka broker on this machine, without Docker, and the ladder that finds one to use.

For tests, examples and `streamwf dev --kafka`; nothing here serves production.
"""

import atexit
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from streamwf.adapters.kafka_jars import BrokerUnavailable, KafkaRuntime, Say, kafka_runtime
from streamwf.errors import BrokerUnreachable, StreamwfError

__all__ = ["Broker", "BrokerFailed", "BrokerUnavailable", "LocalKafka", "find_broker"]

_HOST = "127.0.0.1"

# One broker that is soon ready and has room for large objects. Sessions of consumers may be short,
# so that tests see a dead worker's partitions move within a second or two; the broker's own
# session is short because one that was killed may not come back before it has run out.
_SETTINGS = {
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(20 * 1024 * 1024),
    "log.retention.ms": "-1",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    "min.insync.replicas": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
}

_LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""

# Linux ends the process with SIGKILL when the thread that started it ends. Set by a small program
# that then becomes the JVM: a preexec_fn would run in a fork of a process with threads.
_DIE_WITH_PARENT = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class BrokerFailed(StreamwfError):
    """The broker at {address} {what}. The last lines of its log, {log}:
    {lines}"""


class LocalKafka:
    """One real broker in a process of its own, at a free port of 127.0.0.1.

    It keeps its port and its data from one `start` to the next until it is closed. As a context
    manager it is started and closed. Every method blocks: a coroutine calls it in a thread.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        heap_mb: int = 768,
        say: Say = lambda sentence: None,
    ) -> None:
        """`data_dir` keeps the broker's data; without it they are temporary, gone when closed.

        `settings` are entries of server.properties that win over those here; `heap_mb` is the
        JVM's largest heap, in MiB.
        """
        self._temporary = None
        if data_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="streamwf-kafka-")
            data_dir = Path(self._temporary.name)
        self.data_dir = data_dir.absolute()
        self._settings = dict(settings or {})
        self._heap_mb = heap_mb
        self._say = say
        self._port, self._controller_port = _free_ports(2)
        self._runtime: KafkaRuntime | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients, `127.0.0.1:PORT`."""
        return f"{_HOST}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The id of the broker's process; None if it is not running."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def log_file(self) -> Path:
        """Where the broker writes its warnings and errors."""
        return self.data_dir / "broker.log"

    def start(self, timeout: float = 60.0) -> None:
        """Start the broker and wait, `timeout` seconds at most, until it serves clients.

        Nothing happens if it runs. Fetching Java and the jars, if they are missing, comes first
        and has its own time. Raises BrokerUnavailable if they can't be had, and BrokerFailed if
        the broker ends or is not ready in time.
        """
        if self.running:
            return
        self._runtime = self._runtime or kafka_runtime(self._say)
        self._write_files()
        if not (self.data_dir / "log" / "meta.properties").exists():
            self._format(self._runtime)
        self._process = self._spawn(self._runtime)
        atexit.register(self.close)
        try:
            self._wait_ready(self._process, timeout)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 30.0) -> None:
        """Stop gracefully; a broker that has not ended after `timeout` seconds is killed."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL, 10.0)

    def close(self) -> None:
        """End the broker; temporary data are deleted. Calling it again does nothing."""
        atexit.unregister(self.close)
        if self._temporary is None:
            self.stop()
        else:
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

    # ---- the process

    def _write_files(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "log4j2.properties").write_text(_LOG4J)
        lines = [f"{name}={value}\n" for name, value in self._properties().items()]
        (self.data_dir / "server.properties").write_text("".join(lines))

    def _properties(self) -> dict[str, str]:
        controller = f"{_HOST}:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.data_dir / "log"),
            **_SETTINGS,
            **self._settings,
        }

    def _format(self, runtime: KafkaRuntime) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        config = str(self.data_dir / "server.properties")
        # With "=", because the id may begin with a dash.
        command = runtime.command(
            *self._jvm_options(), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"
        )
        with self.log_file.open("ab") as log:
            done = subprocess.run(
                [*command, "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if done.returncode != 0:
            raise self._failure("could not format its data directory")

    def _spawn(self, runtime: KafkaRuntime) -> subprocess.Popen[bytes]:
        command = runtime.command(
            *self._jvm_options(), "kafka.Kafka", str(self.data_dir / "server.properties")
        )
        # Elsewhere and from other threads, which end before the process does, `atexit` has to do.
        if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
            launcher = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
            command = launcher + command
        with self.log_file.open("ab") as log:
            # A session of its own, so that Ctrl-C reaches the workers first and not the broker.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _jvm_options(self) -> list[str]:
        logging = self.data_dir / "log4j2.properties"
        return [f"-Xmx{self._heap_mb}m", f"-Dlog4j2.configurationFile={logging}"]

    def _wait_ready(self, process: subprocess.Popen[bytes], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not _serves_clients(self._port):
            if process.poll() is not None:
                raise self._failure(f"ended with exit code {process.returncode}")
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready after {timeout:g} s")
            time.sleep(0.05)

    def _end(self, signal_number: signal.Signals, timeout: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _failure(self, what: str) -> BrokerFailed:
        last = self.log_file.read_text(errors="replace").splitlines()[-20:]
        return BrokerFailed(
            address=self.bootstrap, what=what, log=self.log_file, lines="\n".join(last)
        )


def _free_ports(count: int) -> list[int]:
    """Ports below those that systems lend to outgoing connections.

    A client that dials a dead broker's port again and again may otherwise be lent that very port,
    connect to itself, and keep the broker from coming back.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            if port not in ports:
                ports.append(port)
    return ports


def _serves_clients(port: int) -> bool:
    """Whether the broker answers a Metadata request by naming itself: then it takes clients.

    Written by hand, because Kafka clients log a warning for each try that fails.
    """
    metadata, version, correlation, no_client_id, no_topics = 3, 1, 1, -1, 0
    request = struct.pack(">hhihi", metadata, version, correlation, no_client_id, no_topics)
    try:
        with socket.create_connection((_HOST, port), timeout=2.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(12)
    except OSError:
        return False
    if len(answer) < 12:
        return False
    brokers: int = struct.unpack(">iii", answer)[2]
    return brokers > 0


# ---- the ladder


@dataclass(frozen=True)
class Broker:
    """A broker to use: its address, and the rung of the ladder that it stands on.

    pid: of its process; None unless that was started here, from the jars.
    """

    bootstrap: str
    rung: Literal["KAFKA_BROKERS", "Docker", "jars"]
    pid: int | None = None


@contextmanager
def find_broker(say: Say = lambda sentence: None) -> Iterator[Broker]:
    """A Kafka broker for as long as the context lasts: the first of these that is to be had.

    The brokers named in KAFKA_BROKERS; a container, if a Docker daemon answers and testcontainers
    is installed; Kafka's own jars, with Java. The last two hold nothing at the start and are gone
    at the end. `say` is told what takes time. Raises BrokerUnreachable if the named brokers don't
    answer, BrokerUnavailable if nothing is to be had, BrokerFailed if the broker does not start.
    """
    with ExitStack() as stack:
        yield _named_broker() or _container(stack, say) or _jars(stack, say)


def _named_broker() -> Broker | None:
    named = os.environ.get("KAFKA_BROKERS", "").strip()
    if not named:
        return None
    causes = []
    for address in named.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5.0):
                return Broker(named, "KAFKA_BROKERS")
        except (OSError, ValueError) as cause:
            causes.append(str(cause))
    raise BrokerUnreachable(brokers=named, cause="; ".join(causes))


def _container(stack: ExitStack, say: Say) -> Broker | None:
    """A broker in a container; None without testcontainers, a Docker daemon, or the image."""
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return None
    try:
        import docker
        from testcontainers.community.kafka import KafkaContainer
    except ImportError:
        return None
    try:
        with closing(docker.from_env(timeout=5)) as client:
            client.ping()
        say("Starting Kafka in a container.")
        container = KafkaContainer().with_kraft()
        for name, value in _SETTINGS.items():
            container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        stack.callback(container.stop)
        container.start(timeout=120)
    except docker.errors.DockerException as cause:
        say(f"Docker can't run Kafka here: {cause}")
        return None
    return Broker(container.get_bootstrap_server(), "Docker")


def _jars(stack: ExitStack, say: Say) -> Broker:
    kafka = stack.enter_context(LocalKafka(say=say))
    return Broker(kafka.bootstrap, "jars", kafka.pid)
