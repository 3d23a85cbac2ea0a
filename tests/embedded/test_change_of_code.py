"""A workflow whose definition changes while its runs are in progress.

An engine ends, and another one goes on with its runs by another definition. What `check` would
have said before is held against what happens.
"""

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from streamwf import Pause, Retry, Run, Skip, State, Workflow
from streamwf.compatibility import Problem, problems
from streamwf.errors import LiveRunsInUnknownStatus
from streamwf.events import CALLBACK, request
from streamwf.record import FIRST_KEY
from streamwf.testing import Engine, engine
from streamwf.views import Query

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Order(BaseModel):
    trail: list[str] = []


class Status(Enum):
    CREATED = 1
    PICKED = 2
    DONE = 3


class WithPacked(Enum):
    CREATED = 1
    PICKED = 2
    PACKED = 4
    DONE = 3


class Renamed(Enum):
    CREATED = 1
    COLLECTED = 2
    DONE = 3


AnyWorkflow = Workflow[Any, Any]


def orders(statuses: type[Any] = Status, **options: Any) -> AnyWorkflow:
    return Workflow("orders", Order, statuses, **options)


def to(status: Any) -> Callable[..., Any]:
    """A function that leaves its trace and leads to a status."""

    async def go(run: Run[Order, Any], payload: Any = None) -> Any:
        run.object.trail.append(f"{run.status.name}-{status.name}")
        return status

    return go


def after_an_hour() -> AnyWorkflow:
    """Two steps; the second one an hour after its status is entered."""
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.PICKED)(to(Status.PICKED))
    workflow.step(Status.PICKED, to=Status.DONE, lag=HOUR)(to(Status.DONE))
    return workflow


def foreseen(app: Engine, workflow: AnyWorkflow) -> list[Problem]:
    """What would be said of another definition, held against all runs that there are."""
    [shard] = app.host.shards("orders")
    return [problem for _, run in shard.scan(FIRST_KEY) for problem in problems(workflow, run)]


async def test_a_status_is_added() -> None:
    changed = orders(WithPacked)
    changed.step(WithPacked.CREATED, to=WithPacked.PICKED)(to(WithPacked.PICKED))
    changed.step(WithPacked.PICKED, to=WithPacked.PACKED)(to(WithPacked.PACKED))
    changed.step(WithPacked.PACKED, to=WithPacked.DONE)(to(WithPacked.DONE))
    async with engine(after_an_hour()) as before:
        run = await before.trigger(before.host.workflows["orders"], "o-1", Order())
        await before.settle()
        assert foreseen(before, changed) == []
    async with engine(changed, former=before) as app:
        await app.advance(HOUR)
        ended = await app.get(run)
    assert (ended.state, ended.status) == (State.COMPLETED, WithPacked.DONE)
    assert ended.object.trail == ["CREATED-PICKED", "PICKED-PACKED", "PACKED-DONE"]


async def test_the_destinations_of_a_step_are_changed() -> None:
    changed = orders(start=Status.CREATED)
    changed.step(Status.CREATED, to=Status.PICKED)(to(Status.PICKED))
    changed.step(Status.PICKED, to=[Status.CREATED, Status.DONE])(
        lambda run: Status.DONE if len(run.object.trail) > 1 else Status.CREATED
    )
    async with engine(after_an_hour()) as before:
        run = await before.trigger(before.host.workflows["orders"], "o-1", Order())
        await before.settle()
        assert foreseen(before, changed) == []
    async with engine(changed, former=before) as app:
        await app.advance(HOUR)
        ended = await app.get(run)
    assert (ended.state, ended.object.trail) == (State.COMPLETED, ["CREATED-PICKED"] * 2)


def renamed(**options: Any) -> AnyWorkflow:
    """PICKED is called COLLECTED, as far as that is said."""
    workflow = orders(Renamed, **options)
    workflow.step(Renamed.CREATED, to=Renamed.COLLECTED)(to(Renamed.COLLECTED))
    workflow.step(Renamed.COLLECTED, to=Renamed.DONE)(to(Renamed.DONE))
    return workflow


