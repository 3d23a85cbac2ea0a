"""Callbacks that came before whom they are for, and the values that lead to runs."""

import msgspec
import pytest

from streamwf.events import (
    CALLBACK,
    CANCEL,
    CORRELATE,
    HOOK,
    MOVED,
    PAUSE,
    RELEASED,
    TRIGGER,
    UNCORRELATE,
    Event,
    derived_id,
    source_of,
)
from streamwf.fold import Verdict, fold
from streamwf.record import (
    CORRELATION,
    MAIL,
    MAILBOX,
    MAX_CALLS,
    MAX_HELD,
    MAX_OFFSETS,
    MAX_REQUESTS,
    MAX_TARGETS,
    NOTHING,
    Call,
    Record,
    State,
    Target,
)
from tests.support import LATER, NOW, THEN, WORKFLOW, asked, callback


def called(event_id: str = "c-1", kind: str = MAILBOX, **fields: object) -> Event:
    return callback(event_id, run_id="", inner=kind, **{"until": LATER, **fields})


def leads_to(foreign_id: str, run_id: str, kind: str = CORRELATE) -> Event:
    event_id = f"{kind}-{run_id}"
    return asked(kind, event_id, run_id=run_id, inner=CORRELATION, origin=foreign_id)


def leads_no_more(foreign_id: str, run_id: str) -> Event:
    return leads_to(foreign_id, run_id, UNCORRELATE)


def released(*ids: str, kind: str = MAILBOX) -> Event:
    return asked(RELEASED, "rel", run_id="", inner=kind, call=" ".join(ids))


def folded(before: Record | None, *events: Event) -> Record | None:
    for event in events:
        before, verdict = fold(before, event, 9)
        assert verdict is Verdict.ACCEPTED
    return before


def kept(before: Record | None, *events: Event) -> Record:
    after = folded(before, *events)
    assert after is not None
    return after


def refused(before: Record | None, event: Event) -> Verdict:
    after, verdict = fold(before, event, 9)
    assert after is before
    return verdict


@pytest.mark.parametrize("kind", sorted(MAIL))
def test_a_callback_that_may_wait_is_kept(kind: str) -> None:
    mailbox = kept(None, called(kind=kind))
    assert mailbox == Record(
        foreign_id="o-1",
        run_id=derived_id(kind, source_of(WORKFLOW), "o-1"),
        kind=kind,
        status="",
        state=State.RUNNING,
        version=1,
        object=NOTHING,
        created_at=THEN,
        updated_at=THEN,
        entered=True,
        offsets=(9,),
        requests=("c-1",),
        calls=(Call("c-1", "signed", LATER, LATER, msgspec.Raw(b'{"by":"ann"}')),),
    )
    more = kept(mailbox, called("c-2", kind, data=None, data_base64="aGk="))
    assert more.calls[1:] == (Call("c-2", "signed", LATER, LATER, NOTHING, "aGk="),)
    assert (more.version, more.offsets) == (2, (9, 9))
    later = kept(mailbox, called("c-3", kind, now=NOW))
    assert later.updated_at == NOW


@pytest.mark.parametrize("until", [None, THEN, NOW])
def test_a_callback_that_may_not_wait_meets_nobody(until: object) -> None:
    assert refused(None, called(until=until)) is Verdict.NO_SUCH_RUN
    assert refused(kept(None, called()), called("c-2", until=until)) is Verdict.NO_SUCH_RUN


def test_a_callback_is_kept_once() -> None:
    mailbox = kept(None, called())
    assert refused(mailbox, called()) is Verdict.DUPLICATE


def test_only_so_many_are_kept() -> None:
    mailbox = kept(None, *(called(f"c-{n}") for n in range(MAX_CALLS)))
    assert refused(mailbox, called("one-more")) is Verdict.FULL
    large = kept(None, called(data=b'"' + b"x" * MAX_HELD + b'"'))
    assert refused(large, called("c-2")) is Verdict.FULL


def test_what_is_released_leaves_and_an_empty_mailbox_is_no_more() -> None:
    mailbox = kept(None, called("c-1"), called("c-2"), called("c-3"))
    left = kept(mailbox, released("c-1", "c-3"))
    assert [call.id for call in left.calls] == ["c-2"]
    assert folded(left, released("c-2")) is None


