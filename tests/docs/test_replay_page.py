"""What docs/replay.md shows is what happens."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from streamwf.errors import ReplayFailed
from streamwf.histories import ExportedHistory
from streamwf.testing import engine, replay
from tests.docs.readme import ROOT, blocks
from tests.support import run_pytest

PAGE = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
BEFORE, SHOP, *TESTS = blocks("python", PAGE)


def module(name: str, text: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), made.__dict__)
    return made


@pytest.fixture
def histories() -> dict[str, ExportedHistory]:
    """Of a run by the former code: as it was picked, and as it was sent."""
    before = module("before", BEFORE.text)

    async def play() -> dict[str, ExportedHistory]:
        async with engine(before.orders) as app:
            run = await app.trigger(before.orders, "o-1", before.Order(item="book"))
            await app.await_status(run, before.Status.PICKED)
            picked = await app.client.export(run.run_id)
            await app.advance(timedelta(days=3))
            await app.await_status(run, before.Status.SENT)
            return {"picked": picked, "sent": await app.client.export(run.run_id)}

    return asyncio.run(play())


def test_the_tests_pass(histories: dict[str, ExportedHistory], tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.text)
    (tmp_path / "histories").mkdir()
    for name, history in histories.items():
        (tmp_path / "histories" / f"{name}.json").write_text(history.model_dump_json(indent=2))
    for number, block in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text(block.text)
    assert "3 passed" in run_pytest(tmp_path)


def test_it_fails_as_the_page_shows(histories: dict[str, ExportedHistory]) -> None:
    shop = module("shop", SHOP.text)
    assert replay(shop.orders, histories["picked"]).status is shop.Status.PICKED
    with pytest.raises(ReplayFailed) as failure:
        replay(shop.orders, histories["sent"])
    [shown] = blocks("text", PAGE)
    told = str(failure.value).replace(histories["sent"].run_id, "run-1")
    assert f"{told}\n" == shown.text


def test_links_lead_somewhere() -> None:
    for page, _, heading in re.findall(r"\]\(([\w-]+\.md)(#([\w-]+))?\)", PAGE):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert not heading or heading in [title.lower().replace(" ", "-") for title in titles]
