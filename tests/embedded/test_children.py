"""Runs that start others and wait for them."""

from typing import Any

import pytest

from streamwf import Cancel, Pause, Repeat, Retry, Skip, State, Workflow
from streamwf.declared import ChildRun
from streamwf.errors import (
    InvalidForeignId,
    InvalidObject,
    InvalidQuery,
    NotWaiting,
    TerminalStart,
    TooManyChildren,
    UnknownStatus,
)
from streamwf.record import MAX_CHILDREN
from streamwf.testing import START, build_run
from tests.embedded.app import Gate
from tests.embedded.books import (
    BOUND,
    HOUR,
    PLANNED,
    WAITING,
    WRITING,
    WRITTEN,
    Binding,
    Book,
    BookRun,
    Books,
    Page,
    books,
    note,
    pages,
    replace_step,
    write,
)
from tests.embedded.kit import dead_letters, records, started
from tests.support import eventually

# ---- starting


async def test_a_run_starts_others_and_waits_for_all_of_them() -> None:
    of = pages()
    workflow = books(of)
    async with started(workflow, of) as app:
        run = await app.get(await app.trigger(workflow, "b", Book(pages=3)))
        assert (run.status, run.due_at) == (WRITING, None)
        assert [(c.workflow, c.foreign_id, c.state) for c in run.children] == [
            ("pages", f"b/{n}", None) for n in range(3)
        ]
        for child in run.children:
            found = await app.client.get(of, child.run_id)
            assert found.parent == f"books/{run.run_id}/b"
        await write(app, of, "b/0", "b/2")
        assert (await app.get(run)).status is WRITING
        await write(app, of, "b/1", text="")
        run = await app.get(run)
        assert (run.status, run.state) == (BOUND, State.COMPLETED)
        assert run.object.seen == [
            "0 COMPLETED WRITTEN {'text': 'text'}",
            "1 COMPLETED REFUSED {'text': ''}",
            "2 COMPLETED WRITTEN {'text': 'text'}",
        ]


async def test_a_run_that_starts_none_waits_for_none() -> None:
    of = pages()
    workflow = books(of)
    async with started(workflow, of) as app:
        run = await app.get(await app.trigger(workflow, "b", Book(pages=0)))
        assert (run.status, run.object.seen) == (BOUND, [])


async def test_any_is_the_first_that_ends() -> None:
    of = pages()
    workflow = books(of, "any")
    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book())
        await app.settle()
        await write(app, of, "b/1")
        run = await app.get(run)
        assert (run.status, run.object.seen) == (BOUND, ["1 COMPLETED WRITTEN {'text': 'text'}"])
        await write(app, of, "b/0")
        assert [child.state for child in (await app.get(run)).children] == [State.COMPLETED]


async def test_each_is_seen_when_it_ends() -> None:
    of = pages()
    workflow = books(of, "each")

    async def look(run: BookRun) -> Binding | Skip:
        run.object.seen.append(" ".join(str(child.state) for child in run.children))
        return BOUND if all(child.state for child in run.children) else Skip()

    replace_step(workflow, WRITING, look, to=BOUND, children="each")
    seen = []
    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book(pages=3))
        await app.settle()
        for number in (1, 0, 2):
            await write(app, of, f"b/{number}")
            seen.append((await app.get(run)).status)
        assert seen == [WRITING, WRITING, BOUND]
        # What a step that skips has changed is not kept.
        assert (await app.get(run)).object.seen == ["COMPLETED COMPLETED COMPLETED"]


async def test_two_that_end_while_the_step_looks_are_both_seen() -> None:
    of, gate = pages(), Gate()
    workflow = books(of, "any")

    async def look(run: BookRun) -> Binding:
        note(run)
        await gate.wait()
        return BOUND

    replace_step(workflow, WRITING, look, to=BOUND, children="any")
    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book())
        ids = [child.run_id for child in (await app.get(run)).children]
        await app.client.callback(of, "write", "a", run_id=ids[0])
        await eventually(lambda: gate.waiting)
        await app.client.callback(of, "write", "b", run_id=ids[1])
        await eventually(lambda: app.host.logs["books"].records[-1].value.count(ids[1].encode()))
        gate.open()
        run = await app.get(run)
        assert (run.status, len(run.object.seen)) == (BOUND, 2)


