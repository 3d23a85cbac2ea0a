"""What docs/children.md shows is what happens."""

from pathlib import Path
from typing import get_args

from streamwf.declared import Children
from streamwf.record import MAX_CHILDREN, MAX_HELD
from tests.docs.readme import ROOT, blocks
from tests.support import run_pytest

PAGE = (ROOT / "docs" / "children.md").read_text(encoding="utf-8")
REPORTS, TEST = blocks("python", PAGE)


def test_the_test_passes(tmp_path: Path) -> None:
    (tmp_path / "reports.py").write_text(REPORTS.text)
    (tmp_path / "test_reports.py").write_text(TEST.text)
    assert "1 passed" in run_pytest(tmp_path)


def test_every_way_of_waiting_and_the_limits_are_told() -> None:
    for way in get_args(Children):
        assert f'`"{way}"`' in PAGE
    assert f"{MAX_CHILDREN:,} children at most" in PAGE
    assert MAX_HELD == 1_000_000


def test_the_files_that_are_linked_exist() -> None:
    assert (ROOT / "docs" / "../examples/trip.py").exists()
