"""Runs that begin where others were, and runs that are tried again."""

from datetime import timedelta
from enum import StrEnum, auto
from typing import Any

import pytest
from pydantic import BaseModel

from streamwf import Fatal, Repeat, Retry, Run, State, Workflow
from streamwf.errors import (
    InvalidForeignId,
    InvalidObject,
    RunInProgress,
    RunNotFound,
    StreamwfError,
    TerminalStart,
    TransitionRefused,
    UnknownStatus,
    VersionNotFound,
)
from streamwf.record import MAX_OFFSETS
from streamwf.testing import Engine, engine
from tests.embedded.app import CREATED, DONE, FAILED, PICKED, Order, Orders, Status, orders
from tests.embedded.kit import records, started, types

HOUR = timedelta(hours=1)
OrderRun = Run[Order, Status]


def counting() -> Orders:
    """From CREATED to PICKED, and by `finish` to DONE. Each adds to n."""
    workflow = orders()

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        run.object.n += 1
        return PICKED

    @workflow.callback(PICKED, to=[DONE, PICKED], payload=int)
    async def finish(run: OrderRun, more: int) -> Status:
        run.object.n += more
        return DONE if more else PICKED

    return workflow


async def finished(app: Engine, workflow: Orders, n: int = 10) -> str:
    """A run of five versions: trigger, moved, callback, moved; n is 1 more at PICKED."""
    run = await app.trigger(workflow, "o-1", Order(n=n))
    await app.callback_when(run, PICKED, "finish", 100)
    return run.run_id


# ---- fork


@pytest.mark.parametrize(
    ("version", "status", "n", "later"),
    [(1, CREATED, 10, 11), (2, PICKED, 11, 11), (3, PICKED, 11, 11)],
)
async def test_a_run_begins_where_another_was(
    version: int, status: Status, n: int, later: int
) -> None:
    workflow = counting()
    async with started(workflow) as app:
        old = await finished(app, workflow)
        new = await app.client.fork(old, version, foreign_id="o-2", reason="once more")
        first = (await app.client.history(new)).events[0]
        assert (first.type, first.status, first.object["n"]) == ("trigger", status.name, n)
        assert first.reason == "once more"
        await app.settle()
        run = await app.client.get(workflow, new)
        assert (run.foreign_id, run.status, run.object.n) == ("o-2", PICKED, later)
        assert run.origin == f"{old}@{version}"
        await app.client.callback(workflow, "finish", 5, run_id=new)
        assert (await app.client.get(workflow, new)).object.n == later + 5
        former = await app.client.get(workflow, old)
        assert (former.status, former.object.n, former.origin) == (DONE, 111, "")


async def test_of_the_same_foreign_id_there_is_one_in_progress() -> None:
    workflow = counting()
    async with started(workflow) as app:
        old = await finished(app, workflow)
        new = await app.client.fork(old, 1)
        latest = await app.client.latest(workflow, "o-1")
        assert latest is not None
        assert latest.run_id == new
        for run_id in (old, new):
            with pytest.raises(RunInProgress, match=new):
                await app.client.fork(run_id, 1)
        assert await app.client.fork(new, 1, foreign_id="o-2") != new


async def test_a_fork_of_a_fork_tells_of_both() -> None:
    workflow = counting()
    async with started(workflow) as app:
        old = await finished(app, workflow)
        new = await app.client.fork(old, 2, foreign_id="o-2")
        await app.settle()
        newer = await app.client.fork(new, 1, foreign_id="o-3")
        run = await app.client.get(workflow, newer)
        assert (run.origin, run.object.n) == (f"{new}@1", 11)