async def test_children_start_where_and_when_they_are_told_to() -> None:
    of = pages()
    workflow = books(of, at=WAITING, start_at=START + 2 * HOUR)
    async with started(workflow, of) as app:
        await app.trigger(workflow, "b", Book(pages=1))
        await app.settle()
        child = await app.client.latest(of, "b/0")
        assert child is not None
        assert (child.state, child.due_at) == (State.INITIATED, START + 2 * HOUR)
        with pytest.raises(NotWaiting):
            await app.client.callback(of, "write", "early", run_id=child.run_id)
        await app.advance(2 * HOUR)
        await write(app, of, "b/0")
        book = await app.client.latest(workflow, "b")
        assert book is not None
        assert book.status is BOUND


async def test_a_step_that_is_tried_again_starts_no_child_twice() -> None:
    of = pages()
    workflow = books(of)
    ids = []

    async def plan(run: BookRun) -> Binding:
        ids.append([run.start(of, name, Page()) for name in ("one", "two", "one")])
        if run.attempt < 3:
            raise OSError("not yet")
        return WRITING

    replace_step(workflow, PLANNED, plan, to=WRITING, retry=Retry(HOUR, maximum=HOUR, jitter=0))
    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book())
        await app.settle()
        assert records(app, of) == 0, "none is started by a step that fails"
        await app.advance(2 * HOUR)
        run = await app.get(run)
        assert ids[0] == ids[1] == ids[2] == [ids[0][0], ids[0][1], ids[0][0]]
        assert [child.run_id for child in run.children] == ids[0][:2]
        assert await app.client.count() == 3


@pytest.mark.parametrize("outcome", [Pause("look"), Repeat(after=HOUR), Skip()])
async def test_whatever_a_step_returns_its_children_are_started(outcome: Any) -> None:
    of = pages()
    workflow = books(of)

    async def plan(run: BookRun) -> Any:
        if run.object.seen:
            return WRITING
        run.object.seen.append("planned")
        run.start(of, f"{run.foreign_id}/0", Page())
        return outcome

    replace_step(workflow, PLANNED, plan, to=WRITING)
    async with started(workflow, of) as app:
        run = await app.get(await app.trigger(workflow, "b", Book()))
        assert run.status is PLANNED
        [child] = run.children
        found = await app.client.latest(of, "b/0")
        assert found is not None
        assert found.run_id == child.run_id


async def test_a_step_that_cancels_its_run_starts_nothing() -> None:
    of = pages()
    workflow = books(of)

    async def plan(run: BookRun) -> Any:
        run.start(of, "never", Page())
        return Cancel("no paper")

    replace_step(workflow, PLANNED, plan, to=WRITING)
    async with started(workflow, of) as app:
        run = await app.get(await app.trigger(workflow, "b", Book()))
        assert (run.state, run.children, records(app, of)) == (State.CANCELLED, [], 0)


async def test_callbacks_and_timeouts_start_children_too() -> None:
    of = pages()
    workflow: Books = Workflow("books", Book, Binding, start=PLANNED)

    @workflow.callback(PLANNED, to=WRITING, payload=str)
    async def order(run: BookRun, name: str) -> Binding | Skip:
        run.start(of, name, Page())
        return WRITING if name == "last" else Skip()

    @workflow.timeout(PLANNED, after=HOUR, to=WRITING)
    async def remind(run: BookRun) -> Skip:
        run.start(of, "reminder", Page())
        return Skip()

    @workflow.step(WRITING, to=BOUND, children="all")
    async def bind(run: BookRun) -> Binding:
        run.object.seen = [child.foreign_id for child in run.children]
        return BOUND

    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book())
        await app.client.callback(workflow, "order", "first", run_id=run.run_id)
        await app.advance(HOUR)
        await app.client.callback(workflow, "order", "last", run_id=run.run_id)
        await app.advance(HOUR)
        run = await app.get(run)
        assert (run.status, run.object.seen) == (BOUND, ["first", "reminder", "last"])


