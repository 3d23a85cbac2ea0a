"""The fixtures, in a pytest of their own: with pytest-asyncio in either mode, and without it."""

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import streamwf
from tests.support import WITH_ASYNCIO, run_pytest

ROOT = Path(streamwf.__file__).parents[1]

SUITE = """
import asyncio
from datetime import timedelta
from enum import Enum

import pytest

from streamwf import Workflow

Status = Enum("Status", "WAITS DONE")
waits = Workflow("waits", dict, Status)


@waits.timeout(Status.WAITS, after=timedelta(hours=1), to=Status.DONE)
async def late(run):
    return Status.DONE


async def play(clock, factory):
    began = clock.now()
    async with factory(waits, patience=timedelta(seconds=9)) as app:
        assert app.clock is clock
        run = await app.trigger(waits, "w-1", {})
        await app.advance(timedelta(hours=1))
        await app.await_status(run, Status.DONE)
    assert clock.now() - began == timedelta(hours=1)
"""

ASYNC_TEST = """

async def test_it(streamwf_clock, streamwf_engine):
    await play(streamwf_clock, streamwf_engine)
"""

PLAIN_TEST = """

def test_it(streamwf_clock, streamwf_engine):
    asyncio.run(play(streamwf_clock, streamwf_engine))
"""


@pytest.mark.parametrize(
    ("test", "options"),
    [
        (ASYNC_TEST, (*WITH_ASYNCIO, "--asyncio-mode=auto")),
        (f"\n\n@pytest.mark.asyncio{ASYNC_TEST[1:]}", (*WITH_ASYNCIO, "--asyncio-mode=strict")),
        (PLAIN_TEST, ()),
    ],
    ids=["auto", "strict", "without pytest-asyncio"],
)
def test_the_fixtures(tmp_path: Path, test: str, options: tuple[str, ...]) -> None:
    (tmp_path / "test_waits.py").write_text(SUITE + test)
    assert "1 passed" in run_pytest(tmp_path, *options)


def test_the_entry_point_leads_to_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [(name, module)] = project["entry-points"]["pytest11"].items()
    assert name == "streamwf"
    assert {"streamwf_clock", "streamwf_engine"} <= set(vars(import_module(module)))
