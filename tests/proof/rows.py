"""What is promised of the tables: they are what the log says, however they have come to be."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from streamwf import events
from streamwf.objects import is_sealed
from streamwf.record import NOTHING, Record, State, encode_record
from tests.proof.case import Case
from tests.proof.life import LIVE, Life
from tests.proof.story import Broken

Rows = Mapping[str, Record]


def differences(case: Case) -> Iterator[Broken]:
    """Each row that is not what it should be, under the one promise that this breaks."""
    if not case.story.settled:
        # The table is behind its log.
        return
    for partition, rows in case.story.rows.items():
        model = case.models[partition]
        live: dict[str, str] = {}
        for key, row in sorted(rows.items()):
            other = live.setdefault(row.foreign_id, row.run_id) if _in_progress(row) else ""
            if other not in ("", row.run_id):
                what = f"{row.foreign_id!r} has {other} and {row.run_id}"
                yield Broken("one_run_is_in_progress", what)
            elif key not in model.rows:
                yield Broken("no_run_comes_of_nothing", f"{key!r} has a row, {row.run_id}")
            else:
                yield from compared(key, row, model.rows[key])
        for key in sorted(model.rows.keys() - rows.keys()):
            yield Broken("no_run_is_lost", f"{key!r} has no row, {model.rows[key].run_id}")


def _in_progress(row: Record) -> bool:
    return row.state in LIVE and not row.kind


def compared(key: str, row: Record, life: Life) -> Iterator[Broken]:
    left = _left_of(row, life)
    ours, theirs = _of_life(life), _of_row(row)
    if left:
        yield Broken("deleted_data_is_gone", f"{key!r} still has {left}, {row.run_id}")
    elif row.version != life.version:
        what = f"{key!r} has version {row.version}, and not {life.version}, {row.run_id}"
        yield Broken("each_version_is_folded_once", what)
    elif ours != theirs:
        differ = ", ".join(
            f"{name} {theirs[name]!r} and not {ours[name]!r}"
            for name in ours
            if ours[name] != theirs[name]
        )
        yield Broken("rows_are_what_the_log_says", f"{key!r} has {differ}, {row.run_id}")


def _left_of(row: Record, life: Life) -> str:
    """What a row has of data that was deleted."""
    last = next((m for m in reversed(life.moments) if m.event.type == events.DELETED), None)
    if last is None or row.kind:
        return ""
    left = {
        "an object": bytes(row.object) != life.object,
        "callbacks": bool(row.calls),
        "objects of children": any(child.object != NOTHING for child in row.children),
        "an error": row.error is not None and row.state == State.DATA_DELETED,
    }
    return ", ".join(what for what, there in left.items() if there)


def _of_life(life: Life) -> dict[str, Any]:
    return {
        "run_id": life.run_id,
        "state": life.state,
        "status": life.status,
        "object": life.object,
        "basis": life.basis,
        "since": life.since,
        "stay": life.stay,
        "entered": life.entered,
        "attempt": life.attempt,
        "due_at": life.due_at,
        "resume_at": life.resume_at,
        "forget_at": life.forget_at,
        "waits": life.waits,
        "correlations": life.correlations,
        "timers": {
            name: (timer.due_at, timer.attempt, timer.rounds) for name, timer in life.timers.items()
        },
        "calls": {
            name: (call.name, call.due_at, call.until, call.attempt)
            for name, call in life.calls.items()
        },
        "hooks": {(hook.on, hook.id): (hook.due_at, hook.attempt) for hook in life.hooks},
        "children": {name: child.state for name, child in life.children.items()},
        "targets": life.targets,
        "requests": life.requests,
    }


def _of_row(row: Record) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "state": row.state,
        "status": row.status,
        "object": bytes(row.object),
        "basis": row.version - row.lag,
        "since": row.since,
        "stay": row.since if row.stay is None else row.stay,
        "entered": row.entered,
        "attempt": row.attempt,
        "due_at": row.due_at,
        "resume_at": row.resume_at,
        "forget_at": row.forget_at,
        "waits": row.waits,
        "correlations": row.correlations,
        "timers": {timer.name: (timer.due_at, timer.attempt, timer.rounds) for timer in row.timers},
        "calls": {c.id: (c.name, c.due_at, c.until, c.attempt) for c in row.calls},
        "hooks": {(hook.on, hook.id): (hook.due_at, hook.attempt) for hook in row.hooks},
        "children": {child.run_id: child.state for child in row.children},
        "targets": [(target.foreign_id, target.run_id) for target in row.targets],
        "requests": list(row.requests),
    }


def folding_again_gives_the_same(case: Case) -> Iterator[str]:
    """From the start, from any checkpoint, with a batch cut anywhere: byte for byte."""
    for partition, rows in case.story.rows.items():
        encoded = {key: encode_record(row) for key, row in rows.items()}
        for how, recovered in case.story.recovered.items():
            if partition not in recovered:
                continue
            others = {key: encode_record(row) for key, row in recovered[partition].items()}
            for key in sorted(encoded.keys() | others.keys()):
                if encoded.get(key) != others.get(key):
                    yield f"{key!r} is another one {how}: {encoded.get(key)!r}, {others.get(key)!r}"


def no_key_outlives_its_data(case: Case) -> Iterator[str]:
    """Whatever the log has of a run that was deleted can't be read: its keys are gone."""
    for life in case.runs:
        if (
            life.without_keys
            and life.run_id in case.story.keys
            and life is case.lives[life.run_id][-1]
        ):
            yield f"there are keys of {life.run_id}"


def what_is_encrypted_is_sealed(case: Case) -> Iterator[str]:
    """What the engine writes of a run is under its keys. What others write in plain stays so, and
    what `custom_delete` leaves is no secret."""
    if not case.workflow.encrypt:
        return
    for life in case.runs:
        for moment in life.moments:
            event = moment.event
            of_engine = event.type in events.RESULTS and event.type != events.DELETED
            if of_engine and isinstance(event.data, msgspec.Raw) and not is_sealed(event.data):
                yield f"{life.run_id} is in plain at offset {moment.offset}"
