"""The page of features is of the tests that there are, and leaves out no row of the table."""

import json
from pathlib import Path
from typing import Any

from tests.acceptance.rows import HOSTS, PLACES, each_test, results, shown

RESULTS = Path(__file__).parents[2] / "docs" / "features.json"


def without_results(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for test in each_test(found):
        test["hosts"] = dict.fromkeys(test["hosts"])
    return found


def test_every_row_has_a_test_on_every_host() -> None:
    there = {(told.section, told.row, host) for told in shown() for host in told.hosts}
    wanted = {(*place, host) for place in PLACES for host in HOSTS}
    assert wanted - there == set()


def test_every_test_of_a_host_is_of_a_row() -> None:
    tests = {told.test for told in shown()}
    folder = RESULTS.parents[1] / "tests" / "acceptance"
    named = {
        f"{file.name}::{line.removeprefix('async def ').partition('(')[0]}"
        for file in folder.glob("test_*.py")
        for line in file.read_text().splitlines()
        if line.startswith("async def test_")
    }
    assert named - tests == set()


def test_the_results_are_of_the_tests_that_there_are() -> None:
    written = json.loads(RESULTS.read_text())
    assert without_results(written) == results({}), "run `make features`"


def test_all_of_them_have_passed() -> None:
    written = json.loads(RESULTS.read_text())
    outcomes = {outcome for test in each_test(written) for outcome in test["hosts"].values()}
    assert outcomes == {"passed"}
