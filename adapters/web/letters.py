"""Dead letters over HTTP. Every worker reads those of all, so none is asked for another."""

from typing import cast

from aiohttp import web

from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.declared import asked
from streamwf.letter_views import LetterAction, LetterQuery
from streamwf.operations import Operations
from streamwf.views import Steering


class LetterViews:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def find(self, request: web.Request) -> web.Response:
        return json_response(await self._operations.letters(asked(request, LetterQuery)))

    async def get(self, request: web.Request) -> web.Response:
        return json_response(await self._operations.letter(request.match_info["letter"]))

    async def settle(self, request: web.Request) -> web.Response:
        action = cast("LetterAction", request.match_info["action"])
        reason = asked(request, Steering).reason
        letter = request.match_info["letter"]
        return json_response(await self._operations.settle_letter(letter, action, reason))
