"""Watching runs: on a terminal as a table, elsewhere line by line."""

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest

from streamwf.adapters.http import HttpGateway
from streamwf.adapters.web import NoPeers, application, serve
from streamwf.cli.watch import Look, looks
from streamwf.errors import WorkerUnreachable
from streamwf.moves import Told, Watched
from streamwf.views import Page, Query
from tests.cli.conftest import Cli
from tests.web.harness import Order, running

STREAMWF = (sys.executable, "-m", "streamwf.cli")
PATIENCE = 60.0
HERE = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "30"}


class Watcher:
    """A process that watches, and what it has written up to now."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self._output = output
        self.text = ""

    def until(self, what: str | Callable[[str], bool]) -> str:
        """What it has written, once that is in it."""
        deadline = time.monotonic() + PATIENCE
        while not (what in self.text if isinstance(what, str) else what(self.text)):
            ready, _, _ = select.select([self._output], [], [], deadline - time.monotonic())
            assert ready, self.text
            read = os.read(self._output, 65_536)
            assert read, self.text
            self.text += read.decode()
        return self.text

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@contextmanager
def watching(*arguments: str, terminal: bool = False, **variables: str) -> Iterator[Watcher]:
    read, write = pty.openpty() if terminal else os.pipe()
    command = [*STREAMWF, "runs", "watch", "--interval", "0.1", *arguments]
    process = subprocess.Popen(
        command, stdout=write, stderr=subprocess.PIPE, env={**HERE, **variables}
    )
    os.close(write)
    try:
        yield Watcher(process, read)
    finally:
        process.kill()
        process.communicate()
        os.close(read)


def test_lines_tell_each_move(over_http: Cli, url: str) -> None:
    over_http("trigger", "parcels", "p-1", "--data", '{"waits": true}')
    with watching("--url", url, "--workflow", "parcels") as watcher:
        watcher.until("p-1  parcels  PACKED  PAUSED  look at it\n")
        over_http("trigger", "parcels", "p-2", "--data", "{}")
        told = watcher.until("p-2  parcels  THERE  COMPLETED\n")
        assert "\x1b" not in told
        assert watcher.interrupt() == 0


def test_json_comes_in_lines(over_http: Cli, url: str) -> None:
    over_http("trigger", "parcels", "p-1", "--data", '{"waits": true}')
    over_http("trigger", "parcels", "p-2", "--data", "{}")
    over_http("runs", "await", "parcels/p-1", "--status", "PACKED")
    with watching("--url", url, "--json", "--state", "PAUSED") as watcher:
        watcher.until("\n")
        over_http("runs", "cancel", "parcels/p-1")
        over_http("trigger", "parcels", "p-1", "--data", '{"waits": true, "weight": 7}')
        watcher.until(lambda text: text.count("\n") == 2)
        told = [json.loads(line) for line in watcher.text.splitlines()]
        assert [run["state"] for run in told] == ["PAUSED"] * 2
        assert [run["object"]["weight"] for run in told] == [1, 7]
        assert watcher.interrupt() == 0


def test_a_terminal_has_a_table_that_moves(over_http: Cli, url: str) -> None:
    over_http("trigger", "parcels", "p-1", "--data", '{"waits": true}')
    with watching("--url", url, terminal=True) as watcher:
        watcher.until("PAUSED")
        assert "FOREIGN ID" in watcher.text
        watcher.until(lambda text: bool(re.search(r"1 runs at .*\(Ctrl-C ends\)", text)))
        over_http("runs", "resume", "parcels/p-1")
        # Its state is green.
        assert "32mCOMPLETED" in watcher.until("COMPLETED")
        assert watcher.interrupt() == 0
        # The cursor is there again.
        watcher.until("\x1b[?25h")


def test_who_wants_no_colours_has_none(over_http: Cli, url: str) -> None:
    over_http("trigger", "parcels", "p-1", "--data", '{"waits": true}')
    with watching("--url", url, terminal=True, NO_COLOR="1") as watcher:
        watcher.until("PAUSED")
        assert not re.search(r"\x1b\[[\d;]*3[0-7]m", watcher.text)


def test_nobody_to_watch_is_told_at_once(cli: Cli) -> None:
    result = cli("runs", "watch", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "No worker answers at http://127.0.0.1:1." in result.stderr


def page_of(look: Look) -> dict[str, str]:
    return {run.foreign_id: run.status for run in look.runs}


async def until(told: AsyncGenerator[Look, None], fits: Callable[[Look], bool]) -> Look:
    async with asyncio.timeout(PATIENCE):
        async for look in told:
            if fits(look):
                return look
    raise AssertionError("it has ended")


async def test_it_looks_when_a_move_is_told_and_at_no_other_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamwf.cli.watch.QUIET", 2 * PATIENCE)
    async with running() as worker, worker.client() as client:
        gateway = HttpGateway(worker.url)
        told = looks(gateway, Query(status=["PICKED"]), 0.01)
        await until(told, lambda look: not look.runs)
        await client.trigger(worker.workflow, "o-1", Order(price=1))
        await until(told, lambda look: page_of(look) == {"o-1": "PICKED"})
        # It leaves what is looked at, and is gone.
        worker.gate.set()
        await until(told, lambda look: not look.runs)
        await told.aclose()
        await gateway.close()


async def test_it_goes_on_with_the_worker_that_takes_the_place_of_one_that_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamwf.cli.watch.QUIET", 0.1)
    async with running() as worker, worker.client() as client:
        gateway = HttpGateway(worker.url)
        told = looks(gateway, Query(), 0.01)
        await until(told, lambda look: not look.runs and not look.trouble)
        await worker.server.stop()
        await until(told, lambda look: "No worker answers" in look.trouble)
        app = application(worker.operations, NoPeers(), lambda: None)
        server = await serve(app, "127.0.0.1", worker.server.port)
        await until(told, lambda look: not look.trouble)
        monkeypatch.setattr("streamwf.cli.watch.QUIET", 2 * PATIENCE)
        await client.trigger(worker.workflow, "o-1", Order(price=1))
        await until(told, lambda look: page_of(look) == {"o-1": "PICKED"})
        await told.aclose()
        await gateway.close()
        await server.stop()


class Flaky:
    """A gateway that finds pages, or errors, one after the other; something moves all the time."""

    def __init__(self, *found: Page | Exception) -> None:
        self._found = list(found)

    async def find(self, query: Query) -> Page:
        found = self._found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def watch(self, asked: Watched, after: str | None) -> AsyncGenerator[Told, None]:
        while True:
            yield Told(None, None)
            await asyncio.sleep(0)


async def seen(gateway: Flaky, count: int) -> AsyncIterator[tuple[int, int, bool]]:
    async for look in looks(gateway, Query(), 0):  # type: ignore[arg-type]
        yield len(look.runs), len(look.changed), bool(look.trouble)
        count -= 1
        if not count:
            return


async def test_a_worker_that_is_away_is_waited_for() -> None:
    away = WorkerUnreachable(url="http://a", cause="gone")
    async with running() as worker, worker.client() as client:
        await client.trigger(worker.workflow, "o-1", Order(price=1), wait=True)
        one = await client.find(Query())
        await client.trigger(worker.workflow, "o-2", Order(price=1), wait=True)
        two = await client.find(Query())
    told = [each async for each in seen(Flaky(one, one, away, away, two), 5)]
    assert told == [(1, 1, False), (1, 0, False), (1, 0, True), (1, 0, True), (2, 1, False)]


async def test_where_nobody_is_it_ends() -> None:
    with pytest.raises(WorkerUnreachable):
        [each async for each in seen(Flaky(WorkerUnreachable(url="", cause="")), 1)]
