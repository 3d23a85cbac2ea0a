"""Callbacks over HTTP: to a run that any worker may own, by whichever way the outside knows it."""

from uuid import uuid4

from aiohttp import hdrs, web

from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.declared import asked as asked_for
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.forwarding import forwarded
from streamwf.adapters.web.tags import read_wanted
from streamwf.callback_views import CallbackRequest, CallbackView, Correlated
from streamwf.errors import InvalidQuery
from streamwf.events import check_foreign_id
from streamwf.operations import Operations


class CallbackViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere

    async def callback(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._operations.workflow(name)
        if read_wanted(request) is not None and asked_for(request, CallbackRequest).run_id is None:
            raise InvalidQuery(hdrs.IF_MATCH, "a version is that of a run: say its run_id")
        asked = asked_for(request, CallbackRequest)
        if asked.foreign_id is not None:
            check_foreign_id(asked.foreign_id)
        else:
            located = await self._located(request, name, asked)
            if located.status != 200 or forwarded(request):
                return located
            run = Correlated.model_validate_json(bytes(located.body))  # type: ignore[arg-type]
            if run.foreign_id is None:
                return json_response(CallbackView(outcome="kept"))
            asked = asked.to(run)
        # With a key it counts once, even if the run's shard moves while it is under way.
        return await self._call(
            request, name, asked.model_copy(update={"key": asked.key or uuid4().hex})
        )

    async def _call(self, request: web.Request, name: str, asked: CallbackRequest) -> web.Response:
        wanted, run_id = read_wanted(request), asked.run_id

        async def here() -> web.Response:
            version = wanted and wanted.of("call back", run_id or "")
            return json_response(await self._operations.callback(name, asked, version))

        return await self._elsewhere.of_owner(
            request,
            name,
            asked.foreign_id or "",
            here,
            2 * self._operations.patience,
            asked.model_dump_json().encode(),
        )

    async def _located(
        self, request: web.Request, name: str, asked: CallbackRequest
    ) -> web.Response:
        """Which run it is for: told by the worker that owns the value, or the run."""
        body = asked.model_dump_json().encode()
        if asked.correlation is not None:
            subject = self._operations.correlation(name, asked)

            async def correlated() -> web.Response:
                return json_response(await self._operations.correlated(name, asked))

            waits = 2 * self._operations.patience
            return await self._elsewhere.of_owner(request, name, subject, correlated, waits, body)
        run_id = asked.run_id or ""

        async def known() -> Correlated:
            found = await self._operations.get(run_id)
            return Correlated(foreign_id=found.foreign_id, run_id=run_id)

        return await self._elsewhere.of_run(request, run_id, known, body=body)