# ---- what can't be


async def test_a_child_that_is_refused_counts_as_cancelled() -> None:
    of = pages()
    workflow = books(of)
    async with started(workflow, of) as app:
        before = await app.trigger(of, "b/0", Page(text="older"))
        run = await app.get(await app.trigger(workflow, "b", Book()))
        [refused, _] = run.children
        told = (refused.state, refused.reason)
        assert told == (State.CANCELLED, "'b/0' has a run in progress")
        await write(app, of, "b/1")
        run = await app.get(run)
        assert run.object.seen == ["0 CANCELLED  None", "1 COMPLETED WRITTEN {'text': 'text'}"]
        assert (await app.client.get(of, before.run_id)).object.text == "older"


async def test_a_run_can_not_start_itself() -> None:
    workflow: Books = Workflow("books", Book, Binding, start=PLANNED)

    @workflow.step(PLANNED, to=WRITING)
    async def plan(run: BookRun) -> Binding:
        if run.object.pages:
            run.start(workflow, run.foreign_id, Book(pages=0))
            run.start(workflow, f"{run.foreign_id}+", Book(pages=run.object.pages - 1))
        return WRITING

    @workflow.step(WRITING, to=BOUND, children="all")
    async def bind(run: BookRun) -> Binding:
        run.object.seen = [f"{child.foreign_id} {child.reason}".strip() for child in run.children]
        return BOUND

    async with started(workflow) as app:
        await app.trigger(workflow, "b", Book(pages=2))
        await app.settle()
        found = {run.foreign_id: run.object.seen async for run in app.client.list(workflow)}
        assert found == {
            "b": ["b 'b' has a run in progress", "b+"],
            "b+": ["b+ 'b+' has a run in progress", "b++"],
            "b++": [],
        }


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"foreign_id": ""}, InvalidForeignId),
        ({"foreign_id": "a\nb"}, InvalidForeignId),
        ({"object": Page.model_construct(text=7)}, InvalidObject),
        ({"at": WRITTEN}, TerminalStart),
        ({"at": PLANNED}, UnknownStatus),
        ({"start_at": START.replace(tzinfo=None)}, InvalidQuery),
    ],
)
def test_a_child_that_can_not_be_started_is_an_error_at_once(
    given: dict[str, Any], error: type[Exception]
) -> None:
    of = pages()
    run = build_run(books(of), Book())
    with pytest.raises(error):
        run.start(of, **{"foreign_id": "p", "object": Page(), **given})
    assert run.starts == []


def test_there_is_an_end_to_how_many_one_run_has() -> None:
    of = pages()
    run = build_run(books(of), Book())
    for number in range(MAX_CHILDREN):
        run.start(of, str(number), Page())
    run.start(of, "0", Page())
    with pytest.raises(TooManyChildren, match="has 2000 children"):
        run.start(of, "one more", Page())


async def test_a_child_of_a_workflow_that_is_not_here_is_set_aside() -> None:
    of = pages()
    workflow = books(of)
    async with started(workflow) as app:
        await app.trigger(workflow, "b", Book(pages=1))
        await app.settle()
        assert dead_letters(app, workflow) == ["there is no workflow 'pages' here"]


async def test_what_children_carry_is_held_as_far_as_there_is_room() -> None:
    of = pages()
    workflow = books(of)
    held: list[ChildRun] = []

    async def bind(run: BookRun) -> Binding:
        held.extend(run.children)
        return BOUND

    replace_step(workflow, WRITING, bind, to=BOUND, children="all")
    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book(pages=5))
        await app.settle()
        await write(app, of, *(f"b/{n}" for n in range(4)), text="x" * 300_000)
        await app.client.run(of, "b/4").cancel()
        await app.settle()
        assert [child.object is None for child in held] == [False, False, False, True, False]
        assert {child.state for child in held[:4]} == {State.COMPLETED}
        assert held[4].state is State.CANCELLED
        assert (await app.get(run)).status is BOUND
