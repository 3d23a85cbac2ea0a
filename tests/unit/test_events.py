"""The envelope: what is read from a log, in full or short form, and what is not."""

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from streamwf.errors import InvalidForeignId, RecordTooLarge, UnreadableRecord
from streamwf.events import (
    MAX_FOREIGN_ID,
    MAX_ID,
    REQUESTS,
    RESULTS,
    TRIGGER,
    Event,
    Start,
    correlation_of,
    decode_event,
    derived_id,
    encode_event,
    keyed_id,
    pack_correlations,
    pack_starts,
    pack_timers,
    parent_of,
    request,
    unpack_correlations,
    unpack_starts,
    unpack_timers,
)
from streamwf.record import CORRELATION, Failure, State, Timer
from tests.support import NOW, asked, callback, examples, result, steer, trigger

STAMP_MS = 1_893_553_445_678


def read(
    value: bytes | str | dict[str, object] | None,
    *,
    partition: int = 2,
    offset: int = 7,
    timestamp_ms: int = STAMP_MS,
    limit: int = 100_000,
) -> Event:
    if isinstance(value, dict):
        value = json.dumps(value)
    if isinstance(value, str):
        value = value.encode()
    return decode_event(
        value,
        workflow="orders",
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        limit=limit,
    )


def why_not(value: bytes | str | dict[str, object] | None, **place: int) -> str:
    with pytest.raises(UnreadableRecord) as caught:
        read(value, **place)
    return str(caught.value)


# ---- the full form

START = Start(
    workflow="parcels",
    foreign_id="p-1",
    run_id="child-1",
    status="PACKED",
    data=msgspec.Raw(b'{"kg": 1}'),
    start_at=NOW,
    cascade=True,
)

