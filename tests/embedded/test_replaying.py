"""Histories that were exported, folded by other definitions: whether runs could go on."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from streamwf import Masked, Pause, Repeat, Retry, Run, State, Workflow
from streamwf.errors import (
    HistoryHidden,
    HistoryNewer,
    HistoryOfAnother,
    HistoryUnreadable,
    InvalidDefinition,
    ReplayFailed,
)
from streamwf.histories import ExportedHistory
from streamwf.testing import START, ReplayProblem, engine, replay
from tests.cards import Payment, payments
from tests.embedded.app import CREATED, DONE, FAILED, PACKED, PICKED, Order, Orders, Status, orders
from tests.embedded.test_recalling import eventful

HOUR = timedelta(hours=1)
OrderRun = Run[Order, Status]


async def nothing(run: Any, payload: Any = None) -> Any:
    raise AssertionError("nobody runs it")


async def at_once(run: OrderRun) -> Status:
    return {CREATED: PICKED, PICKED: PACKED, PACKED: DONE}[run.status]


def plain(*steps: tuple[Any, Any], **options: Any) -> Orders:
    workflow = orders(**options)
    for status, to in steps or ((CREATED, PICKED), (PICKED, PACKED), (PACKED, DONE)):
        workflow.step(status, to=to)(at_once)
    return workflow


@pytest.fixture
async def done() -> ExportedHistory:
    """Of a run that went by CREATED, PICKED and PACKED to DONE."""
    workflow = plain()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order(n=7, notes=["a"]))
        await app.await_status(run, DONE)
        return await app.client.export(run.run_id)


async def events_of_every_kind() -> ExportedHistory:
    workflow = eventful()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.advance(HOUR)
        await app.client.pause(run.run_id, "lunch")
        await app.settle()
        await app.client.resume(run.run_id)
        await app.advance(2 * HOUR)
        await app.client.callback(workflow, "weigh", 250, run_id=run.run_id)
        await app.settle()
        await app.client.resume(run.run_id)
        await app.await_status(run, DONE)
        return await app.client.export(run.run_id)


def wrong(workflow: Any, history: Any, **options: Any) -> list[ReplayProblem]:
    with pytest.raises(ReplayFailed) as failure:
        replay(workflow, history, **options)
    found: list[ReplayProblem] = failure.value.problems
    assert all(str(problem) in str(failure.value) for problem in found)
    return found


# ---- what a definition can go on with


async def test_the_same_definition_can_go_on_from_every_version(done: ExportedHistory) -> None:
    replayed = replay(plain(), done)
    assert (replayed.status, replayed.state, replayed.version) == (DONE, State.COMPLETED, 4)
    assert replayed.object == Order(n=7, notes=["a"])
    assert replayed.warnings == ()
    assert (replayed.foreign_id, replayed.run_id) == ("o-1", done.run_id)


async def test_events_of_every_kind_are_folded() -> None:
    history = await events_of_every_kind()
    kinds = {each.event["type"] for each in history.events}
    assert kinds >= {
        *("trigger", "failed", "moved", "pause", "resume", "callback", "expired", "paused"),
        *("hook", "hooked"),
    }
    assert replay(eventful(), history).warnings == ()


async def test_moves_by_timeouts_and_by_errors_are_allowed_as_well() -> None:
    def failing() -> Orders:
        workflow = orders()

        @workflow.step(CREATED, to=DONE, retry=Retry(attempts=1), on_error=PICKED)
        async def fail(run: OrderRun) -> Status:
            raise ValueError("broken")

        @workflow.timeout(PICKED, after=HOUR, to=FAILED)
        async def late(run: OrderRun) -> Status:
            return FAILED

        return workflow

    async with engine(failing()) as app:
        run = await app.trigger(failing(), "o-1", Order())
        await app.advance(HOUR)
        await app.await_status(run, FAILED)
        history = await app.client.export(run.run_id)
    assert replay(failing(), history).warnings == ()


async def test_a_text_that_looks_like_a_mask_hides_nothing() -> None:
    workflow = plain()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order(notes=["•••"]))
        await app.await_status(run, DONE)
        history = await app.client.export(run.run_id)
    assert history.hides == ""
    async with engine(workflow, histories=[history]) as app:
        assert (await app.client.get(workflow, run.run_id)).status is DONE


async def test_a_history_is_read_from_its_file(done: ExportedHistory, tmp_path: Path) -> None:
    file = tmp_path / "done.json"
    file.write_text(done.model_dump_json())
    assert replay(plain(), file) == replay(plain(), str(file)) == replay(plain(), done)


# ---- what it can't


async def test_a_status_that_is_gone(done: ExportedHistory) -> None:
    class Fewer(Enum):
        CREATED = 1
        PACKED = 2
        DONE = 3

    def fewer(**renamed: Fewer) -> Workflow[Any, Any]:
        workflow: Workflow[Any, Any] = Workflow("orders", Order, Fewer, renamed=renamed)
        workflow.step(Fewer.CREATED, to=Fewer.PACKED)(nothing)
        workflow.step(Fewer.PACKED, to=Fewer.DONE)(nothing)
        return workflow

    [problem] = wrong(fewer(), done)
    assert (problem.versions, problem.status, problem.blocks) == ((2,), "PICKED", True)
    assert problem.problem == "there is no status PICKED any more"
    assert "renamed={'PICKED': STATUS}" in problem.cure
    assert replay(fewer(PICKED=Fewer.PACKED), done).status is Fewer.DONE


async def test_a_status_that_a_run_has_ended_at(done: ExportedHistory) -> None:
    class Other(Enum):
        CREATED = 1
        PICKED = 2
        PACKED = 3
        SENT = 4

    workflow: Workflow[Any, Any] = Workflow("orders", Order, Other)
    for status, to in ((1, 2), (2, 3), (3, 4)):
        workflow.step(Other(status), to=Other(to))(nothing)
    assert [p.problem for p in wrong(workflow, done)] == ["there is no status DONE any more"]


async def test_a_status_that_nothing_follows(done: ExportedHistory) -> None:
    workflow = plain((CREATED, [PICKED, PACKED]), (PACKED, DONE))
    [ends, moved] = wrong(workflow, done)
    assert (ends.versions, ends.problem[:22]) == ((2,), "nothing follows PICKED")
    assert (moved.versions, moved.status) == ((3,), "PICKED")
    assert [p.versions for p in wrong(workflow, done, moves=False)] == [(2,)]


async def test_what_a_run_waits_for_is_gone() -> None:
    workflow = plain((CREATED, PICKED))
    workflow.timeout(PICKED, after=HOUR, to=DONE)(nothing)
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.await_status(run, PICKED)
        history = await app.client.export(run.run_id)
    other = plain((CREATED, PICKED))
    other.timeout(PICKED, after=HOUR, to=DONE, name="other")(nothing)
    [blocks, warning] = wrong(other, history)
    assert blocks.problem == "nothing that it waits for is declared at PICKED any more"
    assert (warning.blocks, warning.versions) == (False, (2,))


async def test_a_move_that_is_not_allowed_any_more(done: ExportedHistory) -> None:
    workflow = plain((CREATED, PICKED), (PICKED, [FAILED]), (FAILED, PACKED), (PACKED, DONE))
    [problem] = wrong(workflow, done)
    assert (problem.versions, problem.status, problem.blocks) == ((3,), "PICKED", True)
    assert problem.problem == "it moved on to PACKED, and nothing at PICKED leads there any more"
    assert replay(workflow, done, moves=False).warnings == ()


async def test_objects_have_to_fit_at_every_version(done: ExportedHistory) -> None:
    class Strict(BaseModel):
        n: int
        notes: list[int]
        weight: float

    workflow: Workflow[Any, Any] = Workflow("orders", Strict, Status)
    for status, to in ((CREATED, PICKED), (PICKED, PACKED), (PACKED, DONE)):
        workflow.step(status, to=to)(nothing)
    found = wrong(workflow, done)
    assert [problem.versions for problem in found] == [(1,), (2,), (3,), (4,)]
    for problem in found:
        assert "notes.*: Input should be a valid integer" in problem.problem
        assert "weight: Field required" in problem.problem


async def test_all_that_is_wrong_is_told_at_once(done: ExportedHistory) -> None:
    class Less(BaseModel):
        notes: list[str]

    workflow: Workflow[Any, Any] = Workflow("orders", Less, Status)
    workflow.step(CREATED, to=PICKED)(nothing)
    workflow.step(PICKED, to=[FAILED])(nothing)
    workflow.step(FAILED, to=PACKED)(nothing)
    with pytest.raises(AssertionError) as failure:
        replay(workflow, done)
    lines = str(failure.value).splitlines()
    definition = f"Definition {workflow.definition} of 'orders'"
    assert lines[0] == f"{definition} can't go on as run {done.run_id} of 'o-1' did:"
    told = [line for line in lines if not line.startswith("  ")][1:]
    assert [line.partition(":")[0] for line in told] == [
        "error, version 3 at PICKED",
        "error, version 3 at PACKED",
        "error, version 4 at PACKED",
        "warning, version 1 at CREATED",
        "warning, version 2 at PICKED",
        "warning, version 3 at PACKED",
        "warning, version 4 at DONE",
    ]


async def test_what_would_be_lost_is_a_warning(done: ExportedHistory) -> None:
    class Less(BaseModel):
        n: int

    workflow: Workflow[Any, Any] = Workflow("orders", Less, Status)
    for status, to in ((CREATED, PICKED), (PICKED, PACKED), (PACKED, DONE)):
        workflow.step(status, to=to)(nothing)
    warnings = replay(workflow, done).warnings
    assert {warning.problem for warning in warnings} == {
        "its object has notes, which no field takes: it will be lost"
    }
    assert not any(warning.blocks for warning in warnings)


async def test_one_problem_of_several_versions_is_told_once() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def again(run: OrderRun) -> Status | Repeat | Pause:
        run.object.n += 1
        return DONE if run.object.n == 4 else Repeat() if run.object.n != 2 else Pause("once")

    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order())
        await app.settle()
        await app.client.resume(run.run_id)
        await app.await_status(run, DONE)
        history = await app.client.export(run.run_id)
    other = plain((PICKED, DONE))
    [problem] = wrong(other, history, moves=False)
    assert problem.versions == (1, 2, 3, 4, 5)
    assert str(problem).startswith("error, versions 1-5 at CREATED: nothing follows CREATED")


# ---- histories that are none


def without(history: ExportedHistory, number: int) -> ExportedHistory:
    events = [each for at, each in enumerate(history.events) if at != number]
    return history.model_copy(update={"events": events})


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (0, "its event 'moved' is not accepted: no_such_run"),
        (1, "its event 'moved' is not accepted: stale"),
        (3, "its events do not lead to where it was: COMPLETED at DONE, version 4"),
    ],
)
async def test_a_history_that_lacks_an_event(done: ExportedHistory, number: int, says: str) -> None:
    problem = wrong(plain(), without(done, number))[0]
    assert problem.problem == says
    assert problem.cure == "export the history anew"


async def test_a_history_with_an_event_that_nobody_knows(done: ExportedHistory) -> None:
    done.events[1].event["type"] = "flown"
    problem = wrong(plain(), done)[0]
    assert problem.problem == "its event can't be read: there is no event type 'flown'"
    assert problem.versions == (2,)


async def test_a_history_without_events(done: ExportedHistory) -> None:
    [problem] = wrong(plain(), done.model_copy(update={"events": []}))
    assert problem.problem.startswith("its events do not lead to where it was")


async def test_files_that_have_no_history(done: ExportedHistory, tmp_path: Path) -> None:
    with pytest.raises(HistoryUnreadable, match="No such file"):
        replay(plain(), tmp_path / "none.json")
    file = tmp_path / "some.json"
    for text in ("", "{", "[]", '{"run_id": "r", "truncated": false, "events": []}'):
        file.write_text(text)
        with pytest.raises(HistoryUnreadable, match=r"some\.json has no history of a run"):
            replay(plain(), file)
    newer_form = done.model_copy(update={"format": 2})
    with pytest.raises(HistoryNewer):
        replay(plain(), newer_form)
    for newer in (newer_form.model_dump_json(), '{"format": 2}'):
        file.write_text(newer)
        with pytest.raises(HistoryNewer, match="has form 2, and this streamwf reads those up to 1"):
            replay(plain(), file)
    with pytest.raises(HistoryOfAnother):
        replay(payments(), done)
    with pytest.raises(InvalidDefinition):
        replay(orders(), done)


# ---- what is hidden


async def masked_history() -> ExportedHistory:
    workflow = payments()
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Payment())
        await app.settle()
        await app.client.pause(run.run_id)
        code = {"code": "code-xyz-1"}
        await app.client.callback(workflow, "answer", code, run_id=run.run_id, wait_for=HOUR)
        return await app.client.export(run.run_id)


async def test_what_is_masked_is_left_out_and_the_rest_is_looked_at() -> None:
    history = await masked_history()
    replayed = replay(payments(), history)
    assert replayed.object is None or "•••" in repr(replayed.object)
    assert {warning.problem for warning in replayed.warnings} == {
        "its object has masked fields, which were not looked at"
    }

    class Dearer(Payment):
        amount: str  # type: ignore[assignment]
        pin: Annotated[int | None, Masked] = 1

    same = payments()
    other: Any = Workflow("payments", Dearer, type(same.start or same.member("NEW")))
    other.step(same.member("NEW"), to=[same.member("ASKED"), same.member("FAILED")])(nothing)
    for callback in ("answer", "anything"):
        other.callback(same.member("ASKED"), to=same.member("PAID"), name=callback, payload=dict)(
            nothing
        )
    problems = [p.problem for p in wrong(other, history) if p.blocks]
    assert set(problems) == {"its object does not fit: amount: Input should be a valid string"}


async def test_nobody_goes_on_from_what_is_hidden() -> None:
    history = await masked_history()
    with pytest.raises(HistoryHidden, match="in which objects are masked"):
        async with engine(payments(), histories=[history]):
            raise AssertionError("it has begun")


# ---- going on


async def waiting_for_an_hour() -> ExportedHistory:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        return PICKED

    workflow.timeout(PICKED, after=HOUR, to=DONE, name="late")(nothing)
    async with engine(workflow) as app:
        run = await app.trigger(workflow, "o-1", Order(n=1))
        await app.await_status(run, PICKED)
        return await app.client.export(run.run_id)


async def test_a_run_goes_on_where_its_history_ends() -> None:
    history = await waiting_for_an_hour()
    workflow = plain((CREATED, PICKED), (PACKED, DONE))
    called: list[int] = []

    @workflow.timeout(PICKED, after=3 * HOUR, to=PACKED)
    async def late(run: OrderRun) -> Status:
        called.append(run.object.n)
        return PACKED

    async with engine(workflow, histories=[history]) as app:
        assert app.clock.now() == START
        run = await app.client.get(workflow, history.run_id)
        await app.expect_timeout(run, "late", due_at=START + HOUR)
        await app.advance(HOUR)
        run = await app.await_status(run, DONE)
        assert (run.version, called) == (4, [1])
        whole = await app.client.export(run.run_id)
    assert replay(workflow, whole).status is DONE


async def test_a_run_that_has_failed_is_tried_again_by_the_new_code() -> None:
    def failing(answer: Callable[[], Status]) -> Orders:
        workflow = orders()

        @workflow.step(CREATED, to=DONE, retry=Retry(timedelta(minutes=1), jitter=0))
        async def fail(run: OrderRun) -> Status:
            return answer()

        return workflow

    def broken() -> Status:
        raise ValueError("broken")

    async with engine(failing(broken)) as app:
        run = await app.trigger(failing(broken), "o-1", Order())
        await app.advance(timedelta(minutes=10))
        history = await app.client.export(run.run_id)
    mended = failing(lambda: DONE)
    async with engine(mended, histories=[history]) as app:
        found = await app.client.get(mended, history.run_id)
        assert found.attempt >= 3
        await app.advance(timedelta(minutes=10))
        await app.await_status(found, DONE)


async def with_children(
    parents: Workflow[Any, Any],
    kids: Workflow[Any, Any],
    histories: Iterable[ExportedHistory] = (),
) -> list[ExportedHistory]:
    async with engine(parents, kids, histories=histories) as app:
        if not histories:
            await app.trigger(parents, "o-1", Order())
        await app.settle()
        await app.advance(2 * HOUR)
        runs = (await app.client.find()).runs
        assert {run.state for run in runs} <= {State.RUNNING, State.COMPLETED}
        found = [await app.client.export(run.run_id) for run in runs]
        return sorted(found, key=lambda each: each.workflow != parents.name)


@pytest.mark.parametrize("given", [1, 2])
async def test_children_go_on_or_start_again(given: int) -> None:
    def family(to: Status) -> tuple[Workflow[Any, Any], Workflow[Any, Any]]:
        kids = Workflow("kids", Order, Status)
        kids.step(CREATED, to=PICKED)(at_once)
        kids.timeout(PICKED, after=3 * HOUR if to is DONE else HOUR, to=to, name="late")(
            lambda run: to
        )
        parents = orders()

        @parents.step(CREATED, to=PICKED)
        async def start(run: OrderRun) -> Status:
            run.start(kids, "kid-1", Order(n=2))
            return PICKED

        @parents.step(PICKED, to=DONE, children="all")
        async def hear(run: OrderRun) -> Status:
            return DONE

        return parents, kids

    [parent, kid] = await with_children(*family(DONE))
    assert (parent.status, kid.status) == ("PICKED", "PICKED")
    [parent, kid] = await with_children(*family(FAILED), histories=[parent, kid][:given])
    # With its history, the kid waits for its three hours; else it starts anew, and waits for one.
    expected = {1: ("DONE", "FAILED"), 2: ("PICKED", "PICKED")}
    assert (parent.status, kid.status) == expected[given]


async def test_histories_of_what_is_not_there(done: ExportedHistory) -> None:
    with pytest.raises(HistoryOfAnother):
        async with engine(payments(), histories=[done]):
            raise AssertionError("it has begun")


async def test_the_runs_of_a_former_engine_go_on_beside_them(done: ExportedHistory) -> None:
    workflow = plain()
    async with engine(workflow) as former:
        run = await former.trigger(workflow, "o-2", Order())
        await former.await_status(run, DONE)
        await former.advance(HOUR)
    async with engine(workflow, former=former, histories=[done]) as app:
        assert app.clock.now() == START + HOUR
        assert {run.foreign_id for run in (await app.client.find()).runs} == {"o-1", "o-2"}
