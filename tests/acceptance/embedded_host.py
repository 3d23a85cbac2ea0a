"""The embedded host: in this process, on a clock that stands still."""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamwf import embedded
from streamwf.adapters.web import NoPeers, application, serve
from streamwf.errors import InvalidDefinition
from streamwf.operations import Operations
from streamwf.record import Record
from streamwf.testing import Engine, SteppedClock, engine
from tests.acceptance.hosts import AnyWorkflow, Host, Letter, page_at


class WithAll(logging.Formatter):
    """Writes all that a line says, also what stands beside its text."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{super().format(record)} {vars(record)}"


class EmbeddedHost(Host):
    """Steps its clock; its log is a list."""

    name = "embedded"
    steps_clock = True

    def __init__(self, workflows: tuple[AnyWorkflow, ...], feed: Path) -> None:
        self._workflows = workflows
        self._feed = feed
        self._stack = AsyncExitStack()
        self._said = StringIO()
        # Whoever lets time pass meanwhile waits for their turn.
        self._passing = asyncio.Lock()
        self._engine: Engine

    async def start(self, former: Engine | None = None, behind: timedelta = timedelta(0)) -> None:
        clock = SteppedClock(former.clock.now() - behind) if former else SteppedClock()
        self._engine = await self._stack.enter_async_context(
            engine(*self._workflows, clock=clock, former=former)
        )
        self.clients = (self._engine.client,)

    async def stop(self) -> None:
        await self._stack.aclose()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is logged."""
        handler, root = logging.StreamHandler(self._said), logging.getLogger()
        # A worker's own level.
        level = root.level
        root.setLevel(logging.INFO)
        root.addHandler(handler)
        handler.setFormatter(WithAll())
        try:
            yield
        finally:
            root.removeHandler(handler)
            root.setLevel(level)

    @property
    def clock(self) -> SteppedClock:
        return self._engine.clock

    def now(self) -> datetime:
        return self.clock.now()

    async def pass_time(self, by: timedelta, *, held: bool = False) -> None:
        if held:
            self.clock.advance(by)
            self._engine.host.run_due()
        else:
            async with self._passing:
                await self._engine.advance(by)

    async def produce(
        self,
        workflow: AnyWorkflow,
        value: bytes | Mapping[str, Any],
        key: bytes | None = None,
        shift: int = 0,
    ) -> None:
        raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
        stamp = int(self.now().timestamp() * 1_000)
        self._engine.host.logs[workflow.name].append(key, raw, stamp)

    async def produce_all(self, workflow: AnyWorkflow, values: Iterable[Mapping[str, Any]]) -> None:
        for value in values:
            await self.produce(workflow, value)

    def feed(self, line: str) -> None:
        with self._feed.open("a") as file:
            file.write(f"{line}\n")

    async def log(self, workflow: AnyWorkflow) -> list[bytes]:
        return [record.value or b"" for record in self._engine.host.logs[workflow.name].records]

    async def dead_letters(self, workflow: AnyWorkflow) -> list[Letter]:
        letters = self._engine.host.logs[workflow.name].dead_letters
        return [Letter(letter.value or b"", reason) for letter, reason in letters]

    async def restart(self, *, kill: bool = False, behind: timedelta = timedelta(0)) -> None:
        former = self._engine
        await self._stack.aclose()
        await self.start(former, behind)

    async def rebuild(self, workflow: AnyWorkflow) -> None:
        # Its tables are made from the log each time.
        await self.restart()

    async def verify(self) -> list[str]:
        host = self._engine.host
        return [
            f"{name}: {difference}" for name in host.workflows for difference in host.verify(name)
        ]

    async def replay(self, workflow: AnyWorkflow, until: datetime) -> list[Record]:
        return self._engine.host.replay(workflow.name, until)

    async def page(self, path: str) -> str:
        told = application(Operations(self._engine.host), NoPeers(), lambda: None)
        server = await serve(told, "127.0.0.1", 0)
        try:
            return await page_at(f"{server.url}{path}")
        finally:
            await server.stop()

    def said(self) -> str:
        return self._said.getvalue()

    async def refusal(self, target: str) -> str:
        module, _, name = target.partition(":")
        workflow = getattr(importlib.import_module(module), name)
        with pytest.raises(InvalidDefinition) as refused:
            async with embedded(workflow):
                pass
        return str(refused.value)

    def spread(self, name: str, count: int, *, together: bool = False) -> list[str]:
        return [f"{name}-{number}" for number in range(count)]


@asynccontextmanager
async def embedded_host(
    workflows: tuple[AnyWorkflow, ...], feed: Path
) -> AsyncIterator[EmbeddedHost]:
    """feed: the file that a connector reads, which the environment names."""
    host = EmbeddedHost(workflows, feed)
    with host.listening():
        await host.start()
        try:
            yield host
        finally:
            await host.stop()