FULL = [
    trigger(start_at=NOW + timedelta(days=1)),
    trigger(data=None),
    steer("pause", "r-1", reason="because"),
    result(
        "moved",
        3,
        status="PICKED",
        state=State.COMPLETED,
        data=b'{"n": 1}',
        dueat=NOW,
        timers=pack_timers((Timer("nag", NOW),)),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    result("failed", 3, attempt=2, errortype="E", errormessage="m", errortrace="t", dueat=NOW),
    result("paused", 3, state=State.PAUSED, resumeat=NOW, reason="x"),
    result(
        "moved",
        3,
        definition="7",
        starts=pack_starts([START]),
        waits="all",
        correlations=pack_correlations(["by=a b"]),
    ),
    result("postponed", 3, call="c-1", dueat=NOW, attempt=1),
    result("hooked", 3, hook="pause"),
    callback(until=NOW + timedelta(hours=1)),
    callback(data=None, data_base64="aGk="),
    callback(run_id="", inner=CORRELATION, foreign_id="by=x"),
    asked("retain", forgetat=NOW),
    msgspec.structs.replace(trigger(), parent="trips/r%2F1/t/1", origin="r@3", instead="o-2"),
]


@pytest.mark.parametrize("event", FULL, ids=lambda event: event.type)
def test_what_is_written_is_read(event: Event) -> None:
    again = read(encode_event(event))
    assert again == event
    assert encode_event(again) == encode_event(event)


def test_the_envelope_is_a_cloud_event() -> None:
    told = json.loads(encode_event(trigger()))
    assert told["specversion"] == "1.0"
    assert told["source"] == "/workflows/orders"
    assert told["subject"] == "o-1"
    assert told["data"] == {"n": 1}
    assert datetime.fromisoformat(told["time"]) == NOW
    # https://github.com/cloudevents/spec: lower-case letters and digits alone.
    assert all(name.isalnum() and name == name.lower() for name in told)
    assert not any(isinstance(told[name], dict | list) for name in told if name != "data")


def test_the_object_stays_as_it_was_written() -> None:
    event = read(b'{"type":"trigger","subject":"a","data":{"b" : 1,\n"a":[ ]}}')
    assert bytes(event.data) == b'{"b" : 1,\n"a":[ ]}'


def test_attributes_that_nobody_knows_are_passed_over() -> None:
    told = json.loads(encode_event(trigger())) | {"extra": {"x": 1}, "datacontenttype": "x"}
    assert read(json.dumps(told, separators=(",", ":"))) == trigger()


def test_failure_is_there_if_the_event_tells_one() -> None:
    assert result("failed", 1, errortype="E", errormessage="m").failure == Failure("E", "m")
    assert result("moved", 1).failure is None


# ---- the short form


def test_the_shortest_trigger() -> None:
    event = read({"type": "trigger", "subject": "order-123", "data": {"n": 1}})
    place = derived_id("orders", "", 2, 7)
    assert event == Event(
        specversion="1.0",
        id=place,
        source="/workflows/orders",
        type="trigger",
        subject="order-123",
        time=datetime.fromtimestamp(STAMP_MS / 1000, UTC),
        runid=place,
        data=event.data,
    )
    assert bytes(event.data) == b'{"n": 1}'


@pytest.mark.parametrize("kind", sorted(REQUESTS))
def test_every_request_has_a_short_form(kind: str) -> None:
    event = read({"type": kind, "subject": "a", "reason": "because"})
    assert (event.type, event.subject, event.reason) == (kind, "a", "because")
    assert event.data is UNSET
    assert bool(event.runid) == (kind == TRIGGER)


def test_ids_come_from_the_place_so_that_reading_again_gives_the_same() -> None:
    short = {"type": "trigger", "subject": "a"}
    assert read(short) == read(short)
    places = [(2, 7), (2, 8), (3, 7), (27, 7), (2, 77)]
    ids = {read(short, partition=partition, offset=offset).id for partition, offset in places}
    assert len(ids) == len(places)


def test_ids_never_change() -> None:
    # Logs hold them for ever: another id for the same place would be another run.
    assert derived_id("orders", "", 2, 7) == "86957ba6-f7c7-564f-9096-5513e2d6ba60"
    assert derived_id("orders", "a", "k") == "feebd24c-9d0d-5463-b8ee-ca2628589ad2"


def test_a_key_makes_the_same_run_wherever_it_is_read() -> None:
    keyed = {"type": "trigger", "subject": "a", "key": "k"}
    first, again = read(keyed, offset=1), read(keyed, offset=2)
    assert first.runid == again.runid == derived_id("orders", "a", "k")
    assert first.id != again.id
    assert read({**keyed, "subject": "b"}).runid != first.runid


def test_an_id_makes_the_same_run_wherever_it_is_read() -> None:
    sent = {"type": "trigger", "subject": "a", "id": "e-1"}
    first, again = read(sent, offset=1), read(sent, offset=2)
    assert first.id == "e-1"
    assert first.runid == again.runid
    assert read({**sent, "id": "e-2"}).runid != first.runid


def test_no_key_is_taken_for_a_place() -> None:
    keyed = read({"type": "trigger", "subject": "2", "key": "7"})
    assert keyed.runid != read({"type": "trigger", "subject": "x"}).runid


def test_what_the_short_form_says_is_kept() -> None:
    event = read(
        {
            "type": "trigger",
            "subject": "a",
            "runid": "my-run",
            "status": "PICKED",
            "time": "2030-01-01T02:00:00+02:00",
            "startat": "2031-01-01T00:00:00Z",
            "traceparent": "00-x",
        }
    )
    assert (event.runid, event.status, event.traceparent) == ("my-run", "PICKED", "00-x")
    assert event.time == datetime(2030, 1, 1, tzinfo=UTC)
    assert event.startat == datetime(2031, 1, 1, tzinfo=UTC)


def test_a_short_callback() -> None:
    event = read(
        {
            "type": "callback",
            "subject": "a",
            "call": "signed",
            "until": "2030-01-02T00:00:00Z",
            "data": {"by": "ann"},
        }
    )
    assert event.id == derived_id("orders", "", 2, 7)
    assert (event.runid, event.call, event.kind) == ("", "signed", "")
    assert event.until == datetime(2030, 1, 2, tzinfo=UTC)
    assert bytes(event.data) == b'{"by": "ann"}'
    sent = {"type": "callback", "subject": "a", "data_base64": "aGk=", "kind": "correlation"}
    assert (read(sent).data_base64, read(sent).kind) == ("aGk=", "correlation")


def test_a_key_makes_the_same_request_wherever_it_is_read() -> None:
    keyed = {"type": "callback", "subject": "a", "call": "signed", "key": "k"}
    first = read(keyed, offset=1)
    assert first.id == read(keyed, offset=2).id
    assert first.id == keyed_id("callback", "orders", "a", "signed", "k")
    others = [
        {**keyed, "subject": "b"},
        {**keyed, "call": "paid"},
        {**keyed, "key": "l"},
        {**keyed, "type": "pause"},
        {**keyed, "runid": "run-1"},
    ]
    ids = {read(other).id for other in others}
    assert len(ids | {first.id}) == len(others) + 1
    assert read({**keyed, "id": "e-1"}).id == "e-1"


@pytest.mark.parametrize("left_out", ["runid", "key"])
def test_a_complete_cloud_event_from_elsewhere_needs_no_run_id(left_out: str) -> None:
    told = json.loads(encode_event(trigger()))
    del told["runid"]
    if left_out == "key":
        told["key"] = "k"
    event = read(told)
    assert event.runid == read(told, offset=99).runid
    assert (event.id, event.time, event.status) == ("t-1", NOW, "CREATED")
    if left_out == "key":
        assert event.runid == derived_id("orders", "o-1", "k")


# ---- what can't be read


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the record is empty"),
        (b"", "the record is empty"),
        (b"{", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"hello", "it is not JSON"),
        (b'{"type":"trigger","subject":"a"} trailing', "it is not JSON"),
        (b'{"type":"trigger","subject":"a\xff"}', "it is not JSON"),
        (b'{"type":"trigger","subject":"\\ud800"}', "it is not JSON"),
        (b'{"type":"trigger","subject":"a","data":{"x":tru}}', "it is not JSON"),
        (b'{"type":"trigger","subject":"a","data":{"x":"\xff"}}', "it is not UTF-8"),
        (b'{"type":"trigger","subject":"a","data":' + b"[" * 50_000, "it is not JSON"),
        (b"null", "it is not an event: Expected `object`, got `null`"),
        (b"[1]", "it is not an event: Expected `object`, got `array`"),
        (b"{}", "it is not an event: Object missing required field `type`"),
        ({"type": "trigger"}, "missing required field `subject`"),
        ({"type": 1, "subject": "a"}, "Expected `str`, got `int` - at `$.type`"),
        ({"type": "trigger", "subject": None}, "Expected `str`, got `null` - at `$.subject`"),
        ({"type": "trigger", "subject": "a", "time": "now"}, "at `$.time`"),
        ({"type": "trigger", "subject": "a", "time": "2030-01-01T00:00:00"}, "at `$.time`"),
        ({"type": "trigger", "subject": "a", "startat": "2030-02-30T00:00:00Z"}, "at `$.startat`"),
        ({"type": "explode", "subject": "a"}, "there is no event type 'explode'"),
        ({"type": "", "subject": "a"}, "there is no event type ''"),
        (
            {"type": "trigger", "subject": "a", "source": "/workflows/other"},
            "its source '/workflows/other' is not '/workflows/orders'",
        ),
        ({"type": "trigger", "subject": "a", "runid": "x" * (MAX_ID + 1)}, "its id or runid has"),
        ({"type": "pause", "subject": "a", "id": "x" * (MAX_ID + 1)}, "its id or runid has"),
        ({"type": "trigger", "subject": "a", "kind": "letter"}, "there is no kind 'letter'"),
        ({"type": "callback", "subject": "a", "id": "a b"}, "the id 'a b' of a callback can have"),
        ({"type": "callback", "subject": "a", "until": "soon"}, "at `$.until`"),
        (
            encode_event(msgspec.structs.replace(trigger(), parent="trips/run-1")),
            "its parent 'trips/run-1' is none",
        ),
    ],
    ids=repr,
)
def test_unreadable(value: bytes | dict[str, object] | None, reason: str) -> None:
    assert reason in why_not(value)


