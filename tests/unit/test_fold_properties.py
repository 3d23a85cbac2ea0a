"""What holds for any log whatever: random requests and results, right ones and wrong ones.

The model folds event by event into a dictionary. The shard folds batches, keeps changes aside,
writes checkpoints and is taken over; its rows have to be the model's, byte for byte.
"""

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from streamwf.agenda import entries
from streamwf.errors import UnreadableRecord
from streamwf.events import (
    CANCEL,
    EXPIRED,
    MOVED,
    PAUSE,
    REQUESTS,
    RESULTS,
    RESUME,
    RESUMED,
    STARTED,
    TRIGGER,
    Event,
    pack_timers,
    source_of,
)
from streamwf.fold import Verdict, fold
from streamwf.record import LIVE, TRANSITIONS, Record, State, Timer, decode_record, encode_record
from streamwf.shard import Limits, Shard, archive_key
from streamwf.tables.memory import MemoryTable
from tests.support import NOW, WORKFLOW, LogEntry, SteppedClock, entries_of, examples
from tests.unit.sample import orders

THREADS = ThreadPoolExecutor(1)


@dataclass
class Model:
    """The fold of a log, in the plainest way."""

    rows: dict[str, Record] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)

    def fold(self, event: Event) -> Verdict:
        key, before = self.named(event)
        self.log.append(event)
        after, verdict = fold(before, event, len(self.log) - 1)
        if verdict is Verdict.ACCEPTED:
            assert after is not None
            self.check(before, after, event)
            if before is not None and event.type == TRIGGER:
                self.rows[archive_key(before)] = before
            self.rows[key] = after
        else:
            assert after is before
        return verdict

    def named(self, event: Event) -> tuple[str, Record | None]:
        latest = self.rows.get(event.subject)
        if latest is not None and event.runid not in ("", latest.run_id):
            earlier = self.rows.get(f"{event.subject}\0{event.runid}")
            if earlier is not None or event.type != TRIGGER:
                return f"{event.subject}\0{event.runid}", earlier
        return event.subject, latest

    def check(self, before: Record | None, after: Record, event: Event) -> None:
        """What an accepted event may do to a run."""
        assert after.foreign_id == event.subject
        assert decode_record(encode_record(after)) == after
        if event.type == TRIGGER:
            assert after.version == 1
            assert before is None or before.state not in LIVE
            return
        assert before is not None
        assert after.version == before.version + 1
        assert after.run_id == before.run_id
        assert after.created_at == before.created_at
        at_work = before.state is State.INITIATED and event.type in RESULTS
        state = State.RUNNING if at_work else before.state
        assert after.state in TRANSITIONS[state] | {state}
        assert before.state in LIVE, "a run that has ended never changes"
        assert len(after.offsets) == min(after.version, 256)
        assert before.version - before.lag <= event.version or event.type in REQUESTS
        assert 0 <= after.lag < after.version
        if after.state not in LIVE:
            assert entries(after) == ()


class Choices:
    """Makes choices by the bytes it was given; hypothesis draws those much faster than choices."""

    def __init__(self, drawn: bytes) -> None:
        self._left = int.from_bytes(drawn, "big")

    def of(self, *options: Any) -> Any:
        self._left, chosen = divmod(self._left, len(options))
        return options[chosen]


def model_of(drawn: list[bytes]) -> Model:
    """A log that is folded as it grows, so that many of its results fit."""
    model = Model()
    for each in drawn:
        choices = Choices(each)
        repeated = model.log and choices.of(False, False, False, False, False, True)
        with contextlib.suppress(UnreadableRecord):
            model.fold(choices.of(*model.log) if repeated else an_event(model, choices))
    return model


logs = st.lists(st.binary(min_size=20, max_size=20), max_size=30).map(model_of)

_ANY = sorted(RESULTS | REQUESTS)
_AT_WORK = [*sorted(RESULTS), STARTED, MOVED, EXPIRED, EXPIRED, PAUSE]
_NAG, _GIVE_UP = Timer("nag", NOW), Timer("give-up", NOW + timedelta(hours=1))
_BOTH = pack_timers((_NAG, _GIVE_UP))
_TIMERS = ["", pack_timers((_NAG,)), _BOTH, _BOTH, _BOTH, "nag=never"]
_OBJECTS = [UNSET, msgspec.Raw(b'{"n":2}'), msgspec.Raw(b"[ ]")]
_MOMENTS = [None, NOW, NOW, NOW + timedelta(seconds=1)]


