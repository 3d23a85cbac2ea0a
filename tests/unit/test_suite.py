"""The suite of benchmarks: what is judged, stored, compared, and told of one that fails."""

import os
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.aims import AIMS, BENCHMARKS
from benchmarks.figures import Figure
from benchmarks.figures import table as figures_table
from benchmarks.history import Result, change, flat, last_of, store, stored
from benchmarks.machine import facts
from benchmarks.suite import Failed, not_idle, run, table

RATIO = next(aim for aim in AIMS if aim.figure == "ratio")
START = next(aim for aim in AIMS if aim.figure == "start_s")


def result(at: str, **figures: float) -> Result:
    return Result(at, "abc", {}, figures={"throughput": figures}, busy={"throughput": 0.0})


def shown(now: Result, *before: Result) -> dict[str, str]:
    """The rows of the table, by what they are of."""
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table(now, before))
    console.file.close()
    lines = console.export_text().splitlines()
    return {aim.what: line for aim in AIMS for line in lines if aim.what in line}


def test_an_aim_is_at_least_or_at_most() -> None:
    assert [RATIO.reached(value) for value in (0.69, 0.7, 0.8)] == [False, True, True]
    assert [START.reached(value) for value in (2.9, 3.0, 3.1)] == [True, True, False]


def test_each_aim_is_of_a_benchmark_and_each_benchmark_has_one() -> None:
    assert {aim.benchmark for aim in AIMS} == set(BENCHMARKS)
    assert len({aim.figure for aim in AIMS}) == len(AIMS)


def test_an_aim_is_found_by_the_figure_that_its_benchmark_tells() -> None:
    for aim in AIMS:
        figures = getattr(import_module(BENCHMARKS[aim.benchmark][0]), "FIGURES", {})
        assert not figures or figures[aim.figure].unit == aim.unit, aim.figure


def test_a_benchmark_by_itself_tells_the_aims_too() -> None:
    figures = {name: Figure(name, "s") for name in ("start_s", "start_max_s")}
    for start, style in ((2.9, ""), (3.1, "red")):
        told = figures_table("", figures, {"start_s": start, "start_max_s": 9.0})
        assert list(told.columns[2].cells) == [START.told, ""]
        assert [row.style for row in told.rows] == [style, ""]


def test_results_are_stored_and_the_newest_figure_is_compared(tmp_path: Path) -> None:
    old, newer = result("2030-01-01T00:00:00", ratio=0.4), result("2030-01-02T00:00:00")
    for each in (newer, old):
        store(each, tmp_path)
    assert stored(tmp_path) == [old, newer]
    assert last_of(stored(tmp_path), RATIO) == 0.4
    latest = result("2030-01-03T00:00:00", ratio=0.6)
    assert last_of([old, latest, newer], RATIO) == 0.6
    assert last_of([], RATIO) is None
    assert (change(0.5, 0.4), change(0.5, None), change(None, 0.4)) == ("+25%", "", "")


def test_the_table_says_what_is_met_what_is_not_and_what_failed() -> None:
    now = result("2030-01-02T00:00:00", ratio=0.5, latency_p50_ms=3.1)
    now.failed["start"] = "ended with 1: no such module"
    rows = shown(now, result("2030-01-01T00:00:00", ratio=0.4))
    assert all(word in rows[RATIO.what] for word in ("0.5", "NO", "0.4", "+25%"))
    assert "yes" in rows["an idle run of three steps, p50"]
    assert "no such module" in rows[START.what]
    assert "not measured" in rows["bulk trigger, against the raw producer"]


def test_a_busy_machine_is_told() -> None:
    busy = Result("", "", {}, busy={"throughput": 0.5, "start": 0.02})
    assert not_idle(busy) == ["throughput"]


def benchmark(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> list[str]:
    (folder / "tried_benchmark.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return ["tried_benchmark"]


def test_the_figures_of_a_benchmark_are_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = 'print(\'{"a_s": 1, "b": [2], "c": {"d": 3}}\')'
    assert run(benchmark(tmp_path, monkeypatch, source)) == {"a_s": 1.0}
    assert flat({"x": 2.5}) == {"x": 2.5}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import not_there", "No module named 'not_there'"),
        ("print('nothing')", "printed no JSON object"),
        ("print([1])", "printed no JSON object"),
    ],
)
def test_a_benchmark_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, why: str
) -> None:
    with pytest.raises(Failed, match=why):
        run(benchmark(tmp_path, monkeypatch, source))


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = benchmark(tmp_path, monkeypatch, "import signal\nsignal.pause()")
    with pytest.raises(Failed, match="took longer than"):
        run(command, longest=0.2)


def test_facts_name_no_host() -> None:
    told = str(facts())
    assert os.uname().nodename not in told
    assert str(Path.home()) not in told
    assert "python" in told
