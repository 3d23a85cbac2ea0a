"""One run, told again from the log: what each event makes of it, as the documentation says.

Written apart from the fold, and slower: a run is changed in place, and remembers every moment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import UNSET

from streamwf import events
from streamwf.events import Event, unpack_ended, unpack_starts, unpack_timers
from streamwf.record import State, Timer

LIVE = frozenset({State.INITIATED, State.RUNNING, State.PAUSED})
AT_WORK = frozenset({State.INITIATED, State.RUNNING})

#: `docs/life-cycle.md`, read off its picture.
LEADS_TO = {
    State.INITIATED: {State.RUNNING, State.PAUSED, State.CANCELLED},
    State.RUNNING: {State.PAUSED, State.COMPLETED, State.CANCELLED},
    State.PAUSED: {State.RUNNING, State.CANCELLED},
    State.COMPLETED: {State.DATA_DELETION_REQUESTED},
    State.CANCELLED: {State.DATA_DELETION_REQUESTED},
    State.DATA_DELETION_REQUESTED: {State.DATA_DELETED},
    State.DATA_DELETED: {State.DATA_DELETION_REQUESTED},
}

#: What steers a run, and the state that it leads to.
STEERS = {
    events.PAUSE: State.PAUSED,
    events.RESUME: State.RUNNING,
    events.CANCEL: State.CANCELLED,
    events.DELETE: State.DATA_DELETION_REQUESTED,
}

NULL = b"null"

#: Request ids that a run remembers; callbacks, and bytes of others, that it holds.
REMEMBERED = 128
HELD_CALLS = 100
HELD_BYTES = 1_000_000


class Verdict(StrEnum):
    """What becomes of a record of the log."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    RUN_IN_PROGRESS = "run_in_progress"
    NO_SUCH_RUN = "no_such_run"
    STALE = "stale"
    AHEAD = "ahead"
    STATE_FORBIDS = "state_forbids"
    OTHER_VERSION = "other_version"
    FULL = "full"
    HANDED_ON = "handed_on"
    ELSEWHERE = "elsewhere"
    UNREADABLE = "unreadable"


