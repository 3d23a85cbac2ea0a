"""A process that wants roles, for tests: URL, seconds of the lease, name, log, roles.

The log, which processes share, gets lines of `NAME got|works|lost ROLE TOKEN`. SIGUSR1 lets it
stop itself, as SIGSTOP would from outside, but never between a look at what it holds and its work.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta

from streamwf.adapters.redis.client import Server
from streamwf.adapters.redis.roles import RedisRoleScheduler
from streamwf.adapters.roles.leases import LeaseRoleScheduler
from streamwf.adapters.roles.sql import SqlRoleScheduler
from streamwf.adapters.sql.engine import create
from streamwf.ports import Hold

#: Seconds between two pieces of work.
WORK = 0.02


def scheduler_at(url: str, lease: timedelta) -> LeaseRoleScheduler:
    if url.startswith("redis:"):
        return RedisRoleScheduler(Server(url, "store"), lease=lease)
    return SqlRoleScheduler(create(url, "store"), lease=lease)


class Process:
    def __init__(self, url: str, lease: str, name: str, log: str) -> None:
        self.scheduler = scheduler_at(url, timedelta(seconds=float(lease)))
        self.name = name
        self.log = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        self.holds: dict[str, Hold] = {}

    def note(self, what: str, role: str, hold: Hold) -> None:
        os.write(self.log, f"{self.name} {what} {role} {hold.token}\n".encode())

    async def serve(self, role: str) -> None:
        while True:
            async with self.scheduler.hold(role) as hold:
                self.holds[role] = hold
                self.note("got", role, hold)
                work = asyncio.create_task(self.work(role, hold))
                await hold.lost()
                work.cancel()
                self.note("lost", role, hold)

    async def work(self, role: str, hold: Hold) -> None:
        while True:
            if hold.held:
                self.note("works", role, hold)
            await asyncio.sleep(WORK)

    def stop_for_a_while(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        for role, hold in self.holds.items():
            self.note("woke-holding" if hold.held else "woke-without", role, hold)


async def main(url: str, lease: str, name: str, log: str, *roles: str) -> None:
    process = Process(url, lease, name, log)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, process.stop_for_a_while)
    await asyncio.gather(*(process.serve(role) for role in roles))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
