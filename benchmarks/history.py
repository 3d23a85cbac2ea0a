"""Results of the suite as they are stored: `benchmarks/results/DATE-COMMIT.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.aims import Aim, figure_of

FOLDER = Path(__file__).parent / "results"


class Result(msgspec.Struct, frozen=True):
    """What one call of the suite has found.

    at: ISO 8601, UTC. figures: by benchmark. busy: by benchmark, the share of the processors' time
    that others took just before it. failed: by benchmark, why it has no figures. growth: the curves
    of `benchmarks.growth`, by name, as (size, microseconds of the main thread for a transition).
    """

    at: str
    commit: str
    machine: dict[str, Any]
    figures: dict[str, dict[str, float]] = {}
    busy: dict[str, float] = {}
    failed: dict[str, str] = {}
    growth: dict[str, list[tuple[float, float]]] = {}


def store(result: Result, folder: Path = FOLDER) -> Path:
    folder.mkdir(exist_ok=True)
    moment = result.at[:19].replace("-", "").replace(":", "")
    path = folder / f"{moment}-{result.commit}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return path


def stored(folder: Path = FOLDER) -> list[Result]:
    """All that there are, the oldest first."""
    found = [msgspec.json.decode(path.read_bytes(), type=Result) for path in folder.glob("*.json")]
    return sorted(found, key=lambda result: result.at)


def flat(printed: Mapping[str, Any]) -> dict[str, float]:
    """The figures of what a benchmark prints; lists and groups of them are its own matter."""
    return {name: float(value) for name, value in printed.items() if isinstance(value, int | float)}


def last_of(results: Sequence[Result], aim: Aim) -> float | None:
    """The newest figure of an aim; not each result has all of them."""
    known = (figure_of(result.figures, aim) for result in reversed(results))
    return next((value for value in known if value is not None), None)


def change(now: float | None, before: float | None) -> str:
    """By how much a figure has changed, in percent; empty if that cannot be said."""
    return "" if now is None or not before else f"{100 * (now / before - 1):+.0f}%"
