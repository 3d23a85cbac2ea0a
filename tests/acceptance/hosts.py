"""The hosts that the suite runs on, as its tests see them: all that a user has, and no more."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec

from streamwf import Client, Workflow
from streamwf.errors import NotReady
from streamwf.record import Record

T = TypeVar("T")
AnyWorkflow = Workflow[Any, Any]

#: Seconds that something may take to come to be, on a machine that has other things to do.
PATIENCE = 30.0

#: Seconds between two looks.
PAUSE = 0.02


class Letter(NamedTuple):
    """What was set aside, and why."""

    value: bytes
    reason: str


async def page_at(url: str) -> str:
    """What is told at a URL."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


class Host(ABC):
    """A running engine with all workflows of this suite.

    name: which host it is. shards: how many a workflow has. client: speaks to it; the clients
    after it to the other workers, if there are several. steps_clock: whether time stands still
    unless it is let pass.
    """

    name: str
    shards = 1
    steps_clock = False
    clients: Sequence[Client]

    @property
    def client(self) -> Client:
        return self.clients[0]

    @abstractmethod
    def now(self) -> datetime:
        """The time that the engine goes by."""

    @abstractmethod
    async def pass_time(self, by: timedelta, *, held: bool = False) -> None:
        """Let so much time pass: on a stepped clock, or really. Keep it short.

        held: whether steps wait for a sign meanwhile; else all that comes due is done by then.
        """

    @abstractmethod
    async def produce(
        self,
        workflow: AnyWorkflow,
        value: bytes | Mapping[str, Any],
        key: bytes | None = None,
        shift: int = 0,
    ) -> None:
        """Write into a workflow's log past all checks, as anyone may who can reach the topic.

        shift: so many partitions away from where its key, or its subject, belongs.
        """

    @abstractmethod
    async def produce_all(self, workflow: AnyWorkflow, values: Iterable[Mapping[str, Any]]) -> None:
        """The same of many."""

    @abstractmethod
    def feed(self, line: str) -> None:
        """Add a line to the file that a connector reads."""

    @abstractmethod
    async def log(self, workflow: AnyWorkflow) -> list[bytes]:
        """The values of all records of a workflow's log; of each foreign id in their order."""

    @abstractmethod
    async def dead_letters(self, workflow: AnyWorkflow) -> list[Letter]:
        """What was set aside of a workflow."""

    @abstractmethod
    async def restart(self, *, kill: bool = False, behind: timedelta = timedelta(0)) -> None:
        """Stop all, and start anew with the same log and tables.

        kill: without a chance to end what is in progress. behind: what the clock is put back by.
        """

    @abstractmethod
    async def rebuild(self, workflow: AnyWorkflow) -> None:
        """Stop all, make the tables of a workflow anew from its log, and start again."""

    @abstractmethod
    async def verify(self) -> list[str]:
        """How the live rows differ from the log folded anew, as text."""

    @abstractmethod
    async def replay(self, workflow: AnyWorkflow, until: datetime) -> list[Record]:
        """The runs of a workflow as they were at a time."""

    @abstractmethod
    async def page(self, path: str) -> str:
        """What is told at a path over HTTP."""

    @abstractmethod
    def said(self) -> str:
        """All that was logged."""

    @abstractmethod
    async def refusal(self, target: str) -> str:
        """What is said when a workflow, given as MODULE:NAME, is to be run that can't."""

    @abstractmethod
    def spread(self, name: str, count: int, *, together: bool = False) -> list[str]:
        """Foreign ids that begin with a name. together: all of them of the same shard."""

    # ---- the same for all

    async def events(self, workflow: AnyWorkflow, foreign_id: str) -> list[dict[str, Any]]:
        """The events of a foreign id that are in the log, accepted or not, in their order."""
        found = []
        for value in await self.log(workflow):
            try:
                event = msgspec.json.decode(value)
            except msgspec.DecodeError:
                continue
            if isinstance(event, dict) and event.get("subject") == foreign_id:
                found.append(event)
        return found

    async def until(
        self, look: Callable[[], T] | Callable[[], Awaitable[T]], within: float = PATIENCE
    ) -> T:
        """What `look` gives, as soon as it is true. A worker that is in doubt is asked again."""
        deadline = time.monotonic() + within
        while True:
            found: Any
            try:
                found = look()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
            except NotReady as doubt:
                found = doubt
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not come to be within {within} s; last: {found!r}")
            await asyncio.sleep(PAUSE)
