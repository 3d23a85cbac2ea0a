"""`streamwf runs`: looking at runs and steering them, over HTTP."""

import json
import shlex
from datetime import UTC, datetime
from typing import IO, Any, get_args

import click
from click.core import ParameterSource

from streamwf.adapters.endpoints import Endpoint
from streamwf.adapters.http import HttpGateway
from streamwf.cli import completing, options
from streamwf.cli.asking import ask
from streamwf.cli.bulk import bulk
from streamwf.cli.filters import filters, read
from streamwf.cli.output import (
    console,
    instant,
    run_table,
    say,
    why,
    write,
    write_facts,
    write_json,
    write_table,
)
from streamwf.cli.standing import following, standing
from streamwf.cli.watch import watch
from streamwf.counting import counted
from streamwf.histories import ExportedHistory
from streamwf.views import (
    MAX_PAGE,
    Action,
    Count,
    Filter,
    Fork,
    History,
    Order,
    Page,
    Query,
    Requested,
    RunView,
    Share,
)

run = click.argument("run", metavar="RUN", shell_complete=completing.runs)


async def id_of(gateway: HttpGateway, run: str) -> str:
    """The id of a run that is given by it, or as WORKFLOW/FOREIGN_ID: the latest of those."""
    workflow, slash, foreign_id = run.partition("/")
    return (await gateway.latest(workflow, foreign_id)).run_id if slash else run


@click.group()
def runs() -> None:
    """Look at runs, steer them, one or many, and wait for them.

    RUN is a run id, or WORKFLOW/FOREIGN_ID for the latest run of a foreign id.
    """


@runs.command("list")
@filters
@click.option(
    "--order",
    type=click.Choice(get_args(Order)),
    default="foreign_id",
    show_default=True,
    help="What they are listed by; with a `-` the greatest first.",
)
@click.option(
    "--limit", type=click.IntRange(1, MAX_PAGE), default=50, show_default=True, help="Runs a page."
)
@click.option("--cursor", help="Where to begin: as the page before said.")
@options.as_json(Page)
@options.url
def list_runs(at: Endpoint, as_json: bool, **given: Any) -> None:
    """List runs."""
    query = read(Query, given)
    page = ask(at, lambda gateway: gateway.find(query))
    write_json(page) if as_json else _write_page(page)


@runs.command("count")
@filters
@options.as_json(Count)
@options.url
def count(at: Endpoint, as_json: bool, **given: Any) -> None:
    """Count runs."""
    asked = read(Filter, given)
    found = ask(at, lambda gateway: gateway.count(asked))
    write_json(found) if as_json else write(str(found.count))
    _say_missing(found)


def _write_page(page: Page) -> None:
    console().print(run_table(page.runs))
    _say_missing(page)
    if page.cursor:
        say(f"There are more: --cursor {page.cursor}")


def _say_missing(share: Share) -> None:
    if share.missing:
        say(f"Without the runs of these workers, which did not answer: {', '.join(share.missing)}")


@runs.command("show")
@run
@click.option(
    "--version",
    type=click.IntRange(1),
    help="As it was at this version, as `history` tells it.",
)
@options.as_json(RunView)
@options.url
def show(run: str, version: int | None, as_json: bool, at: Endpoint) -> None:
    """Show a run and its object, what it waits for, and what to type next."""

    async def question(gateway: HttpGateway) -> RunView:
        run_id = await id_of(gateway, run)
        if version is None:
            return await gateway.get(run_id)
        return await gateway.get_version(run_id, version)

    found = ask(at, question)
    write_run(found, as_json)
    if not as_json and version is None:
        _write_standing(found, _as_given(at))


def _as_given(at: Endpoint) -> str:
    """How the same worker is meant in another command: not at all, if the environment says it."""
    source = click.get_current_context().get_parameter_source("url")
    return f" --url {shlex.quote(at.url)}" if source is ParameterSource.COMMANDLINE else ""


def _write_standing(run: RunView, options: str) -> None:
    """Last, where whoever has called it looks first. options: of each command that is named."""
    said, commands = standing(run, datetime.now(UTC)), following(run)
    if said:
        write(f"\n{said}")
    width = max((len(each.command) for each in commands), default=0) + len(options)
    for each in commands:
        write(f"  {each.command + options:<{width}}  {each.does}")


