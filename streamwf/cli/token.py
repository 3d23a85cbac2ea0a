"""`streamwf token`: let somebody in over HTTP."""

import os
from pathlib import Path

import click

from streamwf.adapters.web.tokens import entry_of, identity_of, line_of, new_token
from streamwf.cli.output import say, write


@click.command()
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    metavar="[WORKFLOW=]ROLE",
    help="viewer, operator or admin: of a workflow, or of all that are not named. Repeatable.",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="STREAMWF_WEB_TOKEN_FILE",
    show_envvar=True,
    help="The workers' web_token_file: who it is and what they may do is added to it.",
)
def token(name: str, roles: tuple[str, ...], file: Path | None) -> None:
    """Make a token for NAME, and write it to stdout. It is told this once: only a hash is kept.

    Whoever has it may do what the roles say. To take it back, delete its line; workers see that at
    once.
    """
    try:
        identity = identity_of(name, roles)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    made = new_token()
    line = line_of(entry_of(made, identity))
    if file is None:
        say(f"Add this line to the workers' web_token_file:\n{line}")
    else:
        _append(file, line)
    write(made)


def _append(file: Path, line: str) -> None:
    try:
        # Nobody else need read who there is.
        number = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with open(number, "r+", encoding="utf-8") as opened:
            text = opened.read()
            opened.write(f"{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n")
    except OSError as error:
        raise click.ClickException(f"{file} can't be written: {error.strerror}") from None
