"""What tests share: a clock that they step, polling with a deadline, records to fold, a pytest
like a user's own."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import HealthCheck, settings

from streamwf.events import (
    CALLBACK,
    CANCEL,
    DELETE,
    PAUSE,
    RESUME,
    RETRY,
    TRIGGER,
    Event,
    encode_event,
    request,
    source_of,
)
from streamwf.record import Record, State

T = TypeVar("T")

#: The instant at which every stepped clock begins.
NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, UTC)

#: When it is asked something: a minute after it has begun. And what is due later than that.
THEN, LATER = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)

WORKFLOW = "orders"


class SteppedClock:
    """Stands still until it is stepped."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def step(self, by: timedelta) -> None:
        self._now += by


class Lines:
    """Keeps what is logged: (level, event, fields). Implements `streamwf.ports.Logger`."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, dict[str, Any]]] = []

    def debug(self, event: str, /, **fields: Any) -> None:
        self.said.append(("debug", event, fields))

    def info(self, event: str, /, **fields: Any) -> None:
        self.said.append(("info", event, fields))

    def warning(self, event: str, /, **fields: Any) -> None:
        self.said.append(("warning", event, fields))

    def error(self, event: str, /, **fields: Any) -> None:
        self.said.append(("error", event, fields))

    def of(self, name: str) -> list[dict[str, Any]]:
        """The fields of each line of this event."""
        return [fields for _, event, fields in self.said if event == name]


def examples(count: int) -> settings:
    """How often a property is tried. How long a try takes is the machine's affair."""
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


async def eventually(
    look: Callable[[], T] | Callable[[], Awaitable[T]], *, within: float = 30.0
) -> T:
    """What `look` gives, as soon as it is true."""
    deadline = time.monotonic() + within
    while True:
        found: Any = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come to be within {within} s; last: {found!r}")
        await asyncio.sleep(0.002)


async def settle(rounds: int = 20) -> None:
    """Let everything that can run without the clock being stepped run."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@dataclass(frozen=True)
class LogEntry:
    """Implements `streamwf.ports.LogRecord`."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 1_893_553_445_678


def entries_of(events: list[Event]) -> list[LogEntry]:
    """The log that holds these events."""
    return [
        LogEntry(offset, event.subject.encode(), encode_event(event))
        for offset, event in enumerate(events)
    ]


def trigger(
    foreign_id: str = "o-1",
    run_id: str = "run-1",
    *,
    event_id: str = "t-1",
    status: str = "CREATED",
    data: bytes | None = b'{"n":1}',
    time: datetime = NOW,
    start_at: datetime | None = None,
) -> Event:
    return request(
        WORKFLOW,
        TRIGGER,
        foreign_id,
        time,
        event_id=event_id,
        runid=run_id,
        status=status,
        data=data,
        startat=start_at,
    )


def steer(kind: str, event_id: str, *, run_id: str = "run-1", reason: str = "") -> Event:
    assert kind in (PAUSE, RESUME, CANCEL, DELETE, RETRY)
    return asked(kind, event_id, run_id=run_id, reason=reason)


def asked(kind: str, event_id: str = "r-1", *, run_id: str = "run-1", **fields: Any) -> Event:
    """A request, a minute after the run has begun."""
    told = {"foreign_id": "o-1", "now": THEN, **fields}
    return request(WORKFLOW, kind, event_id=event_id, runid=run_id, **told)


def callback(event_id: str = "c-1", name: str = "signed", **fields: Any) -> Event:
    return asked(CALLBACK, event_id, call=name, **{"data": b'{"by":"ann"}', **fields})


def result(kind: str, version: int, *, run_id: str = "run-1", **fields: Any) -> Event:
    """A result as the executor writes it, computed from the run at `version`."""
    if isinstance(fields.get("data"), bytes):
        fields["data"] = msgspec.Raw(fields["data"])
    return Event(
        **{
            "specversion": "1.0",
            "id": f"{run_id}-{version}",
            "source": source_of(WORKFLOW),
            "type": kind,
            "subject": "o-1",
            "time": NOW + timedelta(seconds=version),
            "runid": run_id,
            "version": version,
            **fields,
        }
    )


def record(state: State = State.RUNNING, **fields: Any) -> Record:
    return Record(
        **{
            "foreign_id": "o-1",
            "run_id": "run-1",
            "status": "CREATED",
            "state": state,
            "version": 3,
            "entered": state is not State.INITIATED,
            "object": msgspec.Raw(b'{"n":1}'),
            "created_at": NOW,
            "updated_at": NOW,
            "offsets": (1, 2, 3),
            **fields,
        }
    )


#: Options of a user's pytest that has pytest-asyncio.
WITH_ASYNCIO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")


def run_pytest(folder: Path, *options: str) -> str:
    """What pytest writes of the tests in a folder, which have to pass. It has our fixtures."""
    # Named, as no entry point leads to a checkout that was not installed; then no other may.
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "streamwf.pytest_plugin"]
    checkout = str(Path(__file__).parents[1])
    done = subprocess.run(
        [*command, *options],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": checkout},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
