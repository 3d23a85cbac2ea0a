"""The operations on dead letters: any process answers for all of them, as they lie in the log."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from .access import check_role, sees_masked, who_asks
from .calling import call
from .changing import Changing
from .connector import Connector
from .errors import InvalidQuery, LetterNotFound, LetterNotSent, RequestRefused, StreamwfError
from .events import Event, decode_event, object_of
from .leading import Leading
from .letter_views import LetterAction, LetterQuery, Letters, LetterView, Settled
from .looking import Host
from .open_letters import LetterId, OpenLetters, letter_view
from .ports import CUT, Filed, Letter
from .sources import Message
from .vault import room

_CURSOR = re.compile(r"(\d{1,14})~(.+)")


class DeadLetters(Changing):
    """Looks at dead letters, and settles them."""

    def __init__(self, host: Host, patience: float = 10.0) -> None:
        super().__init__(host, patience)
        self._boxes = {name: OpenLetters(name) for name in host.workflows}
        self._reading = asyncio.Lock()

    async def letters(self, query: LetterQuery) -> Letters:
        """A page of those that nobody has settled, the latest first.

        Raises WorkflowNotFound, InvalidQuery and StoreUnreachable.
        """
        before = _read_cursor(query.cursor)
        names = [*self.workflows]
        if query.workflow is not None:
            names = [self.workflow(query.workflow).name]
        boxes = [await self._box(name) for name in names]
        found = sorted((view for box in boxes for view in box.listed()), key=_place, reverse=True)
        after = [view for view in found if before is None or _place(view) < before]
        page = after[: query.limit]
        return Letters(
            letters=[self._for_who_asks(view) for view in page],
            count=sum(box.count for box in boxes),
            cursor=_cursor_of(page[-1]) if len(after) > len(page) else None,
        )

    async def letter(self, id: str) -> LetterView:
        """A letter with all that it says, settled or not. Raises LetterNotFound."""
        of, filed = await self._filed(id)
        return self._for_who_asks(letter_view(of.workflow, filed))

    async def settle_letter(self, id: str, action: LetterAction, reason: str = "") -> Settled:
        """Send a letter again, or drop it. It is listed no more after that.

        What was sent again twice, by several at once or in a crash, counts once.

        Raises LetterNotFound if there is none or it is settled; LetterNotSent if what it says
        can't be used now, either.
        """
        of, filed = await self._filed(id)
        box = await self._box(of.workflow)
        if id not in box:
            raise LetterNotFound(id=id, why="it is settled")
        events = [] if action == "drop" else await self._events(of, filed.letter)
        if events:
            await self.host.append_all(of.workflow, events)
        by = who_asks()
        why = f"{action} by {by or 'the program'}: {reason}"
        said = Letter(None, None, why, "", "", "", settles=id)
        await self.host.letters.settle(of.workflow, said)
        told = {"workflow": of.workflow, "letter": id, "action": action, "by": by, "reason": reason}
        self.host.logger.info("dead_letter_settled", **told)
        await self._box(of.workflow)
        return Settled(id=id, action=action, appended=len(events))

    # ---- reading

    async def _box(self, workflow: str) -> OpenLetters:
        """The open letters of a workflow, as of now."""
        box = self._boxes[workflow]
        async with self._reading:
            async for filed in self.host.letters.since(workflow, box.positions):
                box.fold(filed)
        return box

    async def _filed(self, id: str) -> tuple[LetterId, Filed]:
        of = LetterId.read(id)
        if of is None or of.workflow not in self.workflows:
            raise LetterNotFound(id=id, why="there is no such letter")
        check_role(of.workflow)
        filed = await self.host.letters.read(of.workflow, of.partition, of.offset)
        if filed is None or filed.letter.settles:
            raise LetterNotFound(id=id, why="there is no such letter")
        return of, filed

    def _for_who_asks(self, view: LetterView) -> LetterView:
        """What could not be read can't be masked either: it is withheld as a whole."""
        if sees_masked(view.workflow) or not self.workflow(view.workflow).masks:
            return view
        content = dict.fromkeys(("key", "text", "base64"))
        return view.model_copy(update={**content, "withheld": True})

    # ---- sending again

    async def _events(self, of: LetterId, letter: Letter) -> list[Event]:
        """What is to be appended. Raises LetterNotSent."""
        workflow = self.workflow(of.workflow)
        connectors = workflow.connectors.values()
        connector = next((c for c in connectors if c.source.name == letter.source), None)
        try:
            if connector is not None:
                return await self._led(of.workflow, connector, letter)
            return [await self._event(of.workflow, letter)]
        except StreamwfError as error:
            raise LetterNotSent(id=str(of), why=str(error)) from error
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise LetterNotSent(id=str(of), why=why) from error

    async def _event(self, name: str, letter: Letter) -> Event:
        """The event that a letter from the workflow's own log is."""
        read = decode_event(
            letter.value,
            workflow=name,
            partition=int(letter.partition or 0),
            offset=int(letter.position or 0),
            timestamp_ms=int(self.host.clock.now().timestamp() * 1000),
            limit=self.host.max_record_bytes,
        )
        [shown] = await self.host.vaults.shown(name, [read])
        if object_of(shown) is None and object_of(read) is not None:
            raise RequestRefused(why="what it carries can't be opened any more")
        return msgspec.structs.replace(shown, forwarded=False)

    async def _led(self, name: str, connector: Connector[Any, Any], letter: Letter) -> list[Event]:
        """What the function of a connector makes of a message now."""
        if any(header == CUT for header, _ in letter.headers):
            raise RequestRefused(why="it is only the beginning of what the source has")
        message = Message(
            letter.position,
            letter.value,
            letter.key,
            tuple(letter.headers),
            partition=letter.partition,
            source=letter.source,
        )
        workflow, limit = self.workflow(name), self.host.max_record_bytes
        leading = Leading(workflow, connector.name, room(limit) if workflow.encrypt else limit)
        led = await call(connector, None, message)
        return leading.events(message, led, self.host.clock.now())


def _place(view: LetterView) -> tuple[datetime, str]:
    return view.at, view.id


def _cursor_of(view: LetterView) -> str:
    return f"{round(view.at.timestamp() * 1000)}~{view.id}"


def _read_cursor(cursor: str | None) -> tuple[datetime, str] | None:
    """Raises InvalidQuery."""
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidQuery(field="cursor", why="it is of no list of letters")
    return datetime.fromtimestamp(int(found[1]) / 1000, UTC), found[2]
