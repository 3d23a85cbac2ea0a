"""`streamwf schedules`: looking at schedules, making and steering them, over HTTP."""

import json
from datetime import datetime
from typing import Any, TypeVar, get_args

import click

from streamwf.adapters.endpoints import Endpoint
from streamwf.adapters.http import HttpGateway
from streamwf.cli import options
from streamwf.cli.asking import ask
from streamwf.cli.output import (
    Report,
    instant,
    progress_bar,
    say,
    why,
    write,
    write_facts,
    write_json,
    write_table,
)
from streamwf.cli.shapes import Backfilled
from streamwf.errors import InvalidQuery
from streamwf.record import State
from streamwf.recurring import Overlap
from streamwf.schedule_views import (
    MAX_BACKFILL,
    BackfillRequest,
    ScheduleAction,
    ScheduleRequest,
    Schedules,
    ScheduleView,
)
from streamwf.views import Request, Requested

RequestT = TypeVar("RequestT", bound=Request)

name = click.argument("name")


@click.group()
def schedules() -> None:
    """Look at schedules, make, run, pause, resume and delete them, and make up for the past."""


@schedules.command("list")
@options.workflow
@options.as_json(Schedules)
@options.url
def list_schedules(workflow: str, as_json: bool, at: Endpoint) -> None:
    """List the schedules of a workflow."""
    found = ask(at, lambda gateway: gateway.schedules(workflow))
    if as_json:
        write_json(found)
        return
    write_table(
        ("NAME", "CRON", "TIME ZONE", "FOREIGN ID", "STATE", "LAST SLOT", "NEXT SLOT", "WHY"),
        [
            (
                view.name,
                view.cron,
                view.timezone,
                view.foreign_id,
                view.state,
                instant(view.last_slot),
                _next(view),
                why(view),
            )
            for view in found.schedules
        ],
    )
    if found.missing:
        missing = ", ".join(found.missing)
        say(f"Without the schedules of these workers, which did not answer: {missing}")


def _next(view: ScheduleView) -> str:
    return instant(view.next_slots[0]) if view.next_slots else "never"


@schedules.command("show")
@options.workflow
@name
@options.as_json(ScheduleView)
@options.url
def show(workflow: str, name: str, as_json: bool, at: Endpoint) -> None:
    """Show a schedule, its next slots, and the object of its runs."""
    _write(ask(at, lambda gateway: gateway.get_schedule(workflow, name)), as_json)


def _write(view: ScheduleView, as_json: bool) -> None:
    if as_json:
        write_json(view)
        return
    facts = {
        "schedule": view.name,
        "workflow": view.workflow,
        "run": view.run_id,
        "state": view.state,
        "cron": view.cron,
        "time zone": view.timezone,
        "foreign id": view.foreign_id,
        "starts at": view.status,
        "overlap": view.overlap,
        "catch up": str(view.catch_up),
        "declared": "in code" if view.declared else "",
        "created": instant(view.created_at),
        "updated": instant(view.updated_at),
        "last slot": instant(view.last_slot),
        "next slots": ", ".join(map(instant, view.next_slots)) or "never",
        "failed attempts": str(view.attempt or ""),
        "tried again": instant(view.due_at) if view.attempt else "",
        "why": why(view),
    }
    write_facts(facts)
    if not view.declared:
        write(json.dumps(view.object, indent=2, ensure_ascii=False))
    if view.error is not None and view.error.traceback:
        write(view.error.traceback.rstrip())


