"""What docs/security.md shows is what happens."""

import asyncio
import sys
from types import ModuleType
from typing import Any

import pytest

from streamwf.settings import Settings
from tests.docs.readme import ROOT, blocks

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PAYMENTS, TEST = blocks("python", PAGE)


def test_the_test_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("payments")
    monkeypatch.setitem(sys.modules, "payments", module)
    exec(compile(PAYMENTS.text, "payments.py", "exec"), module.__dict__)
    test: dict[str, Any] = {"__name__": "test_payments"}
    exec(compile(TEST.text, "test_payments.py", "exec"), test)
    asyncio.run(test["test_the_card_is_told_to_nobody"]())


def test_it_listens_where_it_says() -> None:
    fields = Settings.model_fields
    assert f"`{fields['web_host'].default}:{fields['web_port'].default}`" in PAGE
