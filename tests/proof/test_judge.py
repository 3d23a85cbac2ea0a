"""The judge finds nothing wrong with what is right, and names each thing that is wrong."""

import asyncio
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import count, pairwise
from typing import Any

import msgspec
import pytest

from streamwf import events
from streamwf.embedded import MemoryRecord
from streamwf.events import Event, decode_event, derived_id, encode_event
from streamwf.ports import LogRecord
from streamwf.record import NOTHING, SEPARATOR, Record, State
from tests.proof.case import Case
from tests.proof.day import DAY, HOUR, a_day
from tests.proof.embedded import folded_again
from tests.proof.judge import OF_ROWS, PROMISES, judge, summary
from tests.proof.life import Life
from tests.proof.shop import NAME, Recorder, a_shop
from tests.proof.story import Asked, Broken, Executed, Story

MINUTE = timedelta(minutes=1)

Doctor = Callable[[Story], Story]

#: By the promise that it breaks: what is done to a story.
DOCTORED: dict[str, list[Doctor]] = {}


@cache
def day() -> Story:
    return asyncio.run(a_day())


def broken(story: Story) -> set[str]:
    return {each.promise for each in judge(story)}


def breaks(promise: str) -> Callable[[Doctor], Doctor]:
    def known(doctor: Doctor) -> Doctor:
        DOCTORED.setdefault(promise, []).append(doctor)
        return doctor

    return known


# ---- what is in a story


def event_of(record: LogRecord) -> Event:
    return decode_event(
        record.value, workflow=NAME, partition=0, offset=record.offset, timestamp_ms=0, limit=10**6
    )


def run_of(story: Story, foreign_id: str) -> Life:
    """The first of that foreign id."""
    return next(life for life in Case(story).runs if life.foreign_id == foreign_id)


def call_of(story: Story, foreign_id: str, name: str, kind: str = "step") -> Executed:
    """The last call. name: the status of a step, or that of another one."""
    return next(
        call
        for call in reversed(story.executed)
        if (call.foreign_id, call.kind) == (foreign_id, kind)
        and name in (call.name, call.status if kind == "step" else "")
    )


def with_call(story: Story, call: Executed, **changed: Any) -> Story:
    return replace(story, executed=(*story.executed, replace(call, **changed)))


def with_other_call(story: Story, call: Executed, **changed: Any) -> Story:
    others = tuple(each for each in story.executed if each is not call)
    return with_call(replace(story, executed=others), call, **changed)


def with_row(story: Story, key: str, row: Record | None) -> Story:
    """With another row, or without; as all who have folded it have it."""
    rows = {name: each for name, each in story.rows[0].items() if name != key}
    rows |= {} if row is None else {key: row}
    return replace(story, rows={0: rows}, recovered={})


def changed(story: Story, key: str, **fields: Any) -> Story:
    return with_row(story, key, msgspec.structs.replace(story.rows[0][key], **fields))


def with_log(story: Story, records: Iterable[LogRecord]) -> Story:
    """With another log, and the tables as they were."""
    return replace(story, logs={0: tuple(records)})


def refolded(story: Story, records: Iterable[LogRecord]) -> Story:
    """With another log, and what it folds to."""
    log = tuple(records)
    ways = folded_again(story.workflow, log)
    recovered = {how: {0: rows} for how, rows in ways.items()}
    rows = next(iter(ways.values()))
    return replace(story, logs={0: log}, rows={0: rows}, recovered=recovered)


def written(record: LogRecord, **changed: Any) -> MemoryRecord:
    """A record as it is in memory, with other attributes."""
    same = MemoryRecord(record.offset, record.key, record.value, record.timestamp)
    return msgspec.structs.replace(same, **changed)


# ---- what is right


def test_a_day_of_everything_is_right() -> None:
    assert judge(day()) == []


def test_a_day_of_an_encrypted_workflow_is_right() -> None:
    assert judge(asyncio.run(a_day(encrypt=True))) == []