@pytest.mark.parametrize("kind", sorted(RESULTS))
def test_results_have_no_short_form(kind: str) -> None:
    assert "missing required field `specversion`" in why_not({"type": kind, "subject": "a"})


def test_result_that_says_a_state_nobody_knows() -> None:
    told = json.loads(encode_event(result("moved", 3))) | {"state": "ASLEEP"}
    assert "it is not an event: Invalid enum value 'ASLEEP'" in why_not(told)


@pytest.mark.parametrize("stamp", [10**18, -(10**18), 2**63 - 1, -(2**63)])
def test_a_timestamp_that_is_no_time(stamp: int) -> None:
    short: dict[str, object] = {"type": "trigger", "subject": "a"}
    assert f"its timestamp {stamp} is no time" in why_not(short, timestamp_ms=stamp)
    timed = short | {"time": "2030-01-01T00:00:00Z"}
    assert read(timed, timestamp_ms=stamp).time == datetime(2030, 1, 1, tzinfo=UTC)


def test_no_timestamp_at_all_is_before_1970() -> None:
    assert read({"type": "trigger", "subject": "a"}, timestamp_ms=-1).time.year == 1969


def test_a_record_above_the_limit() -> None:
    value = encode_event(trigger(data=b'"' + b"x" * 1_000 + b'"'))
    assert read(value, limit=len(value)).type == "trigger"
    with pytest.raises(RecordTooLarge, match=f"has {len(value)} bytes and the limit is 500") as no:
        read(value, limit=500)
    assert "put" in str(no.value), "the message names a cure"


@pytest.mark.parametrize(
    "foreign_id",
    ["", "x" * (MAX_FOREIGN_ID + 1), "a\0b", "a\nb", "tab\t", "\x7f", "a\u2028b"],
)
def test_foreign_ids_that_can_be_no_key(foreign_id: str) -> None:
    for kind in REQUESTS:
        with pytest.raises(InvalidForeignId):
            read({"type": kind, "subject": foreign_id})
        with pytest.raises(InvalidForeignId):
            request("orders", kind, foreign_id, NOW, event_id="e")


