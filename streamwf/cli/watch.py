"""`streamwf runs watch`: the runs that fit a filter, as they move."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from streamwf.adapters.endpoints import Endpoint
from streamwf.adapters.http import HttpGateway
from streamwf.cli import options
from streamwf.cli.filters import filters, read
from streamwf.cli.output import console, instant, run_table, say, why, write, write_json_line
from streamwf.errors import NotReady, StreamwfError, WorkerFailed, WorkerUnreachable
from streamwf.gateway import Gateway
from streamwf.moves import Watched
from streamwf.views import Page, Query, RunView

#: What passes: whoever watches waits for the worker to come back.
_PASSING = (NotReady, WorkerFailed, WorkerUnreachable)

#: Seconds after which one looks although no move was told: those who tell may be gone.
QUIET = 3.0

#: Lines of a terminal that are not for runs.
_FRAME = 4


class Look(Page):
    """What was seen at one time. changed: the runs that have moved since the look before.

    trouble: why there is no answer just now; then it is what was seen last.
    """

    changed: list[RunView] = []
    trouble: str = ""


async def looks(gateway: Gateway, query: Query, interval: float) -> AsyncGenerator[Look, None]:
    """What there is to see, whenever a move is told. interval: seconds between two looks at least.

    Raises StreamwfError if the first look fails.
    """
    moved = asyncio.Event()
    hearing = asyncio.create_task(_hear(gateway, query, moved))
    try:
        page, trouble, seen = await gateway.find(query), "", dict[str, int]()
        while True:
            changed = [run for run in page.runs if seen.get(run.run_id) != run.version]
            seen = {run.run_id: run.version for run in page.runs}
            yield Look(**dict(page), changed=[] if trouble else changed, trouble=trouble)
            await asyncio.sleep(interval)
            with suppress(TimeoutError):
                await asyncio.wait_for(moved.wait(), 0 if trouble else QUIET)
            moved.clear()
            try:
                page, trouble = await gateway.find(query), ""
            except _PASSING as error:
                trouble = str(error)
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])


async def _hear(gateway: Gateway, query: Query, moved: asyncio.Event) -> None:
    """Tells whenever a run may have moved that is looked at. A move is news alone: what is seen is
    asked for, since the runs that fit are judged by more than moves tell."""
    # Not by status and state, since one that leaves them has to go.
    watched = Watched.of(
        workflow=query.workflow, foreign_id=query.foreign_id, foreign_id_prefix=query.prefix
    )
    while True:
        with suppress(StreamwfError):
            async with aclosing(gateway.watch(watched, None)) as tidings:
                async for _ in tidings:
                    moved.set()
        await asyncio.sleep(QUIET)


@click.command("watch")
@filters
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=0.5,
    show_default=True,
    help="Seconds between two looks at what has moved, at least.",
)
@click.option(
    "--limit", type=click.IntRange(1, 200), help="Runs at most.  [default: what the screen has]"
)
@options.as_json(RunView, lines=True)
@options.url
def watch(at: Endpoint, interval: float, limit: int | None, as_json: bool, **given: Any) -> None:
    """Show runs as they move, the latest first, until Ctrl-C.

    On a terminal that is a table. Elsewhere it is a line for each run that is there, and for each
    time that one of them is seen to have moved. It is told by events, and a worker that is away
    is waited for.
    """
    screen = console()
    room = max(screen.height - _FRAME, 1) if screen.is_terminal else 200
    asked = read(Query, {**given, "order": "-updated", "limit": limit or room})
    shown: Shown = _Lines(as_json) if as_json or not screen.is_terminal else _Table()
    asyncio.run(_watch(at, asked, interval, shown))


class Shown(Protocol):
    """How what is seen is shown."""

    def __enter__(self) -> object: ...
    def __exit__(self, *ended: object) -> None: ...
    def show(self, look: Look) -> None: ...


async def _watch(at: Endpoint, query: Query, interval: float, shown: Shown) -> None:
    """Returns when it is interrupted. Raises StreamwfError."""
    watching = asyncio.create_task(_show(at, query, interval, shown))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, watching.cancel)
    await asyncio.wait([watching])
    if not watching.cancelled():
        watching.result()


async def _show(at: Endpoint, query: Query, interval: float, shown: Shown) -> None:
    gateway = HttpGateway(at)
    try:
        with shown:
            async with aclosing(looks(gateway, query, interval)) as seen:
                async for look in seen:
                    shown.show(look)
    finally:
        await gateway.close()


class _Lines:
    """A line for each run that has moved."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._trouble = ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *ended: object) -> None:
        pass

    def show(self, look: Look) -> None:
        for run in sorted(look.changed, key=lambda run: run.updated_at):
            write_json_line(run) if self._as_json else write(_line(run))
        if look.trouble and look.trouble != self._trouble:
            say(look.trouble)
        self._trouble = look.trouble


def _line(run: RunView) -> str:
    facts = (instant(run.updated_at), run.foreign_id, run.workflow, run.status, run.state, why(run))
    return "  ".join(fact for fact in facts if fact)


class _Table:
    """A table that changes in its place. What has just moved is bold."""

    def __init__(self) -> None:
        self._live = Live(console=console(), auto_refresh=False)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *ended: object) -> None:
        self._live.stop()

    def show(self, look: Look) -> None:
        table = run_table(look.runs, {run.run_id for run in look.changed})
        self._live.update(Group(table, Text(_caption(look), style="dim")), refresh=True)


def _caption(look: Look) -> str:
    more = f"the latest {len(look.runs)}" if look.cursor else f"{len(look.runs)} runs"
    missing = f"; without those of {', '.join(look.missing)}" if look.missing else ""
    trouble = f"; {look.trouble}" if look.trouble else ""
    return f"{more} at {instant(datetime.now(UTC))}{missing}{trouble}  (Ctrl-C ends)"