def test_a_day_with_retention_is_right() -> None:
    story = asyncio.run(a_day(retention=DAY))
    assert any(life.gone for life in Case(story).runs)
    assert judge(story) == []


def test_the_day_has_something_of_everything() -> None:
    known = {judged.event.type for judged in Case(day()).judged if judged.event is not None}
    assert known >= events.RESULTS - {events.FORGOTTEN}
    assert known >= events.REQUESTS - {events.RETAIN, events.CHANGE}


def test_what_was_done_is_counted() -> None:
    story = day()
    told = summary(story)
    assert told.calls.keys() == {"step", "timeout", "callback", "hook"}
    assert sum(told.counted.values()) == sum(told.calls.values()) - 1
    assert (told.repeated, told.unended) == (0, 0)
    step = call_of(story, "asks", "PAID")
    assert summary(with_call(story, step, worker="w2", ended=None)).repeated == 1
    assert told.refused == sum(told.verdicts.values()) - told.verdicts["accepted"] > 0


def test_a_step_that_ran_twice_is_right_within_the_lease() -> None:
    story = day()
    step = call_of(story, "asks", "PAID")
    late = with_call(story, step, worker="w2", began=step.began + MINUTE, ended=None)
    assert judge(replace(late, lease=2 * MINUTE)) == []


def test_a_result_that_is_there_twice_is_right() -> None:
    story = day()
    log = story.logs[0]
    results = [r for r in _readable(story) if event_of(r).type in events.RESULTS]
    again = [written(record, offset=len(log) + n) for n, record in enumerate(results)]
    assert judge(refolded(story, [*log, *again])) == []


def test_what_is_not_settled_may_be_behind() -> None:
    story = replace(day(), settled=False, letters=frozenset(), recovered={})
    story = with_row(story, "last", None)
    assert judge(replace(story, ended_at=story.ended_at + 10 * DAY)) == []


def test_a_run_has_its_stays() -> None:
    life = run_of(day(), "asks")
    stays = life.stays
    assert [stay.status for stay in stays] == ["NEW", "OFFERED", "PAID", "ASKING", "PACKED", "SENT"]
    assert all(one.left is next.entered for one, next in pairwise(stays))
    assert stays[-1].left is None


# ---- what is wrong


@breaks("what_was_accepted_is_in_the_log")
def a_request_is_lost(story: Story) -> Story:
    lost = Asked(events.TRIGGER, "lost", "lost", story.calm_at, accepted=True)
    return replace(story, asked=[*story.asked, lost])


@breaks("who_is_refused_is_told_the_truth")
def an_accepted_one_is_refused(story: Story) -> Story:
    first = story.asked[0]
    return replace(story, asked=[replace(first, answer="RunInProgress")])


@breaks("what_nobody_hears_of_is_set_aside")
def a_letter_is_lost(story: Story) -> Story:
    [unfit] = [e for e in map(event_of, _readable(story)) if e.type == events.REJECTED]
    return replace(story, letters=story.letters - {derived_id("rejected", unfit.runid)})


def _readable(story: Story) -> list[LogRecord]:
    return [record for record in story.logs[0] if record.value != b"{not json"]


@breaks("what_one_event_leads_to_is_there")
def a_hook_is_not_asked_for(story: Story) -> Story:
    run_id = run_of(story, "no-more").run_id

    def is_of_it(record: LogRecord) -> bool:
        event = event_of(record)
        return event.runid == run_id and event.type in (events.HOOK, events.HOOKED)

    left = [record for record in _readable(story) if not is_of_it(record)]
    called = [each for each in story.executed if (each.run_id, each.kind) != (run_id, "hook")]
    return replace(refolded(story, left), executed=called)


@breaks("no_timer_is_forgotten")
def a_timer_is_left(story: Story) -> Story:
    return only(replace(story, ended_at=story.ended_at + 3 * HOUR), {"plain"})


