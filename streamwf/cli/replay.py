"""`streamwf replay`: the runs of a workflow as they were at a time."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from streamwf import stored_aside
from streamwf.access import ANYBODY, asked_by
from streamwf.adapters import loggers
from streamwf.cli import options
from streamwf.cli.output import progress_bar, say, write_json, write_table
from streamwf.cli.runs import write_run
from streamwf.cli.shapes import Replayed
from streamwf.cli.stores import in_store, opened
from streamwf.cli.targets import AnyWorkflow, load_workflow
from streamwf.counting import counted
from streamwf.graph import counts
from streamwf.masked_views import for_who_asks
from streamwf.record import Record
from streamwf.settings import Settings, load
from streamwf.views import RunView, run_view


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--until") from None
    if found.tzinfo is None:
        raise click.BadParameter("it has no time zone; add Z or +02:00", param_hint="--until")
    return found


@click.command()
@click.argument("target")
@click.option("--until", required=True, help="When, as ISO 8601 with a time zone.")
@click.option("--run", "run", help="A run id or a foreign id: show these runs as they were.")
@options.as_json(Replayed, RunView)
@options.settings(*options.STORE, "log", *options.TOPICS)
def replay(target: str, until: str, run: str | None, as_json: bool, **flags: Any) -> None:
    """Fold the log of TARGET up to a time, and tell what the runs were like then.

    Without --run, how many there were by status and state. No step runs, and workers may go on.
    """
    instant, workflow, settings = _instant(until), load_workflow(target), load(flags)
    loggers.configure("warning")
    found: list[Record] = []
    total: dict[tuple[str, str], int] = {}

    def take(record: Record) -> None:
        pair = (workflow.current(record.status), record.state)
        total[pair] = total.get(pair, 0) + 1
        if run in (record.run_id, record.foreign_id):
            found.append(record)

    with progress_bar(f"replaying {workflow.name}") as progress:
        events = asyncio.run(_replay(workflow, settings, instant, progress, take))
    if run is not None:
        for record in found:
            view = run_view(workflow.name, workflow.start_name, record)
            with asked_by(ANYBODY):
                write_run(for_who_asks(workflow, record, view), as_json)
        if not found:
            raise click.ClickException(f"there was no run {run!r} then")
    elif as_json:
        write_json(Replayed(workflow=workflow.name, events=events, counts=counts(total)))
    else:
        write_table(
            ("STATUS", "STATE", "RUNS"),
            [(*pair, f"{count:,}") for pair, count in sorted(total.items())],
        )
        say(f"{counted(events, 'event')} folded")


async def _replay(
    workflow: AnyWorkflow,
    settings: Settings,
    until: datetime,
    progress: Any,
    take: Callable[[Record], None],
) -> int:
    if in_store(settings):
        async with opened(workflow.name, settings) as stores:
            return await stored_aside.replay(workflow, stores, until, progress, take)
    from streamwf import agents

    return await agents.replay(workflow, settings, until, progress, take)
