"""`streamwf rebuild` and `streamwf verify`: the tables are what the log leads to."""

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import asdict, replace
from typing import Any, Protocol, TypeVar

import click

from streamwf import stored_aside
from streamwf.adapters import loggers
from streamwf.cli import options
from streamwf.cli.output import progress_bar, write, write_json
from streamwf.cli.shapes import RebuiltTables, VerifiedTables
from streamwf.cli.stores import in_store, opened
from streamwf.cli.targets import AnyWorkflow, load_workflows
from streamwf.comparing import Difference, Rebuilt, Verified
from streamwf.counting import counted
from streamwf.masked_views import masked_row
from streamwf.record import CORRELATION, row_key
from streamwf.redaction import MASK
from streamwf.settings import Settings, load

FLAGS = (*options.STORE, "log", *options.KAFKA, "app_id", "data_dir")

#: Differences that are written out in full; the rest are only counted.
SHOWN = 20

Outcome = TypeVar("Outcome", covariant=True)


class Work(Protocol[Outcome]):
    def __call__(
        self, workflow: AnyWorkflow, settings: Settings, progress: Any
    ) -> Coroutine[Any, Any, Outcome]: ...


@click.command()
@options.targets
@options.as_json(RebuiltTables)
@options.settings(*FLAGS)
def rebuild(targets: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Make the tables anew from the log. No step runs. The workers have to be stopped."""
    for workflow, done in _each(targets, flags, "rebuilding", _rebuild):
        if as_json:
            write_json(RebuiltTables(workflow=workflow.name, **asdict(done)))
        else:
            write(
                f"{workflow.name}: {counted(done.events, 'event')} folded into"
                f" {counted(done.runs, 'run')} in {counted(done.partitions, 'partition')}"
            )


@click.command()
@options.targets
@options.as_json(VerifiedTables)
@options.settings(*FLAGS)
def verify(targets: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Fold the log aside and compare it with the tables. Workers may go on meanwhile.

    Exits with 1 if there are differences.
    """
    differ = False
    for workflow, found in _each(targets, flags, "verifying", _verify):
        differ = differ or bool(found.differences)
        shown = [_shown(workflow, difference) for difference in found.differences]
        if as_json:
            told = {**asdict(found), "differences": [asdict(each) for each in shown]}
            write_json(VerifiedTables(workflow=workflow.name, **told))
        else:
            _tell(workflow.name, found, shown)
    if differ:
        sys.exit(1)


async def _rebuild(workflow: AnyWorkflow, settings: Settings, progress: Any) -> Rebuilt:
    if in_store(settings):
        async with opened(workflow.name, settings) as stores:
            return await stored_aside.rebuild(workflow, stores, progress)
    from streamwf import agents

    return await agents.rebuild(workflow, settings, progress)


async def _verify(workflow: AnyWorkflow, settings: Settings, progress: Any) -> Verified:
    if in_store(settings):
        async with opened(workflow.name, settings) as stores:
            return await stored_aside.verify(workflow, stores, progress)
    from streamwf import agents

    return await agents.verify(workflow, settings, progress)


def _each(
    targets: tuple[str, ...], flags: dict[str, Any], doing: str, work: Work[Outcome]
) -> Iterator[tuple[AnyWorkflow, Outcome]]:
    """Do one thing to each workflow, with a progress bar."""
    from streamwf.adapters.kafka.topics import app_id_of

    settings = load(flags)
    loggers.configure("warning")
    workflows = load_workflows(targets)
    # The group of a worker that runs all of them.
    app_id = app_id_of([workflow.name for workflow in workflows], settings)
    settings = settings.model_copy(update={"app_id": app_id})
    for workflow in workflows:
        with progress_bar(f"{doing} {workflow.name}") as progress:
            outcome = asyncio.run(work(workflow, settings, progress))
        yield workflow, outcome


def _shown(workflow: AnyWorkflow, difference: Difference) -> Difference:
    """A difference without what is masked, which may be all that differs."""
    if not workflow.masks:
        return difference
    rows = (difference.live, difference.folded)
    live, folded = (None if row is None else masked_row(workflow, row) for row in rows)
    of_value = difference.key.startswith(row_key(CORRELATION, ""))
    key = MASK if of_value else difference.key
    return replace(difference, key=key, live=live, folded=folded)


def _tell(name: str, found: Verified, differences: list[Difference]) -> None:
    if found.behind:
        left_out = counted(found.behind, "event is/events are")
        write(f"{name}: {left_out} in no checkpoint yet, and left out")
    if not differences:
        write(f"{name}: {counted(found.rows, 'row')}, all as the log leads to them")
        return
    for difference in differences[:SHOWN]:
        write(f"partition {difference.partition}, {difference.key!r}:")
        write(f"  table: {difference.live or 'no row'}")
        write(f"  log:   {difference.folded or 'no row'}")
    if len(differences) > SHOWN:
        write(f"and {len(differences) - SHOWN:,} more")
    differ = counted(len(differences), "row differs/rows differ")
    write(f"{name}: {differ} from the log, out of {found.rows:,}")
