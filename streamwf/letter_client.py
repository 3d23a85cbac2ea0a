"""The client's part for dead letters, and what it speaks through."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from .dead_letters import DeadLetters
from .definition import Workflow
from .letter_views import LetterAction, LetterQuery, Letters, LetterView, Settled


class LetterGateway(Protocol):
    """What a client speaks through about dead letters."""

    async def letters(self, query: LetterQuery) -> Letters: ...

    async def letter(self, id: str) -> LetterView: ...

    async def settle_letter(self, id: str, action: LetterAction, reason: str) -> Settled: ...


class LocalLetters:
    """Speaks about dead letters to the operations of a host in this process."""

    _operations: DeadLetters

    async def letters(self, query: LetterQuery) -> Letters:
        return await self._operations.letters(query)

    async def letter(self, id: str) -> LetterView:
        return await self._operations.letter(id)

    async def settle_letter(self, id: str, action: LetterAction, reason: str) -> Settled:
        return await self._operations.settle_letter(id, action, reason)


class LetterClient:
    """The part of the client that looks at dead letters and settles them."""

    _gateway: LetterGateway

    async def dead_letters(
        self, workflow: Workflow[Any, Any] | None = None
    ) -> AsyncIterator[LetterView]:
        """Those that nobody has settled, the latest first, with the beginning of what they say.

        workflow: that of all, unless given.
        """
        query = LetterQuery(workflow=None if workflow is None else workflow.name)
        while True:
            page = await self._gateway.letters(query)
            for letter in page.letters:
                yield letter
            if page.cursor is None:
                return
            query = query.model_copy(update={"cursor": page.cursor})

    async def dead_letter(self, id: str) -> LetterView:
        """A letter with all that it says. Raises LetterNotFound."""
        return await self._gateway.letter(id)

    async def retry_dead_letter(self, id: str, reason: str = "") -> Settled:
        """Send again what could not be used, once what was wrong is mended.

        Raises LetterNotFound, and LetterNotSent if it can't be used now, either.
        """
        return await self._gateway.settle_letter(id, "retry", reason)

    async def drop_dead_letter(self, id: str, reason: str = "") -> Settled:
        """Let a letter be listed no more. It stays in its topic. Raises LetterNotFound."""
        return await self._gateway.settle_letter(id, "drop", reason)
