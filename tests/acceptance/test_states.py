"""3 Run states: what may follow what, and what is left in the end."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from streamwf import RunInfo, State, Workflow
from streamwf.errors import RunInProgress, RunNotFound, TransitionRefused
from streamwf.record import LIVE, TRANSITIONS
from streamwf.views import Filter, Query, RunView
from tests.acceptance.flows.carried import DONE, NEW, WAITING, Status, Thing
from tests.acceptance.flows.states import KEPT, RESUMES, lasting, passing, sealed, states
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row
from tests.acceptance.signs import Signs

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

#: What each request leads to.
LEADS_TO = {
    "pause": State.PAUSED,
    "resume": State.RUNNING,
    "cancel": State.CANCELLED,
    "delete_data": State.DATA_DELETION_REQUESTED,
}

Things = Workflow[Thing, Status]
Info = RunInfo[Thing, Status]


async def waiting(host: Host, workflow: Things, name: str, thing: Thing | None = None) -> str:
    """The id of a run that waits to be ended."""
    run_id = await host.client.trigger(workflow, name, thing or Thing(), wait=True)
    await host.client.await_(workflow, run_id, WAITING)
    return run_id


async def ended(host: Host, workflow: Things, name: str, thing: Thing | None = None) -> str:
    """The id of a run that has completed."""
    run_id = await waiting(host, workflow, name, thing)
    await host.client.callback(workflow, "end", b"bye", run_id=run_id)
    return run_id


async def until(host: Host, workflow: Things, run_id: str, **wanted: object) -> Info:
    async def look() -> Info | None:
        run = await host.client.get(workflow, run_id)
        fits = all(getattr(run, field) == value for field, value in wanted.items())
        return run if fits else None

    found = await host.until(look)
    assert found is not None
    return found


async def view(host: Host, workflow: Things, run_id: str) -> RunView:
    """The run as it is, with all that is told of it."""
    run = await host.client.get(workflow, run_id)
    page = await host.client.find(Query(workflow=workflow.name, foreign_id=run.foreign_id))
    return next(each for each in page.runs if each.run_id == run_id)


# ---- transitions


async def in_state(host: Host, state: State, name: str) -> str:
    """The id of a run that is in a state."""
    client = host.client
    if state is State.INITIATED:
        start_at = host.now() + HOUR
        return await client.trigger(states, name, Thing(), start_at=start_at, wait=True)
    run_id = await waiting(host, states, name)
    if state is State.PAUSED:
        await client.pause(run_id)
    elif state is State.CANCELLED:
        await client.cancel(run_id)
    elif state is not State.RUNNING:
        await client.callback(states, "end", b"", run_id=run_id)
        if state is State.DATA_DELETED:
            await client.delete_data(run_id)
    await until(host, states, run_id, state=state)
    return run_id


@row(
    "3 transitions", "What the table allows changes the state; what it forbids is answered with it."
)
@pytest.mark.parametrize(
    "state", [state for state in State if state is not State.DATA_DELETION_REQUESTED]
)
async def test_what_may_follow_a_state(host: Host, name: str, state: State) -> None:
    for request, wanted in LEADS_TO.items():
        run_id = await in_state(host, state, f"{name}-{request}")
        steer = getattr(host.client, request)
        # Only what is paused can be resumed, though a start leads to running, too.
        allowed = wanted in TRANSITIONS[state] and (request, state) != ("resume", State.INITIATED)
        if allowed:
            assert (await steer(run_id, "because")).state is wanted
        else:
            with pytest.raises(TransitionRefused, match=f"it is {state}"):
                await steer(run_id, "because")
            assert (await host.client.get(states, run_id)).state is state


@row("3 transitions", "A run goes from initiated over running to completed.")
async def test_the_way_of_a_run(host: Host, name: str, signs: Signs) -> None:
    signs.put_up("hold")
    run_id = await host.client.trigger(states, name, Thing(folder=signs.folder), wait=True)
    assert (await host.client.get(states, run_id)).state is State.INITIATED
    signs.put_up("go on")
    await host.client.await_(states, run_id, WAITING)
    assert (await host.client.get(states, run_id)).state is State.RUNNING
    await host.client.callback(states, "end", b"", run_id=run_id)
    assert (await host.client.get(states, run_id)).state is State.COMPLETED


# ---- one run in progress


@row("3 one run in progress", "A second trigger is refused, with the id of the run in progress.")
@pytest.mark.parametrize("state", sorted(LIVE))
async def test_a_second_trigger_is_refused(host: Host, name: str, state: State) -> None:
    run_id = await in_state(host, state, name)
    with pytest.raises(RunInProgress) as refused:
        await host.client.trigger(states, name, Thing(), wait=True)
    assert refused.value.run_id == run_id
    await host.client.cancel(run_id)
    again = await host.client.trigger(states, name, Thing(), wait=True)
    assert again != run_id


@row("under races", "Two triggers at the same time are never both accepted.")
@row("3 one run in progress", "Of triggers at the same instant exactly one wins.")
async def test_triggers_at_the_same_instant(host: Host, name: str) -> None:
    answers = await asyncio.gather(
        *(
            client.trigger(states, name, Thing(trail=[str(number)]), wait=True)
            for client in host.clients
            for number in range(10)
        ),
        return_exceptions=True,
    )
    [won] = [answer for answer in answers if isinstance(answer, str)]
    refused = [answer for answer in answers if isinstance(answer, RunInProgress)]
    assert len(refused) == len(answers) - 1
    assert {error.run_id for error in refused} == {won}
    assert await host.client.count(Filter(workflow=states.name, foreign_id=name)) == 1


# ---- pause and resume


@row(
    "3 pause and resume",
    "The result of a step in flight that arrives after a pause is dropped, and the step runs again"
    " after the resume.",
)
async def test_a_pause_while_a_step_is_in_flight(host: Host, name: str, signs: Signs) -> None:
    signs.put_up("hold")
    run_id = await host.client.trigger(states, name, Thing(folder=signs.folder))
    await host.until(lambda: signs.notes() == ["begins 1"])
    assert (await host.client.pause(run_id, "stop")).state is State.PAUSED
    signs.put_up("go on")

    async def arrived() -> bool:
        return any(event["type"] == "moved" for event in await host.events(states, name))

    await host.until(arrived)
    run = await host.client.get(states, run_id)
    assert (run.status, run.state, run.object.trail) == (NEW, State.PAUSED, [])
    assert (await host.client.resume(run_id, "go on")).state is State.RUNNING
    run = await host.client.await_(states, run_id, WAITING)
    assert (run.object.trail, signs.notes()) == (["worked"], ["begins 1", "begins 1"])


@row("3 pause and resume", "While a run is paused no step of it starts.")
async def test_a_paused_run_starts_nothing(host: Host, name: str, signs: Signs) -> None:
    start_at = host.now() + SECOND
    run_id = await host.client.trigger(
        states, name, Thing(folder=signs.folder), start_at=start_at, wait=True
    )
    await host.client.pause(run_id)
    await host.pass_time(2 * SECOND)
    assert signs.notes() == []
    await host.client.resume(run_id)
    await host.client.await_(states, run_id, WAITING)
    assert signs.notes() == ["begins 1"]


@row("3 pause and resume", "Resuming a run that was paused by errors clears their count.")
async def test_a_resume_clears_the_count(host: Host, name: str, signs: Signs) -> None:
    signs.put_up("broken")
    run_id = await host.client.trigger(states, name, Thing(folder=signs.folder), wait=True)
    run = await until(host, states, run_id, state=State.PAUSED)
    assert (run.attempt, run.error is not None) == (1, True)
    signs.take_down("broken")
    told = await host.client.resume(run_id, "mended")
    assert (told.attempt, told.error) == (0, None)
    await host.client.await_(states, run_id, WAITING)
    assert signs.notes() == ["begins 1", "begins 1"]


@row(
    "3 pause and resume",
    "A run that was paused by errors resumes by itself: after an hour, another time, or never.",
)
async def test_a_run_resumes_by_itself(host: Host, name: str, signs: Signs) -> None:
    signs.put_up("broken")
    runs: dict[str, tuple[Things, str]] = {}
    for workflow in (states, passing, lasting):
        thing = Thing(folder=signs.folder)
        run_id = await host.client.trigger(workflow, name, thing, wait=True)
        runs[workflow.name] = workflow, run_id
    resume_at: dict[str, Any] = {}
    for workflow, run_id in runs.values():
        await until(host, workflow, run_id, state=State.PAUSED)
        told = await view(host, workflow, run_id)
        after = None if told.resume_at is None else told.resume_at - told.updated_at
        resume_at[workflow.name] = after and round(after.total_seconds())
    assert resume_at == {"states": 3_600, "passing": RESUMES.total_seconds(), "lasting": None}
    signs.take_down("broken")
    await host.pass_time(RESUMES)
    await host.client.await_(passing, runs["passing"][1], WAITING)
    for name in ("states", "lasting"):
        assert (await host.client.get(*runs[name])).state is State.PAUSED


# ---- what is left


@row(
    "3 delete data",
    "What the run carried is gone, or as `custom_delete` leaves it; the rest stays.",
)
@pytest.mark.parametrize("cancelled", [True, False])
async def test_data_is_deleted(host: Host, name: str, cancelled: bool) -> None:
    left = {}
    for workflow in (states, lasting):
        run_id = await waiting(host, workflow, name, Thing(trail=["a secret"]))
        if cancelled:
            await host.client.cancel(run_id)
        else:
            await host.client.callback(workflow, "end", b"", run_id=run_id)
        await host.client.delete_data(run_id, "on demand")
        run = await until(host, workflow, run_id, state=State.DATA_DELETED)
        assert run.status is (WAITING if cancelled else DONE)
        left[workflow.name] = run.object
        told = (await host.client.history(run_id)).events
        assert all(event.object is None for event in told if event.type != "deleted")
        with pytest.raises(TransitionRefused):
            await host.client.resume(run_id)
    assert left == {"states": None, "lasting": Thing(trail=["deleted"])}


@row(
    "3 delete data",
    "With encryption nobody reads in the log what runs carry; after a deletion nobody ever can.",
)
async def test_what_was_encrypted_can_not_be_read(host: Host, name: str) -> None:
    client = host.client
    other_id = await ended(host, sealed, f"{name}-other", Thing(trail=["a secret"]))
    run_id = await ended(host, sealed, name, Thing(trail=["a secret"]))
    run = await client.get(sealed, run_id)
    assert run.object.trail == ["a secret", "worked", "bye"]
    assert (await client.history(run_id)).events[0].object["trail"] == ["a secret"]
    assert not any(b"secret" in value for value in await host.log(sealed))
    await client.delete_data(run_id, "on demand")
    await until(host, sealed, run_id, state=State.DATA_DELETED)

    async def unreadable() -> bool:
        # A worker may remember a key for a moment.
        events = (await client.history(run_id)).events
        return all(event.object is None for event in events)

    await host.until(unreadable)
    assert (await client.get(sealed, other_id)).object.trail == ["a secret", "worked", "bye"]


@row("3 retention", "Runs that have ended leave the tables after a set time; others stay.")
async def test_runs_that_have_ended_are_forgotten(host: Host, name: str) -> None:
    live = await waiting(host, passing, f"{name}-live")
    run_id = await ended(host, passing, name)
    other = await ended(host, states, name)
    told = await view(host, passing, run_id)
    assert told.forget_at is not None
    assert told.forget_at - told.updated_at <= KEPT

    async def forgotten() -> bool:
        return await host.client.latest(passing, name) is None

    await host.pass_time(KEPT)
    await host.until(forgotten)
    with pytest.raises(RunNotFound):
        await host.client.get(passing, run_id)
    assert (await host.client.get(passing, live)).state is State.RUNNING
    assert (await host.client.get(states, other)).state is State.COMPLETED
    again = await ended(host, passing, name)
    assert again != run_id
