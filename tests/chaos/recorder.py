"""What the workflow's functions really did, as an outside service would have counted it.

Each call leaves a line in a file when it begins and one when it ends. What is written is there
whoever is killed after it, and nothing of the engine takes part.
"""

import functools
import inspect
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from tests.proof.story import Executed

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
Called = Literal["step", "timeout", "callback", "hook"]

#: Where the file is; nothing is recorded without.
FILE = "CHAOS_CALLS"

#: How a worker is called. With the process, it is one that no other ever has.
WORKER = "CHAOS_WORKER"

_numbers = itertools.count()


@functools.cache
def _file() -> int | None:
    path = os.environ.get(FILE)
    return os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644) if path else None


def _note(**line: Any) -> None:
    """monotonic: a clock that all processes share, and that nobody steps."""
    file = _file()
    if file is not None:
        told = {"process": os.getpid(), "monotonic": time.monotonic(), "clock": time.time(), **line}
        # One call of the system for a whole line: lines of several processes never mix.
        os.write(file, f"{json.dumps(told)}\n".encode())


@dataclass
class _Call:
    """outcome: as in `Executed`."""

    number: int = field(default_factory=lambda: next(_numbers))
    outcome: str = ""

    def returned(self, result: Any) -> Any:
        self.outcome = str(getattr(result, "name", ""))
        return result


@contextmanager
def _recorded(kind: Called, name: str, run: Any) -> Iterator[_Call]:
    call = _Call()
    _note(
        call=call.number,
        worker=os.environ.get(WORKER, ""),
        kind=kind,
        name=name,
        run_id=run.run_id,
        foreign_id=run.foreign_id,
        status=run.status.name,
        version=run.version,
        attempt=run.attempt,
        idempotency_key=run.idempotency_key,
    )
    try:
        yield call
    except BaseException as error:
        call.outcome = f"!{type(error).__name__}"
        raise
    finally:
        _note(call=call.number, outcome=call.outcome)


def recorded(kind: Called) -> Callable[[FunctionT], FunctionT]:
    """Record the calls of a function of the workflow."""

    def decorate(function: Any) -> Any:
        name = "" if kind == "step" else function.__name__

        async def awaited(run: Any, *given: Any) -> Any:
            with _recorded(kind, name, run) as call:
                return call.returned(await function(run, *given))

        def called(run: Any, *given: Any) -> Any:
            with _recorded(kind, name, run) as call:
                return call.returned(function(run, *given))

        chosen: Any = awaited if inspect.iscoroutinefunction(function) else called
        return functools.wraps(function)(chosen)

    return decorate


@dataclass(frozen=True, slots=True)
class Noted:
    """A call as it was recorded.

    began: by the monotonic clock. ahead: by how much the worker's clock was ahead.
    """

    executed: Executed
    began: float
    ahead: timedelta


def read(path: Path) -> list[Noted]:
    """All calls, in the order in which they began."""
    begun: dict[tuple[int, int], dict[str, Any]] = {}
    ended: dict[tuple[int, int], dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        told = json.loads(line)
        (begun if "kind" in told else ended)[told["process"], told["call"]] = told
    epoch = datetime.now(UTC) - timedelta(seconds=time.monotonic())
    return [_noted(told, ended.get(call), epoch) for call, told in begun.items()]


def _noted(told: dict[str, Any], ended: dict[str, Any] | None, epoch: datetime) -> Noted:
    began = epoch + timedelta(seconds=told["monotonic"])
    executed = Executed(
        kind=told["kind"],
        worker=f"{told['worker']}-{told['process']}",
        run_id=told["run_id"],
        foreign_id=told["foreign_id"],
        status=told["status"],
        version=told["version"],
        attempt=told["attempt"],
        idempotency_key=told["idempotency_key"],
        began=began,
        name=told["name"],
        ended=None if ended is None else epoch + timedelta(seconds=ended["monotonic"]),
        outcome="" if ended is None else ended["outcome"],
    )
    clock = datetime.fromtimestamp(told["clock"], UTC)
    return Noted(executed, told["monotonic"], clock - began)
