"""What each view does with a request."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streamwf.adapters.web.answers import json_response, location, not_ready
from streamwf.adapters.web.declared import asked
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.merging import summed
from streamwf.adapters.web.reading import AwaitParameters, TriggerParameters
from streamwf.adapters.web.tags import read_wanted
from streamwf.errors import DeadlineExceeded, InvalidQuery, NotReady
from streamwf.events import check_foreign_id
from streamwf.histories import ExportedHistory
from streamwf.operations import Operations
from streamwf.views import (
    Fork,
    History,
    Requested,
    Roles,
    RunView,
    Steering,
    Trigger,
    View,
    Workflows,
    WorkflowView,
)

#: Seconds that a request may wait for a run; who wants to wait longer asks again.
LONGEST_AWAIT = 30.0


class Health(View):
    """How a process is, in a word."""

    status: str


class ProcessViews:
    """How this worker is. ready: the reason why it is not ready; None when it is."""

    def __init__(self, ready: Callable[[], str | None], registry: CollectorRegistry) -> None:
        self._ready = ready
        self._registry = registry

    async def healthz(self, request: web.Request) -> web.Response:
        return json_response(Health(status="alive"))

    async def readyz(self, request: web.Request) -> web.Response:
        reason = self._ready()
        return json_response(Health(status="ready")) if reason is None else not_ready(reason)

    async def metrics(self, request: web.Request) -> web.Response:
        # OpenMetrics for who asks for it, with exemplars: Prometheus's older format has none.
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        body = encode(self._registry)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


class WorkflowViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere

    async def all(self, request: web.Request) -> web.Response:
        local = [self._operations.describe(name) for name in sorted(self._operations.workflows)]
        shares, missing = await self._elsewhere.shares(request, Workflows)
        others = [view for share in shares for view in share.workflows]
        views = [
            summed([own, *(view for view in others if view.name == own.name)], missing)
            for own in local
        ]
        return json_response(Workflows(workflows=views, missing=missing))

    async def roles(self, request: web.Request) -> web.Response:
        own = self._operations.roles()
        shares, missing = await self._elsewhere.shares(request, Roles)
        found = [*own, *(role for share in shares for role in share.roles)]
        found.sort(key=lambda role: role.name)
        return json_response(Roles(roles=found, missing=missing))

    async def one(self, request: web.Request) -> web.Response:
        local = self._operations.describe(request.match_info["name"])
        shares, missing = await self._elsewhere.shares(request, WorkflowView)
        return json_response(summed([local, *shares], missing))


class RunViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere
        self._waiting: set[asyncio.Timeout] = set()

    async def trigger(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._operations.workflow(name)
        trigger = asked(request, Trigger)
        check_foreign_id(trigger.foreign_id)
        if asked(request, TriggerParameters).wait == "false":
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

    async def latest(self, request: web.Request) -> web.Response:
        """The latest run of a foreign id."""
        name, foreign_id = self._named(request)

        async def here() -> web.Response:
            return json_response(await self._operations.latest(name, foreign_id))

        return await self._elsewhere.of_owner(request, name, foreign_id, here)

    async def await_latest(self, request: web.Request) -> web.Response:
        name, foreign_id = self._named(request)
        status, timeout = _awaited(request)

        async def here() -> web.Response:
            run = await self._operations.latest(name, foreign_id)
            return json_response(await self._operations.await_(run.run_id, status, timeout))

        answer = self._elsewhere.of_owner(request, name, foreign_id, here, timeout)
        return await self._until_stopped(foreign_id, answer)

    async def steer_latest(self, request: web.Request) -> web.Response:
        name, foreign_id = self._named(request)
        action, keyed = request.match_info["asked"], _keyed(asked(request, Steering))
        wanted = read_wanted(request)

        async def here() -> web.Response:
            run = await self._operations.latest(name, foreign_id)
            version = wanted and wanted.of(action, run.run_id, run.version)
            return json_response(
                await self._operations.steer(action, run.run_id, keyed.reason, keyed.key, version)
            )

        body, waits = keyed.model_dump_json().encode(), self._operations.patience
        return await self._elsewhere.of_owner(request, name, foreign_id, here, waits, body)

    def _named(self, request: web.Request) -> tuple[str, str]:
        """Raises WorkflowNotFound and InvalidForeignId."""
        name, foreign_id = request.match_info["name"], request.match_info["foreign_id"]
        self._operations.workflow(name)
        check_foreign_id(foreign_id)
        return name, foreign_id

    async def fork(self, request: web.Request) -> web.Response:
        run_id, wanted = request.match_info["run_id"], read_wanted(request)
        keyed = _keyed(asked(request, Fork))
        if keyed.foreign_id is not None:
            check_foreign_id(keyed.foreign_id)

        async def here() -> Requested:
            version = wanted and wanted.of("fork", run_id)
            return Requested(run_id=await self._operations.fork(run_id, keyed, version))

        return await self._elsewhere.of_run(
            request,
            run_id,
            here,
            body=keyed.model_dump_json().encode(),
            waits=self._operations.patience,
        )

    async def get(self, request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]

        async def here() -> RunView:
            return await self._operations.get(run_id)

        return await self._elsewhere.of_run(request, run_id, here)

    async def get_version(self, request: web.Request) -> web.Response:
        run_id, version = request.match_info["run_id"], _version(request)

        async def here() -> RunView:
            return await self._operations.get_version(run_id, version)

        return await self._elsewhere.of_run(request, run_id, here)

    async def export(self, request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]

        async def here() -> ExportedHistory:
            return await self._operations.export(run_id)

        return await self._elsewhere.of_run(request, run_id, here)

    async def history(self, request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]

        async def here() -> History:
            return await self._operations.history(run_id)

        return await self._elsewhere.of_run(request, run_id, here)

    async def steer(self, request: web.Request) -> web.Response:
        run_id, action = request.match_info["run_id"], request.match_info["action"]
        keyed, wanted = _keyed(asked(request, Steering)), read_wanted(request)

        async def here() -> RunView:
            version = wanted and wanted.of(action, run_id)
            return await self._operations.steer(action, run_id, keyed.reason, keyed.key, version)

        return await self._elsewhere.of_run(
            request,
            run_id,
            here,
            body=keyed.model_dump_json().encode(),
            waits=self._operations.patience,
        )

    async def await_(self, request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]
        status, timeout = _awaited(request)

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


KeyedT = TypeVar("KeyedT", Steering, Fork)


def _keyed(request: KeyedT) -> KeyedT:
    """With a key it counts once, even if the run's shard moves while it is under way."""
    return request.model_copy(update={"key": request.key or uuid4().hex})


def _version(request: web.Request) -> int:
    """Raises InvalidQuery."""
    said = request.match_info["version"]
    if not re.fullmatch(r"[0-9]{1,15}", said):
        raise InvalidQuery("version", "it is a version of the run, like 7")
    return int(said)


def _awaited(request: web.Request) -> tuple[str | None, float]:
    """The status to wait for, None for the end, and how many seconds."""
    given = asked(request, AwaitParameters)
    timeout = LONGEST_AWAIT if given.timeout is None else min(given.timeout, LONGEST_AWAIT)
    return given.status or None, timeout


def _requested(run_id: str) -> web.Response:
    return json_response(Requested(run_id=run_id), 202, location(run_id))
