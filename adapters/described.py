"""Every metric that a host has: as `/metrics` and docs/metrics.md tell of it."""

from typing import Literal, NamedTuple


class Described(NamedTuple):
    """A metric. meaning: in Markdown."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


_ALL: list[Described] = []


def _described(
    type: Literal["counter", "gauge", "histogram"], name: str, labels: str, meaning: str
) -> Described:
    described = Described(f"streamwf_{name}", type, tuple(labels.split()), meaning)
    _ALL.append(described)
    return described


EVENTS = _described(
    *("counter", "events_total", "workflow type verdict"),
    "events folded, by what became of them",
)
SKIPPED = _described(
    *("counter", "events_skipped_total", "workflow reason"),
    "events that changed nothing, by reason: a verdict, or `unreadable`, or `forwarded` to the"
    " partition where it belongs",
)
DEAD_LETTERS = _described(
    *("counter", "dead_letters_total", "workflow"),
    "records put aside: nobody can read them, their run can't start, or a connector can't use them",
)
LAG_EVENTS = _described(
    *("gauge", "lag_events", "workflow shard"),
    "events in the log that are not folded yet",
)
LAG_SECONDS = _described(
    *("gauge", "lag_seconds", "workflow shard"),
    "how old the first event that is not folded yet may be; 0 if all are folded",
)
LATENCY = _described(
    *("histogram", "event_latency_seconds", "workflow"),
    "from an event's append until it was folded, by active shards",
)
POSITION = _described(
    *("gauge", "position", "workflow shard"),
    "the offset of the next event to fold",
)
STATE_CHANGES = _described(
    *("counter", "run_state_changes_total", "workflow previous state"),
    "changes of the state of runs; `previous` is empty for a new run",
)
RUNS = _described("gauge", "runs", "workflow status state", "runs in the tables")
DURATION = _described(
    *("histogram", "step_duration_seconds", "workflow status"),
    "how long steps took from their start to their result, whichever that was",
)
ERRORS = _described(
    *("counter", "step_errors_total", "workflow status kind error"),
    "steps, timeouts, callbacks and hooks that ended with an error, by its type",
)
LAG_ALERTS = _described(
    *("counter", "lag_alerts_total", "workflow status"),
    "steps that started later after they were due than their `lag_alert`",
)
DEPTH = _described(
    *("gauge", "queue_depth", "workflow status"),
    "steps that are due and wait for their turn in memory",
)
RUNNING = _described("gauge", "steps_running", "workflow", "steps in progress")
HELD = _described(
    *("gauge", "steps_held", "workflow status"),
    "1 while a step is held by its `breaker`, else 0; of the steps that have one",
)
TIMERS = _described(
    *("gauge", "timers_pending", "workflow status"),
    "timeouts that wait for their time, or to be answered",
)
OVERDUE = _described(
    *("gauge", "timers_overdue", "workflow"),
    "timeouts whose time has come and that are not answered yet",
)
ROLES = _described(
    *("gauge", "roles", "workflow status process state"),
    "roles held: `active` if they have something to do, else `idle`; `stopped` while their shard"
    " is being recovered",
)
SHARDS = _described(
    *("gauge", "shards", "workflow role"),
    "shards held: `active`, or `recovering` until they have folded what was in the log when they"
    " were opened",
)
REBUILD = _described(
    *("gauge", "rebuild_records", "workflow shard"),
    "records of the changelog left to read until the table of a shard that is being opened is"
    " rebuilt",
)
RECOVERY = _described(
    *("gauge", "recovery_events", "workflow shard"),
    "events left to fold until the shard is active",
)
CHECKPOINT_LAG = _described(
    *("gauge", "checkpoint_lag_events", "workflow shard"),
    "events folded since the last checkpoint: those to fold again after a crash",
)
CHECKPOINTS = _described(
    *("histogram", "checkpoint_duration_seconds", "workflow"),
    "how long checkpoints took until they were durable",
)
CHECKPOINT_FAILURES = _described(
    *("counter", "checkpoint_failures_total", "workflow"),
    "checkpoints that may not have come to be: their shard is opened anew",
)

#: Every metric that a host has.
METRICS = tuple(_ALL)
