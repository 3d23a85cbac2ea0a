"""`streamwf completion`: a script that completes command lines."""

from typing import Literal

import click
from click.shell_completion import get_completion_class

from streamwf.cli import options
from streamwf.cli.output import write_json
from streamwf.cli.shapes import Completion

Shell = Literal["bash", "zsh", "fish"]

#: What the script calls the command with. Click makes it of the command's name.
VARIABLE = "_STREAMWF_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@options.as_json(Completion)
@click.pass_context
def completion(context: click.Context, shell: Shell, as_json: bool) -> None:
    """Write the script that makes SHELL complete commands, options, workflows, statuses and runs.

    \b
    bash  eval "$(streamwf completion bash)"    in ~/.bashrc
    zsh   eval "$(streamwf completion zsh)"     in ~/.zshrc, after compinit
    fish  streamwf completion fish > ~/.config/fish/completions/streamwf.fish

    Names come from the worker in STREAMWF_URL or --url, if it answers within a second.
    """
    made = get_completion_class(shell)
    assert made is not None
    script = made(context.find_root().command, {}, "streamwf", VARIABLE).source()
    write_json(Completion(shell=shell, script=script)) if as_json else click.echo(script, nl=False)
