"""What each view does with a request."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, generate_latest

from streamwf.adapters.web.answers import json_response, location, not_ready
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.merging import merged_page, summed
from streamwf.adapters.web.reading import (
    read_await,
    read_query,
    read_steering,
    read_trigger,
    read_wait,
)
from streamwf.errors import DeadlineExceeded, NotReady
from streamwf.operations import Operations
from streamwf.views import History, Page, RunView, Trigger, Workflows, WorkflowView

#: Seconds that a request may wait for a run; who wants to wait longer asks again.
LONGEST_AWAIT = 30.0

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ProcessViews:
    """How this worker is. ready: the reason why it is not ready; None when it is."""

    def __init__(self, ready: Callable[[], str | None], registry: CollectorRegistry) -> None:
        self._ready = ready
        self._registry = registry

    async def healthz(self, request: web.Request) -> web.Response:
        return json_response({"status": "alive"})

    async def readyz(self, request: web.Request) -> web.Response:
        reason = self._ready()
        return json_response({"status": "ready"}) if reason is None else not_ready(reason)

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={hdrs.CONTENT_TYPE: METRICS_TYPE}
        )


class WorkflowViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere

    async def all(self, request: web.Request) -> web.Response:
        local = [
            self._operations.describe(name) for name in sorted(self._operations.host.workflows)
        ]
        shares, missing = await self._elsewhere.shares(request, Workflows)
        others = [view for share in shares for view in share.workflows]
        views = [
            summed([own, *(view for view in others if view.name == own.name)], missing)
            for own in local
        ]
        return json_response(Workflows(workflows=views, missing=missing))

    async def one(self, request: web.Request) -> web.Response:
        local = self._operations.describe(request.match_info["name"])
        shares, missing = await self._elsewhere.shares(request, WorkflowView)
        return json_response(summed([local, *shares], missing))


class RunViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere
        self._limit = operations.host.max_record_bytes
        self._waiting: set[asyncio.Timeout] = set()

    async def trigger(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._operations.workflow(name)
        wait = read_wait(request)
        trigger = await read_trigger(request, self._limit)
        if not wait:
            # Whoever owns the foreign id, the log takes it from here.
            return _requested(await self._operations.append_trigger(name, trigger))
        return await self._elsewhere.of_owner(
            request,
            name,
            trigger.foreign_id,
            lambda: self._trigger(name, trigger),
            self._operations.patience,
        )

    async def _trigger(self, name: str, trigger: Trigger) -> web.Response:
        try:
            run = await self._operations.trigger(name, trigger)
        except DeadlineExceeded as error:
            if error.logged:
                return _requested(error.run_id)
            raise
        return json_response(run, 201, location(run.run_id))

    async def find(self, request: web.Request) -> web.Response:
        query = read_query(request)

        async def here() -> web.Response:
            return json_response(await self._operations.find(query))

        if query.workflow and query.foreign_id is not None:
            self._operations.workflow(query.workflow)
            return await self._elsewhere.of_owner(request, query.workflow, query.foreign_id, here)
        page = await self._operations.find(query)
        shares, missing = await self._elsewhere.shares(request, Page)
        return json_response(merged_page([page, *shares], query.limit, missing))

    async def get(self, request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]

        async def here() -> RunView:
            return self._operations.get(run_id)

        return await self._elsewhere.of_run(request, run_id, here)

    async def history(self, request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]

        async def here() -> History:
            return await self._operations.history(run_id)

        return await self._elsewhere.of_run(request, run_id, here)

    async def steer(self, request: web.Request) -> web.Response:
        run_id, action = request.match_info["run_id"], request.match_info["action"]
        steering = await read_steering(request, self._limit)
        # With a key it counts once, even if the run's shard moves while it is under way.
        keyed = steering.model_copy(update={"key": steering.key or uuid4().hex})

        async def here() -> RunView:
            return await self._operations.steer(action, run_id, keyed.reason, keyed.key)

        return await self._elsewhere.of_run(
            request,
            run_id,
            here,
            body=keyed.model_dump_json().encode(),
            waits=self._operations.patience,
        )

    async def await_(self, request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]
        status, timeout = read_await(request, LONGEST_AWAIT)

        async def here() -> RunView:
            return await self._operations.await_(run_id, status, timeout)

        return await self._until_stopped(
            run_id,
            self._elsewhere.of_run(request, run_id, here, waits=timeout),
        )

    async def _until_stopped(self, run_id: str, answer: Awaitable[web.Response]) -> web.Response:
        try:
            async with asyncio.timeout(None) as waiting:
                self._waiting.add(waiting)
                return await answer
        except TimeoutError:
            raise NotReady(what=f"run {run_id}") from None
        finally:
            self._waiting.discard(waiting)

    async def stop_waiting(self, _: web.Application) -> None:
        """End the long polls, so that a stop need not wait for them."""
        for waiting in self._waiting:
            waiting.reschedule(0)


def _requested(run_id: str) -> web.Response:
    return json_response({"run_id": run_id}, 202, location(run_id))
