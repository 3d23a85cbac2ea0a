"""`streamwf graph`: the diagram of a workflow."""

from typing import cast, get_args

import click

from streamwf.cli import options
from streamwf.cli.output import write_json
from streamwf.cli.shapes import Diagram
from streamwf.cli.targets import load_workflow
from streamwf.graph import Direction


@click.command()
@click.argument("target")
@click.option(
    "--direction", type=click.Choice(get_args(Direction)), default="TB", show_default=True
)
@options.as_json(Diagram)
def graph(target: str, direction: str, as_json: bool) -> None:
    """Write the state diagram of a workflow as mermaid text."""
    workflow = load_workflow(target)
    text = workflow.mermaid(cast(Direction, direction))
    if as_json:
        write_json(Diagram(workflow=workflow.name, mermaid=text))
    else:
        click.echo(text, nl=False)
