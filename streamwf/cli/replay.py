"""`streamwf replay`: the runs of a workflow as they were once, and what became of them since."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import click
from pydantic_core import to_json

from streamwf import stored_aside
from streamwf.access import ANYBODY, asked_by
from streamwf.adapters import loggers
from streamwf.cli import options
from streamwf.cli.differing import SHOWN, Earlier, Later, Tally, changed_run
from streamwf.cli.moments import Moment, Text
from streamwf.cli.output import progress_bar, say, write, write_facts, write_json, write_table
from streamwf.cli.runs import write_run
from streamwf.cli.shapes import ChangedRun, Compared, ComparedRuns, Replayed, Stand
from streamwf.cli.stores import in_store, opened
from streamwf.cli.targets import AnyWorkflow, load_workflow
from streamwf.counting import counted
from streamwf.graph import counts
from streamwf.masked_views import for_who_asks
from streamwf.record import Record
from streamwf.settings import Settings, load
from streamwf.until import Until
from streamwf.views import RunView, run_view

Take = Callable[[Record], None]


@click.command()
@click.argument("target")
@click.option("--until", type=Moment(), metavar="MOMENT", help="Tell what there was then.")
@click.option(
    "--diff",
    type=Moment(),
    nargs=2,
    metavar="MOMENT MOMENT",
    help="Tell what has changed from the first to the second.",
)
@click.option("--run", "run", help="A run id or a foreign id: show these runs.")
@options.as_json(Replayed, RunView, Compared, ChangedRun)
@options.settings(*options.STORE, "log", *options.TOPICS)
def replay(
    target: str,
    until: Text | None,
    diff: tuple[Text, Text] | None,
    run: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Fold the log of TARGET up to a moment, and tell what the runs were like then.

    Without --run, how many there were by status and state. No step runs, and workers may go on.
    MOMENT is one of these, and what lies there counts:

    \b
    2026-11-28T12:00:00Z  a time, with its time zone: when the log got the event
    0:17  0:17,1:23       the offset of an event in a partition; partitions that
                          are not named are left out
    17                    the same of a log with one partition, or of the one
                          that has the run
    """
    if (until is None) == (diff is None):
        raise click.UsageError("Give one of --until and --diff.")
    if diff is not None and diff[0].comes_after(diff[1]):
        raise click.UsageError("--diff: the first moment is the later one; swap them.")
    folding = _Folding(load_workflow(target), load(flags))
    loggers.configure("warning")
    if until is not None:
        _one(folding, until, as_json) if run is None else _one_run(folding, until, run, as_json)
    elif diff is not None:
        _two(folding, diff, as_json) if run is None else _two_runs(folding, diff, run, as_json)


# ---- at one moment


def _one(folding: "_Folding", moment: Text, as_json: bool) -> None:
    tally = Tally(folding.workflow)
    events = folding.fold(moment, moment.until, tally.take)
    if as_json:
        name = folding.workflow.name
        write_json(Replayed(workflow=name, events=events, counts=counts(tally.counts)))
        return
    write_table(
        ("STATUS", "STATE", "RUNS"),
        [(*pair, f"{count:,}") for pair, count in sorted(tally.counts.items())],
    )
    say(f"{counted(events, 'event')} folded")


def _one_run(folding: "_Folding", moment: Text, run: str, as_json: bool) -> None:
    found = folding.runs(moment, run)
    if not found:
        raise click.ClickException(f"there was no run {run!r} then")
    for view in found.values():
        write_run(view, as_json)


# ---- between two


def _two(folding: "_Folding", moments: tuple[Text, Text], as_json: bool) -> None:
    first, second = moments
    before = Earlier(folding.workflow)
    events = folding.fold(first, first.until, before.take)
    after = Later(before)
    compared = after.compared((events, folding.fold(second, second.until, after.take)))
    write_json(compared) if as_json else _write_compared(compared)


