"""Requests that count only for one version of a run, and keys that come again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Run, State
from streamwf.callback_views import CallbackRequest
from streamwf.errors import InvalidQuery, KeyReused, VersionDiffers
from streamwf.operations import Operations
from streamwf.views import Fork, Trigger
from tests.embedded.app import CREATED, DONE, App, Gate, Order, Orders, Status, orders, running
from tests.support import NOW

OrderRun = Run[Order, Status]


def waiting() -> Orders:
    """Its runs wait at the start for a gate, or to be called back."""
    workflow, gate = orders(), Gate()

    @workflow.step(CREATED, to=DONE)
    async def wait(run: OrderRun) -> Status:
        await gate.wait()
        return DONE

    @workflow.callback(CREATED, to=DONE, payload=int)
    async def signed(run: OrderRun, payload: int) -> Status:
        run.object.n = payload
        return DONE

    return workflow


async def started(app: App) -> str:
    run_id = await app.client.trigger(app.workflow, "o-1", Order(n=1), wait=True)
    await app.until(run_id, state=State.RUNNING)
    return run_id


# ---- versions


async def test_of_two_who_saw_the_same_version_one_steers() -> None:
    async with running(waiting()) as app:
        run_id = await started(app)
        version = (await app.get(run_id)).version
        answers = await asyncio.gather(
            app.client.pause(run_id, "a", if_version=version),
            app.client.cancel(run_id, "b", if_version=version),
            return_exceptions=True,
        )
        [refused] = [answer for answer in answers if isinstance(answer, VersionDiffers)]
        now = await app.get(run_id)
        assert (refused.expected, refused.version) == (version, now.version)
        assert now.version == version + 1
        assert now.state in (State.PAUSED, State.CANCELLED)


async def test_a_change_that_is_in_the_log_before_the_request_counts() -> None:
    """What was folded when it was asked does not matter: the log's order decides."""
    async with running(waiting()) as app:
        run_id = await started(app)
        version = (await app.get(run_id)).version
        app.append({"type": "pause", "subject": "o-1", "runid": run_id})
        with pytest.raises(VersionDiffers):
            await app.client.cancel(run_id, if_version=version)
        assert (await app.get(run_id)).state is State.PAUSED


async def test_a_record_of_any_producer_may_name_a_version() -> None:
    async with running(waiting()) as app:
        run_id = await started(app)
        version = (await app.get(run_id)).version
        pause = {"type": "pause", "subject": "o-1", "runid": run_id}
        for wrong in (version - 1, version + 1, 0, -1):
            app.append({**pause, "ifversion": wrong})
        app.append({**pause, "ifversion": version})
        assert (await app.until(run_id, state=State.PAUSED)).version == version + 1


async def test_a_repeat_is_answered_though_the_version_has_gone_on() -> None:
    async with running(waiting()) as app:
        run_id, asked = await started(app), Operations(app.host)
        version = (await app.get(run_id)).version
        for _ in range(2):
            run = await asked.steer("pause", run_id, "x", "k", version)
            assert (run.state, run.version) == (State.PAUSED, version + 1)


async def test_a_callback_to_a_version() -> None:
    async with running(waiting()) as app:
        run_id, asked = await started(app), Operations(app.host)
        version = (await app.get(run_id)).version
        call = CallbackRequest(name="signed", foreign_id="o-1", run_id=run_id, payload=7)
        with pytest.raises(VersionDiffers):
            await asked.callback("orders", call, version - 1)
        with pytest.raises(InvalidQuery):
            await asked.callback("orders", call.model_copy(update={"run_id": None}), version)
        assert (await asked.callback("orders", call, version)).outcome == "moved"
        assert (await app.get(run_id)).object.n == 7


async def test_a_fork_of_a_run_that_is_as_it_was() -> None:
    async with running(waiting()) as app:
        run_id, asked = await started(app), Operations(app.host)
        version = (await app.get(run_id)).version
        fork = Fork(version=1, foreign_id="o-2")
        with pytest.raises(VersionDiffers):
            await asked.fork(run_id, fork, version + 1)
        assert (await app.get(await asked.fork(run_id, fork, version))).object.n == 1


# ---- keys

OTHERS: list[dict[str, Any]] = [
    {"object": {"n": 2}},
    {"start_at": NOW + timedelta(hours=1)},
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
async def test_a_key_that_comes_with_another_trigger(other: dict[str, Any]) -> None:
    async with running(waiting()) as app:
        asked = Operations(app.host)
        first = Trigger(foreign_id="o-1", object={"n": 1}, key="k")
        run = await asked.trigger("orders", first)
        assert (await asked.trigger("orders", first)).run_id == run.run_id
        with pytest.raises(KeyReused, match="'k'"):
            await asked.trigger("orders", first.model_copy(update=other))
        assert (await app.get(run.run_id)).object.n == 1


async def test_a_repeat_may_be_written_in_another_way() -> None:
    async with running(waiting()) as app:
        asked = Operations(app.host)
        app.append({"type": "trigger", "subject": "o-1", "key": "k", "data": {"n": 1.0, "x": 3}})
        trigger = Trigger(foreign_id="o-1", object={"n": 1}, key="k")
        await asked.trigger("orders", trigger)


async def test_a_key_that_comes_with_another_reason() -> None:
    async with running(waiting()) as app:
        run_id, asked = await started(app), Operations(app.host)
        await asked.steer("pause", run_id, "x", "k")
        await asked.steer("pause", run_id, "x", "k")
        with pytest.raises(KeyReused):
            await asked.steer("pause", run_id, "y", "k")
        await asked.steer("resume", run_id, "y", "k")


async def test_a_key_that_comes_with_another_payload() -> None:
    async with running(waiting()) as app:
        run_id, asked = await started(app), Operations(app.host)
        call = CallbackRequest(name="signed", foreign_id="o-1", payload=7, key="k")
        assert (await asked.callback("orders", call)).outcome == "moved"
        assert (await asked.callback("orders", call)).outcome == "duplicate"
        with pytest.raises(KeyReused):
            await asked.callback("orders", call.model_copy(update={"payload": 8}))
        assert (await app.get(run_id)).object.n == 7


async def test_a_key_that_comes_with_another_fork() -> None:
    async with running(waiting()) as app:
        run_id, asked = await started(app), Operations(app.host)
        fork = Fork(version=1, foreign_id="o-2", key="k")
        new = await asked.fork(run_id, fork)
        assert await asked.fork(run_id, fork) == new
        with pytest.raises(KeyReused):
            await asked.fork(run_id, fork.model_copy(update={"version": 2}))


async def test_what_is_deleted_is_not_compared() -> None:
    async with running(waiting()) as app:
        run_id, asked = await started(app), Operations(app.host)
        await asked.steer("cancel", run_id, "x", "k")
        await asked.steer("delete-data", run_id)
        await asked.steer("cancel", run_id, "y", "k")
