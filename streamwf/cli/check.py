"""`streamwf check`: whether a definition is sound, and which live runs can't go on by it."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any, NamedTuple

import click

from streamwf.adapters.http import HttpGateway
from streamwf.cli import options
from streamwf.cli.asking import ask
from streamwf.cli.exported import Export, Unread, record_of
from streamwf.cli.output import Report, progress_bar, say, write, write_json, write_table
from streamwf.cli.shapes import CheckedRuns, Sound
from streamwf.cli.stores import opened
from streamwf.cli.targets import AnyWorkflow, load_workflows
from streamwf.compatibility import problems
from streamwf.counting import counted
from streamwf.record import LIVE, Record
from streamwf.settings import Settings, load
from streamwf.stored_aside import replay
from streamwf.views import MAX_PAGE, Query

#: Those that are of use only where the topics are looked at.
OF_KAFKA = ("brokers", *options.SECURITY, "topic_prefix")

#: Later than all that is in a log.
LATEST = datetime.max.replace(tzinfo=UTC)

#: Runs that are named for each problem: on a terminal, and for programs.
SHOWN, LISTED = 3, 1_000

#: Documents that could not be read and are written out; the rest are only counted.
UNREAD_SHOWN = 20

KAFKA, STORE = "kafka", "store"


class What(NamedTuple):
    """A problem that any number of runs have."""

    blocks: bool
    status: str
    problem: str
    cure: str


class Example(NamedTuple):
    foreign_id: str
    run_id: str
    state: str


@dataclass
class Many:
    """The runs that have one problem: how many, and the first of them."""

    count: int = 0
    runs: list[Example] = field(default_factory=list)


@dataclass
class Checked:
    """The live runs of a workflow as far as they were seen, and what is wrong with them.

    unread: what could not be looked at, so that nothing is known of it.
    """

    workflow: AnyWorkflow
    live: int = 0
    blocked: int = 0
    found: dict[What, Many] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)

    def take(self, record: Record, *, whole: bool = True) -> None:
        """Look at a run."""
        if record.kind or record.state not in LIVE:
            return
        self.live += 1
        wrong = problems(self.workflow, record, whole=whole)
        self.blocked += any(one.blocks for one in wrong)
        for one in wrong:
            many = self.found.setdefault(
                What(one.blocks, one.status, one.problem, one.cure), Many()
            )
            many.count += 1
            if len(many.runs) < LISTED:
                many.runs.append(Example(one.foreign_id, one.run_id, one.state))

    @property
    def sound(self) -> bool:
        """Whether every run can go on."""
        return not self.blocked and not self.unread

    def sorted(self) -> list[tuple[What, Many]]:
        """What is wrong: first what keeps runs from going on, and most of them."""
        return sorted(self.found.items(), key=lambda item: (not item[0].blocks, -item[1].count))


@click.command()
@options.targets
@click.option(
    "--against",
    metavar="WHERE",
    is_flag=False,
    flag_value=STORE,
    help="Where live runs are: see above; in the store, unless told.",
)
@options.as_json(Sound, CheckedRuns)
@options.settings(*options.STORE, "log", *options.TOPICS)
def check(targets: tuple[str, ...], against: str | None, as_json: bool, **flags: Any) -> None:
    """Check definitions; with --against, whether the runs in progress can go on by them.

    To be asked before new code is deployed. Nothing is changed, and workers may go on meanwhile.
    WHERE is one of these:

    \b
    kafka     the topics of the workflow: looks most closely
    store     the database in --store, as closely: that of `streamwf dev`
    http://…  any worker, or `streamwf dev`: looks at what is told of runs
    FILE      what was exported, - for stdin: `streamwf runs list --json`
              (or the API's pages), `runs show --json`, `runs history --json`
              or --export,
              or the events of the topic by `kcat -C -e -J -t WORKFLOW.events`

    Exits with 1 if there is a run that can't go on, or that could not be read.
    """
    if against != STORE and flags["store"] is not None:
        raise click.UsageError("--store is for --against store.")
    settings = load(flags)
    workflows = load_workflows(targets)
    if against is None:
        for workflow in workflows:
            _tell_sound(workflow, as_json)
        return
    on_kafka = against == KAFKA or (against == STORE and settings.log == "kafka")
    if not on_kafka and any(flags[name] is not None for name in OF_KAFKA):
        raise click.UsageError("The brokers' options are for --against kafka.")
    sound = True
    for checked in _looked(workflows, against, settings):
        _tell_json(checked) if as_json else _tell(checked)
        sound = sound and checked.sound
    if not sound:
        sys.exit(1)


def _looked(
    workflows: Sequence[AnyWorkflow], against: str, settings: Settings
) -> Iterator[Checked]:
    if against in (KAFKA, STORE) or "://" in against:
        return (_where_they_run(workflow, against, settings) for workflow in workflows)
    return _in_file(workflows, _opened(against), settings)


def _where_they_run(workflow: AnyWorkflow, against: str, settings: Settings) -> Checked:
    checked = Checked(workflow)
    with progress_bar(f"reading {workflow.name}") as progress:
        if against == KAFKA:
            from streamwf.agents import each_run

            asyncio.run(each_run(workflow, settings, progress, checked.take))
        elif against == STORE:
            asyncio.run(_in_store(settings, checked, progress))
        else:
            ask(options.endpoint(against), lambda gateway: _in_pages(gateway, checked, progress))
    return checked


def _opened(path: str) -> IO[bytes]:
    try:
        return click.open_file(path, "rb")
    except OSError as error:
        why = f"{path}: {error.strerror}. Give kafka, store, the URL of a worker, or a file."
        raise click.BadParameter(why, param_hint="--against") from None


def _in_file(
    workflows: Sequence[AnyWorkflow], file: IO[bytes], settings: Settings
) -> Iterator[Checked]:
    export = Export(workflows, settings.max_record_bytes)
    with file, progress_bar("reading") as progress:
        export.read(file, progress)
    for number, workflow in enumerate(workflows):
        # It is not known of which workflow that was.
        checked = Checked(workflow, unread=[] if number else export.unread)
        for known in export.runs(workflow):
            checked.take(known.record, whole=known.whole)
        yield checked


async def _in_store(settings: Settings, checked: Checked, progress: Report) -> None:
    async with opened(checked.workflow.name, settings) as stores:
        await replay(checked.workflow, stores, LATEST, progress, checked.take)


async def _in_pages(gateway: HttpGateway, checked: Checked, progress: Report) -> None:
    name = checked.workflow.name
    described = await gateway.describe(name)
    states = (states for states in described.counts.values())
    total = sum(many for counts in states for state, many in counts.items() if state in LIVE)
    query = Query(workflow=name, state=sorted(LIVE), limit=MAX_PAGE)
    while True:
        page = await gateway.find(query)
        for run in page.runs:
            checked.take(record_of(run), whole=False)
        progress(checked.live, max(total, checked.live))
        if page.missing:
            why = f"these workers did not answer: {', '.join(page.missing)}"
            checked.unread.append(Unread(0, why))
        if page.cursor is None:
            return
        query = query.model_copy(update={"cursor": page.cursor})


# ---- what is told


def _tell_sound(workflow: AnyWorkflow, as_json: bool) -> None:
    if as_json:
        write_json(Sound(workflow=workflow.name, definition=workflow.definition))
    else:
        write(f"{workflow.name}: sound, definition {workflow.definition}")


def _tell_json(checked: Checked) -> None:
    told = {
        "workflow": checked.workflow.name,
        "definition": checked.workflow.definition,
        "live": checked.live,
        "blocked": checked.blocked,
        "problems": [
            {**what._asdict(), "count": many.count, "runs": [r._asdict() for r in many.runs]}
            for what, many in checked.sorted()
        ],
        "unread": [{"line": unread.line, "why": unread.why} for unread in checked.unread],
    }
    write_json(CheckedRuns.model_validate(told))


def _tell(checked: Checked) -> None:
    for unread in checked.unread[:UNREAD_SHOWN]:
        say(f"line {unread.line}: {unread.why}" if unread.line else unread.why)
    if len(checked.unread) > UNREAD_SHOWN:
        say(f"and {len(checked.unread) - UNREAD_SHOWN:,} more")
    if checked.found:
        write_table(
            ("", "RUNS", "STATUS", "WHAT IS WRONG", "WHAT TO DO", "WHICH"),
            [
                (
                    "error" if what.blocks else "warning",
                    f"{many.count:,}",
                    what.status,
                    what.problem,
                    what.cure,
                    _which(many),
                )
                for what, many in checked.sorted()
            ],
        )
    told = f"{checked.live - checked.blocked:,} can go on, {checked.blocked:,} can't"
    if checked.unread:
        told += "; others could not be read"
    definition = f"{checked.workflow.name}, definition {checked.workflow.definition}"
    write(f"{definition}: of {counted(checked.live, 'live run')} {told}")


def _which(many: Many) -> str:
    shown = [run.foreign_id or run.run_id for run in many.runs[:SHOWN]]
    return ", ".join([*shown, *(["…"] if many.count > SHOWN else [])])
