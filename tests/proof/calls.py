"""What is promised of the calls of a workflow's code: there is one for whatever counts, and none
before its time, after it, or of a run that is not to be worked at."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from streamwf import events
from tests.proof.case import Case, Need
from tests.proof.life import AT_WORK, Life, Moment
from tests.proof.story import Executed

#: What answers something without moving the run, beside which a step goes on.
_STAYS = frozenset(
    {events.EXPIRED, events.DECLINED, events.POSTPONED, events.SKIPPED, events.HOOKED}
)

_ORDERED = ("step", "timeout", "callback")


def _of_runs(case: Case) -> Iterator[tuple[Executed, Life, Moment]]:
    """Calls but for those of hooks, with their run as it was known to who made them."""
    for call in case.story.executed:
        found = case.moment(call) if call.kind in _ORDERED else None
        if found is not None:
            yield call, *found


def told(call: Executed) -> str:
    what = f"{call.kind} {call.name}".rstrip()
    place = f"{call.run_id} at {call.status}, version {call.version}"
    return f"{what} of {place}, try {call.attempt}, began {call.began:%H:%M:%S.%f} on {call.worker}"


def no_call_comes_of_nothing(case: Case) -> Iterator[str]:
    """It is of a run that there is, as it was."""
    for call in case.story.executed:
        found = case.moment(call)
        if found is None:
            yield f"{told(call)}: there never was such a version"
        elif case.workflow.current(found[1].status or case.workflow.start_name) != call.status:
            yield f"{told(call)}: the run was at {found[1].status}"
        elif call.began + case.slack < found[1].at:
            yield f"{told(call)}: that version came at {found[1].at:%H:%M:%S.%f}"


def no_result_is_there_twice(case: Case) -> Iterator[str]:
    """For exactly once, the log has one result by which a run goes on from a version, and each
    answer to a timer, a callback or a hook once, whether they count or not."""
    if not case.story.exactly_once:
        return
    results = [
        judged.event
        for judged in case.judged
        if judged.event is not None and judged.event.type in events.RESULTS
    ]
    for event_id, count in Counter(event.id for event in results).items():
        if count > 1:
            yield f"{event_id}: {count} results"
    moves = (event for event in results if event.type not in _STAYS)
    for (run_id, version), count in Counter((move.runid, move.version) for move in moves).items():
        if count > 1:
            yield f"{run_id}, version {version}: {count} results"


def what_counts_was_done(case: Case) -> Iterator[str]:
    """A step ran at least once for every move out of its status, and for any other result that
    counts; the same of timeouts, callbacks and hooks."""
    for life in case.runs:
        for moment in life.moments:
            need = case.needs(life, moment)
            if need is not None and not any(
                _led_to(case, call, need) for call in case.made_for(life, need)
            ):
                event = need.event
                yield (
                    f"{life.run_id} {event.type} {event.status} at offset {moment.offset}: "
                    f"no {need.kind} {need.name} of version {event.version} led to it"
                )


def _led_to(case: Case, call: Executed, need: Need) -> bool:
    event, by = need.event, need.at + case.slack
    if call.began > by:
        return False
    if event.errortype:
        # A step that takes too long has failed before it ends.
        return True
    if call.ended is None or call.ended > by:
        return False
    return event.type != events.MOVED or call.outcome in ("", event.status)


def nothing_begins_early(case: Case) -> Iterator[str]:
    """No step runs before it is due, be it by a retry, a lag or a start in the future."""
    for call, _, moment in _of_runs(case):
        if call.kind == "step" and moment.state in AT_WORK:
            if moment.due_at is None:
                yield f"{told(call)}: it was not due at all"
            elif call.began + case.slack < moment.due_at:
                yield f"{told(call)}: it was due at {moment.due_at}"


def no_timer_fires_early(case: Case) -> Iterator[str]:
    for call, life, _ in _timeouts(case):
        span = case.span(life, call.name, call.version)
        if span is not None and call.began + case.slack < span.timer.due_at:
            yield f"{told(call)}: it was due at {span.timer.due_at}"


def no_timer_fires_for_another_stay(case: Case) -> Iterator[str]:
    """What is called is a timer that waits in the stay of the run that it is called for."""
    for call, life, moment in _timeouts(case):
        span = case.span(life, call.name, call.version)
        if span is None:
            yield f"{told(call)}: no such timer waited"
        elif not call.idempotency_key.startswith(f"{life.run_id}-{moment.stay}-{call.name}"):
            yield f"{told(call)}: its key {call.idempotency_key} is that of another stay"


def no_timer_fires_twice(case: Case) -> Iterator[str]:
    """Once its answer counts, it is not called again.

    Until then it may be: its worker may have died before, or have lost the shard without knowing.
    """
    for call, life, _ in _timeouts(case):
        span = case.span(life, call.name, call.version)
        ended = None if span is None else span.ended
        if ended is None or ended.event.timer != call.name:
            continue
        if call.began > ended.at + case.patience:
            yield f"{told(call)}: it was answered at {ended.at:%H:%M:%S.%f}"


def _timeouts(case: Case) -> Iterator[tuple[Executed, Life, Moment]]:
    return (
        (call, life, moment)
        for call, life, moment in _of_runs(case)
        if call.kind == "timeout" and moment.state in AT_WORK
    )


def what_is_stopped_starts_nothing(case: Case) -> Iterator[str]:
    """A run that is paused, cancelled or otherwise over starts no step, timeout or callback.

    Exactly: no worker that has read of it starts any, ever. What had begun before goes on to its
    end, and does not count. A worker that has not read of it yet may begin: it has lost the shard
    and does not know, or it is behind; both for no longer than the story's lease.
    """
    for call, life, moment in _of_runs(case):
        if moment.state not in AT_WORK:
            yield f"{told(call)}: it was known to be {moment.state}"
            continue
        over = case.over(life, call.version)
        if over is not None and over.state not in AT_WORK and call.began > over.at + case.patience:
            yield f"{told(call)}: it was {over.state} since {over.at:%H:%M:%S.%f}"


def nothing_begins_that_is_over(case: Case) -> Iterator[str]:
    """What a run was at before it moved on is not begun any more, by the same measure."""
    for call, life, moment in _of_runs(case):
        over = case.over(life, call.version) if moment.state in AT_WORK else None
        if over is not None and over.state in AT_WORK and call.began > over.at + case.patience:
            yield f"{told(call)}: that was over at {over.at:%H:%M:%S.%f}"


def tries_share_their_key(case: Case) -> Iterator[str]:
    """`run.idempotency_key` is the same for every try of a step, and for no other."""
    for call, life, moment in _of_runs(case):
        expected = f"{life.run_id}-{moment.since}"
        key = call.idempotency_key
        if call.kind == "step" and (key, call.attempt) != (expected, moment.attempt + 1):
            yield f"{told(call)}: key {key}, and not {expected}, try {moment.attempt + 1}"


def no_try_is_left_out(case: Case) -> Iterator[str]:
    """Tries are counted one by one: before the second there was a first, under the same key."""
    if case.workflow.encrypt:
        # Keys that can't be had make a try fail before the code is called.
        return
    first: dict[tuple[str, str, str, int], datetime] = {}
    for call in case.story.executed:
        tried = (call.kind, call.name, call.idempotency_key, call.attempt)
        first[tried] = min(call.began, first.get(tried, call.began))
    for call in case.story.executed:
        before = first.get((call.kind, call.name, call.idempotency_key, call.attempt - 1))
        if call.attempt > 1 and (before is None or before > call.began):
            yield f"{told(call)}: no try {call.attempt - 1} of it was made before"


def no_result_is_ahead_of_the_log(case: Case) -> Iterator[str]:
    """Whoever has computed a result has read of the run what the log has, and no more."""
    for judged in case.judged:
        event = judged.event
        if judged.verdict == "ahead" and event is not None and judged.life is not None:
            what = f"{event.type} of {event.runid} names version {event.version}"
            yield f"{what} at offset {judged.offset}, where it has {judged.life.version}"
