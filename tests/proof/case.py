"""A story, made ready to be judged: its log told again, and calls by what they were made for."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from streamwf import Workflow, errors, events
from streamwf.declared import HookOn
from streamwf.events import Event
from streamwf.record import Timer
from tests.proof.life import Life, Moment
from tests.proof.model import Judged, Model
from tests.proof.story import Executed, Story

#: Records have the milliseconds of their time, and no less.
GRAIN = timedelta(milliseconds=1)

#: Errors that the engine tells of by itself, for which nothing has to have been called.
OWN_ERRORS = frozenset(name for name in vars(errors) if name[0].isupper())


class Need(NamedTuple):
    """The call that a result tells of. name: of a timeout or a hook; the id of a callback."""

    kind: str
    name: str
    event: Event
    at: datetime


class Case:
    """models: by partition. lives: by run id; a run that was forgotten may have come again.

    known: the ids of all events of the logs. slack: by how much two clocks may disagree.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.workflow: Workflow[Any, Any] = story.workflow
        self.slack = story.skew + GRAIN
        self.patience = self.slack + story.lease
        self.models: Mapping[int, Model] = {
            partition: Model(self.workflow.name, partition, story.partition_of).read(records)
            for partition, records in story.logs.items()
        }
        self.lives: dict[str, list[Life]] = defaultdict(list)
        for model in self.models.values():
            for life in model.lives:
                self.lives[life.run_id].append(life)
        self.judged_by_id: dict[str, list[Judged]] = defaultdict(list)
        for judged in self.judged:
            if judged.event is not None:
                self.judged_by_id[judged.event.id].append(judged)
        self.known = self.judged_by_id.keys()
        self.calls: dict[tuple[str, str, int], list[Executed]] = defaultdict(list)
        for call in story.executed:
            self.calls[call.kind, call.run_id, call.version].append(call)
        self._spans: dict[int, dict[str, list[Span]]] = {}
        self._over: dict[int, list[Moment | None]] = {}

    @property
    def judged(self) -> Iterator[Judged]:
        for model in self.models.values():
            yield from model.judged

    @property
    def runs(self) -> Iterator[Life]:
        """All but inner runs."""
        return (life for lives in self.lives.values() for life in lives if not life.kind)

    # ---- calls

    def moment(self, call: Executed) -> tuple[Life, Moment] | None:
        """The run that a call was made for, and as it was known there; None if it never was so."""
        for life in reversed(self.lives.get(call.run_id, ())):
            if not life.kind and 1 <= call.version <= len(life.moments):
                return life, life.moments[call.version - 1]
        return None

    def over(self, life: Life, version: int) -> Moment | None:
        """When what is under way by a version no longer counts: the moment that has said so."""
        known = self._over.get(id(life))
        if known is None:
            known = self._over[id(life)] = _over(life)
        return known[version - 1]

    def needs(self, life: Life, moment: Moment) -> Need | None:
        """The call that a result comes of; None if it needs none.

        An error of the engine's own may be told without one: an object can't be read, keys are
        gone, a callback isn't wanted. A status without a step is passed over by the engine itself.
        """
        event = moment.event
        if event.type not in events.RESULTS or event.errortype in OWN_ERRORS:
            return None
        need = Need("step", "", event, moment.at)
        if event.type == events.HOOKED:
            known = event.hook in {str(on) for on in self.workflow.hooks}
            return need._replace(kind="hook", name=hook_key(life, event)) if known else None
        status = self.workflow.current(life.moments[event.version - 1].status)
        if event.timer:
            known = event.timer in self.workflow.timeouts.get(status, {})
            return need._replace(kind="timeout", name=event.timer) if known else None
        if event.call:
            called = life.moments[event.version - 1].calls.get(event.call)
            wanted = called is not None and self._wanted(status, called.name)
            return need._replace(kind="callback", name=event.call) if wanted else None
        by_itself = event.type == events.SKIPPED and status not in self.workflow.steps
        return need if event.type in _OF_STEPS and not by_itself else None

    def _wanted(self, status: str, name: str) -> bool:
        callbacks = self.workflow.callbacks.get(status, {})
        return name in callbacks or (not name and len(callbacks) == 1)

    def made_for(self, life: Life, need: Need) -> list[Executed]:
        """The calls that a result may come of."""
        calls = self.calls.get((need.kind, life.run_id, need.event.version), ())
        return [call for call in calls if _is_for(call, need)]

    def span(self, life: Life, name: str, version: int) -> "Span | None":
        """The timer of that name which waited in a run when it had that version."""
        known = self._spans.get(id(life))
        if known is None:
            known = self._spans[id(life)] = _spans(life)
        spans = known.get(name, [])
        at = bisect_right(spans, version, key=lambda span: span.set.version) - 1
        if at < 0:
            return None
        ended = spans[at].ended
        return spans[at] if ended is None or version < ended.version else None


class Span(NamedTuple):
    """A timer that waited: from when it was set until it was answered, or its stay had ended."""

    timer: Timer
    set: Moment
    ended: Moment | None = None


_OF_STEPS = frozenset(
    {
        *(events.MOVED, events.REPEATED, events.SKIPPED, events.FAILED),
        *(events.PAUSED, events.CANCELLED),
    }
)

#: The hooks for the states that a run comes to.
HOOKS = {
    "PAUSED": HookOn.PAUSE,
    "RUNNING": HookOn.RESUME,
    "CANCELLED": HookOn.CANCEL,
    "COMPLETED": HookOn.COMPLETE,
    "DATA_DELETED": HookOn.DATA_DELETED,
}


def hook_key(life: Life, event: Event) -> str:
    """The idempotency key of a call of a hook."""
    return f"{life.run_id}-on_{event.hook}-{event.call}"


def _is_for(call: Executed, need: Need) -> bool:
    if need.kind == "timeout":
        return call.name == need.name
    if need.kind == "callback":
        return call.idempotency_key.endswith(f"-{need.name}")
    return need.kind == "step" or call.idempotency_key == need.name


def _spans(life: Life) -> dict[str, list[Span]]:
    """By name, in their order."""
    found: dict[str, list[Span]] = defaultdict(list)
    former: Mapping[str, Timer] = {}
    for moment in life.moments:
        if moment.timers is former:
            continue
        anew = moment.event.type == events.MOVED
        for name, timer in former.items():
            if anew or moment.timers.get(name) != timer:
                found[name][-1] = found[name][-1]._replace(ended=moment)
        for name, timer in moment.timers.items():
            if anew or former.get(name) != timer:
                found[name].append(Span(timer, moment))
        former = moment.timers
    return found


def _over(life: Life) -> list[Moment | None]:
    """For each version the first later moment that only counts what knows of it."""
    found: list[Moment | None] = []
    over: Moment | None = None
    following: Moment | None = None
    for moment in reversed(life.moments):
        if following is not None and following.basis != moment.basis:
            over = following
        found.append(over)
        following = moment
    found.reverse()
    return found
