"""What is promised of what becomes of things in the end: nothing that was accepted is lost, and
whatever can finish does."""

from collections.abc import Iterator
from datetime import datetime

from streamwf import events
from streamwf.events import Event, derived_id, parent_of, unpack_correlations, unpack_starts
from streamwf.record import CONNECTOR, MAIL, State
from tests.proof.case import HOOKS, Case
from tests.proof.life import LIVE, Life, Moment, Verdict
from tests.proof.model import Judged

#: What has done, or will do, what it is for.
_HEEDED = frozenset({Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.HANDED_ON, Verdict.ELSEWHERE})

#: What an event leads to: the id of another one, and why.
Word = tuple[str, str]


def what_was_accepted_is_in_the_log(case: Case) -> Iterator[str]:
    """Whoever was told that a request has been accepted finds it there."""
    for asked in case.story.asked:
        if asked.accepted and asked.id and asked.id not in case.known:
            yield f"{asked.type} {asked.id} for {asked.foreign_id!r} of {asked.at:%H:%M:%S.%f}"


def who_is_refused_is_told_the_truth(case: Case) -> Iterator[str]:
    """A trigger that was answered with `RunInProgress` has met one, and none with another fate."""
    for asked in case.story.asked:
        judged = case.judged_by_id.get(asked.id, ())
        verdicts = {each.verdict for each in judged}
        refused = asked.type == events.TRIGGER and asked.answer == "RunInProgress"
        if refused and judged and Verdict.RUN_IN_PROGRESS not in verdicts:
            yield f"{asked.foreign_id!r}: RunInProgress, and it was {', '.join(sorted(verdicts))}"


def what_nobody_hears_of_is_set_aside(case: Case) -> Iterator[str]:
    """The dead letters have what was refused where nobody waits to hear, and what was rejected."""
    if not case.story.settled:
        return
    for judged in case.judged:
        for letter in _letters(judged):
            if letter not in case.story.letters:
                event = judged.event
                assert event is not None
                yield f"{letter}: {event.type} for {event.subject!r}, {judged.verdict}"


def _letters(judged: Judged) -> Iterator[str]:
    event = judged.event
    if event is None:
        return
    if judged.verdict not in _HEEDED and event.unheard:
        yield event.id
    if judged.verdict is Verdict.ACCEPTED and event.type == events.REJECTED:
        yield derived_id("rejected", event.runid)


def what_one_event_leads_to_is_there(case: Case) -> Iterator[str]:
    """Children are started, parents told, hooks asked for, what came early is handed on: what is
    to go from one run to another, or to another partition, reaches its log."""
    if not case.story.settled:
        return
    for life in case.runs:
        before: Moment | None = None
        for moment in life.moments:
            if before is not None:
                for word, why in _words(case, life, before, moment):
                    if word not in case.known:
                        yield f"{life.run_id} at offset {moment.offset}: {why}"
            before = moment
    for judged in case.judged:
        for word, why in _words_of(case, judged):
            if word not in case.known:
                yield f"offset {judged.offset}: {why}"


def _words(case: Case, life: Life, before: Moment, moment: Moment) -> Iterator[Word]:
    """What a run that has changed tells others, or itself."""
    event, name = moment.event, case.workflow.name
    if event.type == events.FORGOTTEN:
        return
    if event.starts:
        for start in unpack_starts(event.starts):
            if start.workflow == name and start.run_id not in before.children:
                yield derived_id(events.TRIGGER, start.run_id), f"child {start.run_id} not started"
    was = set(unpack_correlations(before.correlations))
    now = set(unpack_correlations(moment.correlations))
    for kind, values in ((events.UNCORRELATE, was - now), (events.CORRELATE, now - was)):
        for value in values:
            yield derived_id(kind, life.run_id, moment.version, value), f"no {kind} of {value}"
    if moment.state != before.state:
        yield from _of_state(case, life, before, moment)


