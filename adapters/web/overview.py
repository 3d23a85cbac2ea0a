"""The overview of all workflows and workers."""

from aiohttp import web

from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.declared import asked
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.operations import Operations
from streamwf.overview import Overview, Window, merged, overview_of


class OverviewViews:
    """What this worker and the others know together."""

    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._host = operations.host
        self._elsewhere = elsewhere

    async def overview(self, request: web.Request) -> web.Response:
        own = overview_of(self._host, asked(request, Window).window)
        shares, missing = await self._elsewhere.shares(request, Overview)
        return json_response(merged([own, *shares], missing))
