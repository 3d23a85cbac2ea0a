"""What docs/encryption.md shows is what happens."""

import asyncio
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.docs.readme import ROOT, blocks

PATIENTS, TEST = blocks("python", (ROOT / "docs" / "encryption.md").read_text(encoding="utf-8"))


def test_the_test_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("patients")
    monkeypatch.setitem(sys.modules, "patients", module)
    exec(compile(PATIENTS.text, "patients.py", "exec"), module.__dict__)
    test: dict[str, Any] = {"__name__": "test_patients"}
    exec(compile(TEST.text, "test_patients.py", "exec"), test)
    asyncio.run(test["test_nothing_is_left"]())
