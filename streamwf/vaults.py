"""The vaults of a host: all that goes to the log of a workflow that encrypts goes there sealed.

In the events of a run everything lies under its own keys, and what goes to another run is taken out
and sealed anew on its way: so a deletion makes all events of one run unreadable, and no other's.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from .definition import Workflow
from .errors import KeyDestroyed, RecordTooLarge
from .events import (
    CALLBACK,
    CHILD,
    RELEASED,
    TRIGGER,
    Event,
    encode_event,
    parent_of,
    unpack_ended,
)
from .objects import has_own_key
from .ports import KeyProvider, Logger
from .record import CONNECTOR, SCHEDULE
from .sealing import DoneT, certainly
from .shard import Aside
from .vault import Of, Vault

_decode = msgspec.json.Decoder(Event).decode

#: Of them nothing is sealed: they are the engine's own, and carry nothing of a run.
_NEVER_SEALED = (SCHEDULE, CONNECTOR)


class Vaults:
    """The vaults of those workflows of a host that encrypt.

    max_bytes: the largest record. elsewhere: whether a workflow that this host does not run
        encrypts. logger: told when the keys can't be had.
    """

    def __init__(
        self,
        workflows: Iterable[Workflow[Any, Any]],
        keys: KeyProvider,
        max_bytes: int,
        elsewhere: Callable[[str], Awaitable[bool]],
        logger: Logger | None = None,
    ) -> None:
        known = {workflow.name: workflow.encrypt for workflow in workflows}
        self._known = known
        self._keys = keys
        self._max_bytes = max_bytes
        self._elsewhere = elsewhere
        self._logger = logger
        self._vaults = {name: Vault(name, keys) for name, encrypts in known.items() if encrypts}

    def of(self, workflow: str) -> Vault | None:
        """None if it does not encrypt."""
        return self._vaults.get(workflow)

    async def sealed(self, workflow: str, event: Event) -> Event:
        """An event as it is to be appended.

        Raises KeyDestroyed, RecordTooLarge, and what the provider raises.
        """
        vault = self.of(workflow)
        if vault is None or event.kind in _NEVER_SEALED:
            return event
        sealed = await vault.sealed(event)
        size = len(encode_event(sealed))
        if size > self._max_bytes:
            raise RecordTooLarge(what="sealed request", size=size, limit=self._max_bytes)
        return sealed

    async def sealed_all(self, workflow: str, events: Sequence[Event]) -> list[Event]:
        """The same of several of the engine's own, without those for runs whose data was deleted:
        they were appended before."""
        kept = []
        for event in events:
            with contextlib.suppress(KeyDestroyed):
                kept.append(await self.sealed(workflow, event))
        return kept

    async def shown(self, workflow: str, events: Sequence[Event]) -> list[Event]:
        """Events that were read, in plain; what can't be opened is null, or an empty text."""
        vault = self.of(workflow)
        return [event if vault is None else await vault.shown_event(event) for event in events]

    # ---- what a shard has for other runs

    async def carried(self, workflow: str, asides: Sequence[Aside]) -> list[Aside]:
        """What a shard sends elsewhere, sealed for whom it is for. It is as durable as before: a
        provider that does not answer is asked until it does."""
        if not self._vaults:
            return list(asides)
        carried = await asyncio.gather(*(self._carry(workflow, aside) for aside in asides))
        return [aside for aside in carried if aside is not None]

    async def sent(self, workflow: str, asides: Sequence[Aside]) -> None:
        """What a shard had for other places is there. asides: as they were before.

        Keys that callbacks have of their own can go once they are handed on, or answered.
        """
        vault = self.of(workflow)
        if vault is None:
            return
        for aside in asides:
            if aside.workflow == workflow:
                for of in _needed_no_more(_decode(aside.value)):
                    await self._certainly(partial(vault.destroy, of))

    async def _carry(self, workflow: str, aside: Aside) -> Aside | None:
        """None if whom it is for is deleted."""
        if aside.workflow is None:
            return aside
        event = _decode(aside.value)
        of = None if event.forwarded else _sealed_for(event)
        if of is None:
            return aside
        sender, receiver = self.of(workflow), await self._receiver(aside.workflow)
        if sender is not None:
            event = await self._certainly(partial(sender.taken_out, event, of))
        if receiver is not None:
            try:
                event = await self._certainly(partial(receiver.sealed, event))
            except KeyDestroyed:
                return None
        return replace(aside, value=encode_event(event))

    async def _certainly(self, ask: Callable[[], Awaitable[DoneT]]) -> DoneT:
        return await certainly(ask, self._logger)

    async def _receiver(self, workflow: str) -> Vault | None:
        if workflow in self._known:
            return self.of(workflow)
        encrypts = await self._certainly(partial(self._elsewhere, workflow))
        return Vault(workflow, self._keys) if encrypts else None


def _needed_no_more(event: Event) -> list[Of]:
    if event.type == RELEASED:
        return [Of(event.subject, call) for call in event.call.split()]
    if event.type == CALLBACK and has_own_key(event.data, event.data_base64):
        return [Of(event.origin, event.id)]
    return []


def _sealed_for(event: Event) -> Of | None:
    """For whom the run that sends an event has sealed what it says; None if it says nothing."""
    if event.type == TRIGGER and event.parent and not event.instead:
        _, run_id, foreign_id = parent_of(event.parent)
        return Of(foreign_id, run_id)
    if event.type == CHILD:
        ended = unpack_ended(event)
        return Of(ended.foreign_id, ended.run_id)
    if event.type == CALLBACK and event.origin:
        return Of(event.origin, event.id)
    return None
