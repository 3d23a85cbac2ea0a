"""The client: triggering, steering and looking at runs, typed by the workflow.

It speaks through a gateway: to a host in this process, or to any worker over HTTP.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from types import TracebackType
from typing import Generic, Literal, Protocol, TypeVar

from pydantic_core import to_json

from .definition import Workflow
from .errors import RunNotFound
from .operations import Operations
from .record import State
from .views import ErrorView, History, Page, Query, RunView, TimerView, Trigger, WorkflowView

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

Action = Literal["pause", "resume", "cancel"]

#: How many of the runs that it has requested without waiting a client remembers.
MAX_REQUESTED = 10_000

#: Seconds between two looks for a run that was requested a moment ago.
FOLD_PAUSE = 0.02


class Gateway(Protocol):
    """What a client speaks through. Each call raises what the operation of that name does."""

    async def describe(self, name: str) -> WorkflowView: ...

    async def trigger(self, name: str, trigger: Trigger, wait: bool) -> str:
        """The id of the run: once it is accepted, or without `wait` once the log has it."""

    async def steer(self, action: Action, run_id: str, reason: str) -> RunView: ...

    async def get(self, run_id: str) -> RunView: ...

    async def find(self, query: Query) -> Page: ...

    async def history(self, run_id: str) -> History: ...

    async def await_(self, run_id: str, status: str | None, timeout: float) -> RunView: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RunInfo(Generic[ObjectT, StatusT]):
    """A run as it is, with the workflow's own types."""

    workflow: str
    foreign_id: str
    run_id: str
    status: StatusT
    state: State
    object: ObjectT
    version: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    attempt: int
    error: ErrorView | None
    reason: str
    timers: list[TimerView]


class Client:
    """Speaks to a running engine. Use it as an async context manager, or close it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._requested: deque[str] = deque(maxlen=MAX_REQUESTED)

    @classmethod
    def over_http(cls, url: str) -> "Client":
        """A client of the worker at a URL, and through it of all the workers of its group."""
        from .adapters.http import HttpGateway

        return cls(HttpGateway(url))

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._gateway.close()

    async def trigger(
        self,
        workflow: Workflow[ObjectT, StatusT],
        foreign_id: str,
        object: ObjectT,
        *,
        at: StatusT | None = None,
        start_at: datetime | None = None,
        key: str | None = None,
        wait: bool = False,
    ) -> str:
        """Start a run, and return its id once the log has the request.

        at: the status to start at, if not the workflow's start. start_at: when, if not now.
        key: makes a repeat harmless: the same key leads to the same run.
        wait: return only once the run is accepted.

        Raises InvalidObject, InvalidForeignId, UnknownStatus, TerminalStart, RecordTooLarge; with
        `wait` also RunInProgress and DeadlineExceeded.
        """
        trigger = Trigger(
            foreign_id=foreign_id,
            object=workflow.plain(object),
            status=None if at is None else at.name,
            start_at=start_at,
            key=key,
        )
        run_id = await self._gateway.trigger(workflow.name, trigger, wait)
        if not wait:
            self._requested.append(run_id)
        return run_id

    async def await_(
        self,
        workflow: Workflow[ObjectT, StatusT],
        run_id: str,
        status: StatusT | None = None,
        *,
        timeout: timedelta = timedelta(minutes=1),
    ) -> RunInfo[ObjectT, StatusT]:
        """Wait until a run is at a status or has passed it; without one, until it has ended.

        Raises RunNotFound, DeadlineExceeded, and AwaitFailed as soon as it can't get there.
        """
        name = None if status is None else status.name
        left = timeout.total_seconds()
        deadline = time.monotonic() + left
        while True:
            try:
                return _typed(workflow, await self._gateway.await_(run_id, name, left))
            except RunNotFound:
                # The log has its request, but nobody may have folded it yet.
                if run_id not in self._requested or not left:
                    raise
            await asyncio.sleep(FOLD_PAUSE)
            left = round(max(deadline - time.monotonic(), 0), 3)

    async def get(
        self, workflow: Workflow[ObjectT, StatusT], run_id: str
    ) -> RunInfo[ObjectT, StatusT]:
        """Raises RunNotFound, and InvalidObject if what the run carries does not fit."""
        return _typed(workflow, await self._gateway.get(run_id))

    async def latest(
        self, workflow: Workflow[ObjectT, StatusT], foreign_id: str
    ) -> RunInfo[ObjectT, StatusT] | None:
        """The latest run of a foreign id; None if it has none."""
        page = await self._gateway.find(
            Query(workflow=workflow.name, foreign_id=foreign_id, limit=1)
        )
        return _typed(workflow, page.runs[0]) if page.runs else None

    async def pause(self, run_id: str, reason: str = "") -> RunView:
        """Raises RunNotFound and TransitionRefused."""
        return await self._gateway.steer("pause", run_id, reason)

    async def resume(self, run_id: str, reason: str = "") -> RunView:
        """Raises RunNotFound and TransitionRefused."""
        return await self._gateway.steer("resume", run_id, reason)

    async def cancel(self, run_id: str, reason: str = "") -> RunView:
        """Raises RunNotFound and TransitionRefused."""
        return await self._gateway.steer("cancel", run_id, reason)

    async def find(self, query: Query | None = None) -> Page:
        """A page of runs. Raises WorkflowNotFound and InvalidQuery."""
        return await self._gateway.find(query or Query())

    async def history(self, run_id: str) -> History:
        """Raises RunNotFound."""
        return await self._gateway.history(run_id)

    async def describe(self, workflow: str) -> WorkflowView:
        """Raises WorkflowNotFound."""
        return await self._gateway.describe(workflow)


def _typed(workflow: Workflow[ObjectT, StatusT], view: RunView) -> RunInfo[ObjectT, StatusT]:
    return RunInfo(
        workflow=view.workflow,
        foreign_id=view.foreign_id,
        run_id=view.run_id,
        status=workflow.member(view.status),
        state=view.state,
        object=workflow.load(to_json(view.object)),
        version=view.version,
        created_at=view.created_at,
        updated_at=view.updated_at,
        due_at=view.due_at,
        attempt=view.attempt,
        error=view.error,
        reason=view.reason,
        timers=view.timers,
    )


class LocalGateway:
    """Speaks to the operations of a host in this process."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def describe(self, name: str) -> WorkflowView:
        return self._operations.describe(name)

    async def trigger(self, name: str, trigger: Trigger, wait: bool) -> str:
        if wait:
            return (await self._operations.trigger(name, trigger)).run_id
        return await self._operations.append_trigger(name, trigger)

    async def steer(self, action: Action, run_id: str, reason: str) -> RunView:
        return await self._operations.steer(action, run_id, reason)

    async def get(self, run_id: str) -> RunView:
        return self._operations.get(run_id)

    async def find(self, query: Query) -> Page:
        return await self._operations.find(query)

    async def history(self, run_id: str) -> History:
        return await self._operations.history(run_id)

    async def await_(self, run_id: str, status: str | None, timeout: float) -> RunView:
        return await self._operations.await_(run_id, status, timeout)

    async def close(self) -> None:
        """The host outlives its clients."""
