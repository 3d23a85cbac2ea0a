"""What holds for any log whatever: random requests and results, right ones and wrong ones.

The model folds event by event into a dictionary. The shard folds batches, keeps changes aside,
writes checkpoints and is taken over; its rows have to be the model's, byte for byte.
"""

import random
from collections import Counter
from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf.errors import UnreadableRecord
from streamwf.events import (
    CANCEL,
    REQUESTS,
    RESULTS,
    STARTED,
    TRIGGER,
    Event,
    decode_event,
    encode_event,
    source_of,
)
from streamwf.fold import Verdict
from streamwf.record import (
    LIVE,
    Call,
    Child,
    DueHook,
    Failure,
    Record,
    State,
    Target,
    Timer,
    decode_record,
    encode_record,
    row_key,
)
from streamwf.shard import Shard
from streamwf.tables.memory import MemoryTable
from tests.support import NOW, WORKFLOW, LogEntry, entries_of, examples
from tests.unit.any_log import BYTES, Model, logs, model_of, opened


def rows_of(shard: Shard) -> dict[str, bytes]:
    return {key: encode_record(row) for key, row in shard.scan("")}


def rows_expected(model: Model) -> dict[str, bytes]:
    return {key: encode_record(row) for key, row in sorted(model.rows.items())}


@examples(500)
@given(logs)
def test_the_fold_of_any_log_keeps_its_promises(model: Model) -> None:
    live = Counter(row_key(row.kind, row.foreign_id) for row in model.rows.values() if is_live(row))
    assert all(count == 1 for count in live.values())
    ids = Counter((row.kind, row.foreign_id, row.run_id) for row in model.rows.values())
    assert all(count == 1 for count in ids.values())


def is_live(row: Record) -> bool:
    return row.state in LIVE


@examples(300)
@given(logs, st.data())
def test_any_batches_give_the_same_rows(model: Model, data: st.DataObject) -> None:
    log = entries_of(model.log)
    shard = opened(MemoryTable())
    at = 0
    while at < len(log):
        cut = data.draw(st.integers(1, len(log) - at))
        shard.fold(log[at : at + cut])
        at += cut
        if data.draw(st.booleans()):
            _checkpoint(shard, data)
    assert rows_of(shard) == rows_expected(model)
    assert shard.position == len(log)
    assert _counted(shard) == _counts_expected(model)
    for row in model.rows.values():
        found = shard.lookup(row.run_id)
        assert found is not None
        assert found.run_id == row.run_id
    unreadable = len(log) - shard.measures.verdicts.total()
    assert shard.measures.dead_letters >= unreadable


def _checkpoint(shard: Shard, data: st.DataObject) -> None:
    """Make the changes durable, or fail to: the next one has them then."""
    shard.take_asides()
    checkpoint = shard.checkpoint()
    if checkpoint is None:
        return
    assert shard.checkpoint() is None, "one is under way"
    if data.draw(st.booleans()):
        shard.table.write(checkpoint)
        shard.committed(checkpoint)
    else:
        shard.failed(checkpoint)


def _counted(shard: Shard) -> dict[tuple[str, str], int]:
    return {pair: count for pair, count in shard.counts().items() if count}


def _counts_expected(model: Model) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for row in model.rows.values():
        if row.kind:
            continue
        counts[row.status, row.state] = counts.get((row.status, row.state), 0) + 1
    return counts


@examples(300)
@given(logs, st.data())
def test_a_shard_that_is_taken_over_anywhere_comes_to_the_same(
    model: Model, data: st.DataObject
) -> None:
    log = entries_of(model.log)
    table = MemoryTable()
    for _ in range(data.draw(st.integers(1, 3))):
        shard = opened(table)
        assert shard.position == (table.position or 0)
        # The next owner may read again what was folded before: it is passed over.
        first = data.draw(st.integers(0, shard.position))
        written = data.draw(st.integers(shard.position, len(log)))
        lost = data.draw(st.integers(written, len(log)))
        shard.fold(log[first:written])
        shard.take_asides()
        checkpoint = shard.checkpoint()
        shard.fold(log[written:lost])
        if checkpoint is not None:
            table.write(checkpoint)
    last = opened(table)
    last.fold(log[last.position :])
    assert rows_of(last) == rows_expected(model)
    assert _counted(last) == _counts_expected(model)