def test_what_nobody_came_for_may_be_asked_again_under_its_key() -> None:
    left = kept(None, called("c-1"), called("c-2"), released("c-1"))
    assert refused(left, called("c-2")) is Verdict.DUPLICATE
    assert [call.id for call in kept(left, called("c-1")).calls] == ["c-2", "c-1"]


@pytest.mark.parametrize("event", [released("c-9"), released()], ids=["another", "none"])
def test_what_is_not_kept_is_not_released(event: Event) -> None:
    assert refused(kept(None, called()), event) is Verdict.STALE
    assert refused(None, event) is Verdict.STALE


def test_a_value_leads_to_runs_until_it_leads_no_more() -> None:
    both = kept(None, leads_to("a", "run-a"), leads_to("b", "run-b"))
    assert both.targets == (Target("a", "run-a"), Target("b", "run-b"))
    assert (both.state, both.due_at, both.calls) == (State.RUNNING, None, ())
    one = kept(both, leads_no_more("a", "run-a"))
    assert one.targets == (Target("b", "run-b"),)
    assert folded(one, leads_no_more("b", "run-b")) is None


def test_a_value_leads_to_a_run_once() -> None:
    value = kept(None, leads_to("a", "run-a"))
    assert refused(value, leads_to("a", "run-a")) is Verdict.DUPLICATE
    assert refused(value, leads_no_more("b", "run-b")) is Verdict.NO_SUCH_RUN
    assert refused(None, leads_no_more("b", "run-b")) is Verdict.NO_SUCH_RUN


def test_a_value_leads_to_only_so_many_runs() -> None:
    value = kept(None, leads_to("a", "run-a"))
    many = tuple(Target("x", f"run-{n}") for n in range(MAX_TARGETS))
    full = msgspec.structs.replace(value, targets=many)
    assert refused(full, leads_to("a", "run-a")) is Verdict.FULL
    nearly = msgspec.structs.replace(value, targets=many[1:])
    assert len(kept(nearly, leads_to("a", "run-a")).targets) == MAX_TARGETS


def test_no_value_leads_to_a_mailbox() -> None:
    event = asked(CORRELATE, run_id="run-a", inner=MAILBOX, origin="a")
    assert refused(None, event) is Verdict.STATE_FORBIDS


@pytest.mark.parametrize("until", [None, NOW, LATER])
def test_what_comes_for_a_value_that_leads_to_a_run_is_not_kept(until: object) -> None:
    value = kept(None, leads_to("a", "run-a"))
    after = kept(value, called(kind=CORRELATION, until=until))
    assert after == msgspec.structs.replace(
        value, version=2, updated_at=THEN, offsets=(9, 9), requests=("c-1",)
    )
    assert refused(after, called(kind=CORRELATION)) is Verdict.DUPLICATE


def test_what_was_kept_leaves_for_the_first_run_and_for_no_other() -> None:
    value = kept(None, called(kind=CORRELATION), leads_to("a", "run-a"))
    assert (value.calls, value.targets) == ((), (Target("a", "run-a"),))
    both = kept(value, leads_to("b", "run-b"), leads_no_more("a", "run-a"))
    assert (both.calls, both.targets) == ((), (Target("b", "run-b"),))


def test_only_the_latest_requests_and_offsets_are_kept() -> None:
    mailbox = kept(None, leads_to("a", "run-a"))
    for n in range(MAX_OFFSETS):
        mailbox, _ = fold(mailbox, called(f"c-{n}", CORRELATION), n)
    assert mailbox is not None
    assert mailbox.offsets == tuple(range(MAX_OFFSETS))
    assert len(mailbox.requests) == MAX_REQUESTS
    assert refused(mailbox, called(f"c-{MAX_OFFSETS - 1}", CORRELATION)) is Verdict.DUPLICATE


@pytest.mark.parametrize("kind", [TRIGGER, PAUSE, CANCEL, HOOK, MOVED])
def test_a_mailbox_is_told_nothing_else(kind: str) -> None:
    event = asked(kind, run_id="run-a", inner=MAILBOX)
    assert refused(None, event) is Verdict.STATE_FORBIDS
    assert refused(kept(None, called()), event) is Verdict.STATE_FORBIDS


def test_the_requests_that_mailboxes_know() -> None:
    assert callback().type == CALLBACK
    assert refused(None, callback()) is Verdict.NO_SUCH_RUN, "it is for a run"
