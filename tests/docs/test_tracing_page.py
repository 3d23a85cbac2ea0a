"""What docs/tracing.md shows is what happens."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from opentelemetry import trace

from streamwf.adapters import tracing
from streamwf.testing import engine
from tests.docs.readme import ROOT, blocks
from tests.tracing import collecting

PAGE = (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")
ROOMS, MAIN = blocks("python", PAGE)


def test_the_example_prints_what_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "rooms.py").write_text(ROOMS.text)
    (tmp_path / "main.py").write_text(MAIN.text)
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [shown] = blocks("text", PAGE)
    printed = re.sub(r" \{.*\}", "", done.stdout)
    # Which of two that go on side by side ends first is nobody's business.
    assert sorted(printed.splitlines()) == sorted(shown.text.splitlines()), done.stderr
    for name in re.findall(r"'(streamwf\.\w+)'", done.stdout):
        assert f"`{name}`" in PAGE


async def test_the_record_leads_its_trace_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = ModuleType("rooms")
    # The page sets up the process, and this one is all tests'.
    monkeypatch.setattr(trace, "set_tracer_provider", lambda provider: None)
    exec(compile(ROOMS.text, "rooms.py", "exec"), rooms.__dict__)
    monkeypatch.undo()
    [shown] = blocks("json", PAGE)
    with collecting() as spans:
        async with engine(rooms.rooms) as app:
            app.host.logs["rooms"].append(None, shown.text.encode(), 1_893_456_000_000)
            await app.settle()
        begun = spans.one("step rooms.ASKED")
    assert begun["context"]["trace_id"][2:] == json.loads(shown.text)["traceparent"][3:35]


def test_the_page_knows_every_kind_of_span() -> None:
    for name in (*tracing._JOBS.values(), "trigger", "call", "connector", "enter", "append"):
        assert f"`{name} {{workflow}}" in PAGE
