"""What a client speaks through: to a host in this process, or over the network."""

from typing import Protocol

from .callback_views import CallbackRequest, CallbackView, Correlated
from .connector_client import ConnectorGateway, LocalConnectors
from .histories import ExportedHistory
from .letter_client import LetterGateway, LocalLetters
from .operations import Operations
from .overview import Overview, Window, overview_of
from .schedule_client import LocalSchedules, ScheduleGateway
from .views import (
    Action,
    Bulk,
    BulkSteering,
    Count,
    Filter,
    Fork,
    History,
    Page,
    Query,
    Roles,
    RunView,
    Trigger,
    Workflows,
    WorkflowView,
)
from .watch_client import LocalWatching, WatchGateway


class Gateway(ScheduleGateway, ConnectorGateway, LetterGateway, WatchGateway, Protocol):
    """What a client speaks through. Each call raises what the operation of that name does."""

    async def workflows(self) -> Workflows: ...

    async def overview(self, asked: Window) -> Overview: ...

    async def describe(self, name: str) -> WorkflowView: ...

    async def trigger(self, name: str, trigger: Trigger, wait: bool) -> str:
        """The id of the run: once it is accepted, or without `wait` once the log has it."""

    async def callback(self, name: str, asked: CallbackRequest) -> CallbackView: ...

    async def fork(self, run_id: str, asked: Fork) -> str: ...

    async def latest(self, name: str, foreign_id: str) -> RunView: ...

    async def steer(
        self, action: Action, run_id: str, reason: str, if_version: int | None = None
    ) -> RunView: ...

    async def get(self, run_id: str) -> RunView: ...

    async def get_version(self, run_id: str, version: int) -> RunView: ...

    async def roles(self) -> Roles: ...

    async def find(self, query: Query) -> Page: ...

    async def count(self, asked: Filter) -> Count: ...

    async def bulk(self, asked: BulkSteering) -> Bulk: ...

    async def history(self, run_id: str) -> History: ...

    async def export(self, run_id: str) -> ExportedHistory: ...

    async def await_(self, run_id: str, status: str | None, timeout: float) -> RunView: ...

    async def close(self) -> None: ...


class LocalGateway(LocalSchedules, LocalConnectors, LocalLetters, LocalWatching):
    """Speaks to the operations of a host in this process."""

    _operations: Operations

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def workflows(self) -> Workflows:
        names = sorted(self._operations.workflows)
        return Workflows(workflows=[self._operations.describe(name) for name in names])

    async def overview(self, asked: Window) -> Overview:
        return overview_of(self._operations.host, asked.window)

    async def describe(self, name: str) -> WorkflowView:
        return self._operations.describe(name)

    async def trigger(self, name: str, trigger: Trigger, wait: bool) -> str:
        if wait:
            return (await self._operations.trigger(name, trigger)).run_id
        return await self._operations.append_trigger(name, trigger)

    async def callback(self, name: str, asked: CallbackRequest) -> CallbackView:
        if asked.foreign_id is None:
            located = await self._located(name, asked)
            if located.foreign_id is None:
                return CallbackView(outcome="kept")
            asked = asked.to(located)
        return await self._operations.callback(name, asked)

    async def _located(self, name: str, asked: CallbackRequest) -> Correlated:
        if asked.correlation is not None:
            return await self._operations.correlated(name, asked)
        run = await self._operations.get(asked.run_id or "")
        return Correlated(foreign_id=run.foreign_id, run_id=run.run_id)

    async def fork(self, run_id: str, asked: Fork) -> str:
        return await self._operations.fork(run_id, asked)

    async def latest(self, name: str, foreign_id: str) -> RunView:
        return await self._operations.latest(name, foreign_id)

    async def steer(
        self, action: Action, run_id: str, reason: str, if_version: int | None = None
    ) -> RunView:
        return await self._operations.steer(action, run_id, reason, if_version=if_version)

    async def get(self, run_id: str) -> RunView:
        return await self._operations.get(run_id)

    async def get_version(self, run_id: str, version: int) -> RunView:
        return await self._operations.get_version(run_id, version)

    async def roles(self) -> Roles:
        return Roles(roles=self._operations.roles())

    async def find(self, query: Query) -> Page:
        return await self._operations.find(query)

    async def count(self, asked: Filter) -> Count:
        return await self._operations.count(asked)

    async def bulk(self, asked: BulkSteering) -> Bulk:
        return await self._operations.bulk(asked)

    async def history(self, run_id: str) -> History:
        return await self._operations.history(run_id)

    async def export(self, run_id: str) -> ExportedHistory:
        return await self._operations.export(run_id)

    async def await_(self, run_id: str, status: str | None, timeout: float) -> RunView:
        return await self._operations.await_(run_id, status, timeout)

    async def close(self) -> None:
        """The host outlives its clients."""
