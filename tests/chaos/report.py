"""What came of it: figures, for people and as JSON."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table

from streamwf.adapters.kafka.topics import partition_of
from tests.chaos.faults import Done
from tests.chaos.plan import Kind
from tests.chaos.recorder import Noted
from tests.kafka.cluster import PARTITIONS
from tests.proof.judge import summary
from tests.proof.story import Broken, Story


@dataclass
class Recovery:
    """How a kind of fault went. Seconds are those until each shard concerned had executed again.

    median, longest: None if none of its shards had anything to execute after it.
    """

    times: int = 0
    median: float | None = None
    longest: float | None = None


@dataclass
class Report:
    """seconds: how long faults were made. network: what was cut.

    faults: by kind. missing: kinds that this machine does not allow, and why.
    duplicates: calls that were made again for the same try of the same thing. cut_off: those that
        never ended, as their worker was killed.
    exits: exit codes of workers that ended by themselves, by worker.
    """

    seed: int
    seconds: float
    network: str
    faults: dict[str, Recovery] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    placed: int = 0
    runs: int = 0
    states: dict[str, int] = field(default_factory=dict)
    events: int = 0
    asked: int = 0
    unanswered: int = 0
    executed: int = 0
    duplicates: int = 0
    cut_off: int = 0
    longest_recovery: float | None = None
    seconds_to_settle: float | None = None
    rows_verified: int = 0
    differences: int = 0
    exits: dict[str, list[int]] = field(default_factory=dict)
    interrupted: bool = False
    broken: list[Broken] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return not self.broken

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "right": self.right}


def recoveries(done: Sequence[Done], noted: Sequence[Noted]) -> dict[str, Recovery]:
    """By kind, from each fault to the next call in each of the shards concerned."""
    begins: dict[int, list[float]] = defaultdict(list)
    for each in noted:
        begins[partition_of(each.executed.foreign_id, PARTITIONS)].append(each.began)
    found = {}
    for kind in Kind:
        these = [each for each in done if each.fault.kind is kind]
        took = sorted(s for each in these if (s := _recovered(each, begins)) is not None)
        if these:
            middle = took[len(took) // 2] if took else None
            found[str(kind)] = Recovery(len(these), middle, took[-1] if took else None)
    return found


def _recovered(done: Done, begins: Mapping[int, Sequence[float]]) -> float | None:
    """Seconds until the last of its shards went on; None if there was none, or no call came."""
    firsts = [min((b for b in begins[s] if b > done.since), default=None) for s in done.shards]
    went_on = [first - done.since for first in firsts if first is not None]
    return max(went_on, default=None)


def describe(report: Report, story: Story) -> None:
    """Fill in what the story tells."""
    records = [record for rows in story.rows.values() for record in rows.values()]
    runs = [record for record in records if not record.kind]
    report.runs = len(runs)
    report.states = dict(Counter(str(run.state) for run in runs))
    report.events = sum(map(len, story.logs.values()))
    report.asked = len(story.asked)
    report.unanswered = sum(not each.accepted and not each.answer for each in story.asked)
    report.executed = len(story.executed)
    summed = summary(story)
    report.duplicates, report.cut_off = summed.repeated, summed.unended
    report.longest_recovery = max(
        (r.longest for r in report.faults.values() if r.longest is not None), default=None
    )


def show(report: Report, console: Console) -> None:
    console.print(Group(_faults(report), _figures(report), *_broken(report)))


def _faults(report: Report) -> Table:
    table = Table("fault", title=f"seed {report.seed}, {report.seconds:.0f} s, by {report.network}")
    for column in ("times", "back after (median)", "longest"):
        table.add_column(column, justify="right")
    for kind, recovery in report.faults.items():
        table.add_row(
            kind, str(recovery.times), _seconds(recovery.median), _seconds(recovery.longest)
        )
    for kind, why in report.missing.items():
        table.add_row(kind, f"not here: {why}")
    return table


def _figures(report: Report) -> Table:
    table = Table(show_header=False)
    states = ", ".join(f"{count} {state}" for state, count in sorted(report.states.items()))
    exits = ", ".join(f"{name}: {codes}" for name, codes in report.exits.items())
    for name, value in {
        "runs": f"{report.runs} ({states})",
        "events in the log": report.events,
        "requests": f"{report.asked}, of which {report.unanswered} were never answered",
        "calls of the workflow's functions": report.executed,
        "of which again": report.duplicates,
        "of which were cut off": report.cut_off,
        "longest time to recover": _seconds(report.longest_recovery),
        "settled after": _seconds(report.seconds_to_settle),
        "rows verified": f"{report.rows_verified}, {report.differences} differ",
        "workers that ended by themselves": exits or "none",
    }.items():
        table.add_row(name, str(value))
    return table


def _broken(report: Report) -> list[RenderableType]:
    if report.right:
        return ["[green]Every promise was kept.[/]"]
    table = Table("promise", "what", title=f"[red]{len(report.broken)} promises were broken[/]")
    for broken in report.broken[:50]:
        table.add_row(broken.promise, broken.what)
    return [table]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
