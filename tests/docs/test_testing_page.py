"""What docs/testing.md shows is what happens: its tests pass, and fail as it says."""

import asyncio
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from streamwf.testing import engine
from tests.docs.readme import ROOT, blocks
from tests.support import WITH_ASYNCIO, run_pytest

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
SHOP, *TESTS = blocks("python", PAGE)


def test_the_tests_pass(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.text)
    for number, block in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text(block.text)
    assert "4 passed" in run_pytest(tmp_path, *WITH_ASYNCIO)


def test_an_expectation_fails_as_the_page_shows() -> None:
    shop = ModuleType("shop")
    exec(compile(SHOP.text, "shop.py", "exec"), shop.__dict__)

    async def play() -> None:
        async with engine(shop.orders) as app:
            run = await app.trigger(shop.orders, "o-1", shop.Order(total=500))
            await app.advance(timedelta(seconds=30))
            await app.await_status(run, shop.Status.PAID)

    with pytest.raises(AssertionError) as failure:
        asyncio.run(play())
    [shown] = blocks("text", PAGE)
    assert f"{failure.value}\n" == shown.text