def an_event(model: Model, choices: Choices) -> Event:
    """An event of any kind, that fits the state of its run more often than not."""
    foreign_id = choices.of("a", "a", "b")
    latest = model.rows.get(foreign_id)
    if latest is None or latest.state not in LIVE:
        apt = [TRIGGER]
    elif latest.state is State.PAUSED:
        apt = [RESUME, RESUMED]
    else:
        apt = _AT_WORK
    kind = choices.of(*[choices.of(*apt)] * 4, choices.of(*_ANY))
    fresh = f"run-{len(model.log)}"
    if kind == TRIGGER:
        run_id = choices.of(fresh, fresh, fresh, "run-0")
    else:
        known = [row.run_id for row in model.rows.values() if row.foreign_id == foreign_id]
        right = latest.run_id if latest else fresh
        run_id = choices.of(*[right] * 5, "", fresh, choices.of(fresh, *known))
    version = 0
    if kind in RESULTS and latest is not None:
        version = latest.version + choices.of(0, 0, 0, 0, 0, -1, -2, 1)
    timer, due_at = choices.of("", "", "nag"), choices.of(*_MOMENTS)
    if kind == EXPIRED and latest is not None and latest.timers:
        timer, due_at = choices.of((timer, due_at), *((t.name, t.due_at) for t in latest.timers))
    return Event(
        specversion="1.0",
        id=choices.of(*[f"e-{len(model.log)}"] * 6, "e-0"),
        source=source_of(WORKFLOW),
        type=kind,
        subject=foreign_id,
        time=NOW + timedelta(seconds=len(model.log)),
        runid=run_id,
        version=version,
        status=choices.of("", "CREATED", "PICKED", "DONE", "NOPE"),
        state=choices.of(*[None] * 8, *State),
        dueat=due_at,
        startat=choices.of(*_MOMENTS),
        attempt=choices.of(0, 0, 1, 2),
        reason=choices.of("", "Größe"),
        errortype=choices.of("", "E"),
        timers=choices.of(*_TIMERS),
        timer=timer,
        resumeat=choices.of(*_MOMENTS),
        data=choices.of(*_OBJECTS),
    )


def opened(table: MemoryTable) -> Shard:
    """A shard that folds and never becomes live, so that nothing is dispatched."""
    return Shard(
        orders(),
        0,
        table,
        end=1 << 60,
        clock=SteppedClock(),
        threads=THREADS,
        wake=lambda: None,
        misplaced=lambda _: False,
        limits=Limits(),
    )


def rows_of(shard: Shard) -> dict[str, bytes]:
    return {key: encode_record(row) for key, row in shard.scan("")}


def rows_expected(model: Model) -> dict[str, bytes]:
    return {key: encode_record(row) for key, row in sorted(model.rows.items())}


@examples(500)
@given(logs)
def test_the_fold_of_any_log_keeps_its_promises(model: Model) -> None:
    live: dict[str, int] = {}
    for row in model.rows.values():
        live[row.foreign_id] = live.get(row.foreign_id, 0) + (row.state in LIVE)
    assert all(count <= 1 for count in live.values())
    assert len({row.run_id for row in model.rows.values() if row.foreign_id == "a"}) == sum(
        row.foreign_id == "a" for row in model.rows.values()
    )


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
    unreadable = len(log) - shard.verdicts.total()
    assert shard.set_aside == unreadable


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
    before = rows_of(shard), shard.position, shard.verdicts.total(), shard.set_aside
    shard.fold(log)
    shard.fold(log[len(log) // 2 :])
    assert (rows_of(shard), shard.position, shard.verdicts.total(), shard.set_aside) == before


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
    for _ in range(200):
        again = Model()
        for event in model_of([drawn.randbytes(20) for _ in range(30)]).log:
            try:
                verdict = again.fold(event)
            except UnreadableRecord:
                unreadable += 1
                continue
            verdicts.add(verdict)
            if verdict is Verdict.ACCEPTED:
                kinds.add(event.type)
    assert kinds == REQUESTS | RESULTS
    assert verdicts == set(Verdict)
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
    [aside] = shard.take_asides()
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
