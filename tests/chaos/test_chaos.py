"""Some minutes of chaos. CHAOS_MINUTES says how many; each kind of fault fits into three."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.plan import Kind
from tests.chaos.spaces import dying_with_parent
from tests.kafka.cluster import until

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).parents[2]
MINUTES = float(os.environ.get("CHAOS_MINUTES", "3"))

#: Seconds for the start, for all to settle, and for judging; on a machine that others use too.
BESIDE = 600


class Session:
    """`python -m tests.chaos` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._out, self._err = folder / "out", folder / "err"
        command = [sys.executable, "-m", "tests.chaos", "--json", *options]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                dying_with_parent(command),
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(folder)},
                stdout=out,
                stderr=err,
            )

    @property
    def said(self) -> str:
        return self._err.read_text()

    async def report(self, seconds: float) -> dict[str, Any]:
        await until(lambda: self.process.poll() is not None, "the end of it", seconds)
        assert self.process.returncode == 0, self.said
        found: dict[str, Any] = json.loads(self._out.read_text())
        return found


def left_behind(folder: Path) -> list[str]:
    """Processes that were given something of this folder, and what is mounted in it."""
    found = [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line
    ]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            given = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in given and process.name != str(os.getpid()):
            found.append(given.decode(errors="replace"))
    return found


@pytest.mark.timeout(MINUTES * 60 + BESIDE)
async def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    session = Session(tmp_path, "--minutes", str(MINUTES), "--seed", str(seed))
    try:
        report = await session.report(MINUTES * 60 + BESIDE - 60)
    finally:
        print(session.said)
        session.process.kill()
        session.process.wait()
    assert report["right"]
    assert report["seed"] == seed
    assert report["executed"] >= 3 * report["states"]["COMPLETED"] > 0
    if MINUTES >= 3:
        assert {*report["faults"], *report["missing"]} == {str(kind) for kind in Kind}


@pytest.mark.timeout(BESIDE)
@pytest.mark.skipif(sys.platform != "linux", reason="what is left behind is seen in /proc")
async def test_whoever_interrupts_it_is_told_what_there_is(tmp_path: Path) -> None:
    session = Session(tmp_path, "--minutes", "30", "--proxies")
    try:
        await until(lambda: session.said.count(" s\n") >= 3, "some faults", 180)
        session.process.send_signal(signal.SIGINT)
        report = await session.report(BESIDE - 240)
    finally:
        print(session.said)
        session.process.kill()
        session.process.wait()
    assert report["right"]
    assert report["interrupted"]
    assert report["network"] == "a TCP proxy for each worker"
    await until(lambda: left_behind(tmp_path) == [], "all of it gone", 30)
