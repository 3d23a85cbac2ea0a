"""Lists of runs, and what is done to all that are in one."""

from urllib.parse import quote
from uuid import uuid4

from aiohttp import web
from yarl import URL

from streamwf.access import needing
from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.declared import asked as asked_for
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.forwarding import Question
from streamwf.adapters.web.merging import merged_page
from streamwf.adapters.web.needs import ACTIONS
from streamwf.bulk import steer_all
from streamwf.errors import NotReady
from streamwf.lists import selections
from streamwf.operations import Operations
from streamwf.views import BulkSteering, Count, Filter, Page, Query, RunView, Steering

RUNS = "/api/v1/runs"


class ListViews:
    def __init__(self, operations: Operations, elsewhere: Elsewhere) -> None:
        self._operations = operations
        self._elsewhere = elsewhere

    async def find(self, request: web.Request) -> web.Response:
        return json_response(await self._page(request, asked_for(request, Query)))

    async def count(self, request: web.Request) -> web.Response:
        asked = asked_for(request, Filter)
        selections(asked, self._operations.workflows)

        async def here() -> Count:
            return await self._operations.count(asked)

        counts, missing = await self._elsewhere.listed(request, asked, here, Count)
        total = sum(share.count for share in counts)
        return json_response(Count(count=total, missing=missing))

    async def bulk(self, request: web.Request) -> web.Response:
        asked = asked_for(request, BulkSteering)
        # With a key each counts once, even if its shard moves while it is under way.
        asked = asked.model_copy(update={"key": asked.key or uuid4().hex})
        with needing(ACTIONS[asked.action]):
            return await self._bulk(request, asked)

    async def _bulk(self, request: web.Request, asked: BulkSteering) -> web.Response:
        if asked.query.workflow is not None:
            self._operations.workflow(asked.query.workflow)
        query = asked.page()
        url = URL(RUNS).with_query(query.parameters())
        page = await self._page(request, query, Question.of(request, method="GET", url=url))
        if page.missing:
            raise NotReady(
                what=f"a part of the runs ({', '.join(page.missing)})", workers=page.missing
            )
        return json_response(await steer_all(page, lambda run: self._steer(request, asked, run)))

    async def _page(
        self, request: web.Request, query: Query, question: Question | None = None
    ) -> Page:
        selections(query, self._operations.workflows)

        async def here() -> Page:
            return await self._operations.find(query)

        pages, missing = await self._elsewhere.listed(request, query, here, Page, question)
        return merged_page(pages, query.order, query.limit, missing)

    async def _steer(self, request: web.Request, asked: BulkSteering, run: RunView) -> None:
        steering = Steering(reason=asked.reason, key=asked.key)

        async def here() -> RunView:
            return await self._operations.steer(asked.action, run.run_id, asked.reason, asked.key)

        question = Question.of(
            request,
            steering.model_dump_json().encode(),
            self._operations.patience,
            url=URL(f"{RUNS}/{quote(run.run_id, safe='')}/{asked.action}", encoded=True),
        )
        await self._elsewhere.steered(question, run, here)
