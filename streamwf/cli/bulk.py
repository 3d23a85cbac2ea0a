"""`streamwf runs bulk`: doing the same to all runs that fit a filter."""

import asyncio
import sys
from dataclasses import dataclass, field
from typing import Any, get_args

import click

from streamwf.adapters.endpoints import Endpoint
from streamwf.adapters.http import HttpGateway
from streamwf.cli import options
from streamwf.cli.filters import filters, read
from streamwf.cli.interrupt import ctrl_c
from streamwf.cli.output import Report, progress_bar, say, write, write_json
from streamwf.cli.shapes import Tallied
from streamwf.client import Client
from streamwf.counting import counted
from streamwf.errors import StreamwfError
from streamwf.views import Action, Filter, Refusal

#: Refused runs that are written out; the rest are only counted.
SHOWN = 20

INTERRUPTED = "interrupted"


@dataclass
class Tally:
    """What became of the runs.

    interrupted: whether the part that is under way shall be the last.
    stopped: why the rest was left; empty if nothing was.
    """

    matched: int = 0
    changed: int = 0
    refused: list[Refusal] = field(default_factory=list)
    stopped: str = ""
    interrupted: bool = False

    def interrupt(self) -> None:
        self.interrupted = True


@click.command("bulk")
@click.argument("action", type=click.Choice(get_args(Action)))
@filters
@click.option("--reason", default="", help="Kept on each run.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask first.")
@options.as_json(Tallied)
@options.url
def bulk(action: Action, reason: str, yes: bool, as_json: bool, at: Endpoint, **given: Any) -> None:
    """Do the same to all runs that fit, after saying how many they are.

    Ctrl-C leaves what was done as it is, and the rest untouched.
    """
    asked = read(Filter, given)
    if asked == Filter():
        raise click.UsageError("Say which runs, at least by --workflow.")
    count = asyncio.run(_count(at, asked))
    say(f"{counted(count, 'run fits/runs fit')}.")
    if count and not yes:
        _confirm(action, count)
    tally = Tally()
    if count:
        with ctrl_c(tally.interrupt), progress_bar(action) as report:
            asyncio.run(_steer(at, action, asked, reason, tally, report, count))
    _tell(tally, as_json)
    if tally.stopped == INTERRUPTED:
        sys.exit(130)
    if tally.refused or tally.stopped:
        sys.exit(1)


def _confirm(action: Action, count: int) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask at: say --yes if that is right.")
    click.confirm(f"{action} {counted(count, 'run')}?", abort=True, err=True)


async def _count(at: Endpoint, asked: Filter) -> int:
    async with Client(HttpGateway(at)) as client:
        return await client.count(asked)


async def _steer(
    at: Endpoint,
    action: Action,
    asked: Filter,
    reason: str,
    tally: Tally,
    report: Report,
    count: int,
) -> None:
    report(0, count)
    try:
        async with Client(HttpGateway(at)) as client:
            async for done in client.bulk(action, asked, reason):
                tally.matched += done.matched
                tally.changed += done.changed
                tally.refused += done.refused
                report(tally.matched, max(count, tally.matched))
                if tally.interrupted and done.cursor is not None:
                    tally.stopped = INTERRUPTED
                    return
    except StreamwfError as error:
        tally.stopped = str(error)


def _tell(tally: Tally, as_json: bool) -> None:
    if as_json:
        write_json(
            Tallied(
                matched=tally.matched,
                changed=tally.changed,
                refused=tally.refused,
                stopped=tally.stopped,
            )
        )
        return
    for refusal in tally.refused[:SHOWN]:
        say(f"{refusal.foreign_id} ({refusal.run_id}): {refusal.why}")
    if len(tally.refused) > SHOWN:
        say(f"and {len(tally.refused) - SHOWN:,} more")
    write(f"{tally.changed:,} changed, {len(tally.refused):,} refused")
    if tally.stopped:
        say(f"Stopped after {counted(tally.matched, 'run')}: {tally.stopped}")
        say("The others are as they were. The same command goes on with those that still fit.")
