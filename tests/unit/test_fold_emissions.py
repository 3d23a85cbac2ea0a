"""What folding an event leads to elsewhere: for other runs, for the run itself, for mailboxes."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from streamwf import Workflow
from streamwf.emit import Emission, handed_on, handed_over
from streamwf.events import (
    CALLBACK,
    CANCEL,
    CANCELLED,
    CHILD,
    CORRELATE,
    DELETE,
    DELETED,
    FORGOTTEN,
    HOOK,
    MOVED,
    PAUSE,
    PAUSED,
    REJECTED,
    RELEASED,
    RESUME,
    RESUMED,
    RETAIN,
    SKIPPED,
    UNCORRELATE,
    Event,
    pack_correlations,
)
from streamwf.fold import fold
from streamwf.objects import OWN_KEY, SEALED_JSON, SEALED_TEXT
from streamwf.record import (
    CORRELATION,
    MAILBOX,
    SCHEDULE,
    Call,
    Record,
    State,
    Target,
)
from tests.support import LATER, NOW, WORKFLOW, asked, callback, record, result, steer, trigger
from tests.unit.folding import COMPLETES, ENDS, emitted, kinds
from tests.unit.sample import orders

DAY = timedelta(days=1)


async def on(run: Any) -> None:
    raise AssertionError("emissions run nothing")


def with_hooks(retention: timedelta | None = None) -> Workflow[Any, Any]:
    workflow = orders()
    for hook in ("pause", "resume", "cancel", "complete", "data_deleted"):
        getattr(workflow, f"on_{hook}")(on)
    workflow.retention = retention
    return workflow


# ---- hooks and retention

CHANGES: list[tuple[State, Event, str]] = [
    (State.RUNNING, steer(PAUSE, "r"), "pause"),
    (State.INITIATED, steer(PAUSE, "r"), "pause"),
    (State.RUNNING, result(PAUSED, 3, state=State.PAUSED), "pause"),
    (State.PAUSED, steer(RESUME, "r"), "resume"),
    (State.PAUSED, result(RESUMED, 3), "resume"),
    (State.PAUSED, steer(CANCEL, "r"), "cancel"),
    (State.RUNNING, result(CANCELLED, 3, state=State.CANCELLED), "cancel"),
    (State.INITIATED, result(REJECTED, 3, state=State.CANCELLED), "cancel"),
    (State.RUNNING, COMPLETES, "complete"),
    (State.DATA_DELETION_REQUESTED, result(DELETED, 3), "data_deleted"),
]


def named(given: State | Event) -> str:
    """Without what its memory is called, so that it has the same name each time."""
    return given.type if isinstance(given, Event) else str(given)


NO_CHANGES: list[tuple[State, Event]] = [
    (State.INITIATED, result(MOVED, 3, status="PICKED")),
    (State.RUNNING, result(MOVED, 3, status="PICKED")),
    (State.RUNNING, result(SKIPPED, 3)),
    (State.COMPLETED, steer(DELETE, "r")),
    (State.PAUSED, callback()),
    (State.CANCELLED, asked(HOOK, hook="cancel")),
]


@pytest.mark.parametrize(("state", "event", "hook"), CHANGES, ids=named)
def test_a_change_of_state_asks_for_its_hook(state: State, event: Event, hook: str) -> None:
    [emission] = emitted(record(state), event, with_hooks())
    asks = emission.event
    assert emission.workflow == WORKFLOW
    assert (asks.type, asks.hook, asks.subject, asks.runid) == (HOOK, hook, "o-1", "run-1")
    assert asks.time == event.time
    assert emitted(record(state), event, orders()) == []


@pytest.mark.parametrize(("state", "event"), NO_CHANGES, ids=named)
def test_nothing_else_asks_for_a_hook(state: State, event: Event) -> None:
    assert emitted(record(state), event, with_hooks(DAY)) == []


def test_a_workflow_has_the_hooks_that_it_declares() -> None:
    workflow = orders()
    workflow.on_pause(on)
    assert emitted(record(), steer(CANCEL, "r"), workflow) == []
    assert kinds(emitted(record(), steer(PAUSE, "r"), workflow)) == [HOOK]


@pytest.mark.parametrize(("state", "event", "hook"), CHANGES, ids=named)
def test_a_run_that_has_ended_is_kept_for_so_long(state: State, event: Event, hook: str) -> None:
    found = emitted(record(state), event, with_hooks(DAY))
    after, _ = fold(record(state), event, 9)
    assert after is not None
    if hook in ("pause", "resume"):
        assert kinds(found) == [HOOK]
        return
    # In this order: a run that is forgotten has no hooks any more.
    assert kinds(found) == [HOOK, RETAIN]
    assert found[1].event.forgetat == after.updated_at + DAY
    assert (found[1].event.subject, found[1].event.runid) == ("o-1", "run-1")


def test_a_run_without_hooks_is_kept_for_so_long_too() -> None:
    workflow = orders()
    workflow.retention = DAY
    assert kinds(emitted(record(), COMPLETES, workflow)) == [RETAIN]


def test_all_that_an_end_leads_to() -> None:
    run = record(correlations=XY, parent="trips/run-t/t-1")
    found = emitted(run, COMPLETES, with_hooks(DAY))
    assert kinds(found) == [UNCORRELATE, UNCORRELATE, HOOK, CHILD, RETAIN]


def test_an_inner_run_has_no_hooks() -> None:
    inner = record(kind=SCHEDULE)
    event = asked(PAUSE, inner=SCHEDULE)
    assert emitted(inner, event, with_hooks(DAY)) == []
    [kept] = emitted(inner, asked(CANCEL, inner=SCHEDULE), with_hooks(DAY))
    assert (kept.event.type, kept.event.kind) == (RETAIN, SCHEDULE)


def test_a_second_pause_asks_for_its_own_hook() -> None:
    run, ids = record(), set()
    for n in range(4):
        kind = RESUME if run.state is State.PAUSED else PAUSE
        event = steer(kind, f"r-{n}")
        ids |= {emission.event.id for emission in emitted(run, event, with_hooks())}
        run = msgspec.structs.replace(run, **fields_of(fold(run, event, 9)[0]))
    assert len(ids) == 4


def fields_of(run: Record | None) -> dict[str, Any]:
    assert run is not None
    return msgspec.structs.asdict(run)


def test_a_run_that_is_forgotten_leads_to_nothing() -> None:
    assert emitted(record(State.COMPLETED), result(FORGOTTEN, 3), with_hooks(DAY)) == []


def test_a_trigger_leads_to_nothing_whatever_the_run_before_was() -> None:
    former = record(State.CANCELLED, correlations="by=x", parent="trips/run-t/t-1")
    assert emitted(former, trigger(run_id="run-2"), with_hooks(DAY)) == []
    assert emitted(None, trigger(), with_hooks(DAY)) == []


def test_a_trigger_goes_to_its_other_foreign_id_as_it_is() -> None:
    asks = msgspec.structs.replace(trigger(), instead="o-2", forwarded=True)
    found = handed_over(WORKFLOW, asks)
    assert found.workflow == WORKFLOW
    assert found.event == msgspec.structs.replace(asks, subject="o-2", forwarded=False)


# ---- callbacks that have keys of their own

OWN, PLAIN = (msgspec.Raw(sealed) for sealed in (SEALED_JSON + OWN_KEY.encode() + b'x"}', b"1"))
SEALED_TEXTS = SEALED_TEXT + OWN_KEY + "x"


@pytest.mark.parametrize("encrypt", [True, False])
def test_the_keys_of_callbacks_that_are_answered_or_left_can_go(encrypt: bool) -> None:
    workflow = orders()
    workflow.encrypt = encrypt
    calls = (
        Call("c-1", "", NOW, NOW, OWN),
        Call("c-2", "", NOW, NOW, PLAIN),
        Call("c-3", "", NOW, NOW, PLAIN, SEALED_TEXTS),
    )
    run = record(calls=calls)
    found = emitted(run, steer(CANCEL, "r"), workflow)
    if not encrypt:
        assert found == []
        return
    [told] = found
    assert (told.workflow, told.event.type, told.event.kind) == (WORKFLOW, RELEASED, MAILBOX)
    assert (told.event.subject, told.event.call) == ("o-1", "c-1 c-3")
    [one] = emitted(run, result(SKIPPED, 3, call="c-3"), workflow)
    assert one.event.call == "c-3"
    assert one.event.id != told.event.id
    assert emitted(run, result(SKIPPED, 3, call="c-2"), workflow) == []
    assert emitted(run, result(SKIPPED, 3), workflow) == []


# ---- correlations and mailboxes

X, Y, XY = (pack_correlations(values) for values in (["by=x"], ["by=y"], ["by=x", "by=y"]))


def values(found: list[Emission]) -> list[tuple[str, str]]:
    for emission in found:
        event = emission.event
        assert emission.workflow == WORKFLOW
        assert (event.kind, event.runid, event.origin) == (CORRELATION, "run-1", "o-1")
    return [(emission.event.type, emission.event.subject) for emission in found]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", X, [(CORRELATE, "by=x")]),
        (X, "", [(UNCORRELATE, "by=x")]),
        (X, Y, [(UNCORRELATE, "by=x"), (CORRELATE, "by=y")]),
        (X, XY, [(CORRELATE, "by=y")]),
        (XY, Y, [(UNCORRELATE, "by=x")]),
        (X, X, []),
    ],
)
def test_the_values_of_a_status_lead_to_its_run(
    before: str, after: str, told: list[tuple[str, str]]
) -> None:
    event = result(MOVED, 3, status="PICKED", correlations=after)
    assert values(emitted(record(correlations=before), event)) == told


@pytest.mark.parametrize("event", [event for event, _ in ENDS], ids=named)
def test_no_value_leads_to_a_run_that_has_ended(event: Event) -> None:
    assert values(emitted(record(correlations=XY), event)) == [
        (UNCORRELATE, "by=x"),
        (UNCORRELATE, "by=y"),
    ]


def test_a_value_that_is_left_and_taken_up_again_is_told_each_time() -> None:
    run, ids = record(), []
    for n, correlations in enumerate([X, "", X, ""], 3):
        event = result(MOVED, n, status="PICKED", correlations=correlations)
        ids += [emission.event.id for emission in emitted(run, event)]
        found, _ = fold(run, event, 9)
        assert found is not None
        run = found
    assert len(set(ids)) == 4


CALLS = (
    Call("c-1", "signed", LATER, LATER, msgspec.Raw(b'{"by":"ann"}')),
    Call("c-2", "paid", LATER, LATER, msgspec.Raw(b"null"), "aGk="),
)


def again(found: list[Emission], target: Target, mailbox: str) -> list[tuple[str, str]]:
    for emission in found:
        event = emission.event
        assert emission.workflow == WORKFLOW
        assert (event.type, event.kind) == (CALLBACK, "")
        assert (event.subject, event.runid) == (target.foreign_id, target.run_id)
        assert event.origin == mailbox
    return [(emission.event.id, emission.event.call) for emission in found]


def a_value(*targets: Target, calls: tuple[Call, ...] = ()) -> Record:
    held = {"kind": CORRELATION, "foreign_id": "by=x", "status": "", "run_id": "value"}
    return record(targets=targets, calls=calls, **held)


A, B = Target("a", "run-a"), Target("b", "run-b")


def leads(kind: str, target: Target) -> Event:
    told = {"inner": CORRELATION, "foreign_id": "by=x", "origin": target.foreign_id}
    return asked(kind, f"{kind}-{target.run_id}", run_id=target.run_id, **told)


def test_what_waits_for_a_value_goes_to_the_first_run_that_it_leads_to() -> None:
    found = emitted(a_value(calls=CALLS), leads(CORRELATE, A))
    assert again(found, A, "by=x") == [("c-1", "signed"), ("c-2", "paid")]
    first, second = (emission.event for emission in found)
    assert (bytes(first.data), first.until) == (b'{"by":"ann"}', LATER)
    assert (second.data, second.data_base64, second.until) == (UNSET, "aGk=", LATER)


def test_what_comes_for_a_value_goes_to_the_first_of_its_runs_alone() -> None:
    told = {"run_id": "", "inner": CORRELATION, "foreign_id": "by=x", "until": LATER}
    found = emitted(a_value(A, B), callback(**told))
    assert again(found, A, "by=x") == [("c-1", "signed")]
    assert bytes(found[0].event.data) == b'{"by":"ann"}'
    assert found[0].event.until == LATER


def test_no_callback_goes_to_two_runs() -> None:
    assert emitted(a_value(A), leads(CORRELATE, B)) == []
    assert emitted(a_value(A, B), leads(UNCORRELATE, A)) == []
    assert emitted(a_value(A), leads(UNCORRELATE, A)) == []


def test_what_waits_goes_to_nobody_yet() -> None:
    told = {"run_id": "", "inner": CORRELATION, "foreign_id": "by=x", "until": LATER}
    assert emitted(None, callback(**told)) == []
    assert emitted(a_value(calls=CALLS), callback("c-3", **told)) == []


def test_a_mailbox_goes_to_the_run_that_has_come() -> None:
    mailbox = record(kind=MAILBOX, status="", calls=CALLS)
    found = list(handed_on(WORKFLOW, mailbox, A, trigger()))
    assert again(found, A, "o-1") == [("c-1", "signed"), ("c-2", "paid")]
    assert {emission.event.time for emission in found} == {trigger().time}