@schedules.command("create")
@options.workflow
@name
@click.argument("cron")
@click.option("--data", help="The object of the runs, as JSON.")
@click.option("--foreign-id", help="Of the runs; the schedule's name, if not given.")
@click.option("--timezone", default="UTC", show_default=True, help="As IANA calls it.")
@click.option("--at", "status", help="The status to start at, if not the workflow's start.")
@click.option(
    "--overlap",
    type=click.Choice(get_args(Overlap)),
    default="skip",
    show_default=True,
    help="While the run before is in progress: leave a slot out, or start it all the same.",
)
@click.option(
    "--catch-up",
    default="latest",
    show_default=True,
    help="Slots that were missed: none, the latest, or a number of them.",
)
@options.as_json(ScheduleView)
@options.url
def create(
    workflow: str, name: str, data: str | None, as_json: bool, at: Endpoint, **given: Any
) -> None:
    """Make a schedule, or change the one of that name.

    CRON: five fields, @daily and the like, or @every 90s.
    """
    try:
        value = None if data is None else json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"it is not JSON: {error}", param_hint="--data") from None
    if given["catch_up"].isdecimal():
        given["catch_up"] = int(given["catch_up"])
    asked = _read(ScheduleRequest, object=value, **given)
    view = ask(at, lambda gateway: gateway.schedule(workflow, name, asked))
    if as_json:
        write_json(view)
        return
    paused = " (paused)" if view.state is State.PAUSED else ""
    write(f"{view.name}: next slot {_next(view)}{paused}")


def _read(kind: type[RequestT], **given: Any) -> RequestT:
    try:
        return kind.of(**given)
    except InvalidQuery as error:
        raise click.UsageError(str(error)) from None


def _steering(action: ScheduleAction, help: str) -> click.Command:
    @options.workflow
    @name
    @click.option("--reason", default="", help="Kept on the schedule.")
    @options.as_json(ScheduleView)
    @options.url
    def steer(workflow: str, name: str, reason: str, as_json: bool, at: Endpoint) -> None:
        view = ask(at, lambda gateway: gateway.steer_schedule(workflow, name, action, reason))
        write_json(view) if as_json else write(f"{view.name} is {view.state}")

    return click.command(action, help=help)(steer)


schedules.add_command(
    _steering("pause", "Pause a schedule. Slots count as missed until it is resumed.")
)
schedules.add_command(
    _steering("resume", "Resume a schedule. What it missed is caught up as it says.")
)
schedules.add_command(_steering("delete", "Delete a schedule. Its runs stay."))


@schedules.command("run")
@options.workflow
@name
@click.option("--reason", default="", help="Kept on the run.")
@click.option("--key", help="Makes a repeat harmless: the same key leads to the same run.")
@options.as_json(Requested)
@options.url
def run(
    workflow: str, name: str, reason: str, key: str | None, as_json: bool, at: Endpoint
) -> None:
    """Start a run at once, and tell its id. The slots of the schedule stay as they are."""
    requested = ask(at, lambda gateway: gateway.run_schedule(workflow, name, reason, key))
    write_json(requested) if as_json else write(requested.run_id)


@schedules.command("backfill")
@options.workflow
@name
@click.option("--start", required=True, help="Slots from then on: ISO 8601 with a time zone.")
@click.option("--end", required=True, help="Slots before that.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_BACKFILL), help="So many slots at most; else all of them."
)
@options.as_json(Backfilled)
@options.url
def backfill(
    workflow: str, name: str, limit: int | None, as_json: bool, at: Endpoint, **given: str
) -> None:
    """Start the runs of slots of the past that have none. A repeat starts none twice."""
    asked = _read(BackfillRequest, **given, **({} if limit is None else {"limit": limit}))
    with progress_bar(f"backfilling {name}") as report:
        requested, left_out, cursor = ask(
            at, lambda gateway: _backfill(gateway, workflow, name, asked, limit, report)
        )
    if as_json:
        write_json(Backfilled(requested=requested, left_out=left_out, cursor=cursor))
        return
    write(f"{requested:,} requested, {left_out:,} left out")
    if cursor is not None:
        say(f"There are more: --start {cursor.isoformat()}")


async def _backfill(
    gateway: HttpGateway,
    workflow: str,
    name: str,
    asked: BackfillRequest,
    limit: int | None,
    report: Report,
) -> tuple[int, int, datetime | None]:
    """How many slots were requested, how many left out, and where to go on."""
    requested = left_out = 0
    while True:
        part = await gateway.backfill(workflow, name, asked)
        requested += len(part.slots) - part.left_out
        left_out += part.left_out
        report(requested + left_out, None)
        if part.cursor is None or limit is not None:
            return requested, left_out, part.cursor
        asked = asked.model_copy(update={"start": part.cursor})
