"""A workflow made by chance: what its steps do depends on their run and their try alone, so that
it is the same whoever runs them, and whenever."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from random import Random
from typing import Any
from zlib import crc32

from streamwf import Cancel, Pause, Repeat, Retry, Run, Skip, Workflow
from tests.proof.story import Executed
from tests.simulation.loop import PROCESS

NAME = "sim"

#: Moves of a run after which its steps go straight to its end.
TIRED = 12

#: Tries of a step, a timeout, a callback or a hook that may fail.
STUBBORN = 3

#: What the foreign ids of runs that other runs have started end with.
CHILD = ".child"

HOOKS = ("pause", "resume", "cancel", "complete", "data_deleted")


class Flaky(Exception):
    """What a step raises that would work at another time."""


class Broke(Exception):
    """What a step raises that would never work."""


@dataclass(frozen=True)
class Node:
    """A status. to: by their numbers. seconds: the most that its step takes.

    fails, skips, repeats, pauses, cancels, breaks: the share of tries that do.
    """

    to: tuple[int, ...]
    step: bool
    is_async: bool
    seconds: float
    fails: float
    breaks: float
    skips: float
    repeats: float
    pauses: float
    cancels: float
    limit: float | None
    pause_after: int | None
    on_error: bool
    lag: float
    timeouts: tuple[float, ...]
    callbacks: int
    child: bool


@dataclass(frozen=True)
class Spec:
    """nodes: but for the last status, at which runs end."""

    nodes: tuple[Node, ...]
    hooks: tuple[str, ...]
    auto_resume: float
    every: int | None
    search: bool
    encrypt: bool


def a_spec(chance: Random) -> Spec:
    """Any workflow whose runs come to an end."""
    count = chance.randint(1, 5)
    nodes = tuple(_a_node(chance, n, count) for n in range(count))
    return Spec(
        nodes=nodes,
        hooks=tuple(hook for hook in HOOKS if chance.random() < 0.4),
        auto_resume=chance.choice((1.0, 4.0)),
        every=chance.choice((None, None, None, 3)),
        search=chance.random() < 0.3,
        encrypt=chance.random() < 0.12,
    )


def _a_node(chance: Random, n: int, count: int) -> Node:
    def rarely(often: float, share: float) -> float:
        return share if chance.random() < often else 0.0

    to = {n + 1}
    if chance.random() < 0.4:
        to.add(chance.randint(n + 1, count))
    if chance.random() < 0.3:
        to.add(chance.randint(0, n))
    step = chance.random() < 0.85
    waits = not step or chance.random() < 0.3
    child = step and chance.random() < 0.15
    timeouts = tuple(round(chance.uniform(0.2, 8.0), 3) for _ in range(chance.randint(1, 2)))
    return Node(
        to=tuple(sorted(to)),
        step=step,
        is_async=chance.random() < 0.8,
        seconds=chance.choice((0.0, 0.05, 0.5, 2.0)),
        fails=rarely(0.4, 0.4),
        breaks=rarely(0.15, 0.1),
        skips=rarely(0.5, 0.6) if waits else 0.0,
        repeats=rarely(0.25, 0.4),
        pauses=rarely(0.15, 0.2),
        cancels=rarely(0.1, 0.1),
        limit=chance.choice((None, None, 0.3)),
        pause_after=chance.choice((None, None, 2)),
        on_error=chance.random() < 0.3,
        lag=0.0 if child else rarely(0.15, 0.7),
        timeouts=timeouts if waits else (),
        callbacks=chance.randint(0, 2) if waits else 0,
        child=child,
    )


def share(*parts: object) -> float:
    """A number in [0, 1) that is always the same for the same parts."""
    mixed = crc32(repr(parts).encode())
    return (mixed * 2_654_435_761 % (1 << 32)) / (1 << 32)


class Recorder:
    """Notes each call of the workflow's code, as an outside service would. now: the true time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._calls: list[dict[str, Any]] = []

    @contextmanager
    def call(self, kind: str, run: Run[Any, Any], name: str = "") -> Iterator[dict[str, Any]]:
        noted = {
            "kind": kind,
            "worker": PROCESS.get().name,
            "run_id": run.run_id,
            "foreign_id": run.foreign_id,
            "status": run.status.name,
            "version": run.version,
            "attempt": run.attempt,
            "idempotency_key": run.idempotency_key,
            "name": name,
            "began": self._now(),
        }
        self._calls.append(noted)
        process = PROCESS.get()
        try:
            yield noted
        except BaseException as error:
            noted["outcome"] = f"!{type(error).__name__}"
            raise
        finally:
            # What is thrown away with a dead process has never come to its end.
            if not process.dead:
                noted["ended"] = self._now()

    def executed(self) -> tuple[Executed, ...]:
        return tuple(
            Executed(**(each if "ended" in each else {**each, "outcome": ""}))
            for each in self._calls
        )