def _of_state(case: Case, life: Life, before: Moment, moment: Moment) -> Iterator[Word]:
    hook, mine = HOOKS.get(moment.state), (life.run_id, moment.version)
    resumes = moment.state != State.RUNNING or before.state == State.PAUSED
    if hook in case.workflow.hooks and resumes:
        yield derived_id(events.HOOK, *mine), f"no on_{hook} asked for"
    if moment.state in LIVE:
        return
    if before.state in LIVE and life.parent and _can_hear(case, life.parent):
        yield derived_id(events.CHILD, life.run_id), "its parent does not hear of its end"
    if before.state in LIVE and moment.state == State.CANCELLED:
        for child_id, child in moment.children.items():
            # Children of other workflows have logs of their own.
            if child.cascade and not child.state and child_id in case.lives:
                yield derived_id(events.CANCEL, child_id, life.run_id), f"{child_id} not cancelled"
    if case.workflow.retention is not None and moment.state != State.DATA_DELETION_REQUESTED:
        yield derived_id(events.RETAIN, *mine), "nobody says how long it is kept"


def _words_of(case: Case, judged: Judged) -> Iterator[Word]:
    """What goes on to where it belongs."""
    event = judged.event
    for call in judged.delivered:
        if not any(each.event and each.event.runid for each in case.judged_by_id.get(call, ())):
            yield "", f"callback {call} is not handed on to its run"
    if event is None:
        return
    if judged.verdict is Verdict.ELSEWHERE and not _arrived(case, event):
        yield "", f"{event.type} {event.id} is not forwarded"
    refused = judged.verdict is Verdict.RUN_IN_PROGRESS and event.type == events.TRIGGER
    if refused and event.parent and _can_hear(case, event.parent):
        yield derived_id(events.CHILD, event.runid), "the parent does not hear that it was refused"


def _arrived(case: Case, event: Event) -> bool:
    return any(
        each.verdict is not Verdict.ELSEWHERE for each in case.judged_by_id.get(event.id, ())
    )


def _can_hear(case: Case, parent: str) -> bool:
    """Whether a parent is told: those of other workflows have logs of their own, and what is for a
    run whose keys are gone with its data can't be sealed for it."""
    name, run_id, _ = parent_of(parent)
    if name != case.workflow.name:
        return False
    last = case.lives.get(run_id, [])[-1:]
    return not (case.workflow.encrypt and any(life.without_keys for life in last))


# ---- once nothing fails any more


def no_timer_is_forgotten(case: Case) -> Iterator[str]:
    if not case.story.settled:
        return
    until = case.story.ended_at - case.patience
    for life in case.runs:
        for name, timer in life.timers.items():
            if life.at_work and timer.due_at < until:
                yield f"{name} of {life.run_id} at {life.status} was due at {timer.due_at}"


def what_can_finish_finishes(case: Case) -> Iterator[str]:
    """Nothing that is due is left undone, and nothing waits for what will never come."""
    if not case.story.settled:
        return
    until = case.story.ended_at - case.patience
    for lives in case.lives.values():
        for life in lives:
            if life.gone or life.kind == CONNECTOR:
                continue
            for due_at, what in _due(life):
                if due_at < until and not _held_back(case, life):
                    yield f"{what} of {life.run_id} at {life.status} was due at {due_at}"
            if not life.kind and _stuck(case, life):
                yield f"{life.run_id} at {life.status} waits for nothing, and does not go on"


def _due(life: Life) -> Iterator[tuple[datetime, str]]:
    """What is to be done of a run, but for its timers."""
    if life.at_work:
        if life.due_at is not None:
            yield life.due_at, "the step"
        for name, call in life.calls.items():
            if life.kind in MAIL or life.begun(call.due_at):
                yield call.due_at, f"callback {name}"
    if life.state == State.PAUSED and life.resume_at is not None:
        yield life.resume_at, "the end of the pause"
    deleting = life.state == State.DATA_DELETION_REQUESTED
    if deleting and all(hook.attempt for hook in life.hooks):
        yield life.moments[-1].event.time, "the deletion"
    if life.forget_at is not None and not deleting and not life.hooks:
        yield life.forget_at, "the forgetting"
    for hook in life.hooks:
        yield hook.due_at, f"on_{hook.on}"


def _held_back(case: Case, life: Life) -> bool:
    """Whether its step waits for a rate or a breaker."""
    step = case.workflow.steps.get(case.workflow.current(life.status))
    return step is not None and (step.rate is not None or step.breaker is not None)


def _stuck(case: Case, life: Life) -> bool:
    if not life.at_work or life.due_at is not None or life.skipped or life.calls or life.timers:
        return False
    step = case.workflow.steps.get(case.workflow.current(life.status))
    if step is None:
        # Something from outside has to come.
        return not case.workflow.callbacks.get(case.workflow.current(life.status))
    return not life.waits
