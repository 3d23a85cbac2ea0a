"""What earlier versions have written is read, and goes on."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET

from streamwf import State, events
from streamwf.embedded import MemoryLog
from streamwf.errors import UnreadableRecord
from streamwf.events import Event, decode_event
from streamwf.record import INNER, Call, Child, DueHook, Failure, Record, Target, Timer, Trace
from streamwf.tables import timers
from streamwf.tables.changelog import MARKER_KEY, Recovery
from streamwf.tables.runs import Memory, RunsTable
from streamwf.testing import SteppedClock
from tests.golden import write
from tests.golden.flows import a_golden_shop, an_engine
from tests.golden.history import (
    HERE,
    MANIFEST,
    History,
    Keys,
    altered,
    generations,
    names,
    read,
)
from tests.proof.embedded import fold
from tests.proof.model import Model
from tests.proof.rows import compared
from tests.proof.shop import Order, Recorder, Status

ALL = [(folder, name) for folder in generations() for name in names(folder)]

Rows = dict[str, Record]

golden = pytest.mark.parametrize(
    ("folder", "name"), ALL, ids=[f"{folder.name}-{name}" for folder, name in ALL]
)


def recovered(place: Path, history: History, until: int | None = None) -> tuple[Rows, int]:
    """The rows, and the position that they are as of. place: where a table has room."""
    table = RunsTable(place / f"until-{until}", Memory())
    try:
        recovery = Recovery(table)
        recovery.apply(history.changelog[:until])
        recovery.finish()
        assert table.position is not None
        return dict(table.scan("")), table.position
    finally:
        table.close()


def folded(name: str, history: History, until: int | None = None) -> Rows:
    return dict(fold(a_golden_shop(name, Recorder(now)), history.log[:until]))


def now() -> datetime:
    return datetime.now(UTC)


def decoded(name: str, history: History) -> Iterator[Event]:
    for record in history.log:
        try:
            yield decode_event(
                record.value,
                workflow=name,
                partition=0,
                offset=record.offset,
                timestamp_ms=record.timestamp,
                limit=1_000_000,
            )
        except UnreadableRecord:
            # What was no event then is none now.
            assert record.key == b"garbage"


def test_there_is_something_to_read() -> None:
    assert ALL


def test_nothing_that_was_written_has_changed() -> None:
    assert altered() == []


@golden
def test_every_event_is_read(folder: Path, name: str) -> None:
    history = read(folder, name)
    assert len(list(decoded(name, history))) == len(history.log) - 1


@golden
def test_the_log_folds_to_the_tables_that_it_had(folder: Path, name: str, tmp_path: Path) -> None:
    history = read(folder, name)
    rows, position = recovered(tmp_path, history)
    assert position == len(history.log)
    assert folded(name, history) == rows


@golden
def test_each_checkpoint_is_what_the_log_had_come_to(
    folder: Path, name: str, tmp_path: Path
) -> None:
    history = read(folder, name)
    ends = [r.offset + 1 for r in history.changelog if r.key == MARKER_KEY]
    assert len(ends) > 5
    for end in ends[:: len(ends) // 5]:
        rows, position = recovered(tmp_path, history, end)
        assert folded(name, history, position) == rows


@golden
def test_both_tellings_of_the_log_agree(folder: Path, name: str, tmp_path: Path) -> None:
    history = read(folder, name)
    model, (rows, _) = Model(name, 0, {}).read(history.log), recovered(tmp_path, history)
    assert model.rows.keys() == rows.keys()
    assert [b for key, row in rows.items() for b in compared(key, row, model.rows[key])] == []


@golden
def test_the_timer_table_is_that_of_the_rows(folder: Path, name: str, tmp_path: Path) -> None:
    history = read(folder, name)
    due = {timers.read(key) for key in history.timers}
    rows, _ = recovered(tmp_path, history)
    assert due == {timers.read(k) for key, row in rows.items() for k in timers.keys(key, row)}


@golden
async def test_its_runs_go_on(folder: Path, name: str) -> None:
    history = read(folder, name)
    clock = SteppedClock(datetime.fromtimestamp(history.log[-1].timestamp / 1000, UTC))
    shop = a_golden_shop(name, Recorder(clock.now))
    logs = {name: MemoryLog([*history.log], told=len(history.log))}
    async with an_engine(shop, clock, Keys(history.keys), logs) as app:
        waits = await app.client.latest(shop, "plain")
        assert waits is not None
        assert (waits.state, waits.status) == (State.RUNNING, Status.OFFERED)
        assert waits.object == Order(secret="secret of plain")
        await app.client.run(shop, "plain").callback("pay", 3)
        await app.advance(timedelta(hours=1))
        for ended in ("plain", "last"):
            run = app.host.shards(name)[0].latest(ended)  # type: ignore[index]
            assert (run.state, run.status) == (State.COMPLETED, "SENT")
        assert app.host.verify(name) == []


async def test_what_was_deleted_stays_unread() -> None:
    for folder, name in ALL:
        if name == "encrypted":
            history = read(folder, name)
            shop = a_golden_shop(name, Recorder(now))
            logs = {name: MemoryLog([*history.log], told=len(history.log))}
            async with an_engine(shop, SteppedClock(), Keys(history.keys), logs) as app:
                run = await app.client.latest(shop, "clumsy")
                assert run is not None
                assert run.state is State.DATA_DELETED
                assert not run.object
                told = await app.client.history(run.run_id)
                assert {event.object for event in told.events} == {None}


# ---- the newest has all that there is today


def newest() -> list[tuple[str, History]]:
    folder = generations()[-1]
    return [(name, read(folder, name)) for name in names(folder)]


def parts(value: object) -> Iterator[msgspec.Struct]:
    """A struct, and those in it."""
    if isinstance(value, msgspec.Struct):
        yield value
        for field in value.__struct_fields__:
            yield from parts(getattr(value, field))
    elif isinstance(value, tuple):
        for each in value:
            yield from parts(each)


def missing(structs: Iterable[msgspec.Struct], *kinds: type[msgspec.Struct]) -> dict[str, set[str]]:
    """By its name, the attributes of each kind of struct that no struct has a value of."""
    left = {kind: set(kind.__struct_fields__) for kind in kinds}
    for struct in structs:
        for field in msgspec.structs.fields(struct):
            value = getattr(struct, field.name)
            if value is not UNSET and (field.required or value != field.default):
                left[type(struct)].discard(field.name)
    return {kind.__name__: fields for kind, fields in left.items() if fields}


AGAIN = "it is new: write a new generation, python -m tests.golden.write"


def test_the_newest_has_every_kind_of_event_and_all_that_one_can_tell() -> None:
    found = [event for name, history in newest() for event in decoded(name, history)]
    assert {event.type for event in found} == events.REQUESTS | events.RESULTS, AGAIN
    assert {event.kind for event in found} == INNER | {""}, AGAIN
    assert missing(found, Event) == {}, AGAIN


def test_the_newest_has_all_that_a_row_can_have() -> None:
    rows = (
        msgspec.json.decode(record.value, type=Record)
        for _, history in newest()
        for record in history.changelog
        if record.value is not None and record.key != MARKER_KEY
    )
    found = [part for row in rows for part in parts(row)]
    kinds = (Record, Call, Child, DueHook, Failure, Target, Timer, Trace)
    assert missing(found, *kinds) == {}, AGAIN


# ---- writing them


def test_a_new_generation_stands_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "KINDS", {"plain": {}})
    first = write.write_all(tmp_path)
    second = write.write_all(tmp_path)
    assert [first.name, second.name] == [each.name for each in generations(tmp_path)] == ["1", "2"]
    assert altered(tmp_path) == []
    assert len(json.loads((tmp_path / MANIFEST).read_text())) == 8

    log = first / "plain.log.jsonl"
    log.write_text(log.read_text().replace("trigger", "tricker", 1))
    (second / "more.log.jsonl").touch()
    assert altered(tmp_path) == ["1/plain.log.jsonl", "2/more.log.jsonl"]
    with pytest.raises(write.FilesAltered, match=r"1/plain\.log\.jsonl"):
        write.write_all(tmp_path)
    assert len(generations(tmp_path)) == 2


def test_nothing_tells_of_the_machine() -> None:
    for path in HERE.rglob("*.jsonl"):
        assert str(HERE.parent.parent) not in path.read_text()
