"""What commands write with `--json`, where it is not what the API tells."""

from datetime import datetime
from typing import Any

from streamwf.views import Refusal, RunView, View


class RefusedLine(View):
    """A line of a file that was not taken."""

    line: int
    why: str


class Sent(View):
    """What became of the lines of a file.

    accepted: by workers; requested: by the log. read: lines that were read.
    stopped: why no more were read; empty if all were.
    """

    accepted: int | None = None
    requested: int | None = None
    refused: list[RefusedLine]
    read: int
    stopped: str


class Appended(View):
    """Triggers that the log has."""

    requested: int


class Tallied(View):
    """What became of the runs that fit. stopped: why the rest was left; empty if nothing was."""

    matched: int
    changed: int
    refused: list[Refusal]
    stopped: str


class Backfilled(View):
    """How many slots of the past were requested. cursor: where to go on; null at the end."""

    requested: int
    left_out: int
    cursor: datetime | None


class Sound(View):
    """A definition that can run."""

    workflow: str
    definition: str


class BlockedRun(View):
    foreign_id: str
    run_id: str
    state: str


class Problem(View):
    """What is wrong with some runs. runs: the first thousand of them."""

    blocks: bool
    status: str
    problem: str
    cure: str
    count: int
    runs: list[BlockedRun]


class CheckedRuns(Sound):
    """The runs in progress of a workflow, and which of them can't go on."""

    live: int
    blocked: int
    problems: list[Problem]
    unread: list[RefusedLine]


class RebuiltTables(View):
    workflow: str
    partitions: int
    events: int
    runs: int


class DifferentRow(View):
    """live, folded: the row as JSON; null for none."""

    partition: int
    key: str
    live: str | None
    folded: str | None


class VerifiedTables(View):
    """rows: that the log leads to. behind: events that are in no checkpoint yet."""

    workflow: str
    rows: int
    behind: int
    differences: list[DifferentRow]


class Replayed(View):
    """counts: how many runs there were, by status and state."""

    workflow: str
    events: int
    counts: dict[str, dict[str, int]]


class Stand(View):
    """How a run was."""

    version: int
    status: str
    state: str


class ComparedRun(View):
    """A run at two moments. before, after: null where it was not there."""

    foreign_id: str
    run_id: str
    before: Stand | None
    after: Stand | None


class ComparedRuns(View):
    """How many runs, and the first thousand of them."""

    count: int = 0
    runs: list[ComparedRun] = []


class Compared(View):
    """The runs of a workflow at two moments.

    events_before, events_after: how many there were up to each. before, after: how many runs, by
    status and state. gone: runs that were there, and have left the tables.
    """

    workflow: str
    events_before: int
    events_after: int
    before: dict[str, dict[str, int]]
    after: dict[str, dict[str, int]]
    new: ComparedRuns
    changed: ComparedRuns
    gone: ComparedRuns


class ChangedField(View):
    field: str
    before: Any
    after: Any


class ChangedRun(View):
    """A run at two moments. before, after: null where it was not there.

    fields: those that differ, but for the object. object: its lines as `diff -u` tells them.
    """

    workflow: str
    foreign_id: str
    run_id: str
    before: RunView | None
    after: RunView | None
    fields: list[ChangedField]
    object: list[str]


class Diagram(View):
    workflow: str
    mermaid: str


class Completion(View):
    shell: str
    script: str


class Latencies(View):
    """Milliseconds: of half of them, and of the slowest ones."""

    p50: float
    p95: float
    p99: float
    max: float


class Measured(View):
    """A load, and how the workers did.

    ended: runs that got as far as was asked. transitions: durable changes of these, up to then.
    failed: how many did not, by the error. accepted_ms: from the trigger to its acceptance;
    ended_ms: until it was there.
    """

    workflow: str
    url: str
    runs: int
    concurrency: int
    seconds: float
    ended: int
    transitions: int
    runs_per_second: float
    transitions_per_second: float
    accepted_ms: Latencies | None
    ended_ms: Latencies | None
    failed: dict[str, int]
