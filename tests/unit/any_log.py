"""Any log whatever: random requests and results, right ones and wrong ones, and what the plainest
fold makes of them."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET

from streamwf import Run, Workflow
from streamwf.agenda import Kind, entries
from streamwf.errors import UnreadableRecord
from streamwf.events import (
    CALLBACK,
    CHILD,
    CORRELATE,
    DELETE,
    DELETED,
    EXPIRED,
    FORGOTTEN,
    HOOK,
    HOOKED,
    MOVED,
    PAUSE,
    RELEASED,
    REQUESTS,
    RESULTS,
    RESUME,
    RESUMED,
    RETAIN,
    STARTED,
    TRIGGER,
    UNCORRELATE,
    Ended,
    Event,
    Start,
    encode_event,
    pack_correlations,
    pack_starts,
    pack_timers,
    source_of,
)
from streamwf.fold import Verdict, fold
from streamwf.record import (
    CORRELATION,
    LIVE,
    MAIL,
    MAILBOX,
    MAX_CALLS,
    SCHEDULE,
    TRANSITIONS,
    Record,
    State,
    Timer,
    archive_key,
    decode_record,
    encode_record,
)
from streamwf.shard import Limits, Shard
from streamwf.tables.memory import MemoryTable
from tests.support import NOW, WORKFLOW, SteppedClock
from tests.unit.sample import Order, Status, orders

#: What may be told to a run that has ended.
AFTER_THE_END = {CHILD, DELETE, DELETED, FORGOTTEN, HOOK, HOOKED, RETAIN}

SECOND = timedelta(seconds=1)


@dataclass
class Model:
    """The fold of a log, in the plainest way."""

    rows: dict[str, Record] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)

    def fold(self, event: Event) -> Verdict:
        self.log.append(event)
        event, key, before = self.addressed(event)
        after, verdict = fold(before, event, len(self.log) - 1)
        if verdict is not Verdict.ACCEPTED:
            assert after is before
            return verdict
        if after is None:
            assert before is not None
            assert before.state not in LIVE or before.kind in MAIL
            del self.rows[key]
            return verdict
        check(before, after, event)
        if before is not None and event.type == TRIGGER:
            self.rows[archive_key(before)] = before
        self.rows[key] = after
        if (event.kind, event.type) in (("", TRIGGER), (MAILBOX, CALLBACK)):
            self.deliver(event.subject)
        return verdict

    def deliver(self, foreign_id: str) -> None:
        """What waits for a run leaves its mailbox as soon as there is one."""
        run = self.rows.get(foreign_id)
        if run is not None and run.state in LIVE:
            self.rows.pop(f"\x01{MAILBOX}\0{foreign_id}", None)

    def addressed(self, event: Event) -> tuple[Event, str, Record | None]:
        """The event, the key of the run that it is judged by, and that run."""
        key = f"\x01{event.kind}\0{event.subject}" if event.kind else event.subject
        latest = self.rows.get(key)
        early = latest is None or (latest.state not in LIVE and event.id not in latest.requests)
        if early and event.type == CALLBACK and event.until and not (event.kind or event.runid):
            return self.addressed(msgspec.structs.replace(event, kind=MAILBOX))
        if event.kind in MAIL or event.runid == "":
            return event, key, latest
        if latest is not None and latest.run_id == event.runid:
            return event, key, latest
        earlier = self.rows.get(f"{key}\0{event.runid}")
        if earlier is None and event.type == TRIGGER:
            return event, key, latest
        return event, f"{key}\0{event.runid}", earlier


def check(before: Record | None, after: Record, event: Event) -> None:
    """What an accepted event may do to a run."""
    assert after.foreign_id == event.subject
    assert after.kind == event.kind
    assert decode_record(encode_record(after)) == after
    assert len(after.offsets) == min(after.version, 256)
    assert 0 <= after.lag < after.version
    assert len(after.calls) <= MAX_CALLS
    assert len({call.id for call in after.calls}) == len(after.calls)
    check_agenda(after)
    if before is None or event.type == TRIGGER:
        assert after.version == 1
        assert before is None or before.state not in LIVE
        return
    assert after.version == before.version + 1
    assert after.run_id == before.run_id
    assert after.created_at == before.created_at
    at_work = before.state is State.INITIATED and event.type in RESULTS
    state = State.RUNNING if at_work else before.state
    assert after.state in TRANSITIONS[state] | {state, before.state}
    assert before.version - before.lag <= event.version or event.type in {*REQUESTS, HOOKED}
    if before.state not in LIVE:
        assert event.type in AFTER_THE_END
        assert after.status == before.status
        assert after.object == before.object or event.type == DELETED


def check_agenda(record: Record) -> None:
    """A run has nothing to do that it can't do."""
    kinds = {entry.kind for entry in entries(record)}
    if record.state in (State.INITIATED, State.RUNNING):
        assert kinds <= {Kind.STEP, Kind.TIMER, Kind.CALL, Kind.HOOK}
        assert (Kind.STEP in kinds) == (record.due_at is not None)
    elif record.state is State.PAUSED:
        assert kinds <= {Kind.RESUME, Kind.HOOK}
        assert (Kind.RESUME in kinds) == (record.resume_at is not None)
    else:
        assert kinds <= {Kind.HOOK, Kind.DELETE, Kind.FORGET}
        deleting = record.state is State.DATA_DELETION_REQUESTED
        told = not record.hooks and not deleting
        assert (Kind.DELETE in kinds) == (deleting and all(hook.attempt for hook in record.hooks))
        assert (Kind.FORGET in kinds) == (told and record.forget_at is not None)
        assert (record.timers, record.calls, record.correlations) == ((), (), "")
    assert (Kind.HOOK in kinds) == bool(record.hooks)


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


