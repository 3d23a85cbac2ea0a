"""`streamwf callback`: answering a run that waits, over HTTP."""

import base64
import json
from typing import Any, BinaryIO

import click

from streamwf.adapters.endpoints import Endpoint
from streamwf.callback_views import CallbackRequest, CallbackView
from streamwf.cli import options
from streamwf.cli.asking import ask
from streamwf.cli.output import write, write_json


@click.command()
@options.workflow
@click.argument("name")
@click.option("--foreign-id", help="Of the run; its latest one.")
@click.option("--run-id", help="Of the run, instead.")
@click.option("--correlation", help="The value that the run is known by, instead.")
@click.option("--data", help="What to tell it, as JSON.")
@click.option("--file", type=click.File("rb"), help="What to tell it, as bytes. `-` is stdin.")
@click.option("--key", help="Makes a repeat harmless: the same key counts once.")
@click.option(
    "--wait-for",
    type=click.FloatRange(min=0),
    default=0,
    help="Seconds that it may wait until it is wanted.",
)
@options.as_json(CallbackView)
@options.url
def callback(
    workflow: str,
    name: str,
    data: str | None,
    file: BinaryIO | None,
    as_json: bool,
    at: Endpoint,
    **given: Any,
) -> None:
    """Answer a run that waits for the callback NAME, and say what came of it."""
    if data is not None and file is not None:
        raise click.UsageError("Give --data or --file, not both.")
    ways = ("foreign_id", "run_id", "correlation")
    if sum(given[way] is not None for way in ways) != 1:
        raise click.UsageError("Say which run: --foreign-id, --run-id or --correlation.")
    try:
        payload = None if data is None else json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"it is not JSON: {error}", param_hint="--data") from None
    raw = None if file is None else base64.b64encode(file.read()).decode()
    asked = CallbackRequest.of(name=name, payload=payload, payload_base64=raw, **given)
    found = ask(at, lambda gateway: gateway.callback(workflow, asked))
    write_json(found) if as_json else _tell(found)


def _tell(found: CallbackView) -> None:
    write(found.outcome)
    if found.run is not None:
        run = found.run
        write(f"{run.foreign_id} ({run.run_id}) is {run.state} at {run.status}")
    if found.error is not None:
        write(f"{found.error.type}: {found.error.message}")
