"""`streamwf trigger`: start a run, or one for each line of a file."""

import asyncio
import json
import sys
from datetime import datetime
from typing import Any, BinaryIO

import click

from streamwf.adapters.endpoints import Endpoint
from streamwf.cli import options
from streamwf.cli.asking import ask
from streamwf.cli.output import write, write_json
from streamwf.cli.pile import Pile, tell
from streamwf.cli.sending import send
from streamwf.cli.shapes import Appended, Sent
from streamwf.settings import Settings, load
from streamwf.views import Requested, Trigger

#: Those that are of use only where triggers go straight to Kafka.
FLAGS = ("brokers", *options.SECURITY, "topic_prefix")


@click.command()
@options.workflow
@click.argument("foreign_id", required=False)
@click.option("--data", help="The object, as JSON.")
@click.option("--at", "status", help="The status to start at, if not the workflow's start.")
@click.option("--start-at", help="When to start, as ISO 8601 with a time zone; now if not given.")
@click.option("--key", help="Makes a repeat harmless: the same key leads to the same run.")
@click.option(
    "--wait/--no-wait",
    default=None,
    help="Return once the run is accepted, or once the log has the request.  [default: wait]",
)
@click.option(
    "--from",
    "file",
    type=click.File("rb"),
    help='A file with a line of JSON for each run: {"foreign_id": …, "object": …}, and status, '
    "start_at and key if wanted. `-` is stdin.",
)
@click.option(
    "--skip", type=click.IntRange(0), default=0, help="Lines of the file to leave out at its start."
)
@options.as_json(Requested, Appended, Sent)
@options.url
@click.option("--brokers", help="Straight to Kafka, at these brokers, instead of to a worker.")
@click.option("--topic-prefix", help="With --brokers: what the names of the topics begin with.")
@options.settings(*options.SECURITY)
def trigger(
    workflow: str,
    foreign_id: str | None,
    file: BinaryIO | None,
    skip: int,
    wait: bool | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Start a run, or with --from one for each line of a file.

    Over HTTP, by any worker; with --brokers straight into the workflow's topic, where its workers
    judge it later.

    A file may be interrupted with Ctrl-C: the summary says how many lines to --skip to go on.
    """
    at = given.pop("at")
    way = _way(wait, at, {name: given.pop(name) for name in FLAGS})
    if (foreign_id is None) == (file is None):
        raise click.UsageError("Give a FOREIGN_ID, or --from FILE.")
    if foreign_id is not None:
        _one(workflow, _trigger(foreign_id, **given), way, wait is not False, as_json)
    elif file is not None:
        if any(value is not None for value in given.values()):
            raise click.UsageError("With --from, data, status, start_at and key are in the file.")
        pile = Pile(file, skip)
        send(workflow, pile, way, wait is not False)
        tell(pile, _called(way, wait), as_json)
        if pile.interrupted:
            sys.exit(130)
        if pile.refused or pile.stopped:
            sys.exit(1)


def _way(wait: bool | None, at: Endpoint, flags: dict[str, Any]) -> Endpoint | Settings:
    """Where triggers go: to the worker at a URL, or to the brokers that settings name."""
    if flags["brokers"] is None:
        for name, value in flags.items():
            if value is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} is for --brokers.")
        return at
    if wait:
        raise click.UsageError("--brokers can't --wait: nobody answers from the topic.")
    return load(flags)


def _called(way: Endpoint | Settings, wait: bool | None) -> str:
    """What a trigger is that was not refused."""
    return "requested" if isinstance(way, Settings) or wait is False else "accepted"


def _trigger(
    foreign_id: str, data: str | None, status: str | None, start_at: str | None, key: str | None
) -> Trigger:
    try:
        instant = None if start_at is None else datetime.fromisoformat(start_at)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--start-at") from None
    if instant is not None and instant.tzinfo is None:
        raise click.BadParameter("it has no time zone; add Z or +02:00", param_hint="--start-at")
    try:
        value = None if data is None else json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"it is not JSON: {error}", param_hint="--data") from None
    return Trigger(foreign_id=foreign_id, object=value, status=status, start_at=instant, key=key)


def _one(
    workflow: str, trigger: Trigger, way: Endpoint | Settings, wait: bool, as_json: bool
) -> None:
    if isinstance(way, Endpoint):
        run_id = ask(way, lambda gateway: gateway.trigger(workflow, trigger, wait))
        write_json(Requested(run_id=run_id)) if as_json else write(run_id)
        return
    from streamwf.adapters.kafka.triggers import append_triggers

    asyncio.run(append_triggers(workflow, [trigger], way, lambda _: None))
    write_json(Appended(requested=1)) if as_json else write("requested")