@pytest.mark.parametrize("foreign_id", ["x" * MAX_FOREIGN_ID, "a b", "Größe/7", "注文", "a.b:c"])
def test_foreign_ids_of_any_script(foreign_id: str) -> None:
    assert read({"type": "trigger", "subject": foreign_id}).subject == foreign_id


def test_a_refused_foreign_id_is_told_in_part() -> None:
    with pytest.raises(InvalidForeignId) as caught:
        request("orders", TRIGGER, "x" * 10_000, NOW, event_id="e")
    assert len(str(caught.value)) < 200
    assert pickle.loads(pickle.dumps(caught.value)).foreign_id == caught.value.foreign_id


_any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=6,
)
_names = st.sampled_from(
    [*Event.__struct_fields__, "key", "type", "subject", "data", "other", "specversion"]
)
_values = st.sampled_from(
    [*REQUESTS, *RESULTS, "1.0", "/workflows/orders", "2030-01-01T00:00:00Z", "a", 1, None, True]
)


@examples(300)
@given(
    st.binary(max_size=200)
    | st.dictionaries(_names, _values | _any_json, max_size=12).map(
        lambda told: json.dumps(told).encode("utf-8", "surrogatepass")
    ),
    st.integers(-(2**63), 2**63 - 1),
)
def test_whatever_a_record_holds_it_is_an_event_or_told_apart(value: bytes, stamp: int) -> None:
    try:
        event = read(value, timestamp_ms=stamp)
    except (UnreadableRecord, InvalidForeignId, RecordTooLarge):
        return
    assert event.type in REQUESTS | RESULTS
    # It can be written again, for another partition or another reader.
    assert read(encode_event(event)) == event


# ---- timers


@examples(100)
@given(
    st.lists(
        st.builds(
            Timer,
            name=st.text(min_size=1).filter(
                lambda name: "=" not in name and name.split() == [name]
            ),
            due_at=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5.5))])),
        )
    ).map(tuple)
)
def test_timers_are_read_as_they_were_packed(timers: tuple[Timer, ...]) -> None:
    assert unpack_timers(pack_timers(timers)) == timers


@pytest.mark.parametrize(
    ("attempt", "rounds", "told"), [(0, 0, ""), (12, 0, "*12"), (0, 3, "*0*3"), (1, 2, "*1*2")]
)
def test_the_attempts_and_the_rounds_of_a_timer_are_told(
    attempt: int, rounds: int, told: str
) -> None:
    timer = Timer("nag", NOW, attempt, rounds)
    assert pack_timers((timer,)) == f"nag={NOW.isoformat()}{told}"
    assert unpack_timers(pack_timers((timer,))) == (timer,)


@pytest.mark.parametrize(
    "text",
    [
        *("nag", "nag=", "nag=tomorrow", "=", "nag=2030-13-01"),
        *("n=2030-01-01T00:00:00Z*x", "n=2030-01-01T00:00:00Z*1*2*3"),
    ],
)
def test_timers_that_can_not_be_read(text: str) -> None:
    with pytest.raises(UnreadableRecord, match=r"timer .* can't be read"):
        unpack_timers(text)


# ---- children and correlations


def test_starts_are_read_as_they_were_packed() -> None:
    other = msgspec.structs.replace(START, start_at=None, cascade=False, data=msgspec.Raw(b"[ ]"))
    assert unpack_starts(pack_starts([START, other])) == (START, other)
    assert (pack_starts([]), unpack_starts("")) == ("", ())


@pytest.mark.parametrize(
    "text", ["x", "{}", "[7]", '[{"workflow":"a"}]', "[" * 10, pack_starts([START])[:-2]]
)
def test_starts_that_can_not_be_read(text: str) -> None:
    with pytest.raises(UnreadableRecord, match="its starts can't be read"):
        unpack_starts(text)


@examples(100)
@given(st.lists(st.text(min_size=1)))
def test_correlations_are_read_as_they_were_packed(values: list[str]) -> None:
    values = [value.encode("utf-8", "replace").decode() for value in values]
    packed = pack_correlations(values)
    assert unpack_correlations(packed) == tuple(values)
    assert packed.isascii()


def test_a_correlation_is_the_name_of_its_callback_and_a_value() -> None:
    assert correlation_of("by", "x=1") == "by=x=1"


@examples(100)
@given(st.text(max_size=20), st.text(min_size=1, max_size=20).filter(str.isprintable))
def test_a_parent_is_read_as_it_was_told(run_id: str, foreign_id: str) -> None:
    run_id = run_id.encode("utf-8", "replace").decode()
    parent = "/".join(("trips", quote(run_id, safe=""), foreign_id))
    assert parent_of(parent) == ("trips", run_id, foreign_id)


def test_events_are_small() -> None:
    # Every attribute that says nothing is left out.
    assert set(msgspec.json.decode(encode_event(result("skipped", 3)))) == {
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "runid",
        "version",
    }
