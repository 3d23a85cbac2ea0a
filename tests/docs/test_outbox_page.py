"""What docs/outbox.md shows is what happens."""

import asyncio
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.ext.asyncio import AsyncSession

from streamwf import embedded
from streamwf.adapters.sql.outbox import POLL_BEHIND_LISTEN
from streamwf.cli import main
from streamwf.record import MAX_REQUESTS
from streamwf.relay import BATCH, LATE
from tests.docs.readme import ROOT, blocks
from tests.outbox.books import tables
from tests.outbox.relaying import relaying
from tests.support import eventually

PAGE = (ROOT / "docs" / "outbox.md").read_text(encoding="utf-8")
SHOP, APPLICATION, DRIVERS, MIGRATION = blocks("python", PAGE)


def module(name: str, code: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(code, f"{name}.py", "exec"), made.__dict__)
    return made


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = module("shop", SHOP.text)
    monkeypatch.setitem(sys.modules, "shop", made)
    return made


async def test_an_order_and_its_run_are_one(shop: ModuleType, sqlite_url: str) -> None:
    page = module("application", APPLICATION.text)
    async with tables(sqlite_url) as engine:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE my_orders (id TEXT, item TEXT, paid INT)"))
        async with embedded(shop.orders) as app, relaying(sqlite_url, app.host):
            async with AsyncSession(engine) as session:
                await page.place(session, "order-0", "tea")
                await session.rollback()
                run_id = await page.place(session, "order-1", "tea")
                await session.commit()
                await page.pay(session, "order-1", 7)
                await session.commit()
            run = await eventually(lambda: app.client.latest(shop.orders, "order-1"), within=30)
            assert run.run_id == run_id
            paid = await app.client.await_(shop.orders, run_id, shop.Status.PAID)
            assert paid.object.paid == 7
            assert await app.client.latest(shop.orders, "order-0") is None


async def test_the_drivers(shop: ModuleType, postgres_url: str) -> None:
    page = module("drivers", DRIVERS.text)
    async with tables(postgres_url), embedded(shop.orders) as app, relaying(postgres_url, app.host):
        await page.by_asyncpg(postgres_url)
        await asyncio.to_thread(page.by_psycopg, postgres_url)
        for name in ("order-1", "order-2"):
            await eventually(lambda n=name: app.client.latest(shop.orders, n), within=30)  # type: ignore[misc]


def test_the_migration(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        alembic = SimpleNamespace(op=SimpleNamespace(get_bind=lambda: connection))
        monkeypatch.setitem(sys.modules, "alembic", alembic)
        page = module("migration", MIGRATION.text)
        page.upgrade()
        page.upgrade()
    assert inspect(engine).get_table_names() == ["streamwf_outbox"]
    engine.dispose()


def test_the_flags_are_there() -> None:
    for command in ("relay", "worker"):
        told = CliRunner().invoke(main, [command, "--help"]).output
        [line] = re.findall(rf"^streamwf {command} .*$", blocks("sh", PAGE)[0].text, re.MULTILINE)
        for flag in re.findall(r"--[a-z-]+", line):
            assert flag in told


def test_the_numbers() -> None:
    assert (BATCH, MAX_REQUESTS, POLL_BEHIND_LISTEN, LATE) == (100, 128, 5.0, 30.0)
    assert "100 at most" in PAGE
    assert "last 128 requests" in PAGE
