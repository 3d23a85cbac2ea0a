"""The benchmark of the peers: what it says before it measures anything, and what it makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers.__main__ import figures
from benchmarks.peers.running import Load

ROOT = Path(__file__).parents[2]


def peers(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_it_tells_its_options() -> None:
    told = peers("--help")
    assert told.returncode == 0
    assert "--runs" in told.stdout
    assert "--json" in told.stdout


def test_it_says_what_is_missing_before_it_installs_or_starts_anything(tmp_path: Path) -> None:
    told = peers("--json", path=str(tmp_path))
    assert told.returncode == 1
    assert told.stdout == ""
    assert "npm is not on PATH" in told.stderr
    assert "Traceback" not in told.stderr


def test_its_figures_are_medians_and_ratios_of_them() -> None:
    found = figures(
        {
            "streamwf": [Load(40_000, [0.004]), Load(1, [0.005]), Load(50_000, [0.006])],
            "restate": [Load(1_000, [0.010])],
            "dbos": [Load(200, [0.012])],
        }
    )
    assert found["streamwf_to_restate"] == pytest.approx(40)
    assert found["streamwf_to_dbos"] == pytest.approx(200)
    assert found["streamwf_latency_p50_ms"] == pytest.approx(5)
    assert found["dbos_latency_p99_ms"] == pytest.approx(12)
