"""What docs/schedules.md shows is what happens."""

import asyncio
import contextlib
import io
import json
import sys
from types import ModuleType
from typing import get_args

import pytest

from streamwf.recurring import Overlap
from streamwf.schedule_views import ScheduleAction
from streamwf.testing import engine
from tests.docs.readme import ROOT, blocks

PAGE = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")
REPORTS, TEST, MAIN = blocks("python", PAGE)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("reports")
    monkeypatch.setitem(sys.modules, "reports", module)
    exec(compile(REPORTS.text, "reports.py", "exec"), module.__dict__)
    return module


def test_the_test_passes(reports: ModuleType) -> None:
    exec(compile(TEST.text, "test_reports.py", "exec"), {"__name__": "test_reports"})


def test_the_example_prints_what_the_page_shows(reports: ModuleType) -> None:
    [shown] = blocks("text", PAGE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(MAIN.text, "main.py", "exec"), {"__name__": "main"})
    assert printed.getvalue() == shown.text


def test_the_event_makes_a_schedule(reports: ModuleType) -> None:
    [event] = blocks("json", PAGE)

    async def play() -> None:
        async with engine(reports.reports) as app:
            value = json.dumps(json.loads(event.text)).encode()
            app.host.logs["reports"].append(None, value, 0)
            await app.settle()
            view = await app.client.get_schedule(reports.reports, "yearly")
            assert (view.cron, view.object) == ("@yearly", {"day": "x"})

    asyncio.run(play())


def test_every_option_and_action_is_there() -> None:
    for overlap in get_args(Overlap):
        assert f'`overlap="{overlap}"`' in PAGE
    for action in get_args(ScheduleAction):
        assert action in PAGE
