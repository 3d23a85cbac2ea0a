"""Beyond: runs that start others, and wait for all, any or each of them."""

from typing import TypeAlias

from streamwf import Run, Workflow
from tests.acceptance.flows.carried import (
    DONE,
    EXPIRED,
    FAILED,
    MORE,
    NEW,
    WAITING,
    Status,
    Thing,
)


class Parent(Thing):
    """count: of its children. wait: the status that waits for them, as they are to be waited for.

    cascade: whether they are cancelled with it.
    """

    count: int = 2
    wait: str = "WAITING"
    cascade: bool = False


ParentRun: TypeAlias = Run[Parent, Status]
ChildRun: TypeAlias = Run[Thing, Status]

parents = Workflow("parents", Parent, Status, start=NEW)
offspring = Workflow("offspring", Thing, Status, start=NEW)


@parents.step(NEW, to=[WAITING, MORE, EXPIRED])
async def fan_out(run: ParentRun) -> Status:
    for number in range(run.object.count):
        child = Thing(folder=run.object.folder)
        run.start(
            offspring,
            f"{run.foreign_id}/{number}",
            child,
            cancel_with_parent=run.object.cascade,
        )
    return Status[run.object.wait]


def _seen(run: ParentRun) -> list[str]:
    """What is known of its children, by foreign id."""
    return sorted(
        f"{child.foreign_id.rpartition('/')[2]} {child.state} {child.status}"
        for child in run.children
        if child.state is not None
    )


@parents.step(WAITING, to=DONE, children="all")
async def all_of_them(run: ParentRun) -> Status:
    run.object.trail += _seen(run)
    return DONE


@parents.step(MORE, to=DONE, children="any")
async def any_of_them(run: ParentRun) -> Status:
    run.object.trail += _seen(run)
    return DONE


@parents.step(EXPIRED, to=[EXPIRED, DONE], children="each")
async def each_of_them(run: ParentRun) -> Status:
    run.object.trail += _seen(run)
    return DONE if len(run.object.trail) == run.object.count else EXPIRED


@offspring.step(NEW, to=WAITING)
async def grow(run: ChildRun) -> Status:
    return WAITING


@offspring.callback(WAITING, to=[DONE, FAILED], payload=str)
async def end(run: ChildRun, how: str) -> Status:
    run.object.trail.append(how)
    return Status[how]
