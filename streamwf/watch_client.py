"""The client's part for watching runs, and what it speaks through."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Generic, Protocol, TypeVar

from .definition import Workflow
from .errors import MovesLost, ReadsTooSlowly
from .moves import Dropped, Gap, Missing, Move, Told, Watched, read_place
from .operations import Operations
from .record import State
from .watching import Watch

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)


@dataclass(frozen=True, slots=True)
class RunMove(Generic[StatusT]):
    """An event that has changed a run, and what it has made of it.

    version: after the event. previous: the status before it; None if the run is new.
    type: of the event. at: when it was.
    place: where to go on after it, with `watch(after=…)`; None if that can't be said.
    """

    workflow: str
    foreign_id: str
    run_id: str
    version: int
    status: StatusT
    state: State
    previous: StatusT | None
    type: str
    at: datetime
    place: str | None


class WatchGateway(Protocol):
    """What a client speaks through to watch."""

    def watch(self, asked: Watched, after: str | None) -> AsyncGenerator[Told, None]:
        """What is told, as it comes: moves, gaps, what is missing, and how far all was told.

        after: the place to go on from; from now on, unless given. Close it in the end.
        """


class LocalWatching:
    """Watches the operations of a host in this process."""

    _operations: Operations

    async def watch(self, asked: Watched, after: str | None) -> AsyncGenerator[Told, None]:
        watch = Watch(self._operations.host, asked, read_place(after) if after else {})
        async with aclosing(watch.tidings()) as tidings:
            async for told in tidings:
                for one in told:
                    if isinstance(one.tidings, Dropped):
                        raise ReadsTooSlowly(room=watch.inbox.room)
                    yield one


class WatchClient:
    """Watches runs, typed by their workflow."""

    _gateway: WatchGateway

    async def watch(
        self,
        workflow: Workflow[ObjectT, StatusT],
        *,
        status: StatusT | Iterable[StatusT] = (),
        state: State | Iterable[State] = (),
        foreign_id: str | None = None,
        prefix: str | None = None,
        run_id: str | None = None,
        after: str | None = None,
        notice: Callable[[Gap | Missing], None] | None = None,
    ) -> AsyncGenerator[RunMove[StatusT], None]:
        """The moves of a workflow's runs that fit, as they happen, without an end.

        It goes on by itself, and loses nothing, when connections break and workers come and go.

        status, state: that a run has after the move. prefix: what its foreign id begins with.
        after: the place of a move, to go on from there; from now on, unless given.
        notice: told of what can't be told any more, and of shards that nobody tells of for now.

        Raises InvalidQuery, InvalidForeignId, MovesLost unless there is a `notice`, and
        WorkerUnreachable once a worker was away for long.
        """
        asked = Watched.of(
            workflow=workflow.name,
            status=[status.name] if isinstance(status, Enum) else [each.name for each in status],
            state=[state] if isinstance(state, State) else [*state],
            foreign_id=foreign_id,
            foreign_id_prefix=prefix,
            run_id=run_id,
        )
        async with aclosing(self._gateway.watch(asked, after)) as tidings:
            async for told in tidings:
                if isinstance(told.tidings, Move):
                    yield _typed(workflow, told.tidings, told.place)
                elif isinstance(told.tidings, Gap | Missing):
                    _notice(told.tidings, notice)


def _notice(told: Gap | Missing, notice: Callable[[Gap | Missing], None] | None) -> None:
    if notice is not None:
        notice(told)
    elif isinstance(told, Gap):
        raise MovesLost(
            workflow=told.workflow,
            shard=told.shard,
            begin=told.begin,
            end=told.end,
            why=told.why,
        )


def _typed(workflow: Workflow[ObjectT, StatusT], move: Move, place: str | None) -> RunMove[StatusT]:
    return RunMove(
        workflow=move.workflow,
        foreign_id=move.foreign_id,
        run_id=move.run_id,
        version=move.version,
        status=workflow.member(move.status),
        state=move.state,
        previous=workflow.member(move.previous) if move.previous else None,
        type=move.type,
        at=move.at,
        place=place,
    )
