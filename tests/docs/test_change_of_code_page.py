"""What docs/change-of-code.md shows is what happens."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from streamwf.testing import engine
from tests.docs.readme import ROOT, blocks
from tests.support import run_pytest

PAGE = (ROOT / "docs" / "change-of-code.md").read_text(encoding="utf-8")
BEFORE, AFTER, TEST = blocks("python", PAGE)
MAPPING = ', renamed={"PICKED": Status.COLLECTED}'


def check(folder: Path, definition: str, events: bytes) -> tuple[int, str]:
    """What `streamwf check` says of a definition, held against the events of a topic."""
    (folder / "after.py").write_text(definition)
    command = [sys.executable, "-m", "streamwf.cli", "check", "after.py", "--against", "-"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=events,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr
    return done.returncode, done.stdout.decode()


def events_of(shop: dict[str, Any]) -> bytes:
    """The log of the former code, with an order that was picked."""

    async def play() -> bytes:
        async with engine(shop["orders"]) as app:
            run = await app.trigger(shop["orders"], "o-1", shop["Order"](item="book"))
            await app.advance(timedelta(days=1))
            await app.await_status(run, shop["Status"].PICKED)
            return b"\n".join(record.value or b"" for record in app.host.logs["orders"].records)

    return asyncio.run(play())


def test_the_former_code_is_checked_against_as_the_page_shows(tmp_path: Path) -> None:
    shop = ModuleType("before")
    exec(compile(BEFORE.text, "before.py", "exec"), shop.__dict__)
    events = events_of(shop.__dict__)
    assert MAPPING in AFTER.text
    code, told = check(tmp_path, AFTER.text.replace(MAPPING, ""), events)
    [shown] = blocks("text", PAGE)
    assert (code, [line.rstrip() for line in told.splitlines()]) == (1, shown.text.splitlines())
    code, told = check(tmp_path, AFTER.text, events)
    assert (code, told) == (0, "orders, definition 2: of 1 live run 1 can go on, 0 can't\n")


def test_the_test_passes(tmp_path: Path) -> None:
    for name, block in (("before", BEFORE), ("after", AFTER), ("test_change", TEST)):
        (tmp_path / f"{name}.py").write_text(block.text)
    assert "1 passed" in run_pytest(tmp_path)