@breaks("what_can_finish_finishes")
def a_step_is_left(story: Story) -> Story:
    return only(replace(story, ended_at=story.ended_at + 1.5 * HOUR), {"last"})


@breaks("what_can_finish_finishes")
def the_last_move_says_nothing_of_what_is_next(story: Story) -> Story:
    return only(_altered(story, "last", events.MOVED, dueat=None), {"last"})


def _altered(story: Story, foreign_id: str, kind: str, **fields: Any) -> Story:
    """With other attributes of the last event of that kind of a foreign id."""
    log = list(story.logs[0])
    last = next(m for m in reversed(run_of(story, foreign_id).moments) if m.event.type == kind)
    value = encode_event(msgspec.structs.replace(last.event, **fields))
    log[last.offset] = written(log[last.offset], value=value)
    return refolded(story, log)


def only(story: Story, foreign_ids: set[str]) -> Story:
    """What a story has of these alone."""
    log = [r for r in _readable(story) if event_of(r).subject in foreign_ids]
    called = [each for each in story.executed if each.foreign_id in foreign_ids]
    return replace(refolded(story, log), executed=called, asked=())


@breaks("no_call_comes_of_nothing")
def a_run_that_was_refused_runs(story: Story) -> Story:
    return with_call(story, call_of(story, "twice", "NEW"), run_id="refused")


@breaks("no_call_comes_of_nothing")
def a_version_that_never_was_runs(story: Story) -> Story:
    return with_call(story, call_of(story, "twice", "NEW"), version=99)


@breaks("no_call_comes_of_nothing")
def a_step_of_another_status_runs(story: Story) -> Story:
    return with_call(story, call_of(story, "twice", "NEW"), status="PAID")


@breaks("no_call_comes_of_nothing")
def a_step_knows_what_is_to_come(story: Story) -> Story:
    answer = call_of(story, "plain", "pay", "callback")
    return with_call(story, answer, began=answer.began - DAY)


@breaks("no_result_is_ahead_of_the_log")
def a_result_knows_more_than_the_log(story: Story) -> Story:
    life = run_of(story, "last")
    event = msgspec.structs.replace(life.moments[-1].event, version=life.version + 3)
    log = story.logs[0]
    ahead = MemoryRecord(len(log), b"last", encode_event(event), log[-1].timestamp)
    return with_log(story, [*log, ahead])


@breaks("no_result_is_there_twice")
def a_result_is_there_again(story: Story) -> Story:
    first = next(r for r in story.logs[0] if b'"moved"' in (r.value or b""))
    again = written(first, offset=story.logs[0][-1].offset + 1)
    return replace(refolded(story, [*story.logs[0], again]), exactly_once=True)


@breaks("what_counts_was_done")
def a_step_was_left_out(story: Story) -> Story:
    step = call_of(story, "asks", "ASKING")
    return replace(story, executed=[each for each in story.executed if each is not step])


@breaks("what_counts_was_done")
def a_step_that_died_has_moved_its_run(story: Story) -> Story:
    return with_other_call(story, call_of(story, "asks", "ASKING"), ended=None)


@breaks("what_counts_was_done")
def a_step_said_something_else(story: Story) -> Story:
    return with_other_call(story, call_of(story, "asks", "PAID"), outcome="PACKED")


@breaks("what_counts_was_done")
def a_timeout_was_left_out(story: Story) -> Story:
    timeout = call_of(story, "asks/b", "lapse", "timeout")
    return replace(story, executed=[each for each in story.executed if each is not timeout])


@breaks("what_counts_was_done")
def a_callback_was_left_out(story: Story) -> Story:
    answer = call_of(story, "plain", "pay", "callback")
    return replace(story, executed=[each for each in story.executed if each is not answer])


@breaks("what_counts_was_done")
def a_hook_was_left_out(story: Story) -> Story:
    hook = call_of(story, "broken", "complete", "hook")
    return replace(story, executed=[each for each in story.executed if each is not hook])


