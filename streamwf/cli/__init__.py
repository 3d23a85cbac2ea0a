"""The command line: one file for each command or group of commands."""

import sys
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from importlib.metadata import version
from typing import Any, cast

import click

from streamwf.errors import StreamwfError

#: The commands, and the module of each, which is imported when it is needed.
COMMANDS = {
    "dev": "dev",
    "worker": "worker",
    "relay": "relay",
    "trigger": "trigger",
    "callback": "callback",
    "runs": "runs",
    "roles": "roles",
    "schedules": "schedules",
    "connectors": "connectors",
    "dead-letters": "dead_letters",
    "check": "check",
    "rebuild": "log",
    "replay": "replay",
    "verify": "log",
    "project": "project",
    "graph": "graph",
    "openapi": "openapi",
    "token": "token",
    "bench": "bench",
    "completion": "completion",
}

EXIT_CODES = {
    0: "done",
    1: "refused or failed; the reason is on stderr",
    2: "the command line itself is wrong",
    130: "interrupted (`dev`, `worker`, `relay`, `project` and `runs watch` end with 0)",
}

_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:<5}{said}" for code, said in EXIT_CODES.items())


class _OnDemand(Mapping[str, click.Command]):
    """The commands by their names. Each is imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        module = import_module(f"streamwf.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Commands(click.Group):
    """Tells people what went wrong; a traceback is for `--debug` only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

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
    cls=_Commands,
    commands=cast("MutableMapping[str, click.Command]", _OnDemand()),
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(version("streamwf"), prog_name="streamwf")
def main(debug: bool) -> None:
    """Run workflows on Kafka, on a database or in memory, start runs, and look at them."""
