"""Schedules over HTTP: each is answered by the worker that owns it, a list by all."""

from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web

from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.declared import asked
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.operations import Operations
from streamwf.schedule_views import (
    BackfillRequest,
    ScheduleAction,
    ScheduleRequest,
    Schedules,
)
from streamwf.views import Steering, View


class ScheduleViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere

    async def all(self, request: web.Request) -> web.Response:
        found = self._operations.schedules(request.match_info["name"]).schedules
        shares, missing = await self._elsewhere.shares(request, Schedules)
        # One whose shard is moving may be seen on both sides.
        latest = {view.name: view for view in found}
        for view in (view for share in shares for view in share.schedules):
            known = latest.get(view.name)
            if known is None or view.updated_at > known.updated_at:
                latest[view.name] = view
        schedules = sorted(latest.values(), key=lambda view: view.name)
        return json_response(Schedules(schedules=schedules, missing=missing))

    async def get(self, request: web.Request) -> web.Response:
        name, schedule = self._named(request)

        async def here() -> View:
            return self._operations.get_schedule(name, schedule)

        return await self._of_owner(request, here)

    async def put(self, request: web.Request) -> web.Response:
        name, schedule = self._named(request)
        wanted = asked(request, ScheduleRequest)
        return await self._of_owner(
            request, lambda: self._operations.schedule(name, schedule, wanted)
        )

    async def steer(self, request: web.Request) -> web.Response:
        name, schedule = self._named(request)
        action = cast("ScheduleAction", request.match_info["action"])
        steering = asked(request, Steering)
        return await self._of_owner(
            request,
            lambda: self._operations.steer_schedule(
                name, schedule, action, steering.reason, steering.key
            ),
        )

    async def run(self, request: web.Request) -> web.Response:
        name, schedule = self._named(request)
        steering = asked(request, Steering)
        return await self._of_owner(
            request,
            lambda: self._operations.run_schedule(name, schedule, steering.reason, steering.key),
        )

    async def backfill(self, request: web.Request) -> web.Response:
        name, schedule = self._named(request)
        wanted = asked(request, BackfillRequest)
        return await self._of_owner(
            request, lambda: self._operations.backfill(name, schedule, wanted)
        )

    def _named(self, request: web.Request) -> tuple[str, str]:
        """The workflow's name and the schedule's. Raises WorkflowNotFound."""
        name = request.match_info["name"]
        self._operations.workflow(name)
        return name, request.match_info["schedule"]

    async def _of_owner(
        self, request: web.Request, here: Callable[[], Awaitable[View]]
    ) -> web.Response:
        async def answered() -> web.Response:
            return json_response(await here())

        name, schedule = self._named(request)
        patience = self._operations.patience
        return await self._elsewhere.of_owner(request, name, schedule, answered, patience)
