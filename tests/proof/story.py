"""What happened, as somebody outside the engine saw it: what the proofs judge.

Both who simulates and who torments real workers writes such a story, and `tests.proof.judge` says
whether the engine has kept what it promises. Nothing here comes of the fold: the log as it is read
from the broker, calls of steps as an outside service would have counted them, and what clients
were answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from streamwf import Workflow
from streamwf.ports import LogRecord
from streamwf.record import Record


@dataclass(frozen=True, slots=True)
class Executed:
    """A call of a step, a timeout, a callback or a hook of the workflow's code.

    kind: which of them. name: of the timeout, the callback or the hook; empty for a step.
    worker: who made it, a name that each process has for itself alone.
    status, version, attempt, idempotency_key: as the run said.
    due_at: of a timeout, when it was due, if the recorder knows.
    began, ended: by the recorder's clock. ended is None if the worker was killed in its midst.
    outcome: the status that it returned, `!` and the type of what it raised, or empty.
    """

    kind: Literal["step", "timeout", "callback", "hook"]
    worker: str
    run_id: str
    foreign_id: str
    status: str
    version: int
    attempt: int
    idempotency_key: str
    began: datetime
    name: str = ""
    due_at: datetime | None = None
    ended: datetime | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asked, and what it was told.

    type: that of the event (`streamwf.events.REQUESTS`). id: the event's, the same for each try.
    accepted: whether it was told that the log has the event; without an answer it may, too.
    answer: the name of the error that it was answered with, or empty.
    """

    type: str
    id: str
    foreign_id: str
    at: datetime
    run_id: str = ""
    accepted: bool = False
    answer: str = ""


@dataclass(slots=True)
class Story:
    """One workflow, from its first event until nothing more came.

    partition_of: by foreign id, whose log has it.
    logs: by partition, every record that was ever readable, by its offset, in its order.
    rows: by partition, the rows of the owner's table at the end, by key.
    recovered: rows of the same shard, folded or recovered in other ways (named): from the log's
        start, from a checkpoint, by a standby, with batches cut elsewhere.
    letters: ids of events that lie among the dead letters.
    calm_at: since when nothing was made to fail any more.
    ended_at: when it was looked at.
    settled: whether the engine had all the time that it needs since then.
    faults: how often each was made, by name.
    skew: by how much two clocks were apart at most, be they of workers, clients or the recorder.
    lease: how long at most a worker has gone on by what was no longer so: because it had not yet
        read it, or had lost the shard and did not know. At least the session timeout.
    keys: ids of the runs that there are keys of at the end, of a workflow that encrypts.
    exactly_once: whether the engine has promised that no result is in the log twice.
    """

    workflow: Workflow[Any, Any]
    partition_of: Mapping[str, int]
    calm_at: datetime
    ended_at: datetime
    logs: Mapping[int, Sequence[LogRecord]] = field(default_factory=dict)
    rows: Mapping[int, Mapping[str, Record]] = field(default_factory=dict)
    recovered: Mapping[str, Mapping[int, Mapping[str, Record]]] = field(default_factory=dict)
    executed: Sequence[Executed] = ()
    asked: Sequence[Asked] = ()
    letters: frozenset[str] = frozenset()
    settled: bool = True
    faults: Mapping[str, int] = field(default_factory=dict)
    skew: timedelta = timedelta(0)
    lease: timedelta = timedelta(seconds=10)
    keys: frozenset[str] = frozenset()
    exactly_once: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept. promise: its name. what: whom it concerns, and why."""

    promise: str
    what: str