BYTES = 36
logs = st.lists(st.binary(min_size=BYTES, max_size=BYTES), max_size=30).map(model_of)

_ANY = sorted(RESULTS | REQUESTS)
_AT_WORK = [*sorted(RESULTS), STARTED, MOVED, EXPIRED, EXPIRED, PAUSE, CALLBACK, CALLBACK, CHILD]
_ENDED = [TRIGGER, TRIGGER, HOOK, HOOKED, RETAIN, DELETE, DELETED, FORGOTTEN, FORGOTTEN]
_MAILED = [CALLBACK, CORRELATE, UNCORRELATE, RELEASED]
_NAG, _GIVE_UP = Timer("nag", NOW), Timer("give-up", NOW + timedelta(hours=1))
_BOTH = pack_timers((_NAG, _GIVE_UP))
_TIMERS = ["", pack_timers((_NAG,)), _BOTH, _BOTH, _BOTH, "nag=never"]
_OBJECTS = [UNSET, msgspec.Raw(b'{"n":2}'), msgspec.Raw(b"[ ]")]
_MOMENTS = [None, NOW, NOW, NOW + SECOND]
_CHILDREN = [
    Start(
        workflow=WORKFLOW,
        foreign_id=f"child-{n}",
        run_id=f"child-run-{n}",
        status="CREATED",
        data=msgspec.Raw(b"{}"),
        cascade=n == 1,
    )
    for n in range(3)
]
_STARTS = ["", "", "", pack_starts(_CHILDREN[:1]), pack_starts(_CHILDREN), "no JSON"]
_VALUES = ["", "", pack_correlations(["by=x"]), pack_correlations(["by=x", "by=y z"])]