async def test_a_key_leads_to_one_fork() -> None:
    workflow = counting()
    async with started(workflow) as app:
        old = await finished(app, workflow)
        ids = {await app.client.fork(old, 1, key="k") for _ in range(3)}
        assert len(ids) == 1
        other = await app.client.fork(old, 1, foreign_id="o-2", key="k")
        assert other not in ids
        assert await app.client.count() == 3


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"version": 0}, VersionNotFound),
        ({"version": -1}, VersionNotFound),
        ({"version": 5}, VersionNotFound),
        ({"version": 4}, TerminalStart),
        ({"version": 1, "foreign_id": "o\n2"}, InvalidForeignId),
    ],
)
async def test_what_can_not_be_forked(given: dict[str, Any], error: type[StreamwfError]) -> None:
    workflow = counting()
    async with started(workflow) as app:
        old = await finished(app, workflow)
        before = records(app, workflow)
        with pytest.raises(error):
            await app.client.fork(old, **given)
        with pytest.raises(RunNotFound):
            await app.client.fork("no-such-run", 1)
        assert records(app, workflow) == before


async def test_what_is_deleted_does_not_come_back() -> None:
    workflow = counting()
    async with started(workflow) as app:
        old = await finished(app, workflow)
        await app.client.delete_data(old)
        for state in (State.DATA_DELETION_REQUESTED, State.DATA_DELETED):
            with pytest.raises(TransitionRefused, match=f"Can't fork run {old}: it is {state}"):
                await app.client.fork(old, 1)
            await app.settle()


async def test_what_came_with_a_callback_or_from_a_child_is_no_object() -> None:
    workflow = counting()
    parents = orders()
    parents.name = "parents"

    @parents.step(CREATED, to=PICKED)
    async def begin(run: OrderRun) -> Status:
        run.start(workflow, "child", Order())
        return PICKED

    @parents.step(PICKED, to=DONE, children="all")
    async def end(run: OrderRun) -> Status:
        return DONE

    async with started(parents, workflow) as app:
        parent = await app.trigger(parents, "p-1", Order(n=7))
        await app.settle()
        child = await app.client.latest(workflow, "child")
        assert child is not None
        await app.callback_when(child, PICKED, "finish", 3)
        assert (await types(app, parent.run_id))[2] == "child"
        history = [event.object for event in (await app.client.history(parent.run_id)).events]
        assert [each and each["n"] for each in history] == [7, 7, None, 7]
        for run_id, version, n in [(parent.run_id, 3, 7), (child.run_id, 3, 1)]:
            new = await app.client.fork(run_id, version, foreign_id=f"again-{n}")
            assert (await app.client.history(new)).events[0].object["n"] == n


async def test_of_a_long_run_the_last_versions_can_be_forked() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def count(run: OrderRun) -> Status | Repeat:
        run.object.n += 1
        return DONE if run.object.n > MAX_OFFSETS + 10 else Repeat(after=HOUR)

    @workflow.callback(PICKED, to=PICKED)
    async def again(run: OrderRun, data: bytes) -> Status:
        return PICKED

    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.advance((MAX_OFFSETS + 5) * HOUR)
        await app.callback_when(run, PICKED, "again")
        await app.advance(HOUR)
        run = await app.get(run)
        history = await app.client.history(run.run_id)
        assert history.truncated
        [entered] = [event.version for event in history.events if event.status]
        with pytest.raises(VersionNotFound, match=f"from {run.version - MAX_OFFSETS + 1} to"):
            await app.client.fork(run.run_id, 2, foreign_id="o-2")
        with pytest.raises(VersionNotFound):
            await app.client.fork(run.run_id, entered - 1, foreign_id="o-2")
        new = await app.client.fork(run.run_id, entered, foreign_id="o-2")
        assert (await app.client.get(workflow, new)).object.n >= MAX_OFFSETS


# ---- by another definition


class Former(StrEnum):
    CREATED = auto()
    PICKED = auto()
    CHECKED = auto()
    DONE = auto()