def write_run(run: RunView, as_json: bool) -> None:
    if as_json:
        write_json(run)
        return
    facts = {
        "run": run.run_id,
        "workflow": run.workflow,
        "foreign id": run.foreign_id,
        "status": run.status,
        "state": run.state,
        "version": str(run.version),
        "created": instant(run.created_at),
        "updated": instant(run.updated_at),
        "step due": instant(run.due_at),
        "step held until": instant(run.held_until),
        "failed attempts": str(run.attempt or ""),
        "timeouts": ", ".join(f"{timer.name} at {instant(timer.due_at)}" for timer in run.timers),
        "callbacks": ", ".join(call.name or call.id for call in run.callbacks),
        "hooks": ", ".join(run.hooks),
        "children": ", ".join(
            f"{child.workflow}/{child.foreign_id} {child.state or 'in progress'}"
            for child in run.children
        ),
        "parent": run.parent,
        "forked from": run.origin,
        "resumes": instant(run.resume_at),
        "forgotten": instant(run.forget_at),
        "why": why(run),
    }
    write_facts(facts)
    write(json.dumps(run.object, indent=2, ensure_ascii=False))
    if run.error is not None and run.error.traceback:
        write(run.error.traceback.rstrip())


@runs.command("history")
@run
@click.option(
    "--export",
    "file",
    type=click.File("w", encoding="utf-8", lazy=True),
    help="Write all that the log has of it to a file, - for stdout: test data for"
    " `streamwf.testing.replay`.",
)
@options.as_json(History)
@options.url
def history(run: str, file: IO[str] | None, as_json: bool, at: Endpoint) -> None:
    """Show the events that have changed a run.

    In a file that --export writes, masked fields are masked, and encrypted ones sealed.
    """
    if file is not None:
        if as_json:
            raise click.UsageError("What --export writes is JSON: leave --json out.")
        _export(run, file, at)
        return

    async def question(gateway: HttpGateway) -> History:
        return await gateway.history(await id_of(gateway, run))

    found = ask(at, question)
    write_json(found) if as_json else _write_history(found)


def _export(run: str, file: IO[str], at: Endpoint) -> None:
    async def question(gateway: HttpGateway) -> ExportedHistory:
        return await gateway.export(await id_of(gateway, run))

    found = ask(at, question)
    try:
        file.write(found.model_dump_json(indent=2) + "\n")
        file.flush()
    except OSError as error:
        raise click.ClickException(f"{file.name} can't be written: {error.strerror}.") from None
    hidden = f"; its objects are {found.hides}" if found.hides else ""
    say(f"{counted(len(found.events), 'event')} of run {found.run_id}{hidden}")


def _write_history(found: History) -> None:
    if found.truncated:
        say("Earlier events are left out.")
    write_table(
        ("VERSION", "TIME", "EVENT", "STATUS", "STATE", "DUE", "BY", "WHY"),
        [
            (
                str(event.version),
                instant(event.time),
                event.type,
                event.status,
                event.state or "",
                instant(event.due_at),
                event.by,
                why(event),
            )
            for event in found.events
        ],
    )


def _steering(action: Action, help: str) -> click.Command:
    @run
    @click.option("--reason", default="", help="Kept on the run.")
    @click.option(
        "--if-version",
        type=click.IntRange(1),
        help="Only if the run is still at this version, as `show` tells it.",
    )
    @options.as_json(RunView)
    @options.url
    def steer(run: str, reason: str, if_version: int | None, as_json: bool, at: Endpoint) -> None:
        async def question(gateway: HttpGateway) -> RunView:
            return await gateway.steer(action, await id_of(gateway, run), reason, if_version)

        found = ask(at, question)
        if as_json:
            write_json(found)
        else:
            write(f"{found.foreign_id} ({found.run_id}) is {found.state} at {found.status}")

    return click.command(action, help=help)(steer)


runs.add_command(_steering("pause", "Pause a run: its step in progress ends, no other begins."))
runs.add_command(_steering("resume", "Resume a paused run. Errors are counted from none again."))
runs.add_command(_steering("cancel", "Cancel a run."))
runs.add_command(_steering("retry", "Try at once what waits because of errors."))
runs.add_command(_steering("delete-data", "Delete what a run that has ended carries."))
runs.add_command(bulk)
runs.add_command(watch)


@runs.command("fork")
@run
@click.argument("version", type=click.IntRange(1))
@click.option("--foreign-id", help="Of the new run; the same, if not given.")
@click.option("--reason", default="", help="Kept with the request.")
@options.as_json(Requested)
@options.url
def fork(run: str, at: Endpoint, as_json: bool, **given: Any) -> None:
    """Start a new run from what a run was at a version, as its history tells."""

    async def question(gateway: HttpGateway) -> str:
        return await gateway.fork(await id_of(gateway, run), Fork.of(**given))

    new = ask(at, question)
    write_json(Requested(run_id=new)) if as_json else write(new)


@runs.command("await")
@run
@click.option("--status", help="Until it is at this status or past it; until its end if not given.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds after which to give up.",
)
@options.as_json(RunView)
@options.url
def await_(run: str, status: str | None, timeout: float, as_json: bool, at: Endpoint) -> None:
    """Wait until a run is at a status, or has ended.

    Exits with 1 as soon as it can't get there any more, or when the time is up.
    """

    async def question(gateway: HttpGateway) -> RunView:
        return await gateway.await_(await id_of(gateway, run), status, timeout)

    write_run(ask(at, question), as_json)
