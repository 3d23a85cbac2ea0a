"""`streamwf connectors`: looking at connectors, pausing and resuming them, over HTTP."""

from functools import partial

import click

from streamwf.adapters.endpoints import Endpoint
from streamwf.cli import options
from streamwf.cli.asking import ask
from streamwf.cli.output import instant, say, why, write, write_json, write_table
from streamwf.connector_views import (
    ConnectorAction,
    ConnectorRun,
    Connectors,
    ConnectorView,
    PartitionView,
)

name = click.argument("name")


@click.group()
def connectors() -> None:
    """Look at connectors and how far they have read, pause and resume them."""


@connectors.command("list")
@options.workflow
@options.as_json(Connectors)
@options.url
def list_connectors(workflow: str, as_json: bool, at: Endpoint) -> None:
    """List the connectors of a workflow, with each partition that they read."""
    found = ask(at, lambda gateway: gateway.connectors(workflow))
    if as_json:
        write_json(found)
        return
    _write(found.connectors)
    if found.missing:
        said = ", ".join(found.missing)
        say(f"Without what these workers read, which did not answer: {said}")


def _write(views: list[ConnectorView]) -> None:
    """A line for each connector as a whole, and one for each of its partitions."""
    columns = ("NAME", "SOURCE", "PARTITION", "STATE", "POSITION", "BEHIND", "MESSAGES")
    rows = [
        row for view in views for row in (_whole(view), *map(partial(_part, view), view.partitions))
    ]
    write_table((*columns, "SET ASIDE", "UPDATED", "RUN ID", "WHY"), rows)


def _whole(view: ConnectorView) -> tuple[str, ...]:
    known = [part.behind for part in view.partitions if part.behind is not None]
    return (
        view.name,
        view.source,
        "",
        view.state,
        "",
        str(sum(known)) if known else "",
        str(sum(part.messages for part in view.partitions)),
        str(sum(part.set_aside for part in view.partitions)),
        *_run(view.looking),
    )


def _part(view: ConnectorView, part: PartitionView) -> tuple[str, ...]:
    return (
        view.name,
        view.source,
        part.partition,
        part.state.value,
        part.position or "",
        "" if part.behind is None else str(part.behind),
        str(part.messages),
        str(part.set_aside),
        *_run(part),
    )


def _run(run: ConnectorRun | None) -> tuple[str, str, str]:
    return ("", "", "") if run is None else (instant(run.updated_at), run.run_id, why(run))


def _steering(action: ConnectorAction, help: str) -> click.Command:
    @options.workflow
    @name
    @click.option("--reason", default="", help="Kept on its runs.")
    @options.as_json(ConnectorView)
    @options.url
    def steer(workflow: str, name: str, reason: str, as_json: bool, at: Endpoint) -> None:
        view = ask(at, lambda gateway: gateway.steer_connector(workflow, name, action, reason))
        write_json(view) if as_json else write(f"{view.name} is {view.state}")

    return click.command(action, help=help)(steer)


connectors.add_command(
    _steering("pause", "Pause a connector. It goes on where it was when it is resumed.")
)
connectors.add_command(_steering("resume", "Resume a connector that was paused."))
