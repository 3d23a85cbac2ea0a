"""A live shard, without a host."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from streamwf import Workflow
from streamwf.events import TRIGGER, Event, encode_event, request
from streamwf.record import Record
from streamwf.shard import Aside, Limits, Shard
from streamwf.tables.memory import MemoryTable
from tests.support import WORKFLOW, LogEntry, SteppedClock, settle


class Living:
    """A shard, its log and its table. What it hands out goes to its log, as with a host.

    once: as for exactly once.
    """

    def __init__(self, workflow: Workflow[Any, Any], *, once: bool = False) -> None:
        self.once = once
        self.workflow = workflow
        self.clock = SteppedClock()
        self.log: list[LogEntry] = []
        self.buried: list[Aside] = []
        self.table = MemoryTable()
        self.may_start = True
        self.threads = ThreadPoolExecutor(1)
        self.shard = self._open()

    def _open(self) -> Shard:
        shard = Shard(
            self.workflow,
            0,
            self.table,
            end=len(self.log),
            clock=self.clock,
            threads=self.threads,
            wake=lambda: None,
            misplaced=lambda _: False,
            limits=Limits(),
            may_start=lambda: self.may_start,
            once=self.once,
        )
        shard.fold(self.log[shard.position :])
        return shard

    async def crash(self) -> None:
        """The shard is lost, with all that no checkpoint has; another one takes over."""
        await self.shard.close(0)
        self.shard = self._open()

    def append(self, event: Event) -> None:
        self.log.append(LogEntry(len(self.log), event.subject.encode(), encode_event(event)))

    def ask(self, kind: str, event_id: str, run_id: str = "", **fields: Any) -> None:
        told = {"status": "CREATED", "data": b'{"n":1}'} if kind == TRIGGER else {}
        now = self.clock.now()
        event = request(
            WORKFLOW, kind, "o-1", now, event_id=event_id, runid=run_id, **told, **fields
        )
        self.append(event)

    def checkpoint(self) -> None:
        self.take()
        checkpoint = self.shard.checkpoint()
        if checkpoint is not None:
            self.table.write(checkpoint)
            self.shard.committed(checkpoint)

    def take(self) -> None:
        for append in self.shard.take_appends():
            self.log.append(LogEntry(len(self.log), append.key, append.value))
        for aside in self.shard.take_asides():
            if aside.workflow is None:
                self.buried.append(aside)
            else:
                self.log.append(LogEntry(len(self.log), aside.key, aside.value))

    async def pump(self) -> None:
        """Fold and do all that is due, until nothing more comes of it."""
        quiet = 0
        while quiet < 3:
            self.shard.scan_agenda(self.clock.now())
            self.shard.tick(self.clock.now())
            await settle(5)
            self.take()
            quiet = quiet + 1 if self.shard.position == len(self.log) else 0
            self.shard.fold(self.log[self.shard.position :])

    def run(self, run_id: str) -> Record | None:
        return self.shard.lookup(run_id)


@asynccontextmanager
async def living(workflow: Workflow[Any, Any], *, once: bool = False) -> AsyncIterator[Living]:
    found = Living(workflow, once=once)
    yield found
    await found.shard.close(0)
    found.threads.shutdown()
