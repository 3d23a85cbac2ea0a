"""`streamwf dead-letters`: looking at what could not be used, and settling it, over HTTP."""

from functools import partial

import click

from streamwf.adapters.endpoints import Endpoint
from streamwf.cli import options
from streamwf.cli.asking import ask
from streamwf.cli.output import instant, say, write, write_json, write_json_line, write_table
from streamwf.gateway import Gateway
from streamwf.letter_views import (
    MAX_LETTERS,
    LetterAction,
    LetterQuery,
    Letters,
    LetterView,
    Settled,
)

ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at what could not be used, send it again once it is mended, or drop it."""


@dead_letters.command("list")
@click.option("--workflow", help="Of this workflow alone.")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_LETTERS),
    default=50,
    show_default=True,
    help="Letters a page.",
)
@click.option("--cursor", help="Where to begin: as the page before said.")
@options.as_json(Letters)
@options.url
def list_letters(
    workflow: str | None, limit: int, cursor: str | None, as_json: bool, at: Endpoint
) -> None:
    """List those that nobody has settled, the latest first."""
    query = LetterQuery(workflow=workflow, limit=limit, cursor=cursor)
    page = ask(at, lambda gateway: gateway.letters(query))
    write_json(page) if as_json else _write_page(page)


def _write_page(page: Letters) -> None:
    rows = [
        (letter.id, instant(letter.at), letter.key or "", _from(letter), letter.reason)
        for letter in page.letters
    ]
    write_table(("ID", "SET ASIDE", "KEY", "FROM", "WHY"), rows)
    if page.cursor:
        say(f"{page.count} in all; those before these: --cursor {page.cursor}")


def _from(letter: LetterView) -> str:
    return f"{letter.source} {letter.partition}/{letter.position}"


@dead_letters.command()
@click.argument("id")
@options.as_json(LetterView)
@options.url
def show(id: str, as_json: bool, at: Endpoint) -> None:
    """Show a letter with all that it says."""
    letter = ask(at, lambda gateway: gateway.letter(id))
    if as_json:
        write_json(letter)
        return
    write(f"{letter.id}  {instant(letter.at)}  from {_from(letter)}  key {letter.key}")
    write(letter.reason)
    content = "(withheld: it may have masked fields)" if letter.withheld else letter.text
    write(letter.base64 or "" if content is None else content)


async def _settled(id: str, action: LetterAction, reason: str, gateway: Gateway) -> Settled:
    return await gateway.settle_letter(id, action, reason)


def _settling(action: LetterAction, done: str, help: str) -> click.Command:
    @ids
    @click.option("--reason", default="", help="Kept beside the letter.")
    @options.as_json(Settled, lines=True)
    @options.url
    def settle(ids: tuple[str, ...], reason: str, as_json: bool, at: Endpoint) -> None:
        for id in ids:
            settled = ask(at, partial(_settled, id, action, reason))
            write_json_line(settled) if as_json else write(f"{settled.id} is {done}")

    return click.command(action, help=help)(settle)


dead_letters.add_command(
    _settling("retry", "sent again", "Send letters again, once what was wrong with them is mended.")
)
dead_letters.add_command(
    _settling("drop", "dropped", "List letters no more. They stay in their topic.")
)