async def test_a_former_status_is_what_it_is_called_now() -> None:
    former: Workflow[Order, Former] = Workflow("orders", Order, Former)

    @former.step(Former.CREATED, to=Former.CHECKED)
    async def check(run: Run[Order, Former]) -> Former:
        return Former.CHECKED

    @former.step(Former.CHECKED, to=Former.DONE)
    async def end(run: Run[Order, Former]) -> Former:
        return Former.DONE

    async with engine(former) as before:
        run = await before.trigger(former, "o-1", Order(n=3))
        await before.settle()
    without = counting()
    async with engine(without, former=before) as app:
        with pytest.raises(UnknownStatus, match="'CHECKED'"):
            await app.client.fork(run.run_id, 2)
        assert await app.client.fork(run.run_id, 1)
    renamed = counting()
    renamed.renamed = {"CHECKED": PICKED}
    async with engine(renamed, former=before) as app:
        new = await app.client.fork(run.run_id, 2)
        await app.settle()
        assert (await app.client.get(renamed, new)).status is PICKED


async def test_an_object_that_does_not_fit_any_more_is_refused() -> None:
    class Newer(BaseModel):
        n: int
        customer: str

    workflow = counting()
    async with engine(workflow) as before:
        old = await finished(before, workflow)
    newer: Workflow[Newer, Status] = Workflow("orders", Newer, Status)

    @newer.step(CREATED, to=DONE)
    async def end(run: Run[Newer, Status]) -> Status:
        return DONE

    async with engine(newer, former=before) as app:
        with pytest.raises(InvalidObject, match="customer: Field required"):
            await app.client.fork(old, 1)


# ---- retry


def failing(times: int, **options: Any) -> tuple[Orders, list[int]]:
    """Its step fails so often."""
    workflow, attempts = orders(), list[int]()

    @workflow.step(CREATED, to=[DONE, FAILED], **options)
    async def try_it(run: OrderRun) -> Status:
        attempts.append(run.attempt)
        if len(attempts) <= times:
            raise OSError("down")
        return DONE

    return workflow, attempts


async def test_a_step_that_waits_after_an_error_is_tried_at_once() -> None:
    workflow, attempts = failing(2, retry=Retry(HOUR, maximum=HOUR, jitter=0))
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.settle()
        told = await app.client.retry(run.run_id, "it is up again")
        assert (told.reason, told.due_at, told.attempt) == (
            "it is up again",
            app.clock.now(),
            1,
        )
        await app.settle()
        assert attempts == [1, 2], "a retry is one more attempt"
        assert (await app.get(run)).due_at == app.clock.now() + HOUR
        await app.client.run(workflow, "o-1").retry()
        run = await app.get(run)
        assert (run.status, run.error, attempts) == (DONE, None, [1, 2, 3])


@pytest.mark.parametrize("options", [{"pause_after": 1}, {"retry": Retry(attempts=1)}])
async def test_a_run_that_errors_have_paused_is_resumed(options: dict[str, Any]) -> None:
    workflow, attempts = failing(1, **options)
    async with started(workflow) as app:
        run = await app.get(await app.trigger(workflow, "o-1", Order()))
        assert run.state is State.PAUSED
        told = await app.client.retry(run.run_id)
        assert (told.state, told.attempt, told.error) == (State.RUNNING, 0, None)
        run = await app.get(run)
        assert (run.status, attempts) == (DONE, [1, 1])


async def test_a_run_that_waits_for_no_error_can_not_be_retried() -> None:
    workflow = counting()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.settle()
        with pytest.raises(TransitionRefused, match=r"Can't retry run .* it is RUNNING"):
            await app.client.retry(run.run_id)
        await app.client.cancel(run.run_id)
        with pytest.raises(TransitionRefused, match="it is CANCELLED"):
            await app.client.retry(run.run_id)


async def test_what_has_failed_for_good_goes_on_from_before_once_the_code_is_mended() -> None:
    workflow, broken = orders(), [True]

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        run.object.n += 1
        return PICKED

    @workflow.step(PICKED, to=DONE, on_error=FAILED)
    async def pack(run: OrderRun) -> Status:
        if broken:
            raise Fatal("a mistake in the code")
        return DONE

    async with started(workflow) as app:
        run = await app.get(await app.trigger(workflow, "o-1", Order()))
        assert run.status is FAILED
        broken.clear()
        new = await app.client.fork(run.run_id, 2)
        await app.settle()
        run = await app.client.get(workflow, new)
        assert (run.status, run.object.n) == (DONE, 1)