async def test_a_status_has_another_name() -> None:
    changed = renamed(renamed={"PICKED": Renamed.COLLECTED})
    async with engine(after_an_hour()) as before:
        run = await before.trigger(before.host.workflows["orders"], "o-1", Order())
        await before.advance(HOUR / 2)
        assert foreseen(before, changed) == []
    async with engine(changed, former=before) as app:
        # It waits for as long as was said when it came there.
        assert (await app.get(run)).status is Renamed.COLLECTED
        # Whoever looks sees it under the name that it has now.
        page = await app.client.find(Query(status=["COLLECTED"]))
        assert [found.status for found in page.runs] == ["COLLECTED"]
        assert await app.client.count(Query(status=["PICKED"])) == 0
        assert (await app.client.describe("orders")).counts == {"COLLECTED": {"RUNNING": 1}}
        waits = await app.client.await_(changed, run.run_id, Renamed.COLLECTED)
        assert waits.status is Renamed.COLLECTED
        await app.advance(HOUR / 2)
        assert await app.client.await_(changed, run.run_id, Renamed.COLLECTED)
        ended = await app.get(run)
    assert (ended.state, ended.object.trail[-1]) == (State.COMPLETED, "COLLECTED-DONE")


async def test_a_status_is_gone() -> None:
    async with engine(after_an_hour()) as before:
        await before.trigger(before.host.workflows["orders"], "o-1", Order())
        await before.settle()
        [problem] = foreseen(before, renamed())
        assert problem.problem == "there is no status PICKED any more"
    with pytest.raises(LiveRunsInUnknownStatus) as refused:
        async with engine(renamed(), former=before):
            raise AssertionError("it runs by a definition that lost a status")
    assert "1 live run is in status 'PICKED'" in str(refused.value)
    assert "renamed={'PICKED': STATUS}" in str(refused.value)
    assert "streamwf check" in str(refused.value)


async def test_each_event_says_which_definition_wrote_it() -> None:
    changed = renamed(renamed={"PICKED": Renamed.COLLECTED}, version="2")
    async with engine(after_an_hour()) as before:
        former = before.host.workflows["orders"]
        await before.trigger(former, "o-1", Order())
        await before.settle()
    async with engine(changed, former=before) as app:
        await app.advance(HOUR)
        records = await app.host.read("orders", 0, tuple(range(3)))
    assert [event.definition for event in records] == ["", former.definition, "2"]


async def test_runs_go_on_by_a_definition_that_takes_their_objects() -> None:
    class Parcel(BaseModel):
        trail: list[str]
        weight: int = 2

    changed: AnyWorkflow = Workflow("orders", Parcel, Status)
    changed.step(Status.CREATED, to=Status.PICKED)(to(Status.PICKED))
    changed.step(Status.PICKED, to=Status.DONE)(to(Status.DONE))
    async with engine(after_an_hour()) as before:
        run = await before.trigger(before.host.workflows["orders"], "o-1", Order())
        await before.settle()
        assert foreseen(before, changed) == []
    async with engine(changed, former=before) as app:
        await app.advance(HOUR)
        assert (await app.get(run)).object.weight == 2


# ---- what is foreseen is what happens


