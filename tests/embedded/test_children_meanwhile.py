"""What happens to runs and those that they have started, while one waits for the other."""

import asyncio
from datetime import timedelta

import pytest

from streamwf import State, Workflow
from tests.embedded.books import (
    BOUND,
    HOUR,
    LATE,
    PLANNED,
    WRITING,
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
from tests.embedded.kit import started, types

# ---- cancelling, pausing, time


async def test_cancel_passes_down_if_asked() -> None:
    of = pages()
    cascading = books(of, cancel_with_parent=True)
    async with started(cascading, of) as app:
        run = await app.trigger(cascading, "b", Book(pages=3))
        await app.settle()
        await write(app, of, "b/1")
        await app.client.cancel(run.run_id, "no paper")
        await app.settle()
        found = [(each.state, each.reason) async for each in app.client.list(of)]
        why = f"its parent {run.run_id} was cancelled"
        assert found == [(State.CANCELLED, why), (State.COMPLETED, ""), (State.CANCELLED, why)]
        told = [(child.state, child.reason) for child in (await app.get(run)).children]
        assert told == found


async def test_cancel_passes_down_through_generations() -> None:
    workflow: Books = Workflow("books", Book, Binding, start=PLANNED)

    @workflow.step(PLANNED, to=WRITING)
    async def plan(run: BookRun) -> Binding:
        if run.object.pages:
            below = Book(pages=run.object.pages - 1)
            run.start(workflow, f"{run.foreign_id}+", below, cancel_with_parent=True)
        return WRITING

    @workflow.timeout(WRITING, after=HOUR, to=BOUND)
    async def bind(run: BookRun) -> Binding:
        return BOUND

    async with started(workflow) as app:
        run = await app.trigger(workflow, "b", Book(pages=3))
        await app.settle()
        await app.client.cancel(run.run_id)
        await app.settle()
        found = [each.state async for each in app.client.list(workflow)]
        assert found == [State.CANCELLED] * 4


async def test_a_parent_that_completes_or_is_not_asked_to_leaves_its_children_alone() -> None:
    of = pages()
    workflow, cascading = books(of), books(of, "any", cancel_with_parent=True)
    cascading.name = "serials"
    async with started(workflow, cascading, of) as app:
        run = await app.trigger(workflow, "b", Book(pages=1))
        await app.trigger(cascading, "s", Book(pages=2))
        await app.settle()
        await app.client.cancel(run.run_id)
        await write(app, of, "s/0")
        serial = await app.client.latest(cascading, "s")
        assert serial is not None
        assert serial.state is State.COMPLETED
        for name in ("b/0", "s/1"):
            child = await app.client.latest(of, name)
            assert child is not None
            assert child.state in (State.INITIATED, State.RUNNING)
        await write(app, of, "b/0", "s/1")


async def test_children_end_while_their_parent_is_paused() -> None:
    of = pages()
    workflow = books(of)
    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book())
        await app.settle()
        await app.client.pause(run.run_id)
        await write(app, of, "b/0", "b/1")
        assert (await app.get(run)).status is WRITING
        await app.client.resume(run.run_id)
        run = await app.get(run)
        assert (run.status, len(run.object.seen)) == (BOUND, 2)


async def test_a_parent_does_not_wait_longer_than_its_timeout() -> None:
    of = pages()
    workflow = books(of)

    @workflow.timeout(WRITING, after=timedelta(minutes=30), to=LATE)
    async def give_up(run: BookRun) -> Binding:
        run.object.seen = [str(child.state) for child in run.children]
        return LATE

    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book())
        await app.settle()
        await write(app, of, "b/0")
        await app.advance(timedelta(minutes=30))
        run = await app.get(run)
        assert (run.status, run.object.seen) == (LATE, ["COMPLETED", "None"])
        await app.advance(HOUR)
        assert [child.state for child in (await app.get(run)).children] == [State.COMPLETED] * 2


async def test_a_step_that_has_waited_has_seen_its_children_and_starts_others() -> None:
    of = pages()
    workflow: Books = Workflow("books", Book, Binding, start=PLANNED)

    @workflow.step(PLANNED, to=WRITING)
    async def plan(run: BookRun) -> Binding:
        run.start(of, f"{run.foreign_id}/0", Page())
        return WRITING

    @workflow.step(WRITING, to=[WRITING, BOUND], children="all")
    async def go_on(run: BookRun) -> Binding:
        run.object.seen.append(" ".join(child.foreign_id for child in run.children))
        if len(run.object.seen) == 3:
            return BOUND
        run.start(of, f"{run.foreign_id}/{len(run.object.seen)}", Page())
        return WRITING

    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book())
        await app.advance(3 * HOUR)
        run = await app.get(run)
        assert (run.status, run.object.seen) == (BOUND, ["b/0", "b/1", "b/2"])
        assert run.children == []


async def test_a_step_that_fails_sees_its_children_again() -> None:
    of = pages()
    workflow = books(of)

    async def bind(run: BookRun) -> Binding:
        if run.attempt == 1:
            raise OSError("no glue")
        note(run)
        return BOUND

    replace_step(workflow, WRITING, bind, to=BOUND, children="all")
    async with started(workflow, of) as app:
        run = await app.trigger(workflow, "b", Book())
        await app.advance(2 * HOUR)
        run = await app.get(run)
        assert (run.status, len(run.object.seen)) == (BOUND, 2)
        assert (await types(app, run.run_id)).count("child") == 2


@pytest.mark.parametrize("foreign_id", ["a/b/c", "b b", "bücher", "%2F", "'\"", "\U0001f4da"])
async def test_parents_with_names_of_every_kind(foreign_id: str) -> None:
    of = pages()
    workflow = books(of)
    async with started(workflow, of) as app:
        run = await app.trigger(workflow, foreign_id, Book())
        await app.advance(HOUR)
        assert (await app.get(run)).status is BOUND


async def test_many_children() -> None:
    of = pages()
    workflow = books(of)
    async with started(workflow, of, patience=timedelta(seconds=60)) as app:
        run = await app.trigger(workflow, "b", Book(pages=300))
        await app.settle()
        await asyncio.gather(
            *(app.client.callback(of, "write", "x", foreign_id=f"b/{n}") for n in range(300))
        )
        run = await app.get(run)
        assert (run.status, len(run.object.seen)) == (BOUND, 300)
