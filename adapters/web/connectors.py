"""Connectors over HTTP: each worker tells of the partitions that it reads, and steers those."""

from typing import cast
from uuid import uuid4

from aiohttp import web

from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.declared import asked
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.forwarding import Question, forwarded
from streamwf.connector_views import ConnectorAction, Connectors, ConnectorView, joined
from streamwf.errors import NotReady
from streamwf.operations import Operations
from streamwf.views import Steering


class ConnectorViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere

    async def all(self, request: web.Request) -> web.Response:
        own = await self._operations.connectors(request.match_info["name"])
        shares, missing = await self._elsewhere.shares(request, Connectors)
        views = [view for share in (own, *shares) for view in share.connectors]
        return json_response(Connectors(connectors=joined(views, missing), missing=missing))

    async def steer(self, request: web.Request) -> web.Response:
        name, connector = request.match_info["name"], request.match_info["connector"]
        action = cast("ConnectorAction", request.match_info["action"])
        steering = asked(request, Steering)
        # With a key it counts once, even if a shard moves while it is under way.
        keyed = steering.model_copy(update={"key": steering.key or uuid4().hex})
        own = await self._operations.steer_connector(
            name, connector, action, keyed.reason, keyed.key
        )
        question = Question.of(request, keyed.model_dump_json().encode(), self._operations.patience)
        shares, missing = await self._elsewhere.shares(request, ConnectorView, question)
        [view] = joined([own, *shares], missing)
        if not forwarded(request):
            if missing:
                what = f"a part of connector {connector!r} ({', '.join(missing)})"
                raise NotReady(what=what, workers=missing)
            self._operations.check_connector(view)
        return json_response(view)