def an_event(model: Model, choices: Choices) -> Event:
    """An event of any kind, that fits the state of its run more often than not."""
    inner = choices.of("", "", "", "", "", "", MAILBOX, CORRELATION, CORRELATION, SCHEDULE)
    foreign_id = choices.of("a", "a", "b") if inner != CORRELATION else "by=x"
    key = f"\x01{inner}\0{foreign_id}" if inner else foreign_id
    latest = model.rows.get(key)
    kind = choices.of(*[choices.of(*_apt(inner, latest))] * 4, choices.of(*_ANY))
    fresh = f"run-{len(model.log)}"
    known = [row.run_id for row in model.rows.values() if row.foreign_id == foreign_id]
    if kind == TRIGGER:
        run_id = choices.of(fresh, fresh, fresh, f"first-{inner}-{foreign_id}")
    elif inner in MAIL:
        run_id = choices.of("run-a", "run-b")
    else:
        right = latest.run_id if latest else fresh
        run_id = choices.of(*[right] * 5, "", fresh, choices.of(fresh, *known))
    version = 0
    named = next((row for row in model.rows.values() if row.run_id == run_id), latest)
    if kind in RESULTS and named is not None:
        version = named.version + choices.of(0, 0, 0, 0, 0, -1, -2, 1)
    return Event(
        specversion="1.0",
        id=choices.of(*[f"e-{len(model.log)}"] * 6, "e-0"),
        source=source_of(WORKFLOW),
        type=kind,
        subject=foreign_id,
        time=NOW + SECOND * len(model.log),
        kind=inner,
        runid=run_id,
        version=version,
        status=choices.of("", "CREATED", "PICKED", "DONE", "NOPE"),
        state=choices.of(*[None] * 8, *State),
        startat=choices.of(*_MOMENTS),
        instead=choices.of(*[""] * 6, "a", "c") if kind == TRIGGER else "",
        attempt=choices.of(0, 0, 1, 2),
        reason=choices.of("", "Größe"),
        errortype=choices.of("", "E"),
        timers=choices.of(*_TIMERS),
        resumeat=choices.of(*_MOMENTS),
        forgetat=choices.of(*_MOMENTS),
        until=choices.of(None, NOW + timedelta(hours=1)),
        starts=choices.of(*_STARTS) if kind in RESULTS else "",
        waits=choices.of("", "", "all", "any", "each"),
        correlations=choices.of(*_VALUES),
        parent=choices.of("", "", f"{WORKFLOW}/run-p/p") if kind == TRIGGER else "",
        origin=choices.of("a", "b") if inner == CORRELATION else "",
        **_answers(kind, named, choices),
        ifversion=_wanted(named, choices) if kind in REQUESTS else None,
    )


def _wanted(run: Record | None, choices: Choices) -> int | None:
    return choices.of(None, None, None, None if run is None else run.version, 1)


def _apt(inner: str, latest: Record | None) -> list[str]:
    """What fits a run as it is."""
    if inner in MAIL:
        return _MAILED
    if latest is None:
        return [TRIGGER]
    if latest.state not in LIVE:
        return _ENDED
    return [RESUME, RESUMED] if latest.state is State.PAUSED else _AT_WORK


def _answers(kind: str, run: Record | None, choices: Choices) -> dict[str, Any]:
    """What an event answers: mostly something that waits."""
    calls = [call.id for call in run.calls] if run is not None else []
    timers = [(t.name, t.due_at) for t in run.timers] if run is not None else []
    children = [child.run_id for child in run.children] if run is not None else []
    timer, due_at = choices.of("", "", "nag"), choices.of(*_MOMENTS)
    if kind == EXPIRED and timers:
        timer, due_at = choices.of((timer, due_at), *timers)
    data = choices.of(*_OBJECTS)
    if kind == CHILD:
        ended = Ended(
            workflow=WORKFLOW,
            foreign_id="child",
            run_id=choices.of("child-run-0", *children),
            state=State.COMPLETED,
            object=msgspec.Raw(b'{"n":3}'),
        )
        data = choices.of(*[msgspec.Raw(encode_event(ended))] * 5, data)
    call, hook = choices.of("", "", "", *calls, *calls), ""
    if kind == CALLBACK:
        call = "signed"
    elif kind == HOOK:
        hook = choices.of("pause", "complete")
    elif kind == HOOKED and run is not None and run.hooks:
        hook, call = choices.of(*((due.on, due.id) for due in run.hooks), ("pause", ""))
    return {"timer": timer, "dueat": due_at, "data": data, "call": call, "hook": hook}


# ---- folding it as a host does

THREADS = ThreadPoolExecutor(1)


def rich() -> Workflow[Order, Status]:
    """A workflow that has something to say to every change."""

    async def on(run: Run[Order, Status]) -> None:
        raise AssertionError("nothing is dispatched")

    workflow = orders()
    for hook in ("pause", "resume", "cancel", "complete", "data_deleted"):
        getattr(workflow, f"on_{hook}")(on)
    workflow.retention = timedelta(days=1)
    return workflow


def opened(table: MemoryTable) -> Shard:
    """A shard that folds and never becomes live, so that nothing is dispatched."""
    return Shard(
        rich(),
        0,
        table,
        end=1 << 60,
        clock=SteppedClock(),
        threads=THREADS,
        wake=lambda: None,
        misplaced=lambda _: False,
        limits=Limits(),
    )
