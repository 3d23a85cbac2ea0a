"""`streamwf runs`: looking at runs and steering them, over HTTP."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from streamwf.adapters.http import HttpGateway
from streamwf.cli import options
from streamwf.cli.output import instant, say, why, write, write_json, write_table
from streamwf.client import Action
from streamwf.record import State
from streamwf.views import MAX_PAGE, History, Page, Query, RunView

Answer = TypeVar("Answer")

run_id = click.argument("run_id")


def ask(url: str, question: Callable[[HttpGateway], Awaitable[Answer]]) -> Answer:
    """One question to the worker at a URL."""

    async def asked() -> Answer:
        gateway = HttpGateway(url)
        try:
            return await question(gateway)
        finally:
            await gateway.close()

    return asyncio.run(asked())


@click.group()
def runs() -> None:
    """Look at runs, pause, resume and cancel them, wait for them."""


@runs.command("list")
@click.option("--workflow", "-w", help="Only of this workflow.")
@click.option("--status", multiple=True, help="Only at this status; may be repeated.")
@click.option(
    "--state",
    multiple=True,
    type=click.Choice([state.value for state in State], case_sensitive=False),
    help="Only in this state; may be repeated.",
)
@click.option("--foreign-id", help="Only of this foreign id.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_PAGE), default=50, show_default=True, help="Runs a page."
)
@click.option("--cursor", help="Where to begin: as the page before said.")
@options.as_json
@options.url
def list_runs(url: str, as_json: bool, **given: Any) -> None:
    """List runs, in the order of workflow and foreign id."""
    query = Query.model_validate(given)
    page = ask(url, lambda gateway: gateway.find(query))
    write_json(page) if as_json else _write_page(page)


def _write_page(page: Page) -> None:
    write_table(
        ("FOREIGN ID", "WORKFLOW", "STATUS", "STATE", "UPDATED", "RUN ID", "WHY"),
        [
            (
                run.foreign_id,
                run.workflow,
                run.status,
                run.state,
                instant(run.updated_at),
                run.run_id,
                why(run),
            )
            for run in page.runs
        ],
    )
    if page.missing:
        say(f"Without the runs of these workers, which did not answer: {', '.join(page.missing)}")
    if page.cursor:
        say(f"There are more: --cursor {page.cursor}")


@runs.command("show")
@run_id
@options.as_json
@options.url
def show(run_id: str, as_json: bool, url: str) -> None:
    """Show a run and its object."""
    _write_run(ask(url, lambda gateway: gateway.get(run_id)), as_json)


def _write_run(run: RunView, as_json: bool) -> None:
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
        "failed attempts": str(run.attempt or ""),
        "timeouts": ", ".join(f"{timer.name} at {instant(timer.due_at)}" for timer in run.timers),
        "resumes": instant(run.resume_at),
        "why": why(run),
    }
    for name, fact in facts.items():
        if fact:
            write(f"{name + ':':<17}{fact}")
    write(json.dumps(run.object, indent=2, ensure_ascii=False))
    if run.error is not None and run.error.traceback:
        write(run.error.traceback.rstrip())


@runs.command("history")
@run_id
@options.as_json
@options.url
def history(run_id: str, as_json: bool, url: str) -> None:
    """Show the events that have changed a run."""
    found = ask(url, lambda gateway: gateway.history(run_id))
    write_json(found) if as_json else _write_history(found)


def _write_history(found: History) -> None:
    if found.truncated:
        say("Earlier events are left out.")
    write_table(
        ("VERSION", "TIME", "EVENT", "STATUS", "STATE", "DUE", "WHY"),
        [
            (
                str(event.version),
                instant(event.time),
                event.type,
                event.status,
                event.state or "",
                instant(event.due_at),
                why(event),
            )
            for event in found.events
        ],
    )


def _steering(action: Action, help: str) -> click.Command:
    @run_id
    @click.option("--reason", default="", help="Kept on the run.")
    @options.as_json
    @options.url
    def steer(run_id: str, reason: str, as_json: bool, url: str) -> None:
        run = ask(url, lambda gateway: gateway.steer(action, run_id, reason))
        if as_json:
            write_json(run)
        else:
            write(f"{run.foreign_id} ({run.run_id}) is {run.state} at {run.status}")

    return click.command(action, help=help)(steer)


runs.add_command(_steering("pause", "Pause a run: its step in progress ends, no other begins."))
runs.add_command(_steering("resume", "Resume a paused run. Errors are counted from none again."))
runs.add_command(_steering("cancel", "Cancel a run."))


@runs.command("await")
@run_id
@click.option("--status", help="Until it is at this status or past it; until its end if not given.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds after which to give up.",
)
@options.as_json
@options.url
def await_(run_id: str, status: str | None, timeout: float, as_json: bool, url: str) -> None:
    """Wait until a run is at a status, or has ended.

    Exits with 1 as soon as it can't get there any more, or when the time is up.
    """
    _write_run(ask(url, lambda gateway: gateway.await_(run_id, status, timeout)), as_json)