class Refused(Exception):
    """An event changes nothing."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


@dataclass(slots=True)
class Held:
    """A callback that waits to be answered. weight: the bytes that it takes."""

    name: str
    due_at: datetime
    until: datetime
    weight: int
    attempt: int = 0


@dataclass(slots=True)
class Told:
    """A hook that is to be called."""

    on: str
    id: str
    due_at: datetime
    attempt: int = 0


@dataclass(slots=True)
class Child:
    """A run that this one has started. state: as it ended, or empty."""

    cascade: bool
    state: str = ""
    weight: int = 0


class Moment(NamedTuple):
    """A run as an event has left it.

    offset, at: where the event is in the log, and since when.
    basis: the least version that a result may name, so as to count.
    since, stay: the versions at which the step's tries began, and the stay at the status.
    """

    event: Event
    offset: int
    at: datetime
    version: int
    basis: int
    status: str
    state: State
    since: int
    stay: int
    attempt: int
    due_at: datetime | None
    timers: Mapping[str, Timer]
    calls: Mapping[str, Held]
    children: Mapping[str, Child]
    correlations: str


class Stay(NamedTuple):
    """A run at a status. left: the moment that ended it; None while it lasts."""

    status: str
    entered: Moment
    left: Moment | None


@dataclass(slots=True)
class Life:
    """A run, inner runs among them. moments: one for each version."""

    kind: str
    foreign_id: str
    run_id: str
    created_at: datetime
    status: str = ""
    state: State = State.INITIATED
    version: int = 1
    basis: int = 1
    object: bytes = NULL
    parent: str = ""
    due_at: datetime | None = None
    entered: bool = False
    skipped: bool = False
    attempt: int = 0
    since: int = 1
    stay: int = 1
    timers: dict[str, Timer] = field(default_factory=dict)
    calls: dict[str, Held] = field(default_factory=dict)
    hooks: list[Told] = field(default_factory=list)
    children: dict[str, Child] = field(default_factory=dict)
    waits: str = ""
    correlations: str = ""
    targets: list[tuple[str, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    resume_at: datetime | None = None
    forget_at: datetime | None = None
    gone: bool = False
    moments: list[Moment] = field(default_factory=list)

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def without_keys(self) -> bool:
        """Whether its data is gone, and the keys with it."""
        return self.gone or self.state == State.DATA_DELETED

    @property
    def at_work(self) -> bool:
        return self.state in AT_WORK

    @property
    def stays(self) -> list[Stay]:
        """Where it has been, in order. A move to the same status is a stay of its own."""
        found: list[Stay] = []
        for moment in self.moments:
            if moment.event.type in (events.TRIGGER, events.STARTED, events.MOVED):
                if found:
                    found[-1] = found[-1]._replace(left=moment)
                found.append(Stay(moment.status, moment, None))
        return found

    def note(self, event: Event, offset: int, at: datetime) -> None:
        """Remember the moment that an event has led to."""
        self.moments.append(
            Moment(
                *(event, offset, at, self.version, self.basis, self.status, self.state),
                *(
                    self.since,
                    self.stay,
                    self.attempt,
                    self.due_at,
                    self.timers,
                    self.calls,
                    self.children,
                ),
                self.correlations,
            )
        )

    # ---- requests

    def requested(self, event: Event) -> None:
        """Raises Refused, and UnreadableRecord."""
        if event.id in self.requests:
            raise Refused(Verdict.DUPLICATE)
        if event.ifversion not in (None, self.version):
            raise Refused(Verdict.OTHER_VERSION)
        if event.type in STEERS:
            self._steer(event, STEERS[event.type])
        elif event.type in _REQUESTED:
            _REQUESTED[event.type](self, event)
        else:
            raise Refused(Verdict.STATE_FORBIDS)

    def _steer(self, event: Event, to: State) -> None:
        resumes = event.type == events.RESUME
        if to not in LEADS_TO[self.state] or (resumes and self.state != State.PAUSED):
            raise Refused(Verdict.STATE_FORBIDS)
        self._goes_over(event, to)
        self._remember(event)

    def _goes_over(self, event: Event, to: State) -> None:
        """Into another state, at the status where it is."""
        if to == State.RUNNING:
            if self.attempt or self.skipped:
                self.due_at = event.time
            self.attempt, self.skipped = 0, False
        self.state, self.resume_at, self.forget_at = to, event.resumeat, None
        self._counts()
        self._leave_if_over()

    def _leave_if_over(self) -> None:
        """Whoever has ended waits for nothing any more."""
        if not self.live:
            self.due_at, self.timers, self.calls, self.correlations = None, {}, {}, ""

    def _retry(self, event: Event) -> None:
        if self.state == State.PAUSED:
            self._goes_over(event, State.RUNNING)
        elif self.at_work and self.attempt and self.due_at is not None:
            if self.due_at <= event.time:
                self._notes()
            else:
                self.due_at = event.time
                self._counts()
        else:
            raise Refused(Verdict.STATE_FORBIDS)
        self._remember(event)

    def _change(self, event: Event) -> None:
        if not self.kind or not self.live or event.data is UNSET:
            raise Refused(Verdict.STATE_FORBIDS)
        self.object, self.due_at, self.attempt = bytes(event.data), event.time, 0
        self._counts()
        self._remember(event)

    def _call(self, event: Event) -> None:
        if not self.live or self.kind:
            raise Refused(Verdict.STATE_FORBIDS)
        waits = event.until is not None and event.until > event.time
        if not waits and not self.begun(event.time):
            raise Refused(Verdict.STATE_FORBIDS)
        self.calls = with_call(self.calls, event, event.time)
        self._notes()
        self._remember(event)

    def begun(self, now: datetime) -> bool:
        """Whether it has entered the status that it starts at, or is about to."""
        on_its_way = self.due_at is not None and self.due_at <= max(now, self.created_at)
        return self.entered or on_its_way

    def _child(self, event: Event) -> None:
        ended = unpack_ended(event)
        child = self.children.get(ended.run_id)
        if child is None or child.state:
            raise Refused(Verdict.DUPLICATE)
        weight = len(bytes(ended.object)) - len(NULL) + len(ended.reason)
        held = sum(each.weight for each in self.children.values())
        deleted = self.state in (State.DATA_DELETION_REQUESTED, State.DATA_DELETED)
        if deleted or (held and held + weight > HELD_BYTES):
            weight = 0
        now = Child(child.cascade, ended.state, weight)
        self.children = {**self.children, ended.run_id: now}
        if not self.waits or not self.live:
            self._notes()
            return
        if self.due_at is None and self._enough():
            self.due_at = event.time
        self._counts()

    def _enough(self) -> bool:
        ended = [bool(child.state) for child in self.children.values()]
        return all(ended) if self.waits == "all" else any(ended) or not ended

    def _hook(self, event: Event) -> None:
        self.hooks.append(Told(event.hook, event.id, event.time))
        self._notes()
        self._remember(event)

    def _retain(self, event: Event) -> None:
        if self.live:
            raise Refused(Verdict.STATE_FORBIDS)
        self.forget_at = event.forgetat
        self._notes()
        self._remember(event)

    # ---- results

    def resulted(self, event: Event) -> None:
        """Raises Refused, and UnreadableRecord."""
        if event.type != events.HOOKED:
            if event.version > self.version:
                raise Refused(Verdict.AHEAD)
            if event.version < self.basis:
                raise Refused(Verdict.STALE)
        if event.type == events.SKIPPED and event.call:
            self._call_answered(event)
        else:
            _RESULTED.get(event.type, Life._became)(self, event)

    def _became(self, event: Event) -> None:
        """What a step, or what has answered in its place, says of the run."""
        state = event.state or State.RUNNING
        may = {State.RUNNING, State.PAUSED, State.COMPLETED, State.CANCELLED}
        if not self.at_work or state not in may:
            raise Refused(Verdict.STATE_FORBIDS)
        if event.timer and event.timer not in self.timers:
            raise Refused(Verdict.STALE)
        if event.call and event.call not in self.calls:
            raise Refused(Verdict.STALE)
        enters = event.type in (events.STARTED, events.MOVED)
        timers = {timer.name: timer for timer in unpack_timers(event.timers)} if enters else {}
        started = unpack_starts(event.starts)
        moved, waited = event.type == events.MOVED, self.waits
        self.status, self.state = event.status or self.status, state
        self._counts()
        self._carries(event)
        self.due_at, self.attempt, self.resume_at = event.dueat, event.attempt, event.resumeat
        self.skipped = event.type == events.SKIPPED or (self.skipped and not moved)
        if moved or event.type == events.REPEATED:
            self.since = self.version
        self.stay = self.version if moved else self.stay
        self.timers = timers if enters else without(self.timers, event.timer)
        self.calls = without(self.calls, event.call)
        if moved:
            self.calls = {
                name: Held(call.name, event.time, call.until, call.weight, call.attempt)
                for name, call in self.calls.items()
            }
        if enters:
            self.entered, self.waits, self.correlations = True, event.waits, event.correlations
        if enters and waited and not event.timer and not event.call:
            self.children = {name: c for name, c in self.children.items() if not c.state}
        self._starts(started)
        if (enters or started) and self.live and self.waits and self.due_at is None:
            self.due_at = event.time if self._enough() else None
        if not self.live:
            # When its step would be due no longer matters, but it is told.
            due_at = self.due_at
            self._leave_if_over()
            self.due_at = due_at

    def _starts(self, started: Iterable[Any]) -> None:
        fresh = {each.run_id: Child(each.cascade) for each in started}
        self.children = {**fresh, **self.children} if fresh else self.children

    def _carries(self, event: Event) -> None:
        if event.data is not UNSET:
            self.object = bytes(event.data)

    def _resumed(self, event: Event) -> None:
        if self.state != State.PAUSED:
            raise Refused(Verdict.STATE_FORBIDS)
        self._goes_over(event, State.RUNNING)

    def _expired(self, event: Event) -> None:
        timer = self.timers.get(event.timer)
        if timer is None or timer.due_at != event.dueat:
            raise Refused(Verdict.STALE)
        again = {each.name: each for each in unpack_timers(event.timers)}
        self._answered(event)
        self.timers = without(self.timers, event.timer) | again

    def _call_answered(self, event: Event) -> None:
        call = self.calls.get(event.call)
        if call is None:
            raise Refused(Verdict.STALE)
        self._answered(event)
        self.calls = without(self.calls, event.call)
        if event.type == events.POSTPONED and event.dueat is not None:
            again = Held(call.name, event.dueat, call.until, call.weight, event.attempt)
            self.calls[event.call] = again
        if event.type == events.DECLINED and event.call in self.requests:
            self.requests.remove(event.call)

    def _answered(self, event: Event) -> None:
        """Beside the step, which goes on unless the object is another now."""
        if not self.at_work:
            raise Refused(Verdict.STATE_FORBIDS)
        started = unpack_starts(event.starts)
        self.state = State.RUNNING
        if event.data is UNSET:
            self._notes()
        else:
            self._carries(event)
            self._counts()
        self._starts(started)

    def _hooked(self, event: Event) -> None:
        found = [hook for hook in self.hooks if (hook.on, hook.id) == (event.hook, event.call)]
        if not found:
            raise Refused(Verdict.STALE)
        self.hooks.remove(found[0])
        if event.dueat is not None:
            self.hooks.append(Told(event.hook, event.call, event.dueat, event.attempt))
        self._notes()

    def _deleted(self, event: Event) -> None:
        if self.state != State.DATA_DELETION_REQUESTED:
            raise Refused(Verdict.STATE_FORBIDS)
        self.state, self.forget_at = State.DATA_DELETED, None
        self.object = NULL if event.data is UNSET else bytes(event.data)
        self.children = {name: Child(c.cascade, c.state) for name, c in self.children.items()}
        self._counts()

    def _forgotten(self, event: Event) -> None:
        if self.live:
            raise Refused(Verdict.STATE_FORBIDS)
        self.gone = True

    # ---- what it comes to

    def _counts(self) -> None:
        """Whatever is under way for the run as it was does not count any more."""
        self.version += 1
        self.basis = self.version

    def _notes(self) -> None:
        """It does."""
        self.version += 1

    def _remember(self, event: Event) -> None:
        self.requests = [*self.requests, event.id][-REMEMBERED:]


_REQUESTED = {
    events.RETRY: Life._retry,
    events.CHANGE: Life._change,
    events.CALLBACK: Life._call,
    events.CHILD: Life._child,
    events.HOOK: Life._hook,
    events.RETAIN: Life._retain,
}

_RESULTED = {
    events.RESUMED: Life._resumed,
    events.EXPIRED: Life._expired,
    events.DECLINED: Life._call_answered,
    events.POSTPONED: Life._call_answered,
    events.HOOKED: Life._hooked,
    events.DELETED: Life._deleted,
    events.FORGOTTEN: Life._forgotten,
}


def without(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in given.items() if each != name}


def with_call(calls: Mapping[str, Held], event: Event, due_at: datetime) -> dict[str, Held]:
    """What waits, with another callback. Raises Refused."""
    if event.id in calls:
        raise Refused(Verdict.DUPLICATE)
    carried = len(NULL) if event.data is UNSET else len(bytes(event.data))
    weight = carried + len(event.data_base64) + 4 * len(event.call)
    held = sum(call.weight for call in calls.values())
    if len(calls) >= HELD_CALLS or (held and held + weight > HELD_BYTES):
        raise Refused(Verdict.FULL)
    call = Held(event.call, due_at, event.until or event.time, weight)
    return {**calls, event.id: call}
