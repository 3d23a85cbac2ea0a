"""A program that only asks loads nothing of what a worker is made of."""

import ast
import subprocess
import sys
from importlib import import_module
from inspect import getsource
from types import ModuleType

import pytest

import streamwf
import streamwf.adapters.kafka

#: Packages that workers need, or the command line.
OF_WORKERS = (
    *("faust", "rocksdict", "aiokafka", "sqlalchemy", "alembic", "aiosqlite"),
    *("prometheus_client", "structlog", "uvloop", "click", "rich"),
)

ASK = f"""
import sys
from unittest.mock import patch

with patch.dict(sys.modules, dict.fromkeys({OF_WORKERS!r})):
    from streamwf import Client, SyncClient
    from streamwf.errors import WorkerUnreachable

    with Client.over_http("http://127.0.0.1:1").sync() as client:
        try:
            client.count()
        except WorkerUnreachable as error:
            print(error)
"""


def test_a_client_over_http_needs_no_package_of_a_worker() -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=60, check=False
    )
    assert asked.stdout.startswith("No worker answers at http://127.0.0.1:1."), asked.stderr


@pytest.mark.parametrize(
    "package", [streamwf, streamwf.adapters.kafka], ids=lambda each: each.__name__
)
def test_each_public_name_is_what_type_checkers_take_it_for(package: ModuleType) -> None:
    seen = {
        alias.name: "streamwf." * node.level + str(node.module)
        for block in ast.parse(getsource(package)).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(seen) == package.__all__
    for name, home in seen.items():
        assert getattr(package, name) is vars(import_module(home))[name]


def test_a_public_name_stays_itself_when_its_module_is_imported_first() -> None:
    code = "import streamwf.embedded; from streamwf import embedded; print(embedded.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "embedded\n"


def test_a_name_that_is_not_public_is_no_name() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Werkflow' from 'streamwf'"):
        exec("from streamwf import Werkflow")
    assert set(streamwf.__all__) <= set(dir(streamwf))
