"""Simulations of a fixed number of seeds, and of a few that nobody has seen before.

They run in processes of their own, whose sets of names are in the same order each time, so that a
seed that fails here fails everywhere.
"""

import os
import subprocess
import sys
import time

import pytest

from tests.simulation.outcome import least

#: Where others use the machine, too.
pytestmark = pytest.mark.timeout(900)

#: How many that are always the same, and how many new ones.
FIXED, FRESH = 150, 30

#: Fresh ones that something was found by: a mailbox of exactly once that kept its second callback,
#: twice; what is for a parent whose keys are gone; shards that waited for ever for a copy; results
#: that a transaction of another shard hid from a new owner; hooks while data are deleted again; a
#: checkpoint after one that had failed half way; and an assignment that an older one came after.
FOUND = (
    *("252666382", "252666501", "252666512", "665815688"),
    *("145838212", "145838254", "145838491", "824128405", "230112649", "465581522"),
    "426670735",
)


def simulated(*arguments: str, hashing: str = "random") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hashing},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("first", [0, FIXED // 2])
def test_seeds_that_are_always_the_same(first: int) -> None:
    done = simulated("--from", str(first), "--seeds", str(FIXED // 2), "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_seeds_that_nobody_has_seen() -> None:
    first = str(time.time_ns() % 1_000_000_000)
    done = simulated("--from", first, "--seeds", str(FRESH), "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", FOUND)
def test_seeds_that_something_was_found_by(seed: str) -> None:
    done = simulated("--seed", seed)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", ["2", "13"])
def test_a_seed_always_tells_the_same_story(seed: str) -> None:
    first, second = simulated("--seed", seed, hashing="1"), simulated("--seed", seed, hashing="2")
    assert first.returncode == 0, first.stdout + first.stderr
    *told, ended = first.stdout.splitlines()
    *told_again, ended_again = second.stdout.splitlines()
    assert told == told_again
    # But for how long it took.
    assert ended.partition("; ")[2] == ended_again.partition("; ")[2]


def test_what_is_not_needed_is_left_out() -> None:
    tried: list[list[int]] = []

    def breaks(kept: object) -> bool:
        assert isinstance(kept, list)
        tried.append(kept)
        return {3, 17} <= set(kept)

    assert least(range(40), breaks, 200) == [3, 17]
    assert len(tried) < 80
