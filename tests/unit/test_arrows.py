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
    *("counting", "errors", "graph", "events", "record", "outcome", "retry", "pacing", "agenda"),
    *("verdict", "mail", "fold_requests", "fold_results", "fold", "emit"),
    *("redaction", "masking"),
    *("objects", "declared", "recurring", "validation", "definition", "schedules"),
    *("sources", "connector", "connections", "leading", "connector_views"),
    *("ports", "views", "schedule_views", "callback_views", "telling", "cron"),
    *("compatibility", "lists", "naming", "measures", "requesting", "moves"),
    *("letter_views", "open_letters", "indexing", "searched"),
    *("until", "histories", "lines"),
}

#: What decides what an event makes of a run: by the run and the event alone.
FOLD = {"verdict", "mail", "fold_requests", "fold_results", "fold"}

#: A module of the core imports only what stands to its left or beside it.
ORDER = [
    {"counting", "on_demand"},
    {"errors"},
    {"graph", "events", "record", "outcome"},
    {"verdict", "mail", "fold_requests", "fold_results", "in_turn"},
    {"fold", "agenda", "retry", "pacing", "cron", "ports", "views", "telling", "settings"},
    {"naming", "lines", "ids", "measures", "indexing", "access"},
    {"until", "redaction", "masking", "comparing", "grouping", "letter_views", "stored_letters"},
    {"objects", "declared", "sources", "connector", "recurring", "schedule_views"},
    {"validation", "definition", "callback_views"},
    {"moves", "broadcast"},
    {"emit", "rows", "connections", "requesting", "schedules", "timetable", "waiting", "vault"},
    {"leading", "logs", "open_letters"},
    {"searched", "histories"},
    {"bulk", "calling", "debugging", "compatibility", "lists", "masked_views", "run_info"},
    {"results", "failures", "execute", "lanes", "dispatch", "sealing"},
    {"shard", "vaults"},
    {"stored_log"},
    {"following", "stored_shard", "moment"},
    {"candidates"},
    {"listing"},
    {"looking", "changing", "roles"},
    {"retelling", "watching", "overview", "recalling"},
    {"pump", "inner_work", "partition_reader", "connecting", "firing", "inner"},
    {"stored"},
    {"stored_aside", "stored_app"},
    {"connector_views", "answering", "connected", "connector_client"},
    {"dead_letters", "letter_client"},
    {"scheduling", "operations", "schedule_client", "watch_client", "gateway", "outbox"},
    {"request_client", "relay", "bounded"},
    {"client"},
    {"blocking"},
    {"embedded"},
    {"__init__"},
    {"testing"},
    {"pytest_plugin"},
]
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}

#: What drives shards, and holds their rows in memory.
HOSTS = {"embedded", "stored_shard", "stored_aside"}

#: What ships for users' tests, and runs in none of their workers.
FOR_TESTS = {"testing", "pytest_plugin"}

#: What adapters have to pass; imported by tests alone.
CONTRACTS = "streamwf.testing.contracts"

#: The modules of the core that a table may import.
FOR_TABLES = {"ports", "events", "record", "errors", "agenda", "indexing"}

IMPURE_MODULES = {
    *("asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "queue"),
    *("random", "secrets", "selectors", "shutil", "signal", "socket", "sqlite3", "subprocess"),
    *("sys", "tempfile", "threading", "time"),
}
THIRD_PARTY_ABOVE = {"cronsim", "msgspec", "pydantic", "pydantic_core"}
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "open", "print", "input", "getenv"}


@dataclass
class Module:
    """What a file imports, as absolute names, and what it calls.

    imports: when it is loaded. lazy: inside functions. typed: for those who check types alone.
    """

    name: str
    imports: set[str] = field(default_factory=set)
    lazy: set[str] = field(default_factory=set)
    typed: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)

    @property
    def everything(self) -> set[str]:
        return self.imports | self.lazy | self.typed


def packages_of(name: str, is_package: bool) -> list[str]:
    parts = name.split(".")
    return parts if is_package else parts[:-1]


def read(path: Path) -> Module:
    relative = path.relative_to(PACKAGE.parent)
    is_package = path.name == "__init__.py"
    parts = relative.with_suffix("").parts
    name = ".".join(parts[:-1] if is_package else parts)
    return look(Module(name), path.read_text(), packages_of(name, is_package))


def look(module: Module, source: str, packages: list[str]) -> Module:
    tree = ast.parse(source)
    lazy = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    typed = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for kept in node.body
        for child in ast.walk(kept)
    }
    for node in ast.walk(tree):
        found = imported(node, packages)
        kind = module.typed if node in typed else module.lazy if node in lazy else module.imports
        kind.update(found)
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
CORE["testing"] = read(PACKAGE / "testing" / "__init__.py")


