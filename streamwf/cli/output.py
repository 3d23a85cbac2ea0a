"""What the commands write. Off a terminal it is the same without control codes or wrapping.

What draws on a terminal is imported when something is drawn: most commands only write a line.
"""

import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import click

from streamwf.events import CALLBACK
from streamwf.record import State
from streamwf.views import EventView, RunView

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from streamwf.connector_views import ConnectorRun
    from streamwf.schedule_views import ScheduleView

#: What stands out where there are colours: what has to be looked at, and what goes well.
STYLES = {
    State.PAUSED: "yellow",
    State.CANCELLED: "red",
    State.COMPLETED: "green",
    State.RUNNING: "cyan",
    "stopped": "red",
    "error": "red",
    "warning": "yellow",
}

#: Wide enough that nothing is cut where there is no terminal.
UNWRAPPED = 10_000

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def console(*, stderr: bool = False) -> "Console":
    """Where rich output goes. Text is taken as it is: users' data may look like markup."""
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = UNWRAPPED
    return made


def clean(text: str) -> str:
    """Text from elsewhere, without what could control the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def write(text: str) -> None:
    """A line of what was asked for."""
    click.echo(clean(text))


def say(text: str) -> None:
    """A line for people beside what was asked for, which may be read by a program."""
    click.echo(clean(text), err=True)


def write_json(value: "BaseModel") -> None:
    """A document for programs."""
    click.echo(json.dumps(value.model_dump(mode="json"), indent=2))


def write_json_line(value: "BaseModel") -> None:
    """One of many documents for programs, in a line of its own."""
    click.echo(json.dumps(value.model_dump(mode="json")))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns under their names. States have colours, where there are any."""
    table = _table(columns)
    for row in rows:
        table.add_row(*map(_cell, row))
    console().print(table)


def run_table(runs: Iterable[RunView], marked: Collection[str] = ()) -> "Table":
    """Runs as people look at them. marked: the ids of those that are to stand out."""
    table = _table(("FOREIGN ID", "WORKFLOW", "STATUS", "STATE", "UPDATED", "RUN ID", "WHY"))
    for run in runs:
        facts = (run.foreign_id, run.workflow, run.status, run.state, instant(run.updated_at))
        style = "bold" if run.run_id in marked else None
        table.add_row(*map(_cell, (*facts, run.run_id, why(run))), style=style)
    return table


def _table(columns: Sequence[str]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # An id is there to be copied.
        table.add_column(column, overflow="fold", no_wrap=column == "RUN ID")
    return table


def _cell(text: str) -> "Text":
    from rich.text import Text

    return Text(clean(text).rstrip(), style=STYLES.get(text, ""))


def write_facts(facts: Mapping[str, str]) -> None:
    """Facts under one another, each behind its name. Those that are empty are left out."""
    from rich.text import Text

    screen = console()
    for name, fact in facts.items():
        if fact:
            screen.print(Text.assemble((f"{name + ':':<17}", "bold"), _cell(fact)), soft_wrap=True)


def instant(time: datetime | None) -> str:
    """An instant as people read it, in UTC."""
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def why(told: "RunView | EventView | ScheduleView | ConnectorRun") -> str:
    """What kept a run or moved it, in one line: its error, its reason, what came."""
    parts = [told.reason]
    if told.error is not None:
        first_line = told.error.message.partition("\n")[0]
        parts.append(f"{told.error.type}: {first_line}" if first_line else told.error.type)
    if isinstance(told, EventView):
        parts += [f"timeout {told.timer}" if told.timer else ""]
        parts += [f"callback {told.call}" if told.type == CALLBACK and told.call else ""]
        parts += [f"hook on_{told.hook}" if told.hook else ""]
    return "; ".join(part for part in parts if part)


class Report(Protocol):
    """Takes how much is done, and of how much if that is known."""

    def __call__(self, done: int, total: int | None) -> None: ...


@contextmanager
def progress_bar(what: str) -> Iterator[Report]:
    """A bar on stderr while something takes its time; nothing off a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    screen = console(stderr=True)
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def report(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield report
