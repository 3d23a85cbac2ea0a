"""`streamwf graph`: the diagram of a workflow."""

from typing import cast, get_args

import click

from streamwf.cli.targets import load_workflow
from streamwf.graph import Direction


@click.command()
@click.argument("target")
@click.option(
    "--direction", type=click.Choice(get_args(Direction)), default="TB", show_default=True
)
def graph(target: str, direction: str) -> None:
    """Write the state diagram of a workflow as mermaid text."""
    click.echo(load_workflow(target).mermaid(cast(Direction, direction)), nl=False)
