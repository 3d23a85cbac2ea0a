"""Dead letters over HTTP. Every worker reads those of all, so none is asked for another."""

from typing import cast

from aiohttp import web

from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.reading import read_letter_query, read_steering
from streamwf.letter_views import LetterAction
from streamwf.operations import Operations


class LetterViews:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._limit = operations.host.max_record_bytes

    async def find(self, request: web.Request) -> web.Response:
        return json_response(await self._operations.letters(read_letter_query(request)))

    async def get(self, request: web.Request) -> web.Response:
        return json_response(await self._operations.letter(request.match_info["letter"]))

    async def settle(self, request: web.Request) -> web.Response:
        action = cast("LetterAction", request.match_info["action"])
        steering = await read_steering(request, self._limit)
        return json_response(
            await self._operations.settle_letter(
                request.match_info["letter"], action, steering.reason
            )
        )