def _write_compared(compared: Compared) -> None:
    pairs = {
        (status, state)
        for told in (compared.before, compared.after)
        for status, states in told.items()
        for state in states
    }
    rows = [
        (*pair, *(_count(c, *pair) for c in (compared.before, compared.after))) for pair in pairs
    ]
    write_table(("STATUS", "STATE", "BEFORE", "AFTER"), sorted(rows))
    kinds = {"new": compared.new, "changed": compared.changed, "gone": compared.gone}
    listed = [row for kind, runs in kinds.items() for row in _rows(kind, runs)]
    if listed:
        write("")
        write_table(("", "FOREIGN ID", "BEFORE", "AFTER", "RUN ID"), listed)
    told = ", ".join(f"{runs.count:,} {kind}" for kind, runs in kinds.items())
    events = counted(compared.events_after - compared.events_before, "event")
    say(f"runs: {told}; {events} between")


def _count(told: Mapping[str, Mapping[str, int]], status: str, state: str) -> str:
    return f"{told.get(status, {}).get(state, 0):,}"


def _rows(kind: str, runs: ComparedRuns) -> list[tuple[str, ...]]:
    rows = [
        (kind, run.foreign_id, _stand(run.before), _stand(run.after), run.run_id)
        for run in runs.runs[:SHOWN]
    ]
    more = runs.count - len(rows)
    return [*rows, (kind, f"… and {more:,} more", "", "", "")] if more else [*rows]


def _stand(stand: Stand | None) -> str:
    return "" if stand is None else f"{stand.status} {stand.state} ({stand.version})"


def _two_runs(folding: "_Folding", moments: tuple[Text, Text], run: str, as_json: bool) -> None:
    before, after = (folding.runs(moment, run) for moment in moments)
    if not before and not after:
        raise click.ClickException(f"there was no run {run!r} at either moment")
    for run_id in {**before, **after}:
        changed = changed_run(before.get(run_id), after.get(run_id))
        write_json(changed) if as_json else _write_changed(changed)


def _write_changed(changed: ChangedRun) -> None:
    facts = {
        "run": changed.run_id,
        "workflow": changed.workflow,
        "foreign id": changed.foreign_id,
        "before": _stand_of(changed.before),
        "after": _stand_of(changed.after),
    }
    write_facts(facts)
    if changed.fields:
        write_table(
            ("FIELD", "BEFORE", "AFTER"),
            [(each.field, _brief(each.before), _brief(each.after)) for each in changed.fields],
        )
    for line in changed.object:
        write(line)


def _stand_of(view: RunView | None) -> str:
    return "not there" if view is None else f"{view.status} {view.state}, version {view.version}"


def _brief(value: Any) -> str:
    if isinstance(value, dict) and "traceback" in value:
        value = {"type": value["type"], "message": value["message"]}
    return value if isinstance(value, str) else to_json(value).decode()


# ---- folding


class _Folding:
    """Folds the log of a workflow aside."""

    def __init__(self, workflow: AnyWorkflow, settings: Settings) -> None:
        self.workflow = workflow
        self._settings = settings

    def fold(self, moment: Text, until: Until, take: Take) -> int:
        """Show every run that there was to `take`; return how many events led to them."""
        with progress_bar(f"replaying {self.workflow.name} until {moment}") as progress:
            return asyncio.run(self._fold(until, progress, take))

    async def _fold(self, until: Until, progress: Any, take: Take) -> int:
        workflow, settings = self.workflow, self._settings
        if in_store(settings):
            async with opened(workflow.name, settings) as stores:
                return await stored_aside.replay(workflow, stores, until, progress, take)
        from streamwf import agents

        return await agents.replay(workflow, settings, until, progress, take)

    def runs(self, moment: Text, run: str) -> dict[str, RunView]:
        """The runs of that id, or of that foreign id, as anybody may see them; by their ids."""
        found: dict[str, RunView] = {}

        def take(record: Record) -> None:
            if run in (record.run_id, record.foreign_id):
                view = run_view(self.workflow.name, self.workflow.start_name, record)
                with asked_by(ANYBODY):
                    found[record.run_id] = for_who_asks(self.workflow, record, view)

        self.fold(moment, moment.of_run(), take)
        return found