@breaks("nothing_begins_early")
def a_step_does_not_wait_for_its_lag(story: Story) -> Story:
    step = call_of(story, "known", "PACKED")
    return with_call(story, step, began=step.began - 0.5 * HOUR)


@breaks("no_timer_fires_early")
def a_timer_does_not_wait(story: Story) -> Story:
    timeout = call_of(story, "asks/b", "lapse", "timeout")
    return with_call(story, timeout, began=timeout.began - HOUR)


@breaks("no_timer_fires_for_another_stay")
def a_timer_fires_that_is_gone(story: Story) -> Story:
    gone, there = (call_of(story, "asks/b", name, "timeout") for name in ("remind", "nag"))
    return with_call(story, gone, version=there.version, began=there.began)


@breaks("no_timer_fires_for_another_stay")
def a_timer_has_the_key_of_another_stay(story: Story) -> Story:
    timeout = call_of(story, "asks/b", "remind", "timeout")
    return with_call(story, timeout, idempotency_key=f"{timeout.run_id}-1-remind")


@breaks("no_timer_fires_twice")
def a_timer_fires_again(story: Story) -> Story:
    timeout = call_of(story, "asks/b", "remind", "timeout")
    return with_call(story, timeout, began=timeout.began + HOUR)


@breaks("what_is_stopped_starts_nothing")
def a_paused_run_is_known_to_be_and_runs(story: Story) -> Story:
    life = run_of(story, "to-pause")
    paused = next(m for m in life.moments if m.state == State.PAUSED)
    step = call_of(story, "to-pause", "NEW")
    first = next(each for each in story.executed if each.run_id == step.run_id)
    return with_call(story, first, version=paused.version, began=paused.at)


@breaks("what_is_stopped_starts_nothing")
def a_cancelled_run_runs(story: Story) -> Story:
    step = call_of(story, "to-cancel", "NEW")
    return with_call(story, step, began=step.began + MINUTE)


@breaks("nothing_begins_that_is_over")
def a_step_begins_after_its_move(story: Story) -> Story:
    step = call_of(story, "asks", "PAID")
    return with_call(story, step, began=step.began + MINUTE)


@breaks("tries_share_their_key")
def a_step_has_another_key(story: Story) -> Story:
    return with_other_call(story, call_of(story, "asks", "PAID"), idempotency_key="new")


@breaks("tries_share_their_key")
def a_step_has_lost_count_of_its_tries(story: Story) -> Story:
    return with_other_call(story, call_of(story, "clumsy", "NEW"), attempt=1)


@breaks("no_try_is_left_out")
def two_tries_of_a_hook_were_never_made(story: Story) -> Story:
    hook = next(call for call in story.executed if call.kind == "hook")
    return with_call(story, hook, attempt=hook.attempt + 2)


@breaks("folding_again_gives_the_same")
def a_recovered_row_is_another(story: Story) -> Story:
    rows = dict(story.rows[0])
    rows["asks"] = msgspec.structs.replace(rows["asks"], reason="made up")
    return replace(story, recovered={"by a standby": {0: rows}})


@breaks("folding_again_gives_the_same")
def a_recovered_row_is_missing(story: Story) -> Story:
    rows = {key: row for key, row in story.rows[0].items() if key != "asks"}
    return replace(story, recovered={"by a standby": {0: rows}})


@breaks("no_key_outlives_its_data")
def there_is_a_key_of_what_was_deleted(story: Story) -> Story:
    return replace(story, keys=frozenset({run_of(story, "clumsy").run_id}))


@breaks("what_is_encrypted_is_sealed")
def what_was_to_be_encrypted_is_not(story: Story) -> Story:
    return replace(story, workflow=a_shop(Recorder(lambda: story.calm_at), encrypt=True))


@breaks("no_run_is_lost")
def a_row_is_missing(story: Story) -> Story:
    return with_row(story, "asks", None)


@breaks("no_run_comes_of_nothing")
def a_row_is_there_that_nobody_started(story: Story) -> Story:
    return with_row(story, "nobody", story.rows[0]["asks"])


