"""Books whose pages are runs of their own."""

from datetime import timedelta
from enum import StrEnum, auto
from typing import Any

from pydantic import BaseModel

from streamwf import Run, Skip, Workflow
from streamwf.declared import Children
from streamwf.testing import Engine

HOUR = timedelta(hours=1)


class Page(BaseModel):
    text: str = ""


class Draft(StrEnum):
    WAITING = auto()
    WRITTEN = auto()
    REFUSED = auto()


class Book(BaseModel):
    pages: int = 2
    seen: list[str] = []


class Binding(StrEnum):
    PLANNED = auto()
    WRITING = auto()
    BOUND = auto()
    LATE = auto()


WAITING, WRITTEN, REFUSED = Draft
PLANNED, WRITING, BOUND, LATE = Binding

Books = Workflow[Book, Binding]
Pages = Workflow[Page, Draft]
BookRun = Run[Book, Binding]
PageRun = Run[Page, Draft]


def pages(**options: Any) -> Pages:
    """Each waits until it is written, or its hour has passed."""
    workflow = Workflow("pages", Page, Draft, **options)

    @workflow.callback(WAITING, to=[WRITTEN, REFUSED], payload=str)
    async def write(run: PageRun, text: str) -> Draft:
        run.object.text = text
        return WRITTEN if text else REFUSED

    @workflow.timeout(WAITING, after=HOUR, to=REFUSED)
    async def late(run: PageRun) -> Draft:
        return REFUSED

    return workflow


def note(run: BookRun) -> None:
    """What a book knows of its pages, as far as they have ended."""
    for child in run.children:
        if child.state is not None:
            name = child.foreign_id.rpartition("/")[2]
            run.object.seen.append(f"{name} {child.state} {child.status} {child.object}")


def books(of: Pages, wait: Children = "all", **start: Any) -> Books:
    """It starts its pages, waits for them and notes what it is told."""
    workflow = Workflow("books", Book, Binding, start=PLANNED)

    @workflow.step(PLANNED, to=WRITING)
    async def plan(run: BookRun) -> Binding:
        for number in range(run.object.pages):
            run.start(of, f"{run.foreign_id}/{number}", Page(), **start)
        return WRITING

    @workflow.step(WRITING, to=BOUND, children=wait)
    async def bind(run: BookRun) -> Binding | Skip:
        note(run)
        return BOUND

    return workflow


async def write(app: Engine, of: Pages, *names: str, text: str = "text") -> None:
    for name in names:
        await app.client.callback(of, "write", text, foreign_id=name)
    await app.settle()


def replace_step(workflow: Books, status: Binding, function: Any, **options: Any) -> None:
    former = workflow.steps.pop(status.name)
    workflow.handlers.remove(former)
    workflow.step(status, **options)(function)
