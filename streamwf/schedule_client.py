"""The client's part for schedules, and what it speaks through."""

from collections import deque
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, TypeVar

from .definition import Workflow
from .errors import NotReady
from .recurring import CatchUp, Overlap
from .schedule_views import (
    BackfillRequest,
    BackfillView,
    ScheduleAction,
    ScheduleRequest,
    Schedules,
    ScheduleView,
)
from .scheduling import Scheduling
from .views import Requested

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)


class ScheduleGateway(Protocol):
    """What a client speaks through about schedules. name: the workflow's."""

    async def schedule(self, name: str, schedule: str, asked: ScheduleRequest) -> ScheduleView: ...

    async def schedules(self, name: str) -> Schedules: ...

    async def get_schedule(self, name: str, schedule: str) -> ScheduleView: ...

    async def steer_schedule(
        self, name: str, schedule: str, action: ScheduleAction, reason: str
    ) -> ScheduleView: ...

    async def run_schedule(
        self, name: str, schedule: str, reason: str, key: str | None
    ) -> Requested: ...

    async def backfill(self, name: str, schedule: str, asked: BackfillRequest) -> BackfillView: ...


class LocalSchedules:
    """Speaks about schedules to the operations of a host in this process."""

    _operations: Scheduling

    async def schedule(self, name: str, schedule: str, asked: ScheduleRequest) -> ScheduleView:
        return await self._operations.schedule(name, schedule, asked)

    async def schedules(self, name: str) -> Schedules:
        return self._operations.schedules(name)

    async def get_schedule(self, name: str, schedule: str) -> ScheduleView:
        return self._operations.get_schedule(name, schedule)

    async def steer_schedule(
        self, name: str, schedule: str, action: ScheduleAction, reason: str
    ) -> ScheduleView:
        return await self._operations.steer_schedule(name, schedule, action, reason)

    async def run_schedule(
        self, name: str, schedule: str, reason: str, key: str | None
    ) -> Requested:
        return await self._operations.run_schedule(name, schedule, reason, key)

    async def backfill(self, name: str, schedule: str, asked: BackfillRequest) -> BackfillView:
        return await self._operations.backfill(name, schedule, asked)


class ScheduleClient:
    """The part of the client that makes and steers schedules."""

    _gateway: ScheduleGateway
    _requested: deque[str]

    async def schedule(
        self,
        workflow: Workflow[ObjectT, StatusT],
        name: str,
        cron: str,
        *,
        object: ObjectT,
        foreign_id: str | None = None,
        timezone: str = "UTC",
        at: StatusT | None = None,
        overlap: Overlap = "skip",
        catch_up: CatchUp = "latest",
    ) -> ScheduleView:
        """Make sure of a schedule: from now on, a run is started at each of its slots.

        One of that name that is there already goes on by what is said now: what was done with
        stays so, and it stays paused if it is. What the arguments mean is said at
        `Workflow.schedule`, which declares schedules in code.

        Raises InvalidCron, InvalidObject, InvalidForeignId, InvalidQuery, TerminalStart,
        RecordTooLarge, DeadlineExceeded, and ScheduleDeclared if it is declared in code.
        """
        asked = ScheduleRequest.of(
            cron=cron,
            timezone=timezone,
            foreign_id=foreign_id,
            object=workflow.plain(object),
            status=None if at is None else at.name,
            overlap=overlap,
            catch_up=catch_up,
        )
        return await self._gateway.schedule(workflow.name, name, asked)

    async def schedules(self, workflow: Workflow[Any, Any]) -> list[ScheduleView]:
        """All schedules of a workflow, by their names.

        Raises NotReady if a worker can't tell which it has.
        """
        found = await self._gateway.schedules(workflow.name)
        if found.missing:
            what = f"a part of the schedules ({', '.join(found.missing)})"
            raise NotReady(what=what, workers=found.missing)
        return found.schedules

    async def get_schedule(self, workflow: Workflow[Any, Any], name: str) -> ScheduleView:
        """Raises ScheduleNotFound."""
        return await self._gateway.get_schedule(workflow.name, name)

    async def pause_schedule(
        self, workflow: Workflow[Any, Any], name: str, reason: str = ""
    ) -> ScheduleView:
        """Start nothing at its slots until it is resumed; then they count as missed.

        Raises ScheduleNotFound and ScheduleRefused.
        """
        return await self._gateway.steer_schedule(workflow.name, name, "pause", reason)

    async def resume_schedule(
        self, workflow: Workflow[Any, Any], name: str, reason: str = ""
    ) -> ScheduleView:
        """Raises ScheduleNotFound and ScheduleRefused."""
        return await self._gateway.steer_schedule(workflow.name, name, "resume", reason)

    async def delete_schedule(
        self, workflow: Workflow[Any, Any], name: str, reason: str = ""
    ) -> ScheduleView:
        """Delete a schedule; its runs stay.

        Raises ScheduleNotFound, and ScheduleDeclared if it is declared in code.
        """
        return await self._gateway.steer_schedule(workflow.name, name, "delete", reason)

    async def run_schedule(
        self,
        workflow: Workflow[Any, Any],
        name: str,
        reason: str = "",
        *,
        key: str | None = None,
    ) -> str:
        """Start a run at once, and return its id once the log has the request.

        Its foreign id is its own, so that it waits for no other run. The slots of the schedule
        stay as they are; it may be paused. key: the same key leads to the same run.

        Raises ScheduleNotFound, SlotFailed, SlotLeftOut, ScheduleNotDeclared, and what is wrong
        with the object.
        """
        requested = await self._gateway.run_schedule(workflow.name, name, reason, key)
        self._requested.append(requested.run_id)
        return requested.run_id

    async def backfill(
        self,
        workflow: Workflow[Any, Any],
        name: str,
        start: datetime,
        end: datetime,
        *,
        limit: int = 100,
    ) -> BackfillView:
        """Start the runs of slots of the past, from `start` on and before `end`, that have none.

        Each has a foreign id of its own, `foreign_id@slot`, so that they don't wait for one
        another. limit: so many slots at most; the cursor of what is returned is where to go on.

        Raises ScheduleNotFound, InvalidQuery, SlotFailed, ScheduleNotDeclared, and what is wrong
        with an object.
        """
        asked = BackfillRequest.of(start=start, end=end, limit=limit)
        return await self._gateway.backfill(workflow.name, name, asked)
