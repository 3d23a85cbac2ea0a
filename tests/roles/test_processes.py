"""Real processes that want the same roles of a real database, and what becomes of them."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.roles.conftest import made_ready
from tests.servers import PrivateServer
from tests.support import eventually

LEASE = 4.0
ROLES = ["shard-1-of-3", "shard-2-of-3", "shard-3-of-3"]
MAIN = Path(__file__).with_name("holder_main.py")


class Processes:
    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.log.touch()
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, url: str, name: str, roles: list[str], clock: str = "") -> None:
        """clock: by how much its clock is off, as faketime has it: +10m."""
        command = [sys.executable, str(MAIN), url, str(LEASE), name, str(self.log), *roles]
        if clock:
            assert shutil.which("faketime"), "install faketime (Debian: apt-get install faketime)"
            command = ["faketime", "-f", clock, *command]
        environment = {**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.running[name] = subprocess.Popen(command, env=environment, start_new_session=True)

    def signal(self, name: str, number: signal.Signals) -> None:
        # Its group, as faketime is a process of its own.
        os.killpg(self.running[name].pid, number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self.running[name].wait()

    def lines(self, what: str = "", name: str = "") -> list[tuple[str, str, str, int]]:
        """(name, what, role, token) of each line, in the order in which they were written."""
        # What has no end yet is being written.
        complete, _, _ = self.log.read_text().rpartition("\n")
        found = [line.split() for line in complete.splitlines()]
        return [
            (who, did, role, int(token))
            for who, did, role, token in found
            if what in ("", did) and name in ("", who)
        ]

    async def await_(self, what: str, name: str, roles: list[str], times: int = 1) -> None:
        def all_of_them() -> bool:
            found = [role for _, _, role, _ in self.lines(what, name)]
            return all(found.count(role) >= times for role in roles)

        await eventually(all_of_them, within=60)

    def assert_one_at_a_time(self) -> None:
        """Nobody has worked any more once another has got the role."""
        latest: dict[str, int] = {}
        for name, did, role, token in self.lines():
            if did == "got":
                assert token > latest.get(role, 0), f"{role}: {name} has got an older token"
                latest[role] = token
            elif did == "works":
                assert token == latest[role], f"{role}: {name} has worked after it was replaced"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    for name, process in found.running.items():
        if process.poll() is None:
            found.kill(name)


async def test_a_killed_process_is_replaced(shared_url: str, processes: Processes) -> None:
    processes.start(shared_url, "first", ROLES)
    await processes.await_("works", "first", ROLES)
    processes.start(shared_url, "second", ROLES)
    # It gets its share while the first lives.
    await eventually(lambda: processes.lines("got", "second"), within=60)
    processes.kill("first")
    await processes.await_("works", "second", ROLES)
    processes.assert_one_at_a_time()


@pytest.mark.parametrize("clocks", [("+10m", "-10m"), ("-10m", "+10m")], ids=["ahead", "behind"])
@pytest.mark.parametrize("which", ["postgres_url", "mariadb_url", "redis_url"])
async def test_clocks_that_are_off_are_of_no_account(
    which: str, clocks: tuple[str, str], processes: Processes, request: pytest.FixtureRequest
) -> None:
    url = await made_ready(request.getfixturevalue(which))
    processes.start(url, "first", ROLES[:1], clocks[0])
    await processes.await_("works", "first", ROLES[:1])
    processes.start(url, "second", ROLES[:1], clocks[1])
    worked = len(processes.lines("works", "first"))
    # Work for longer than a lease, while the other wants it.
    more = worked + 2 * LEASE / 0.02
    await eventually(lambda: len(processes.lines("works", "first")) > more, within=60)
    assert not processes.lines("got", "second")
    processes.kill("first")
    await processes.await_("works", "second", ROLES[:1])
    processes.assert_one_at_a_time()


async def test_a_zombie_knows_it_in_its_first_moment(shared_url: str, processes: Processes) -> None:
    processes.start(shared_url, "first", ROLES)
    await processes.await_("works", "first", ROLES)
    processes.signal("first", signal.SIGUSR1)
    processes.start(shared_url, "second", ROLES)
    await processes.await_("works", "second", ROLES)
    processes.signal("first", signal.SIGCONT)
    await processes.await_("lost", "first", ROLES)

    assert {role for _, _, role, _ in processes.lines("woke-without")} == set(ROLES)
    processes.assert_one_at_a_time()
    # And it comes to its share again.
    await eventually(lambda: len(processes.lines("got", "first")) > len(ROLES), within=60)
    processes.assert_one_at_a_time()


@pytest.mark.parametrize("which", ["own_postgres", "own_mariadb", "own_redis"])
async def test_a_database_that_is_away_and_comes_back(
    which: str, processes: Processes, request: pytest.FixtureRequest
) -> None:
    server: PrivateServer = request.getfixturevalue(which)
    url = await made_ready(server.url)
    processes.start(url, "first", ROLES)
    await processes.await_("works", "first", ROLES)
    for times, end in enumerate((server.stop, server.kill), 1):
        await asyncio.to_thread(end)
        await processes.await_("lost", "first", ROLES, times)
        await asyncio.to_thread(server.start)
        await processes.await_("got", "first", ROLES, times + 1)
    processes.start(url, "second", ROLES)
    processes.kill("first")
    await processes.await_("works", "second", ROLES)
    processes.assert_one_at_a_time()
