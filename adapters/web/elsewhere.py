"""Answering for what another worker owns, and saying so when not every worker could answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.forwarding import Forwarder, Reply, forwarded
from streamwf.errors import NotReady, RunNotFound
from streamwf.views import Page, View, Workflows, WorkflowView

ShareT = TypeVar("ShareT", Page, Workflows, WorkflowView)

#: What a worker that can't tell all that it owns is called in its own `missing`.
HERE = "this worker"


class Elsewhere:
    """What this worker and the others know together.

    ready: the reason why this worker can't say yet what it owns; None when it can.
    """

    def __init__(self, forwarder: Forwarder, ready: Callable[[], str | None]) -> None:
        self._forwarder = forwarder
        self._ready = ready

    async def of_owner(
        self,
        request: web.Request,
        workflow: str,
        foreign_id: str,
        here: Callable[[], Awaitable[web.Response]],
        waits: float = 0.0,
    ) -> web.Response:
        """The answer of the worker that owns a foreign id.

        Raises NotReady if that is not known, or if the worker that forwarded the request took
        this one for it.
        """
        owner = self._forwarder.peers.owner(workflow, foreign_id)
        if owner is None:
            return await here()
        if forwarded(request):
            raise NotReady(what=f"the shard of {foreign_id!r}")
        return (await self._forwarder.send(request, owner, await request.read(), waits)).relayed()

    async def of_run(
        self,
        request: web.Request,
        run_id: str,
        here: Callable[[], Awaitable[View]],
        *,
        body: bytes = b"",
        waits: float = 0.0,
    ) -> web.Response:
        """The answer of the worker that has a run.

        Raises RunNotFound only if every worker could say that it does not have it.
        """
        try:
            return json_response(await here())
        except RunNotFound:
            unsure = self._ready() is not None
        except NotReady:
            unsure = True
        silent = [HERE] if unsure else []
        if not forwarded(request):
            answer, others = await self._forwarder.first(request, body, waits)
            if answer is not None:
                return answer.relayed()
            silent += others
        if silent:
            raise NotReady(what=f"a part of the runs ({', '.join(silent)})", workers=silent)
        raise RunNotFound(run_id=run_id)

    async def shares(
        self, request: web.Request, kind: type[ShareT]
    ) -> tuple[list[ShareT], list[str]]:
        """What the others have of an answer, and the workers that did not tell all they own."""
        missing = [] if self._ready() is None else [HERE]
        if forwarded(request):
            return [], missing
        shares = []
        for reply in await self._forwarder.all(request):
            share = _read(reply, kind)
            if share is not None:
                shares.append(share)
            if share is None or share.missing:
                missing.append(reply.worker)
        return shares, missing


def _read(reply: Reply, kind: type[ShareT]) -> ShareT | None:
    if reply.answer is None or reply.answer.status != 200:
        return None
    try:
        return kind.model_validate_json(reply.answer.body)
    except ValidationError:
        return None
