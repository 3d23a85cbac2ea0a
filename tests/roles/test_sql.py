"""Roles as leases in SQL hold to the contract, on each kind of database."""

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from streamwf.adapters.roles.sql import SqlLeases, SqlRoleScheduler
from streamwf.adapters.sql.engine import create
from streamwf.ports import RoleScheduler
from streamwf.testing.contracts.role_scheduler import Make, RoleSchedulerContract
from tests.support import eventually

LEASE = timedelta(seconds=2)


class TestSqlRoles(RoleSchedulerContract):
    lease = LEASE.total_seconds()

    @pytest.fixture
    def another(self, url: str) -> Make:
        self.engines: dict[RoleScheduler, AsyncEngine] = {}

        def one_more() -> RoleScheduler:
            engine = create(url, "store")
            scheduler = SqlRoleScheduler(engine, lease=LEASE)
            self.engines[scheduler] = engine
            return scheduler

        return one_more

    async def cut_off(self, scheduler: RoleScheduler) -> None:
        @event.listens_for(self.engines[scheduler].sync_engine, "before_cursor_execute")
        def refuse(*_: object) -> None:
            raise OSError("the network is gone")


class Statements:
    """What an engine has sent: how often by its first word."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.counts: Counter[str] = Counter()

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            self.counts[statement.split()[0]] += 1


async def test_a_hundred_roles_are_renewed_by_one_statement(url: str) -> None:
    engine = create(url, "store")
    scheduler = SqlRoleScheduler(engine, lease=LEASE)
    async with contextlib.AsyncExitStack() as stack:
        await asyncio.gather(
            *(stack.enter_async_context(scheduler.hold(f"role {n}")) for n in range(100))
        )
        sent = Statements(engine)
        await eventually(lambda: sent.counts["SELECT"] >= 5, within=30)
        assert 4 <= sent.counts["UPDATE"] <= 6
        assert not sent.counts["INSERT"]
    await scheduler.close()


@pytest.mark.parametrize("which", ["postgres_url", "mariadb_url"])
async def test_without_its_table_it_says_so(which: str, request: pytest.FixtureRequest) -> None:
    scheduler = SqlRoleScheduler(create(request.getfixturevalue(which), "store"), lease=LEASE)
    with pytest.raises(ProgrammingError, match="streamwf_roles"):
        async with scheduler.hold("role"):
            pass
    await scheduler.close()


async def test_what_a_lost_answer_has_taken_is_taken_again(url: str) -> None:
    """The database has done it, and who has asked does not know."""
    engine = create(url, "store")
    scheduler = SqlRoleScheduler(engine, lease=LEASE)
    lost: list[bool] = []

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def lose_the_answer(connection: Any, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE") and not lost:
            lost.append(True)
            connection.connection.dbapi_connection.commit()
            raise OSError("the network is gone")

    async with asyncio.timeout(30), scheduler.hold("role") as hold:
        assert hold.token == 2
        assert lost
    await scheduler.close()


async def test_a_late_release_ends_no_later_lease(url: str) -> None:
    first, second = (
        SqlLeases(create(url, "store"), name, timedelta(minutes=1), timedelta(0)) for name in "ab"
    )
    former = await first.take(["role"])
    # It asks again, as it does not know.
    assert await first.take(["role"]) == {"role": former["role"] + 1}
    await first.release(former)

    assert await second.take(["role"]) == {}
    for leases in (first, second):
        await leases.close()
