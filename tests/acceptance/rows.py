"""The rows of the feature table, and which tests show what of them."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent

#: The hosts that every row works on.
HOSTS = ("embedded", "sqlite", "postgresql", "kafka")

#: Those that the suite runs on if it is asked to.
OTHERS = ("mariadb",)


@dataclass(frozen=True)
class Section:
    """A part of the feature table: the names of its rows, in its order."""

    key: str
    title: str
    rows: tuple[str, ...]


SECTIONS = (
    Section(
        "1",
        "Defining a workflow",
        (
            "workflow",
            "step",
            "callback",
            "timeout",
            "connector",
            "hooks",
            "schedule",
            "validation",
            "sensitive fields",
            "diagram",
        ),
    ),
    Section(
        "2",
        "What a step may return or raise",
        (
            "a declared status",
            "an undeclared status",
            "Skip",
            "Repeat",
            "Pause and Cancel",
            "an exception",
            "Fatal",
            "pause_after",
            "timeout=",
            "breaker=",
            "the worker dies in it",
        ),
    ),
    Section(
        "3",
        "Run states",
        (
            "transitions",
            "one run in progress",
            "pause and resume",
            "delete data",
            "retention",
        ),
    ),
    Section(
        "4",
        "Using it",
        (
            "trigger",
            "await",
            "callback and controllers",
            "get, latest, list, history",
            "bulk",
            "fork",
            "rebuild, replay, verify",
            "kcat, any language",
        ),
    ),
    Section("beyond", "Beyond the table", ("children", "pacing")),
    Section("under", "It holds under this", ("faults", "races", "time")),
)


#: Every row as (key of its section, name), in the order of the table.
PLACES = [(section.key, name) for section in SECTIONS for name in section.rows]


class Shown(NamedTuple):
    """What a test shows of a row. hosts: those that it runs on."""

    section: str
    row: str
    says: str
    test: str
    hosts: tuple[str, ...]


def row(name: str, says: str) -> pytest.MarkDecorator:
    """The row that a test is of, as in `1 callback`, and what it shows of it in a sentence."""
    key, _, title = name.partition(" ")
    if (key, title) not in PLACES:
        raise ValueError(f"no row {name!r}: see SECTIONS")
    return pytest.mark.row(key, title, says)


def only(host: str) -> pytest.MarkDecorator:
    """A test for one of the hosts, since the other can't come into that position."""
    if host not in HOSTS:
        raise ValueError(f"no host {host!r}")
    return pytest.mark.only(host)


def hosts_of(function: object, asked: str | None = None) -> tuple[str, ...]:
    """The hosts that a test runs on. asked: the one that the suite is to run on, if not on all."""
    chosen = tuple(mark.args[0] for mark in _marks(function) if mark.name == "only")
    if asked is None:
        return chosen or HOSTS
    return (asked,) if asked in (chosen or (*HOSTS, *OTHERS)) else ()


def shown() -> list[Shown]:
    """What all tests of this folder show, in the order of the table."""
    found = [told for module in _modules() for told in _shown_by(module)]
    return sorted(found, key=lambda told: PLACES.index((told.section, told.row)))


def results(outcomes: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    """What each test shows, by section and row, and how it ended on each of its hosts."""
    told = shown()
    return [
        {
            "title": section.title if section.key.isalpha() else f"{section.key} {section.title}",
            "rows": [
                {
                    "row": name,
                    "tests": [
                        {
                            "says": each.says,
                            "test": each.test,
                            "hosts": {host: outcomes.get((each.test, host)) for host in each.hosts},
                        }
                        for each in told
                        if (each.section, each.row) == (section.key, name)
                    ],
                }
                for name in section.rows
            ],
        }
        for section in SECTIONS
    ]


def each_test(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for section in found:
        for told in section["rows"]:
            yield from told["tests"]


def _modules() -> Iterator[str]:
    for module in pkgutil.iter_modules([str(HERE)]):
        if module.name.startswith("test_"):
            yield module.name


def _shown_by(module: str) -> Iterator[Shown]:
    names = vars(importlib.import_module(f"tests.acceptance.{module}"))
    for name, function in names.items():
        if not name.startswith("test_") or not isinstance(function, FunctionType):
            continue
        if "host" not in inspect.signature(function).parameters:
            continue
        for mark in _marks(function):
            if mark.name == "row":
                yield Shown(*mark.args, f"{module}.py::{name}", hosts_of(function))


def _marks(function: object) -> list[pytest.Mark]:
    return list(getattr(function, "pytestmark", ()))
