"""What docs/stores.md shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import inspect

from streamwf import Settings, ports
from streamwf.adapters.sql.engine import create
from streamwf.adapters.stores import FILE, open_stores, store_of
from streamwf.stored_letters import letters_of
from streamwf.testing import contracts
from tests.docs.readme import ROOT, blocks
from tests.support import run_pytest

#: What pytest-asyncio wants to be told.
SCOPE = "asyncio_default_fixture_loop_scope=function"

PAGE = (ROOT / "docs" / "stores.md").read_text(encoding="utf-8")


def test_an_adapter_of_ones_own_is_held_to_its_contract(tmp_path: Path) -> None:
    [test] = [block for block in blocks("python", PAGE) if not block.needs]
    (tmp_path / "test_mine.py").write_text(test.text)
    assert re.search(
        r"\d\d passed", run_pytest(tmp_path, "-p", "pytest_asyncio.plugin", "-o", SCOPE)
    )


def test_a_program_of_ones_own(tmp_path: Path) -> None:
    [program] = [block for block in blocks("python", PAGE) if block.needs == "embedded"]
    (tmp_path / "program.py").write_text(program.text)
    told = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (told.stdout, told.stderr, told.returncode) == ("o-1 Status.PAID 5\n", "", 0)


async def test_the_tables_are_those_of_the_page(sqlite_url: str) -> None:
    async with open_stores(sqlite_url, "store") as stores:
        for stream in ("orders", letters_of("orders")):
            await (await stores.log.streamer.sender(stream)).close()
    engine = create(sqlite_url, "store")
    async with engine.connect() as connection:
        there = await connection.run_sync(lambda known: inspect(known).get_table_names())
    await engine.dispose()
    told = {name.partition("…")[0] for name in re.findall(r"`(streamwf_[a-z_…]+)`", PAGE)}
    for name in told:
        assert any(table.startswith(name) for table in there), name
    for table in there:
        assert any(table.startswith(name) for name in told), table


def test_what_is_said_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STREAMWF_STORE", "WORKFLOW_ADAPTERS", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert store_of(Settings())[0] == FILE
    monkeypatch.setenv("DATABASE_URL", "postgresql://orders")
    assert store_of(Settings())[0] == FILE
    monkeypatch.setenv("WORKFLOW_ADAPTERS", "sql")
    assert store_of(Settings()) == ("postgresql://orders", "database_url")
    monkeypatch.setenv("STREAMWF_STORE", "memory")
    assert store_of(Settings()) == ("memory", "store")


def test_every_port_of_the_page_has_a_contract() -> None:
    there = {path.stem for path in Path(contracts.__file__).parent.glob("*.py")}
    for port in re.findall(r"`(\w+(?:Streamer|Store|Scheduler|Provider))`", PAGE):
        assert hasattr(ports, port)
        assert re.sub(r"(?<=[a-z])(?=[A-Z])", "_", port).lower() in there
