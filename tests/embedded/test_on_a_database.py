"""`embedded` on a database: the same object, whose runs outlive it."""

import asyncio
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from streamwf import Run, State, Workflow, embedded
from streamwf.errors import (
    InvalidSettings,
    LiveRunsInUnknownStatus,
    StoreUnreachable,
    StreamwfError,
)
from streamwf.tables.keys import MemoryKeys
from tests.support import SteppedClock

Object = dict[str, Any]


class Status(Enum):
    CREATED = 1
    WAITING = 2
    DONE = 3


class Fewer(Enum):
    CREATED = 1
    DONE = 3


def loans(**options: Any) -> Workflow[Object, Status]:
    """A workflow that waits for an answer."""
    workflow = Workflow("loans", Object, Status, **options)

    @workflow.step(Status.CREATED, to=Status.WAITING)
    async def ask(run: Run[Object, Status]) -> Status:
        return Status.WAITING

    @workflow.callback(Status.WAITING, to=Status.DONE)
    async def answered(run: Run[Object, Status], answer: str) -> Status:
        run.object["answered"] = True
        return Status.DONE

    return workflow


def without_waiting() -> Workflow[Object, Fewer]:
    workflow = Workflow("loans", Object, Fewer)

    @workflow.step(Fewer.CREATED, to=Fewer.DONE)
    async def decide(run: Run[Object, Fewer]) -> Fewer:
        return Fewer.DONE

    return workflow


async def waits(url: str, workflow: Workflow[Object, Status], **options: Any) -> str:
    """The id of a run that is left there, waiting."""
    async with embedded(workflow, store=url, **options) as app:
        run_id = await app.client.trigger(workflow, "l-1", {"secret": "s3cret"})
        await app.client.await_(workflow, run_id, Status.WAITING)
    return run_id


@pytest.mark.parametrize("kind", ["sqlite_url", "postgres_url", "mariadb_url"])
async def test_runs_go_on_in_the_next_one(request: pytest.FixtureRequest, kind: str) -> None:
    url, workflow = request.getfixturevalue(kind), loans()
    names = [f"l-{number}" for number in range(20)]
    async with embedded(workflow, store=url) as app:
        ids = [await app.client.trigger(workflow, name, {}) for name in names]
        for run_id in ids:
            await app.client.await_(workflow, run_id, Status.WAITING)
    async with embedded(workflow, store=url) as app:
        for name in names:
            told = await app.client.callback(workflow, "answered", "yes", foreign_id=name)
            assert told.outcome == "moved"
        runs = [run async for run in app.client.list(workflow)]
    assert sorted(run.run_id for run in runs) == sorted(ids)
    assert {(run.state, run.object["answered"]) for run in runs} == {(State.COMPLETED, True)}


@pytest.mark.parametrize("kind", ["sqlite_url", "postgres_url"])
async def test_one_at_a_time(request: pytest.FixtureRequest, kind: str) -> None:
    url, workflow = request.getfixturevalue(kind), loans()
    entered = asyncio.Event()

    async def another() -> None:
        async with embedded(workflow, store=url) as app:
            entered.set()
            assert (await app.client.latest(workflow, "l-1")) is not None

    async with embedded(workflow, store=url) as app:
        waiting = asyncio.create_task(another())
        # All that it can have before its turn, and it stays so while this one is at work.
        for number in range(10):
            run_id = await app.client.trigger(workflow, f"l-{number}", {}, wait=True)
            await app.client.await_(workflow, run_id, Status.WAITING)
        assert not entered.is_set()
    await asyncio.wait_for(waiting, 30)


async def test_keys_are_kept_in_the_database_unless_they_are_elsewhere(sqlite_url: str) -> None:
    workflow, elsewhere = loans(encrypt=True), MemoryKeys()
    run_id = await waits(sqlite_url, workflow, key_provider=elsewhere)
    async with embedded(workflow, store=sqlite_url, key_provider=elsewhere) as app:
        assert (await app.client.get(workflow, run_id)).object == {"secret": "s3cret"}
    async with embedded(workflow, store=sqlite_url) as app:
        with pytest.raises(StreamwfError):
            await app.client.get(workflow, run_id)
    assert b"s3cret" not in Path(sqlite_url.removeprefix("sqlite:///")).read_bytes()


async def test_a_definition_that_has_lost_a_status(sqlite_url: str) -> None:
    await waits(sqlite_url, loans())
    with pytest.raises(LiveRunsInUnknownStatus, match="1 live run is in status 'WAITING'"):
        async with embedded(without_waiting(), store=sqlite_url):
            raise AssertionError("it runs by a definition that lost a status")
    # Whoever has the former one finds all as it was.
    async with embedded(former := loans(), store=sqlite_url) as app:
        told = await app.client.callback(former, "answered", "no", foreign_id="l-1")
        assert told.outcome == "moved"


async def test_a_mistake_in_the_block_is_its_own(sqlite_url: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with embedded(loans(), store=sqlite_url):
            1 / 0  # noqa: B018


async def test_what_can_not_be() -> None:
    for store, kind, told in (
        ("memory", InvalidSettings, "store: is no URL of a database"),
        ("postgresql://me:s3cret@127.0.0.1:1/loans", StoreUnreachable, "127.0.0.1:1 can't be"),
    ):
        with pytest.raises(kind, match=told) as refused:
            async with embedded(loans(), store=store):
                raise AssertionError("it runs")
        assert "s3cret" not in str(refused.value)
    with pytest.raises(InvalidSettings, match="clock: on a database time is the machine's"):
        async with embedded(loans(), store="sqlite:///loans.db", clock=SteppedClock()):
            raise AssertionError("it runs")
