import json
from datetime import timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamwf.errors import InvalidQuery
from streamwf.lines import Line, read_line
from streamwf.views import Trigger

WHOLE = st.integers(-(2**63), 2**64 - 1)
PLAIN = st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False)
OBJECTS = st.recursive(
    PLAIN | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)
ZONES = st.integers(-12 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
TEXTS = st.none() | st.text()
RUNS = st.fixed_dictionaries(
    {"foreign_id": st.text()},
    optional={
        "object": OBJECTS,
        "status": TEXTS,
        "key": TEXTS,
        "start_at": st.none() | st.datetimes(timezones=ZONES).map(str),
    },
)


def carried(read: Trigger | Line) -> object:
    return json.loads(msgspec.json.encode(read.object))


@given(run=RUNS, ascii=st.booleans())
def test_a_line_is_the_trigger_that_is_sent_to_a_worker(
    run: dict[str, object], ascii: bool
) -> None:
    line = json.dumps(run, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    read, trigger = read_line(line), Trigger.model_validate_json(line)
    for name in ("foreign_id", "status", "start_at", "key"):
        assert getattr(read, name) == getattr(trigger, name)
    assert carried(read) == trigger.object


def test_the_object_goes_on_as_it_is_written() -> None:
    written = b'{"total": 24.90, "digits": 0.1234567890123456789012, "name": "A\\u0064a"}'
    read = read_line(b'{"foreign_id": "ada", "object": ' + written + b"}\r\n")
    assert msgspec.json.encode(read.object) == written


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "should be an object"),
        (b"{}", "foreign_id\n  Field required"),
        (b'{"foreign_id": 1}', "foreign_id\n  Input should be a valid string"),
        (b'{"foreign_id": "a", "colour": "red"}', "colour\n  Extra inputs are not permitted"),
        (
            b'{"foreign_id": "a", "start_at": "soon"}',
            "start_at\n  Input should be a valid datetime",
        ),
        (b'{"foreign_id": "a", "object": "\xff"}', "Invalid JSON"),
        (b'{"foreign_id": "a", "object": "\\ud800"}', "Invalid JSON"),
        (b'{"foreign_id": "a", "object": "\xed\xa0\x80"}', "Invalid JSON"),
        (b'{"foreign_id": "a", "object": 01}', "Invalid JSON"),
        (b'{"foreign_id": "a", "object": "\x01"}', "Invalid JSON"),
        (b'{"foreign_id": "a", "object": {}} {}', "Invalid JSON"),
        (b'{"foreign_id": "a", "object": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "Invalid JSON"),
    ],
)
def test_what_is_no_trigger_says_why(line: bytes, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        read_line(line)


def test_an_instant_may_be_written_otherwise_but_has_a_time_zone() -> None:
    one = read_line(b'{"foreign_id": "a", "start_at": "2100-01-01 00:00Z"}')
    assert one.start_at == read_line(b'{"foreign_id": "a", "start_at": 4102444800}').start_at
    with pytest.raises(InvalidQuery, match="it has no time zone"):
        read_line(b'{"foreign_id": "a", "start_at": "2999-01-01T00:00:00"}')