@examples(200)
@given(logs)
def test_what_was_folded_is_passed_over_when_it_is_read_again(model: Model) -> None:
    log = entries_of(model.log)
    shard = opened(MemoryTable())
    shard.fold(log)
    before = (
        rows_of(shard),
        shard.position,
        shard.measures.verdicts.total(),
        shard.measures.dead_letters,
    )
    shard.fold(log)
    shard.fold(log[len(log) // 2 :])
    assert (
        rows_of(shard),
        shard.position,
        shard.measures.verdicts.total(),
        shard.measures.dead_letters,
    ) == before


def told(shard: Shard, since: int) -> list[tuple[int, str | None, bytes, str]]:
    """What a shard has told others of what was at an offset or after it."""
    asides = shard.take_asides()
    return [(a.offset, a.workflow, a.value, a.reason) for a in asides if a.offset >= since]


@examples(300)
@given(logs, st.data())
def test_what_is_folded_again_after_a_crash_leads_to_the_same_elsewhere(
    model: Model, data: st.DataObject
) -> None:
    log = entries_of(model.log)
    cut = data.draw(st.integers(0, len(log)))
    table = MemoryTable()
    first = opened(table)
    first.fold(log[:cut])
    before = told(first, 0)
    checkpoint = first.checkpoint()
    first.fold(log[cut:])
    after = told(first, 0)
    assert all(offset < cut for offset, *_ in before)
    if checkpoint is not None:
        table.write(checkpoint)
    second = opened(table)
    second.fold(log[cut:])
    assert told(second, 0) == after


_texts, _counts = st.text(max_size=5), st.integers(0, 2**63 - 1)
_times = st.datetimes(timezones=st.just(UTC))
_maybe = st.none() | _times
_raw = st.sampled_from([b"null", b'{"n":1}', b"[ 1 ]", '"ü"'.encode()]).map(msgspec.Raw)
_records = st.builds(
    Record,
    foreign_id=_texts,
    run_id=_texts,
    kind=_texts,
    status=_texts,
    state=st.sampled_from(State),
    version=_counts,
    lag=_counts,
    object=_raw,
    created_at=_times,
    updated_at=_times,
    due_at=_maybe,
    skipped=st.booleans(),
    entered=st.booleans(),
    attempt=_counts,
    since=_counts,
    error=st.none() | st.builds(Failure, type=_texts, message=_texts, traceback=_texts),
    reason=_texts,
    timers=st.lists(st.builds(Timer, _texts, _times, _counts), max_size=2).map(tuple),
    resume_at=_maybe,
    forget_at=_maybe,
    offsets=st.lists(_counts, max_size=3).map(tuple),
    requests=st.lists(_texts, max_size=3).map(tuple),
    calls=st.lists(
        st.builds(Call, _texts, _texts, _times, _times, _raw, _texts, _counts), max_size=2
    ).map(tuple),
    hooks=st.lists(st.builds(DueHook, _texts, _times, _counts), max_size=2).map(tuple),
    waits=_texts,
    children=st.lists(
        st.builds(Child, *[_texts] * 6, object=_raw, cascade=st.booleans()), max_size=2
    ).map(tuple),
    parent=_texts,
    origin=_texts,
    correlations=_texts,
    targets=st.lists(st.builds(Target, _texts, _texts), max_size=2).map(tuple),
)


@examples(200)
@given(_records)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    again = decode_record(encode_record(record))
    assert again == record
    assert encode_record(again) == encode_record(record)


@examples(200)
@given(logs)
def test_what_a_log_leads_to_is_events_that_can_be_read(model: Model) -> None:
    shard = opened(MemoryTable())
    shard.fold(entries_of(model.log))
    emitted = [aside for aside in shard.take_asides() if aside.workflow is not None]
    for aside in emitted:
        event = decode_event(
            aside.value, workflow=WORKFLOW, partition=0, offset=0, timestamp_ms=0, limit=100_000
        )
        assert aside.key == event.subject.encode()
        assert encode_event(event) == aside.value
    refused = {n for n, verdict in enumerate(verdicts(model)) if verdict is not Verdict.ACCEPTED}
    spoken = {aside.offset: aside.value for aside in emitted if aside.offset in refused}
    for offset in spoken:
        # But for the parent of a run that was refused, and a trigger under its other foreign id.
        assert model.log[offset].type == TRIGGER


def verdicts(model: Model) -> list[Verdict | None]:
    again, found = Model(), []
    for event in model.log:
        try:
            found.append(again.fold(event))
        except UnreadableRecord:
            found.append(None)
    return found


@examples(200)
@given(logs)
def test_what_is_sent_twice_counts_once(model: Model) -> None:
    """After a crash, all that was not known to be sent is sent again, in the same order."""
    shard = opened(MemoryTable())
    shard.fold(entries_of(model.log))
    sent = [aside.value for aside in shard.take_asides() if aside.workflow is not None]
    at = len(model.log)
    shard.fold([LogEntry(at + n, None, value) for n, value in enumerate(sent)])
    once = rows_of(shard)
    shard.fold([LogEntry(at + len(sent) + n, None, value) for n, value in enumerate(sent)])
    assert rows_of(shard) == once


@examples(200)
@given(logs, st.data())
def test_rows_read_while_a_checkpoint_is_under_way_are_the_latest(
    model: Model, data: st.DataObject
) -> None:
    log = entries_of(model.log)
    cut = data.draw(st.integers(0, len(log)))
    shard = opened(MemoryTable())
    shard.fold(log[:cut])
    shard.take_asides()
    checkpoint = shard.checkpoint()
    shard.fold(log[cut:])
    assert rows_of(shard) == rows_expected(model)
    if checkpoint is not None and data.draw(st.booleans()):
        shard.failed(checkpoint)
    assert rows_of(shard) == rows_expected(model)
    assert _counted(shard) == _counts_expected(model)


def test_the_logs_hold_every_kind_of_event_and_every_verdict() -> None:
    """The test of the generator."""
    drawn = random.Random(1)
    kinds, verdicts, unreadable = set(), set(), 0
    for _ in range(400):
        again = Model()
        for event in model_of([drawn.randbytes(BYTES) for _ in range(30)]).log:
            try:
                verdict = again.fold(event)
            except UnreadableRecord:
                unreadable += 1
                continue
            verdicts.add(verdict)
            if verdict is Verdict.ACCEPTED:
                kinds.add(event.type)
    assert kinds == REQUESTS | RESULTS
    # No log here is so long that anything is full.
    assert verdicts == set(Verdict) - {Verdict.FULL}
    assert unreadable


def test_unreadable_results_are_set_aside_and_the_rest_goes_on() -> None:
    model = Model()
    model.fold(_event(TRIGGER, run_id="run-1"))
    broken = _event(STARTED, run_id="run-1", version=1, timers="nag=never")
    with pytest.raises(UnreadableRecord):
        model.fold(broken)
    model.fold(_event(CANCEL, run_id="run-1"))
    shard = opened(MemoryTable())
    shard.fold(entries_of(model.log))
    assert rows_of(shard) == rows_expected(model)
    [aside] = [aside for aside in shard.take_asides() if aside.workflow is None]
    assert (aside.offset, aside.reason) == (
        1,
        "timer 'nag=never' can't be read: Invalid isoformat string: 'never'",
    )


def test_records_that_are_no_events_move_the_position_too() -> None:
    shard = opened(MemoryTable())
    shard.fold([LogEntry(0, None, None), LogEntry(1, b"a", b"\xff"), LogEntry(5, b"a", b"{}")])
    assert shard.position == 6
    asides = shard.take_asides()
    assert [aside.offset for aside in asides] == [0, 1, 5]
    assert all(aside.reason for aside in asides)


def _event(kind: str, *, run_id: str, version: int = 0, timers: str = "") -> Event:
    return Event(
        specversion="1.0",
        id=f"{kind}-{version}",
        source=source_of(WORKFLOW),
        type=kind,
        subject="a",
        time=NOW,
        runid=run_id,
        version=version,
        status="CREATED",
        timers=timers,
    )
