"""The command line: one file for each command or group of commands."""

import sys
from importlib.metadata import version
from typing import Any

import click

from streamwf.cli.callback import callback
from streamwf.cli.check import check
from streamwf.cli.connectors import connectors
from streamwf.cli.dead_letters import dead_letters
from streamwf.cli.dev import dev
from streamwf.cli.graph import graph
from streamwf.cli.log import rebuild, verify
from streamwf.cli.project import project
from streamwf.cli.relay import relay
from streamwf.cli.replay import replay
from streamwf.cli.roles import roles
from streamwf.cli.runs import runs
from streamwf.cli.schedules import schedules
from streamwf.cli.trigger import trigger
from streamwf.cli.worker import worker
from streamwf.errors import StreamwfError

EXIT_CODES = """\b
Exit codes:
  0    done
  1    refused or failed; the reason is on stderr
  2    the command line itself is wrong
  130  interrupted (`dev`, `worker` and `relay` end with 0)
"""


class _Commands(click.Group):
    """Tells people what went wrong; a traceback is for `--debug` only."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StreamwfError as error:
            if ctx.params["debug"]:
                raise
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)


@click.group(
    cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(version("streamwf"), prog_name="streamwf")
def main(debug: bool) -> None:
    """Run workflows on Kafka, on a database or in memory, start runs, and look at them."""


for command in (
    *(dev, worker, relay, trigger, callback, runs, roles, schedules),
    *(connectors, dead_letters, check, rebuild, replay, verify, project, graph),
):
    main.add_command(command)