def resting(how: str) -> tuple[AnyWorkflow, ...]:
    """A workflow whose runs stay at PICKED in some way, and what else has to run for that."""
    others: tuple[AnyWorkflow, ...] = ()
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.PICKED)(to(Status.PICKED))
    at_picked: dict[str, Any] = {"to": Status.DONE}
    if how == "waits for its time":
        workflow.step(Status.PICKED, lag=HOUR, **at_picked)(to(Status.DONE))
    elif how == "fails":

        @workflow.step(Status.PICKED, retry=Retry(HOUR, maximum=HOUR, jitter=0), **at_picked)
        async def fail(run: Any) -> Any:
            raise ValueError("it slipped")

    elif how == "has skipped":
        workflow.step(Status.PICKED, **at_picked)(lambda run: Skip())
    elif how == "is paused":
        workflow.step(Status.PICKED, **at_picked)(lambda run: Pause("look at it"))
    elif how == "waits for a timeout":
        workflow.timeout(Status.PICKED, after=HOUR, name="late", **at_picked)(to(Status.DONE))
    elif how == "waits for a callback":
        workflow.callback(Status.PICKED, name="signed", **at_picked)(to(Status.DONE))
    else:
        assert how == "waits for a child"
        child: AnyWorkflow = Workflow("children", Order, Status)
        child.step(Status.CREATED, to=Status.DONE, lag=HOUR)(to(Status.DONE))
        others = (child,)
        workflow.steps.clear()

        @workflow.step(Status.CREATED, to=Status.PICKED)
        async def begin(run: Any) -> Any:
            run.start(child, "c-1", Order())
            return Status.PICKED

        workflow.step(Status.PICKED, children="all", **at_picked)(to(Status.DONE))
    return (workflow, *others)


def with_step() -> AnyWorkflow:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.PICKED)(to(Status.PICKED))
    workflow.step(Status.PICKED, to=Status.DONE)(to(Status.DONE))
    return workflow


def with_timeout(name: str) -> AnyWorkflow:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.PICKED)(to(Status.PICKED))
    workflow.timeout(Status.PICKED, after=HOUR, to=Status.DONE, name=name)(to(Status.DONE))
    return workflow


def with_callback() -> AnyWorkflow:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.PICKED)(to(Status.PICKED))
    workflow.callback(Status.PICKED, to=Status.DONE, name="signed")(to(Status.DONE))
    return workflow


def with_nothing() -> AnyWorkflow:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.PICKED)(to(Status.PICKED))
    return workflow


CHANGES: dict[str, Callable[[], AnyWorkflow]] = {
    "a step": with_step,
    "the timeout": lambda: with_timeout("late"),
    "another timeout": lambda: with_timeout("later"),
    "a callback": with_callback,
    "nothing": with_nothing,
    "another name": lambda: renamed(renamed={"PICKED": Renamed.COLLECTED}),
}

BLOCKED = {
    "waits for its time": {"the timeout", "another timeout", "nothing"},
    "fails": {"the timeout", "another timeout", "nothing"},
    "has skipped": {"the timeout", "another timeout", "nothing"},
    "is paused": {"the timeout", "another timeout", "nothing"},
    "waits for a timeout": {"a step", "another timeout", "nothing", "another name"},
    "waits for a callback": {"a step", "the timeout", "another timeout", "nothing", "another name"},
    "waits for a child": {"the timeout", "another timeout", "nothing"},
}


async def try_everything(app: Engine, run: Any) -> Any:
    """The run, after whatever could move it on has come to it."""
    await app.advance(DAY)
    callback = request(
        "orders",
        CALLBACK,
        "o-1",
        app.clock.now(),
        event_id="c-1",
        data=b"null",
        runid=run.run_id,
        call="signed",
    )
    await app.host.append("orders", callback)
    found = await app.get(run)
    if found.state is State.RUNNING:
        await app.client.pause(run.run_id)
    if found.state in (State.RUNNING, State.PAUSED):
        await app.client.resume(run.run_id)
    await app.advance(DAY)
    return await app.get(run)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", BLOCKED)
async def test_what_is_foreseen_is_what_happens(how: str, change: str) -> None:
    changed = CHANGES[change]()
    former, *others = resting(how)
    async with engine(former, *others) as before:
        run = await before.trigger(former, "o-1", Order())
        assert (await before.get(run)).status is Status.PICKED
        blocks = any(problem.blocks for problem in foreseen(before, changed))
    async with engine(changed, *others, former=before) as app:
        after = await try_everything(app, run)
    assert blocks == (change in BLOCKED[how])
    assert (after.state is State.COMPLETED) == (not blocks)
