"""What is told about runs, and the cursor between two pages."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamwf.errors import InvalidQuery
from streamwf.lists import Cursor, cursor_of, read_cursor
from streamwf.record import Failure, State, Timer
from streamwf.views import MAX_PAGE, Order, Query, RunView, event_view, run_view
from tests.support import NOW, examples, record, result, trigger

LATER = NOW + timedelta(hours=1)


def test_a_run_is_told_as_it_is() -> None:
    run = record(
        State.PAUSED,
        due_at=NOW,
        attempt=3,
        error=Failure("ValueError", "no", "Traceback …"),
        reason="paused after 3 failed attempts",
        timers=(Timer("nag", LATER),),
        resume_at=LATER,
    )
    assert run_view("orders", "CREATED", run, NOW).model_dump() == {
        "workflow": "orders",
        "foreign_id": "o-1",
        "run_id": "run-1",
        "status": "CREATED",
        "state": State.PAUSED,
        "version": 3,
        "object": {"n": 1},
        "created_at": NOW,
        "updated_at": NOW,
        "due_at": NOW,
        "attempt": 3,
        "error": {"type": "ValueError", "message": "no", "traceback": "Traceback …"},
        "reason": "paused after 3 failed attempts",
        "timers": [{"name": "nag", "due_at": LATER}],
        "resume_at": LATER,
        "held_until": NOW,
        "forget_at": None,
        "callbacks": [],
        "hooks": [],
        "children": [],
        "parent": "",
        "origin": "",
        "trace_id": "",
    }


def test_a_run_that_was_triggered_without_a_status_is_at_the_start() -> None:
    assert run_view("orders", "CREATED", record(status="")).status == "CREATED"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"null", None),
        (b'{"a":[1,2.5,"x"]}', {"a": [1, 2.5, "x"]}),
        (b"1" * 40, int("1" * 40)),
        (b'{"a":"\xff"}', '{"a":"\ufffd"}'),
        (b"[" * 900 + b"]" * 900, "[" * 900 + "]" * 900),
        (b"\xff", "\ufffd"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_an_object_that_can_not_be_read_never_hides_the_run(data: bytes, told: Any) -> None:
    run = record(object=msgspec.Raw(data))
    assert run_view("orders", "CREATED", run).object == told
    assert event_view(1, 2, result("moved", 1, data=data)).object == told


def test_an_event_is_told_as_it_is() -> None:
    event = result(
        "failed", 4, attempt=2, dueat=LATER, errortype="E", errormessage="m", timer="nag"
    )
    view = event_view(17, 5, event)
    assert (view.offset, view.version, view.type, view.attempt) == (17, 5, "failed", 2)
    assert (view.due_at, view.timer, view.object) == (LATER, "nag", None)
    assert view.error is not None
    assert (view.error.type, view.error.message) == ("E", "m")


def test_a_start_in_the_future_is_when_it_is_due() -> None:
    assert event_view(0, 1, trigger(start_at=LATER)).due_at == LATER


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
def test_pages_have_a_size(limit: int) -> None:
    with pytest.raises(ValidationError):
        Query(limit=limit)


# ---- cursors


def a_view(workflow: str, foreign_id: str, run_id: str) -> RunView:
    run = record(foreign_id=foreign_id, run_id=run_id)
    return run_view(workflow, "CREATED", run)


_text = st.text(st.characters(codec="utf-8"), max_size=20)


_instants = st.datetimes(timezones=st.just(UTC))


@examples(200)
@given(st.sampled_from(get_args(Order)), _text, _text, _text, _instants)
def test_a_cursor_is_read_as_it_was_made(
    order: Order, workflow: str, foreign_id: str, run_id: str, until: datetime
) -> None:
    run = a_view(workflow, foreign_id, run_id)
    cursor = cursor_of(order, run, until)
    at = run.updated_at if "updated" in order else run.created_at
    made = Cursor(order, workflow, foreign_id, run_id, at, until)
    assert read_cursor(cursor, order) == made
    assert cursor.isascii()
    assert not set(cursor) & set("+/= &?#%"), "it goes into an address as it is"


def test_a_cursor_is_of_one_order() -> None:
    cursor = cursor_of("created", a_view("orders", "o-1", "r"))
    with pytest.raises(InvalidQuery, match="it is of a list by created, not by -created"):
        read_cursor(cursor, "-created")


@pytest.mark.parametrize("cursor", [None, ""])
def test_no_cursor_is_the_first_page(cursor: str | None) -> None:
    assert read_cursor(cursor, "foreign_id") is None


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "hello world",
        "ünder",
        "\0",
        "////",
        packed({"a": 1}),
        packed(["orders", "o-1"]),
        packed([1, 2, 3]),
        packed(["foreign_id", "orders", "o-1", "r", "2030-01-01T00:00:00"]),
        packed(["nope", "orders", "o-1", "r", "2030-01-01T00:00:00Z"]),
        packed(["foreign_id", "a", "b", "c", "2030-01-01T00:00:00Z"])[:-3],
        base64.urlsafe_b64encode(b'["a","b","\xff"]').decode(),
    ],
)
def test_a_cursor_that_nobody_made(cursor: str) -> None:
    with pytest.raises(InvalidQuery, match="cursor can't be read"):
        read_cursor(cursor, "foreign_id")


@examples(200)
@given(st.text(max_size=30))
def test_no_cursor_raises_anything_else(cursor: str) -> None:
    try:
        read_cursor(cursor, "foreign_id")
    except InvalidQuery as error:
        told = error.errors
        assert told[0]["field"] == "cursor"
