"""The arrows of the design: what may import what, read from the source."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import streamwf

PACKAGE = Path(streamwf.__file__).parent

#: Pure: no clock, no I/O, no randomness, no event loop.
ABOVE_THE_LINE = {
    *("errors", "graph", "events", "record", "outcome", "retry", "fold", "agenda"),
    *("definition", "ports", "views", "telling", "cron"),
}

#: A module of the core imports only what stands to its left or beside it.
ORDER = [
    {"errors"},
    {"graph", "events", "record", "outcome"},
    {"fold", "agenda", "retry", "cron", "ports", "views", "telling", "settings"},
    {"definition", "timetable", "waiting"},
    {"calling", "execute", "dispatch", "shard"},
    {"operations"},
    {"client"},
    {"embedded"},
    {"__init__"},
    {"testing"},
    {"pytest_plugin"},
]
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}

#: What ships for users' tests, and runs in none of their workers.
FOR_TESTS = {"testing", "pytest_plugin"}

#: The modules of the core that a table may import.
FOR_TABLES = {"ports", "events", "record", "errors", "agenda"}

IMPURE_MODULES = {
    *("asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "queue"),
    *("random", "secrets", "selectors", "shutil", "signal", "socket", "sqlite3", "subprocess"),
    *("sys", "tempfile", "threading", "time"),
}
THIRD_PARTY_ABOVE = {"cronsim", "msgspec", "pydantic", "pydantic_core"}
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input", "getenv"}


@dataclass
class Module:
    """What a file imports, as absolute names, and what it calls."""

    name: str
    imports: set[str] = field(default_factory=set)
    lazy: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)


def packages_of(name: str, is_package: bool) -> list[str]:
    parts = name.split(".")
    return parts if is_package else parts[:-1]


def read(path: Path) -> Module:
    relative = path.relative_to(PACKAGE.parent)
    is_package = path.name == "__init__.py"
    parts = relative.with_suffix("").parts
    name = ".".join(parts[:-1] if is_package else parts)
    module = Module(name)
    tree = ast.parse(path.read_text())
    inside = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        found = set(imported(node, packages_of(name, is_package)))
        (module.lazy if node in inside else module.imports).update(found)
        if isinstance(node, ast.Call):
            called = node.func
            module.calls.add(
                called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            )
    return module


def imported(node: ast.AST, packages: list[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = packages[: len(packages) - node.level + 1] if node.level else []
        origin = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            whole = f"{origin}.{alias.name}"
            yield whole if is_module(whole) else origin


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def modules(folder: str = "") -> list[Module]:
    root = PACKAGE / folder
    return [read(path) for path in sorted(root.rglob("*.py") if folder else root.glob("*.py"))]


CORE = {module.name.removeprefix("streamwf.") or "__init__": module for module in modules()}
CORE["__init__"] = CORE.pop("streamwf")


def own(names: set[str]) -> set[str]:
    """Of all imports, those of streamwf: their first part below it."""
    return {name.split(".")[1] for name in names if name.startswith("streamwf.")}


def test_every_module_of_the_core_has_its_place() -> None:
    assert set(CORE) == set(RANKS)
    assert set(CORE) >= ABOVE_THE_LINE


@pytest.mark.parametrize("name", sorted(RANKS))
def test_the_core_imports_only_what_stands_before_it(name: str) -> None:
    tables = {"tables"} if name == "embedded" else set()
    for other in own(CORE[name].imports) - tables:
        assert other in RANKS, f"{name} imports {other} at module level"
        assert RANKS[other] <= RANKS[name], f"{name} imports {other}"


def test_the_core_has_no_rings() -> None:
    TopologicalSorter({name: own(CORE[name].imports) for name in CORE}).prepare()


def test_embedded_takes_of_the_tables_only_those_in_memory() -> None:
    [table] = [name for name in CORE["embedded"].imports if "tables" in name]
    assert table == "streamwf.tables.memory"


@pytest.mark.parametrize("name", sorted(ABOVE_THE_LINE))
def test_above_the_line_all_is_pure(name: str) -> None:
    module = CORE[name]
    everything = module.imports | module.lazy
    assert own(everything) <= ABOVE_THE_LINE
    others = {other.split(".")[0] for other in everything} - {"streamwf"}
    assert not others & IMPURE_MODULES
    assert others <= THIRD_PARTY_ABOVE | sys.stdlib_module_names
    assert not module.calls & IMPURE_CALLS


def test_ports_know_only_events_and_records() -> None:
    assert own(CORE["ports"].imports) <= {"events", "record"}


def test_the_fold_never_looks_at_a_definition() -> None:
    assert own(CORE["fold"].imports) <= {"events", "record", "errors"}


@pytest.mark.parametrize("module", modules("tables"), ids=lambda module: module.name)
def test_tables(module: Module) -> None:
    assert own(module.imports | module.lazy) <= FOR_TABLES | {"tables"}


@pytest.mark.parametrize("module", modules("adapters"), ids=lambda module: module.name)
def test_adapters_know_nothing_of_what_uses_them(module: Module) -> None:
    assert not own(module.imports | module.lazy) & {"agents", "cli", "embedded", "__init__"}


@pytest.mark.parametrize("module", modules("agents"), ids=lambda module: module.name)
def test_agents_are_one_host_and_know_no_other(module: Module) -> None:
    assert not own(module.imports | module.lazy) & {"cli", "embedded"}


def test_nothing_that_ships_imports_what_only_tests_need() -> None:
    for folder in ("", "tables", "adapters", "agents", "cli"):
        for module in modules(folder):
            roots = {name.split(".")[0] for name in module.imports | module.lazy}
            # pytest itself loads its plugin, and nothing else may.
            allowed = {"pytest"} if module.name == "streamwf.pytest_plugin" else set()
            assert not roots & {"tests", "pytest", "hypothesis"} - allowed, module.name
            assert not own(module.imports | module.lazy) & FOR_TESTS or (
                module.name.removeprefix("streamwf.") in FOR_TESTS
            ), module.name


def test_the_reader_sees_what_it_has_to_see() -> None:
    """The test of this test: each way to write an import."""
    source = "\n".join(
        [
            "import asyncio.queues",
            "from . import errors",
            "from .record import Record",
            "from streamwf.tables import timers",
            "def f():",
            "    from .agents import app",
        ]
    )
    tree = ast.parse(source)
    seen = {name for node in ast.walk(tree) for name in imported(node, ["streamwf"])}
    assert seen == {
        "asyncio.queues",
        "streamwf.errors",
        "streamwf.record",
        "streamwf.tables.timers",
        "streamwf.agents.app",
    }
