"""docs/capacity.md: its figures are those of the calculation, and so is what it shows."""

import re
import shlex

import pytest
from click.testing import CliRunner

from benchmarks import capacity
from tests.docs.readme import ROOT

PAGE = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
CALLS = re.findall(r"\$ python -m benchmarks\.capacity (.+)\n([^`]+)```", PAGE)
FIGURES = re.findall(r"^\| `([A-Z_]+)` \| ([\d.,]+) \|", PAGE, re.M)


def test_the_table_has_every_figure() -> None:
    named = {name for name in vars(capacity) if name.isupper()} - {"DAY"}
    assert {name for name, _ in FIGURES} == named


@pytest.mark.parametrize(("name", "told"), FIGURES)
def test_a_figure_is_the_one_that_is_reckoned_with(name: str, told: str) -> None:
    assert float(told.replace(",", "")) == getattr(capacity, name)


def test_three_loads_are_shown() -> None:
    assert [shlex.split(call)[1] for call, _ in CALLS] == ["1000", "100000", "10000000"]


@pytest.mark.parametrize(("call", "shown"), CALLS)
def test_what_is_shown_is_what_is_reckoned(call: str, shown: str) -> None:
    assert CliRunner().invoke(capacity.main, shlex.split(call)).output == shown


def test_a_load_by_hand() -> None:
    found = capacity.sizes(capacity.Load(rate=30_000, steps=2, object_bytes=700, days=1))
    assert found["workers, one core each"][0] == 2
    assert found["events"][0] == 45_000
    assert found["log"][0] == pytest.approx(45.0)
    assert found["disk of all brokers for the log"][0] == pytest.approx(45 * 86_400 * 3 / 1e6)
