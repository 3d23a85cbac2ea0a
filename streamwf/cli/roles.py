"""`streamwf roles`: who does what, over HTTP."""

import click

from streamwf.adapters.endpoints import Endpoint
from streamwf.cli import filters, options
from streamwf.cli.asking import ask
from streamwf.cli.output import say, write_json, write_table
from streamwf.views import Roles


@click.command()
@filters.workflow
@options.as_json(Roles)
@options.url
def roles(workflow: str | None, as_json: bool, at: Endpoint) -> None:
    """List what the workers do in each shard, and whether they are at it."""
    found = ask(at, lambda gateway: gateway.roles())
    shown = [role for role in found.roles if workflow in (None, role.workflow)]
    if as_json:
        write_json(found.model_copy(update={"roles": shown}))
        return
    write_table(
        ("ROLE", "HEALTH", "RUNNING", "WAITING"),
        [(role.name, role.health, str(role.running), str(role.waiting)) for role in shown],
    )
    if found.missing:
        say(f"Without these workers, which did not answer: {', '.join(found.missing)}")
