"""The page of the stored results."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.history import Result, store
from tests.docs.readme import ROOT

# It is not imported here: pygal's hook for imports warns at each import after it.
pytestmark = pytest.mark.skipif(
    find_spec("pygal") is None, reason="python -m pip install --group report"
)


def write(results: list[Result], folder: Path) -> Path:
    for each in results:
        store(each, folder / "results")
    command = [sys.executable, "-m", "benchmarks.report", "--results", str(folder / "results")]
    subprocess.run([*command, "--docs", str(folder)], cwd=ROOT, check=True)
    return folder / "benchmarks.md"


def result(day: int, ratio: float, busy: float = 0.0) -> Result:
    return Result(
        f"2030-01-0{day}T00:00:00+00:00",
        "abc",
        {"cpu": "a processor", "packages": {"msgspec": "1.0"}},
        figures={"throughput": {"ratio": ratio}},
        busy={"throughput": busy},
        growth={"object bytes": [(100, 20.8), (1_000, 28.1)]},
    )


def test_the_page_has_the_newest_figures_and_pictures(tmp_path: Path) -> None:
    page = write([result(1, 0.4), result(2, 0.8, busy=0.5)], tmp_path).read_text()
    [row] = [line for line in page.splitlines() if line.startswith("| transitions of one")]
    assert "| 0.8 | yes | 2030-01-02, busy machine |" in row
    assert "not measured" in page
    assert "a processor" in page
    for picture in ("growth-object-bytes.svg", "history-ratio.svg"):
        assert f"(benchmarks/{picture})" in page
        drawn = (tmp_path / "benchmarks" / picture).read_text()
        assert drawn.startswith("<svg")
        assert "<script" not in drawn


def test_one_result_has_no_history(tmp_path: Path) -> None:
    page = write([result(1, 0.4)], tmp_path).read_text()
    assert "Over time" not in page
    assert "| 0.4 | no |" in page