@breaks("one_run_is_in_progress")
def there_are_two_rows_in_progress(story: Story) -> Story:
    row = msgspec.structs.replace(story.rows[0]["last"], run_id="other")
    return with_row(story, f"last{SEPARATOR}other", row)


@breaks("each_version_is_folded_once")
def a_result_counts_twice(story: Story) -> Story:
    return changed(story, "asks", version=story.rows[0]["asks"].version + 1)


@breaks("rows_are_what_the_log_says")
def a_row_has_another_object(story: Story) -> Story:
    return changed(story, "asks", object=msgspec.Raw(b"{}"))


@breaks("rows_are_what_the_log_says")
def a_row_has_another_timer(story: Story) -> Story:
    row = story.rows[0]["plain"]
    first, *others = row.timers
    late = msgspec.structs.replace(first, due_at=first.due_at + DAY)
    return changed(story, "plain", timers=(late, *others))


@breaks("deleted_data_is_gone")
def a_deleted_run_has_its_object(story: Story) -> Story:
    former = run_of(story, "clumsy").moments[0].event.data
    assert former != NOTHING
    return changed(story, "clumsy", object=former)


def test_each_promise_can_be_broken() -> None:
    assert DOCTORED.keys() == {promise.__name__ for promise in PROMISES} | set(OF_ROWS)


@pytest.mark.parametrize(
    ("promise", "doctor"),
    [(promise, doctor) for promise, doctors in DOCTORED.items() for doctor in doctors],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_is_wrong_is_named(promise: str, doctor: Doctor) -> None:
    assert broken(doctor(day())) == {promise}


@pytest.mark.parametrize("kind", [events.MOVED, events.PAUSE, events.EXPIRED, events.HOOKED])
def test_a_record_that_was_counted_can_not_be_missing(kind: str) -> None:
    story = day()
    counted = next(m for life in Case(story).runs for m in life.moments if m.event.type == kind)
    left = [record for record in story.logs[0] if record.offset != counted.offset]
    assert broken(with_log(story, left)) >= {"each_version_is_folded_once"}


def test_records_have_their_order() -> None:
    story = day()
    life = run_of(story, "paused")
    one, other = (m.offset for m in life.moments if m.event.type in (events.PAUSE, events.RESUME))
    log = list(story.logs[0])
    log[one], log[other] = written(log[other], offset=one), written(log[one], offset=other)
    assert broken(with_log(story, log)) & set(OF_ROWS)


def test_what_many_things_break_is_told_in_short() -> None:
    told = judge(replace(day(), executed=()))
    assert len(told) == 21
    assert told[-1].what.startswith("and ")


def a_long_story(rounds: int) -> Story:
    """Of a run whose step asks again and again to be repeated."""
    told = day()
    step = call_of(told, "last", "NEW")
    first, moved = (m for m in run_of(told, "last").moments if m.version in (1, 2))
    log = [told.logs[0][first.offset]]
    calls = []
    for version in range(1, rounds + 1):
        again = msgspec.structs.replace(
            moved.event, type=events.REPEATED, version=version, status="", dueat=moved.at
        )
        log.append(written(log[0], value=encode_event(again)))
        key = f"{step.run_id}-{version}"
        calls.append(replace(step, version=version, idempotency_key=key, outcome=""))
    log = [written(record, offset=n) for n, record in enumerate(log)]
    return replace(refolded(told, log), executed=calls, asked=(), settled=False)


def test_what_a_long_story_costs_is_in_proportion() -> None:
    short, long = (a_long_story(rounds) for rounds in (200, 800))
    assert calls_in(lambda: judge(long)) < 5 * calls_in(lambda: judge(short))


def calls_in(do: Callable[[], list[Broken]]) -> int:
    """How many calls of functions it takes to find nothing."""
    called = count()
    sys.setprofile(lambda *_: next(called) and None)
    try:
        found = do()
    finally:
        sys.setprofile(None)
    assert found == []
    return next(called)
