"""What lies between the workers and their broker, and can be cut.

Where the machine allows it, each worker has a network namespace of its own, on one bridge with the
broker, and a cut drops what is sent, so that nobody is told. Elsewhere there is a TCP proxy for
each worker, and a cut holds back what is sent.
"""

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from streamwf.adapters.local_kafka import _free_ports
from tests.chaos.spaces import NotAllowed, Space, run

#: Bytes that a proxy takes at a time.
CHUNK = 1 << 16


class Listener(NamedTuple):
    """Where the broker listens, and where it says that it does: HOST:PORT."""

    bound: str
    told: str


class Network(Protocol):
    """Workers are counted from 0."""

    #: What it is made of.
    name: str

    @property
    def listeners(self) -> Mapping[str, Listener]:
        """Those that the broker has for the workers."""

    def brokers(self, worker: int) -> str:
        """The broker's address for a worker."""

    def host(self, worker: int) -> str:
        """The address that a worker listens on."""

    async def open(self) -> None: ...

    def cut(self, worker: int) -> None:
        """Let nothing through to a worker, or from it."""

    def heal(self, worker: int) -> None: ...

    def cut_all(self) -> None:
        """Let nothing through between the broker and the workers."""

    def heal_all(self) -> None: ...

    async def close(self) -> None: ...


class Bridge:
    """Implements `Network`, for workers in these spaces. The bridge is in a space of its own."""

    name = "network namespaces"

    def __init__(self, spaces: Sequence[Space]) -> None:
        self._spaces = spaces
        self._hub: Space | None = None
        self._net = f"10.{random.randrange(64, 192)}.{random.randrange(256)}"
        self._link = f"chaos{os.getpid()}"
        [self._port] = _free_ports(1)

    @property
    def listeners(self) -> Mapping[str, Listener]:
        return {"WORKERS": Listener(self.brokers(0), self.brokers(0))}

    def brokers(self, worker: int) -> str:
        return f"{self._net}.254:{self._port}"

    def host(self, worker: int) -> str:
        return f"{self._net}.{worker + 1}"

    async def open(self) -> None:
        """Raises NotAllowed."""
        self._hub = hub = Space()
        hub.run("ip", "link", "add", "bridge", "type", "bridge")
        hub.run("ip", "link", "set", "bridge", "up")
        run(*f"ip link add {self._link} type veth peer name broker netns {hub.pid}".split())
        run("ip", "addr", "add", f"{self._net}.254/24", "dev", self._link)
        run("ip", "link", "set", self._link, "up")
        hub.run("ip", "link", "set", "broker", "master", "bridge", "up")
        for worker, space in enumerate(self._spaces):
            port = f"worker{worker}"
            hub.run(*f"ip link add {port} type veth peer name eth0 netns {space.pid}".split())
            hub.run("ip", "link", "set", port, "master", "bridge", "up")
            space.run("ip", "addr", "add", f"{self.host(worker)}/24", "dev", "eth0")
            space.run("ip", "link", "set", "eth0", "up")
            space.run("ip", "link", "set", "lo", "up")

    def cut(self, worker: int) -> None:
        self._set(f"worker{worker}", "down")

    def heal(self, worker: int) -> None:
        self._set(f"worker{worker}", "up")

    def cut_all(self) -> None:
        self._set("broker", "down")

    def heal_all(self) -> None:
        self._set("broker", "up")

    def _set(self, port: str, state: str) -> None:
        assert self._hub is not None
        self._hub.run("ip", "link", "set", port, state)

    async def close(self) -> None:
        if self._hub is not None:
            self._hub.close()
            # It goes with the space, but in its own time.
            with suppress(NotAllowed):
                run("ip", "link", "del", self._link)


class Proxy:
    """Passes on what comes at one address to another, unless it is cut."""

    def __init__(self, at: str, to: str) -> None:
        self._at, self._to = at, to
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        host, _, port = self._at.partition(":")
        self._server = await asyncio.start_server(self._connected, host, int(port))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        host, _, port = self._to.partition(":")
        try:
            await self._open.wait()
            from_there, to_there = await asyncio.open_connection(host, int(port))
            ways = [self._pass(reader, to_there), self._pass(from_there, writer)]
            await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._passing.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def cut(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)


class Proxies:
    """Implements `Network`, for workers that need nothing of the machine."""

    name = "a TCP proxy for each worker"

    def __init__(self, workers: int) -> None:
        ports = _free_ports(2 * workers)
        addresses = [f"127.0.0.1:{port}" for port in ports]
        self._listeners = [
            Listener(bound, told)
            for bound, told in zip(addresses[:workers], addresses[workers:], strict=True)
        ]
        self._proxies = [Proxy(at=told, to=bound) for bound, told in self._listeners]
        self._cut: set[int] = set()
        self._all_cut = False

    @property
    def listeners(self) -> Mapping[str, Listener]:
        return {f"WORKER{number}": each for number, each in enumerate(self._listeners)}

    def brokers(self, worker: int) -> str:
        return self._listeners[worker].told

    def host(self, worker: int) -> str:
        return "127.0.0.1"

    async def open(self) -> None:
        for proxy in self._proxies:
            await proxy.open()

    def cut(self, worker: int) -> None:
        self._cut.add(worker)
        self._set()

    def heal(self, worker: int) -> None:
        self._cut.discard(worker)
        self._set()

    def cut_all(self) -> None:
        self._all_cut = True
        self._set()

    def heal_all(self) -> None:
        self._all_cut = False
        self._set()

    def _set(self) -> None:
        for worker, proxy in enumerate(self._proxies):
            (proxy.cut if self._all_cut or worker in self._cut else proxy.heal)()

    async def close(self) -> None:
        for proxy in self._proxies:
            await proxy.close()
