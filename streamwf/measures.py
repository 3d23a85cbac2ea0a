"""What the shards of a workflow count in one process: plain numbers, that are made metrics of only
when somebody asks for them."""

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from .record import State
from .verdict import Verdict

#: The upper bounds of the buckets of every histogram, in seconds.
BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
_SHORT = BOUNDS[0]

#: How many types of errors are told apart in a workflow: code can make up any number of them.
MAX_ERRORS = 50

#: Stands for all other types of errors.
OTHER = "other"

#: Why an event that was read was never judged.
UNREADABLE, FORWARDED = "unreadable", "forwarded"


class Exemplar(NamedTuple):
    """One of the values of a bucket, and the trace that it is from."""

    trace_id: str
    seconds: float
    at: datetime


class Histogram:
    """How many values there were by bucket, the last one for all beyond the bounds; in seconds."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, seconds: float) -> None:
        # What is measured very often is short.
        self.counts[0 if seconds <= _SHORT else bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def observe_all(self, seconds: Sequence[float]) -> None:
        """Many at once; quickest if they are in order, or nearly so."""
        ordered = sorted(seconds)
        begin = 0
        for bucket, bound in enumerate(BOUNDS):
            if begin == len(ordered):
                break
            end = bisect_right(ordered, bound, begin)
            self.counts[bucket] += end - begin
            begin = end
        self.counts[-1] += len(ordered) - begin
        self.total += sum(ordered)

    def exemplify(self, trace_id: str, seconds: float, at: datetime) -> None:
        """A value that was observed is of a trace."""
        self.exemplars[bisect_left(BOUNDS, seconds)] = Exemplar(trace_id, seconds, at)


#: How long what was counted is kept apart, and how long it is kept, in seconds.
BUCKET_SECONDS, KEPT_SECONDS = 10, 3600


class Bucket:
    """What was counted in a short time. at: when that begins, in seconds since 1970."""

    __slots__ = ("at", "ended", "failures", "started", "transitions")

    def __init__(self, at: int) -> None:
        self.at = at
        self.transitions = self.failures = self.started = self.ended = 0

    def counted(self) -> dict[str, int]:
        return {
            "transitions": self.transitions,
            "failures": self.failures,
            "started": self.started,
            "ended": self.ended,
        }


class Recent:
    """What was counted lately, by when."""

    def __init__(self) -> None:
        self.buckets: deque[Bucket] = deque(maxlen=KEPT_SECONDS // BUCKET_SECONDS + 1)

    def at(self, now: datetime) -> Bucket:
        """The bucket of an instant; of one in the past, the latest there is."""
        begin = int(now.timestamp()) // BUCKET_SECONDS * BUCKET_SECONDS
        if not self.buckets or self.buckets[-1].at < begin:
            self.buckets.append(Bucket(begin))
        return self.buckets[-1]


class Measures:
    """What the shards of one workflow have counted in this process, also those that have left.

    verdicts: events that were judged, by type. passed_over: those that were not, by reason.
    state_changes: of runs, by the state before (None for a new run) and after.
    latency: from an event's append until it was folded, in shards that were live.
    durations: of steps by status; and of timeouts and so on, by the names of their lanes.
    errors: by status, what was at work (`step`, `timer`, `call`, `hook`), and the error's type.
    late: steps that started later than their `lag_alert` allows, by status.
    recent: what was counted lately, in shards that were live.
    dead_letters: what was put aside. checkpoints: how long those took that came to be.
    """

    def __init__(self) -> None:
        self.verdicts: Counter[tuple[str, Verdict]] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.state_changes: Counter[tuple[State | None, State]] = Counter()
        self.latency = Histogram()
        self.durations: dict[str, Histogram] = {}
        self.errors: Counter[tuple[str, str, str]] = Counter()
        self.late: Counter[str] = Counter()
        self.recent = Recent()
        self.dead_letters = 0
        self.checkpoints = Histogram()
        self.checkpoints_failed = 0
        self._error_types: set[str] = set()

    def durations_of(self, lane: str) -> Histogram:
        return self.durations.setdefault(lane, Histogram())

    def failed(self, status: str, at_work: str, error: str) -> None:
        """Something has ended with an error. error: its type."""
        known = self._error_types
        if error not in known:
            if len(known) == MAX_ERRORS:
                error = OTHER
            else:
                known.add(error)
        self.errors[status, at_work, error] += 1