def own(names: set[str]) -> set[str]:
    """Of all imports, those of streamwf: their first part below it."""
    return {name.split(".")[1] for name in names if name.startswith("streamwf.")}


def test_every_module_of_the_core_has_its_place() -> None:
    assert set(CORE) == set(RANKS)
    assert set(CORE) >= ABOVE_THE_LINE


@pytest.mark.parametrize("name", sorted(RANKS))
def test_the_core_imports_only_what_stands_before_it(name: str) -> None:
    tables = {"tables"} if name in HOSTS else set()
    for other in own(CORE[name].imports) - tables:
        assert other in RANKS, f"{name} imports {other} at module level"
        assert RANKS[other] <= RANKS[name], f"{name} imports {other}"


def test_the_core_has_no_rings() -> None:
    # A package may be of several modules.
    TopologicalSorter({name: own(CORE[name].imports) - {name} for name in CORE}).prepare()


def test_embedded_takes_of_the_tables_only_those_in_memory() -> None:
    tables = {name for name in CORE["embedded"].imports if "tables" in name}
    assert tables == {"streamwf.tables.memory", "streamwf.tables.keys"}


@pytest.mark.parametrize("name", sorted(ABOVE_THE_LINE))
def test_above_the_line_all_is_pure(name: str) -> None:
    module = CORE[name]
    assert own(module.everything) <= ABOVE_THE_LINE
    others = {other.split(".")[0] for other in module.everything} - {"streamwf"}
    assert not others & IMPURE_MODULES
    assert others <= THIRD_PARTY_ABOVE | sys.stdlib_module_names
    assert not module.calls & IMPURE_CALLS


def test_ports_know_only_events_and_records() -> None:
    assert own(CORE["ports"].everything) <= {"events", "record"}


@pytest.mark.parametrize("name", sorted(FOLD))
def test_the_fold_never_looks_at_a_definition(name: str) -> None:
    assert own(CORE[name].everything) <= {"events", "record", "errors"} | FOLD


@pytest.mark.parametrize("module", modules("tables"), ids=lambda module: module.name)
def test_tables(module: Module) -> None:
    assert own(module.everything) <= FOR_TABLES | {"tables"}


@pytest.mark.parametrize("module", modules("adapters"), ids=lambda module: module.name)
def test_adapters_know_nothing_of_what_uses_them(module: Module) -> None:
    assert not own(module.everything) & {"agents", "cli", "embedded", "__init__"}


@pytest.mark.parametrize("module", modules("agents"), ids=lambda module: module.name)
def test_agents_are_one_host_and_know_no_other(module: Module) -> None:
    assert not own(module.everything) & {"cli", "embedded"}


def test_nothing_that_ships_imports_what_only_tests_need() -> None:
    shipped = [
        module for folder in ("tables", "adapters", "agents", "cli") for module in modules(folder)
    ]
    for module in [*CORE.values(), *shipped]:
        roots = {name.split(".")[0] for name in module.everything}
        # pytest itself loads its plugin, and nothing else may.
        allowed = {"pytest"} if module.name == "streamwf.pytest_plugin" else set()
        assert not roots & {"tests", "pytest", "hypothesis"} - allowed, module.name
        assert not own(module.everything) & FOR_TESTS or (
            module.name.removeprefix("streamwf.") in FOR_TESTS
        ), module.name
        assert not any(name.startswith(CONTRACTS) for name in module.everything), module.name


@pytest.mark.parametrize("module", modules("testing/contracts"), ids=lambda module: module.name)
def test_contracts_know_ports_and_no_adapter(module: Module) -> None:
    others = {name for name in module.everything if not name.startswith(CONTRACTS)}
    assert own(others) <= FOR_TABLES


def test_one_module_knows_what_traces_are_made_with() -> None:
    for folder in ("", "tables", "adapters", "agents", "cli"):
        for module in modules(folder):
            roots = {name.split(".")[0] for name in module.everything}
            assert "opentelemetry" not in roots or module.name == "streamwf.adapters.tracing"


def test_the_reader_sees_what_it_has_to_see() -> None:
    """The test of this test: each way to write an import."""
    source = """
import typing
import asyncio.queues
from typing import TYPE_CHECKING
from . import errors
from .record import Record
from streamwf.tables import timers
if TYPE_CHECKING:
    from .definition import Workflow
else:
    from .definition import Other
if typing.TYPE_CHECKING:
    def g():
        from .shard import Shard
def f():
    from .agents import app
    app.open()
"""
    module = look(Module("streamwf.x"), source, ["streamwf"])
    assert module.imports == {
        *("typing", "asyncio.queues"),
        *("streamwf.errors", "streamwf.record", "streamwf.tables.timers", "streamwf.definition"),
    }
    assert module.lazy == {"streamwf.agents.app"}
    assert module.typed == {"streamwf.definition", "streamwf.shard"}
    assert module.calls == {"open"}
