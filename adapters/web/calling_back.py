"""Callbacks over HTTP: to a run that any worker may own, by whichever way the outside knows it."""

from uuid import uuid4

from aiohttp import web

from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.forwarding import forwarded
from streamwf.adapters.web.reading import read_asked
from streamwf.callback_views import CallbackRequest, CallbackView, Correlated
from streamwf.operations import Operations


class CallbackViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere
        self._limit = operations.host.max_record_bytes

    async def callback(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._operations.workflow(name)
        asked = await read_asked(request, CallbackRequest, self._limit)
        if asked.foreign_id is None:
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
        async def here() -> web.Response:
            return json_response(await self._operations.callback(name, asked))

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
