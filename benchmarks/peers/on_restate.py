"""Restate: its server, the processes of its handlers, and their load over its HTTP ingress."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.load import STEPS
from benchmarks.order_flow import OBJECT
from benchmarks.peers.installed import Installed
from benchmarks.peers.running import Load, Running
from tests.servers import HOST, free_port

#: Seconds between two looks at what is left of runs that nobody waits for.
LOOK = 0.1

UNFINISHED = "SELECT count(*) AS number FROM sys_invocation WHERE status <> 'completed'"


@dataclass(frozen=True)
class Setting:
    """processes: of handlers. partitions: of the server. concurrency: requests at a time.
    one_way: requests are answered when they are accepted, and not when their run has ended."""

    processes: int
    partitions: int
    concurrency: int
    one_way: bool = False


#: What is tried. Neighbours with the same processes and partitions are tried on one server.
SETTINGS = [
    Setting(processes, partitions, concurrency, one_way)
    for processes, partitions in [(1, 4), (2, 8), (2, 24)]
    for concurrency, one_way in [(32, False), (128, False), (128, True)]
]


class Restate:
    """A server with handlers that are registered at it."""

    def __init__(self, session: aiohttp.ClientSession, admin: str, ingress: str) -> None:
        self._session, self._admin, self._ingress = session, admin, ingress

    async def load(self, setting: Setting, runs: int) -> Load:
        """Steps per second from the first request to the end of the last run."""
        numbers, found = iter(range(runs)), []

        async def one_after_another() -> None:
            for _ in numbers:
                begun = time.perf_counter()
                await self._run(setting.one_way)
                found.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(one_after_another() for _ in range(setting.concurrency)))
        while setting.one_way and await self._unfinished():
            await asyncio.sleep(LOOK)
        return Load(STEPS * runs / (time.perf_counter() - begun), found)

    async def _run(self, one_way: bool) -> None:
        url = f"{self._ingress}/orders/deliver" + ("/send" if one_way else "")
        async with self._session.post(url, json=OBJECT, raise_for_status=True) as answer:
            await answer.read()

    async def _unfinished(self) -> int:
        url, accept = f"{self._admin}/query", {"accept": "application/json"}
        asked = {"query": UNFINISHED}
        async with self._session.post(
            url, json=asked, headers=accept, raise_for_status=True
        ) as answer:
            [row] = (await answer.json())["rows"]
            return int(row["number"])


@asynccontextmanager
async def restate(installed: Installed, setting: Setting, folder: Path) -> AsyncIterator[Restate]:
    """A server with empty tables and handlers of their own, while the context lasts."""
    ports = [free_port() for _ in range(4)]
    admin, ingress, handlers, _ = (f"http://{HOST}:{port}" for port in ports)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        with ExitStack() as stack:
            server = stack.enter_context(_server(installed, setting, folder, ports))
            stack.enter_context(_handlers(installed, setting, folder, ports[2]))

            async def registered() -> bool:
                asked = {"uri": handlers, "force": True}
                with suppress(aiohttp.ClientError):
                    async with session.post(f"{admin}/deployments", json=asked) as answer:
                        return answer.ok
                return False

            async def serving() -> bool:
                with suppress(aiohttp.ClientError):
                    async with session.post(f"{ingress}/orders/deliver", json=OBJECT) as answer:
                        return answer.ok
                return False

            await server.until(registered)
            await server.until(serving)
            yield Restate(session, admin, ingress)


def _server(installed: Installed, setting: Setting, folder: Path, ports: list[int]) -> Running:
    admin, ingress, _, node = (f"{HOST}:{port}" for port in ports)
    options = {
        "ADMIN__BIND_ADDRESS": admin,
        "INGRESS__BIND_ADDRESS": ingress,
        "BIND_ADDRESS": node,
        "ADVERTISED_ADDRESS": f"http://{node}",
        "LISTEN_MODE": "tcp",
        "NODE_NAME": "peers",
        "BASE_DIR": str(folder / "restate-data"),
        "DEFAULT_NUM_PARTITIONS": str(setting.partitions),
        "DISABLE_TELEMETRY": "true",
        "LOG_FILTER": "warn",
        # As with Kafka: a crash of the process loses nothing by this, only one of the machine does.
        "BIFROST__LOCAL__ROCKSDB_DISABLE_WAL_FSYNC": "true",
        "LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC": "true",
    }
    environment = {f"RESTATE_{name}": value for name, value in options.items()}
    command = [str(installed.restate_server), "--no-logo"]
    return Running("Restate's server", command, folder / "restate.log", environment)


def _handlers(installed: Installed, setting: Setting, folder: Path, port: int) -> Running:
    command = [str(installed.python), "-m", "hypercorn", "--worker-class", "uvloop"]
    command += ["--workers", str(setting.processes), "--bind", f"{HOST}:{port}"]
    command += ["--log-level", "warning", "restate_orders:app"]
    return Running("hypercorn", command, folder / "handlers.log")