class Made:
    """The workflow of a spec. seed: of what its steps do. slow: seconds that each takes longer."""

    def __init__(self, spec: Spec, seed: int, recorder: Recorder) -> None:
        self.spec = spec
        self.seed = seed
        self.slow = 0.0
        self._recorder = recorder
        names = [f"S{n}" for n in range(len(spec.nodes) + 1)]
        self.status: Any = Enum("Status", names)  # type: ignore[misc]
        self._members = list(self.status)
        self.workflow: Workflow[Any, Any] = Workflow(
            NAME,
            dict[str, Any],
            self.status,
            start=self._members[0],
            auto_resume=timedelta(seconds=spec.auto_resume),
            search=("secret",) if spec.search else (),
            encrypt=spec.encrypt,
        )
        for n, node in enumerate(spec.nodes):
            self._declare(n, node)
        for hook in spec.hooks:
            self._hook(hook)
        if spec.every is not None:
            self._schedule(spec.every)
        self.workflow.validate()

    # ---- declaring

    def _declare(self, n: int, node: Node) -> None:
        at, to = self._members[n], [self._members[m] for m in node.to]
        retry = Retry(initial=timedelta(seconds=0.2), maximum=timedelta(seconds=2))
        if node.step:
            self.workflow.step(
                at,
                to=to,
                retry=retry,
                timeout=None if node.limit is None else timedelta(seconds=node.limit),
                pause_after=node.pause_after,
                on_error=self._members[-1] if node.on_error else None,
                fatal=Broke,
                lag=timedelta(seconds=node.lag),
                children="all" if node.child else None,
            )(self._step(node))
        for number, after in enumerate(node.timeouts):
            name = f"late{number}"
            self.workflow.timeout(
                at, after=timedelta(seconds=after), to=to, name=name, retry=retry
            )(self._other(node, "timeout", name))
        for number in range(node.callbacks):
            name = f"told{number}"
            function = self._other(node, "callback", name)

            async def answer(run: Run[Any, Any], payload: str, call: Any = function) -> Any:
                run.object["told"] = payload
                return await call(run)

            self.workflow.callback(at, to=to, payload=str, name=name, retry=retry)(answer)

    def _hook(self, hook: str) -> None:
        async def told(run: Run[Any, Any]) -> None:
            with self._recorder.call("hook", run, hook):
                await self._take(0.02, run, hook)
                if run.attempt < STUBBORN and self._share(run, hook) < 0.2:
                    raise Flaky(hook)

        getattr(self.workflow, f"on_{hook}")(told)

    def _schedule(self, seconds: int) -> None:
        @self.workflow.schedule("often", f"@every {seconds}s", foreign_id="often")
        def often(slot: datetime) -> dict[str, Any]:
            return {"n": 0, "secret": f"secret-{slot.isoformat()}"}

    # ---- what they do

    def _step(self, node: Node) -> Callable[[Any], Any]:
        async def step(run: Run[Any, Any]) -> Any:
            with self._recorder.call("step", run) as noted:
                await self._take(node.seconds, run)
                return self._told(noted, self._decide(node, run))

        def plain(run: Run[Any, Any]) -> Any:
            with self._recorder.call("step", run) as noted:
                return self._told(noted, self._decide(node, run))

        return step if node.is_async else plain

    def _other(self, node: Node, kind: str, name: str) -> Callable[[Any], Awaitable[Any]]:
        async def other(run: Run[Any, Any]) -> Any:
            with self._recorder.call(kind, run, name) as noted:
                await self._take(node.seconds / 4, run, name)
                if run.attempt <= STUBBORN and self._share(run, name) < node.fails:
                    raise Flaky(name)
                if kind == "callback" and self._share(run, name, "skip") < 0.2:
                    return self._told(noted, Skip())
                return self._told(noted, self._moved(node, run))

        return other

    def _decide(self, node: Node, run: Run[Any, Any]) -> Any:
        if run.object.get("n", 0) >= TIRED:
            return self._moved(node, run)
        if run.attempt <= STUBBORN and self._share(run, "fails") < node.fails:
            raise Flaky("not now")
        if self._share(run, "breaks") < node.breaks:
            raise Broke("never")
        for what, often in (
            (Skip(), node.skips),
            (Repeat(timedelta(seconds=0.3)), node.repeats),
            (Pause("a look"), node.pauses),
            (Cancel("enough"), node.cancels),
        ):
            if self._share(run, type(what).__name__) < often:
                run.object["n"] = run.object.get("n", 0) + 1
                return what
        return self._moved(node, run)

    def _moved(self, node: Node, run: Run[Any, Any]) -> Any:
        moves = run.object["n"] = run.object.get("n", 0) + 1
        to = node.to[int(self._share(run, "to") * len(node.to))]
        to = max(node.to) if moves > TIRED else to
        waited = to < len(self.spec.nodes) and self.spec.nodes[to].child
        if waited and CHILD not in run.foreign_id:
            carried = {"n": 0, "secret": f"secret-{run.run_id}"}
            run.start(self.workflow, f"{run.foreign_id}{CHILD}", carried, cancel_with_parent=True)
        return self._members[to]

    def _told(self, noted: dict[str, Any], result: Any) -> Any:
        named = result.name if isinstance(result, Enum) else type(result).__name__
        noted["outcome"] = named
        return result

    async def _take(self, seconds: float, run: Run[Any, Any], *parts: str) -> None:
        await asyncio.sleep(self._share(run, "takes", *parts) * seconds + self.slow)

    def _share(self, run: Run[Any, Any], *parts: object) -> float:
        return share(self.seed, run.idempotency_key, run.version, run.attempt, *parts)
