"""What commands write with `--json`, where it is not what the API tells."""

from datetime import datetime

from streamwf.views import Refusal, View


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
