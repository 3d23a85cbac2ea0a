"""Answering for what another worker owns, and saying so when not every worker could answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from streamwf.adapters.problems import told
from streamwf.adapters.web.answers import json_response
from streamwf.adapters.web.forwarding import Answer, Forwarder, Question, forwarded
from streamwf.errors import NotReady, RunNotFound, StreamwfError, WorkerFailed
from streamwf.views import Filter, RunView, Share, View

ShareT = TypeVar("ShareT", bound=Share)

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
        body: bytes | None = None,
    ) -> web.Response:
        """The answer of the worker that owns a foreign id. body: that of the request, unless given.

        Raises NotReady if that is not known, or if the worker that forwarded the request took
        this one for it.
        """
        owner = self._forwarder.peers.owner(workflow, foreign_id)
        if owner is None:
            return await here()
        if forwarded(request):
            raise NotReady(what=f"the shard of {foreign_id!r}")
        question = Question.of(request, await request.read() if body is None else body, waits)
        return (await self._forwarder.send(question, owner)).relayed()

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
            answer, others = await self._forwarder.first(Question.of(request, body, waits))
            if answer is not None:
                return answer.relayed()
            silent += others
            if not silent:
                # It may have come here while the others were asked.
                return await self._looked_for_again(here)
        if silent:
            raise NotReady(what=f"a part of the runs ({', '.join(silent)})", workers=silent)
        raise RunNotFound(run_id=run_id)

    async def _looked_for_again(self, here: Callable[[], Awaitable[View]]) -> web.Response:
        """Raises RunNotFound only if no shard was about to come here."""
        try:
            return json_response(await here())
        except RunNotFound:
            if self._ready() is None:
                raise
        raise NotReady(what=f"a part of the runs ({HERE})", workers=[HERE])

    async def steered(
        self, question: Question, run: RunView, here: Callable[[], Awaitable[View]]
    ) -> None:
        """Have the owner of a run steer it. question: what it is asked if it is another worker.

        Raises what the owner answers, and NotReady if that is not known.
        """
        owner = self._forwarder.peers.owner(run.workflow, run.foreign_id)
        if owner is None:
            await here()
            return
        answer = await self._forwarder.send(question, owner)
        if answer.status != 200:
            raise _error(answer, owner)

    async def shares(
        self, request: web.Request, kind: type[ShareT], question: Question | None = None
    ) -> tuple[list[ShareT], list[str]]:
        """What the others have of an answer, and the workers that did not tell all they own.

        question: what they are asked, if not the request itself.
        """
        missing = [] if self._ready() is None else [HERE]
        if forwarded(request):
            return [], missing
        shares = []
        for reply in await self._forwarder.all(question or Question.of(request)):
            share = _read(reply.answer, kind)
            if share is not None:
                shares.append(share.told_by(reply.worker))
            if share is None or share.missing:
                missing.append(reply.worker)
        return shares, missing

    async def listed(
        self,
        request: web.Request,
        asked: Filter,
        here: Callable[[], Awaitable[ShareT]],
        kind: type[ShareT],
        question: Question | None = None,
    ) -> tuple[list[ShareT], list[str]]:
        """What each worker has of a list, and the workers that did not tell all they own.

        question: what the others are asked, if not the request itself.

        Raises NotReady if the list is of one foreign id, and its owner can't be asked.
        """
        if asked.workflow is None or asked.foreign_id is None:
            own = await here()
            others, missing = await self.shares(request, kind, question)
            return [own, *others], missing
        owner = self._forwarder.peers.owner(asked.workflow, asked.foreign_id)
        if owner is None:
            return [await here()], []
        if forwarded(request):
            raise NotReady(what=f"the shard of {asked.foreign_id!r}")
        answer = await self._forwarder.send(question or Question.of(request), owner)
        share = _read(answer, kind)
        if share is None:
            raise _error(answer, owner)
        return [share], []


def _read(answer: Answer | None, kind: type[ShareT]) -> ShareT | None:
    if answer is None or answer.status != 200:
        return None
    try:
        return kind.model_validate_json(answer.body)
    except ValidationError:
        return None


def _error(answer: Answer, worker: str) -> StreamwfError:
    """The error that an answer tells that is not what was hoped for."""
    return told(answer.body) or WorkerFailed(url=worker, cause=f"it answered {answer.status}")
