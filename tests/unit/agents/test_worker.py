"""A Faust app that does not come to an end does not keep the process."""

import subprocess
import sys

HANGS = """
import asyncio
from datetime import timedelta
from types import SimpleNamespace

import structlog

from streamwf.agents import worker

worker.PATIENCE = 0.1


async def for_ever():
    await asyncio.Event().wait()


app = SimpleNamespace(
    stop=for_ever,
    fatal={fatal},
    settings=SimpleNamespace(shutdown_grace=timedelta(0)),
    host=SimpleNamespace(logger=structlog.get_logger()),
)
asyncio.run(worker._stopped(app))
"""


def ended(fatal: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", HANGS.format(fatal=fatal)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_stop_that_hangs_ends_the_process() -> None:
    process = ended("None")
    assert process.returncode == 0
    assert "faust_does_not_stop" in process.stdout + process.stderr


def test_a_worker_that_failed_says_so_all_the_same() -> None:
    assert ended("ValueError()").returncode == 1
