"""Simulation is able to fail: each of a list of mistakes is found, and within how many seeds."""

import subprocess
import sys

import pytest

from tests.simulation.mutants import MUTANTS

#: Where others use the machine, too.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    """What is told of each mistake."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.mutants"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_found(found: dict[str, str], name: str) -> None:
    assert found[name].startswith("found by seed"), found[name]
