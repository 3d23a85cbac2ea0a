"""Schedules: which slots an expression has, also where clocks change."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf.cron import Cron
from streamwf.errors import InvalidCron
from tests.support import examples

INSTANT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

NEW_YORK = "America/New_York"
LONDON = "Europe/London"
LORD_HOWE = "Australia/Lord_Howe"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day_and_time(slots: list[datetime]) -> str:
    return " ".join(f"{slot:%dT%H:%M}" for slot in slots)


# ---- what an expression means


@pytest.mark.parametrize(
    ("text", "start", "due"),
    [
        ("* * * * *", "2024-01-01T00:00", ["2024-01-01T00:01", "2024-01-01T00:02"]),
        ("*/20 * * * *", "2024-01-01T00:20", ["2024-01-01T00:40", "2024-01-01T01:00"]),
        ("5-20/7 0 * * *", "2024-01-01T00:00", ["2024-01-01T00:05", "2024-01-01T00:12"]),
        ("50/5 0 * * *", "2024-01-01T00:50", ["2024-01-01T00:55", "2024-01-02T00:50"]),
        ("5-5/10 0 * * *", "2024-01-01T00:05", ["2024-01-02T00:05"]),
        ("0 9 * * MON-FRI", "2024-01-05T09:00", ["2024-01-08T09:00", "2024-01-09T09:00"]),
        ("0 9 * * mon-mon/2", "2024-01-01T09:00", ["2024-01-08T09:00"]),
        ("30 6 1,15 jan,Mar *", "2024-01-01T07:00", ["2024-01-15T06:30", "2024-03-01T06:30"]),
        ("0 0 * * 0", "2024-01-01T00:00", ["2024-01-07T00:00", "2024-01-14T00:00"]),
        ("0 0 * * 7", "2024-01-01T00:00", ["2024-01-07T00:00", "2024-01-14T00:00"]),
        ("0 0 * * 5-7", "2024-01-01T00:00", ["2024-01-05T00:00", "2024-01-06T00:00"]),
        ("0 0 29 2 *", "2024-02-29T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 29 2 *", "2096-02-29T00:00", ["2104-02-29T00:00"]),
        ("0 0 29 2 */7", "2004-02-29T00:00", ["2032-02-29T00:00", "2060-02-29T00:00"]),
        ("0 0 31 * *", "2024-01-31T00:00", ["2024-03-31T00:00", "2024-05-31T00:00"]),
        # either day of month or day of week, if both are restricted; else both
        ("0 0 13 * FRI", "2024-09-01T00:00", ["2024-09-06T00:00", "2024-09-13T00:00"]),
        ("0 0 30 2 MON", "2024-02-01T00:00", ["2024-02-05T00:00", "2024-02-12T00:00"]),
        ("0 0 */10 * MON", "2024-01-02T00:00", ["2024-03-11T00:00", "2024-04-01T00:00"]),
        # beyond the classic ones
        ("0 0 L * *", "2024-02-01T00:00", ["2024-02-29T00:00", "2024-03-31T00:00"]),
        ("0 0 LW * *", "2024-03-01T00:00", ["2024-03-29T00:00", "2024-04-30T00:00"]),
        ("0 0 * * 1#2", "2024-01-01T00:00", ["2024-01-08T00:00", "2024-02-12T00:00"]),
        ("0 0 * * 5L", "2024-01-01T00:00", ["2024-01-26T00:00", "2024-02-23T00:00"]),
        ("@hourly", "2024-01-01T00:00", ["2024-01-01T01:00", "2024-01-01T02:00"]),
        ("@daily", "2024-01-01T00:00", ["2024-01-02T00:00", "2024-01-03T00:00"]),
        ("@midnight", "2024-01-01T00:00", ["2024-01-02T00:00", "2024-01-03T00:00"]),
        ("@Weekly", "2024-01-01T00:00", ["2024-01-07T00:00", "2024-01-14T00:00"]),
        ("@monthly", "2024-01-01T00:00", ["2024-02-01T00:00", "2024-03-01T00:00"]),
        ("@yearly", "2024-01-01T00:00", ["2025-01-01T00:00", "2026-01-01T00:00"]),
        ("@annually", "2024-01-01T00:00", ["2025-01-01T00:00", "2026-01-01T00:00"]),
        # every multiple since 1970 began
        ("@every 90s", "2024-01-01T00:00", ["2024-01-01T00:01:30", "2024-01-01T00:03"]),
        ("@every 1h30m", "2024-01-01T00:10", ["2024-01-01T01:30", "2024-01-01T03:00"]),
        ("@every 1.5h", "2024-01-01T00:10", ["2024-01-01T01:30", "2024-01-01T03:00"]),
        ("@every .5m", "2024-01-01T00:00", ["2024-01-01T00:00:30", "2024-01-01T00:01"]),
        ("@every 7s", "1970-01-01T00:00", ["1970-01-01T00:00:07", "1970-01-01T00:00:14"]),
        ("@every 7s", "1969-12-31T23:59:50", ["1969-12-31T23:59:53", "1970-01-01T00:00"]),
        ("@EVERY 1m30000ms", "2024-01-01T00:00", ["2024-01-01T00:01:30"]),
    ],
)
def test_slots_of(text: str, start: str, due: list[str]) -> None:
    slots = [at(moment) for moment in due]
    cron = Cron.parse(text)
    assert cron.slots(at(start), at("9999-01-01"), len(due)) == slots
    assert cron.latest(at(start), slots[-1]) == slots[-1]
    assert cron.latest(at(start), slots[0] - INSTANT) is None


def test_a_zone_is_where_the_clock_hangs() -> None:
    cron = Cron.parse("0 9 * * MON", "Asia/Kolkata")
    assert cron.next_after(at("2024-01-01T03:30")) == at("2024-01-08T03:30")


def test_slots_are_in_utc_however_one_asks() -> None:
    local = at("2024-01-01").astimezone(ZoneInfo(NEW_YORK))
    for text in ("0 9 * * *", "@every 1h"):
        cron = Cron.parse(text, NEW_YORK)
        found = [cron.next_after(local), cron.latest(local - DAY, local)]
        assert [slot.tzinfo for slot in found if slot] == [UTC, UTC]
        assert cron.next_after(local) == cron.next_after(at("2024-01-01"))


def test_intervals_are_the_same_in_every_zone() -> None:
    found = {Cron.parse("@every 24h", zone).next_after(at("2024-01-01T05:00")) for zone in ZONES}
    assert found == {at("2024-01-02")}


def test_an_end_is_within_the_range_and_a_start_is_not() -> None:
    cron = Cron.parse("0 * * * *")
    start, end = at("2024-01-01T01:00"), at("2024-01-01T03:00")
    assert cron.slots(start, end, 9) == [at("2024-01-01T02:00"), end]
    assert cron.slots(start, end, 1) == [at("2024-01-01T02:00")]
    assert cron.slots(start, end, 0) == []
    assert cron.slots(end, start, 9) == []
    assert cron.latest(start, end) == end
    assert cron.latest(start, start) is None
    assert cron.latest(end, start) is None


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("0 0 30 2 *", "UTC"),
        ("0 0 31 4,6,9,11 *", LONDON),
        ("* * 30-31 FEB */2", LONDON),
        # the first of a month is no fifth Monday
        ("0 0 */31 * MON#5", "UTC"),
        # on a Sunday, 31 March is the last one, and has no such hour
        ("* 1 31 3 */7", LONDON),
    ],
)
@pytest.mark.timeout(5)
def test_never(text: str, zone: str) -> None:
    cron = Cron.parse(text, zone)
    assert cron.next_after(at("2024-01-01")) is None
    assert cron.latest(at("2000-01-01"), at("2024-01-01")) is None
    assert cron.slots(at("2024-01-01"), at("2025-01-01"), 9) == []


@pytest.mark.parametrize("text", ["* * * * *", "0 0 1 1 *", "@every 1h"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", NEW_YORK])
def test_the_calendar_has_an_end(text: str, zone: str) -> None:
    cron = Cron.parse(text, zone)
    assert cron.next_after(datetime.max.replace(tzinfo=UTC)) is None
    first = datetime.min.replace(tzinfo=UTC)
    assert cron.latest(first, first) is None


@pytest.mark.parametrize("text", ["@hourly", "@every 1h"])
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    cron, naive = Cron.parse(text), datetime(2024, 1, 1)
    with pytest.raises(TypeError, match="naive"):
        cron.next_after(naive)
    with pytest.raises(TypeError, match="naive"):
        cron.slots(naive, at("2024-01-02"), 1)
    with pytest.raises(TypeError, match="naive"):
        cron.latest(at("2024-01-01"), naive)


def test_a_cron_is_a_value() -> None:
    cron = Cron.parse(" 0  9 * * * ", LONDON)
    assert cron == Cron.parse("0 9 * * *", LONDON)
    assert hash(cron) == hash(Cron.parse("0 9 * * *", LONDON))
    assert cron != Cron.parse("0 9 * * *", NEW_YORK)
    assert pickle.loads(pickle.dumps(cron)) == cron
    assert repr(cron) == "Cron(text='0 9 * * *', timezone='Europe/London')"
    with pytest.raises(AttributeError):
        cron.text = "0 8 * * *"  # type: ignore[misc]


# ---- what is no expression


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("60 * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("*/90 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("L * * * *", "minute"),
        (f"{'1' * 5000} * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* 9-17-19 * * *", "hour"),
        ("* 22-2 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * 32 * *", "day of month"),
        ("* * ? * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * MON *", "month"),
        ("* * * * 8", "day of week"),
        ("* * * * JAN", "day of week"),
        ("* * * * MON#6", "day of week"),
        ("* * * * MONDAY", "day of week"),
        ("", "form"),
        ("* * * *", "form"),
        ("0 * * * * *", "form"),
        ("@reboot", "form"),
        ("@dailyish", "form"),
        ("@every", "interval"),
        ("@every 0s", "interval"),
        ("@every -5m", "interval"),
        ("@every 90", "interval"),
        ("@every 1d", "interval"),
        ("@every 1h 30m", "interval"),
        ("@every 500ms", "interval"),
        ("@every 1500ms", "interval"),
        ("@every 1.1.1h", "interval"),
        ("@every ٣s", "interval"),
        ("@every 999999999999h", "interval"),
        (f"@every {'9' * 100_000}s", "interval"),
        (f"@every {'9' * 100_000}", "interval"),
    ],
)
@pytest.mark.timeout(5)
def test_an_error_names_the_field_and_the_cure(text: str, field: str) -> None:
    with pytest.raises(InvalidCron, match=rf"^The {field} of schedule .* can't be used: ") as error:
        Cron.parse(text)
    assert error.value.field == field
    assert error.value.text == text
    cures = {"form": "give five fields", "interval": "@every 90s", "minute": "0 to 59|@every"}
    assert error.match(cures.get(field, " to "))


@pytest.mark.parametrize(
    "zone",
    [
        *("", "Mars/Base", "../UTC", "/etc/localtime", "America", "A\0", "a" * 999, "\ud800"),
        *("localtime", "posixrules", "right/UTC", "posix/UTC", "zone.tab"),
    ],
)
def test_an_unknown_zone_is_an_error(zone: str) -> None:
    with pytest.raises(InvalidCron, match="Give a name like Europe/London") as error:
        Cron.parse("@daily", zone)
    assert error.value.field == "time zone"


@examples(300)
@given(text=st.text(st.sampled_from("0159*/-,#LW@ .SUNJAevryhms"), max_size=20))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    for whole in (text, f"* * {text} * *", f"* * * * {text}", f"@every {text}"):
        try:
            cron = Cron.parse(whole)
        except InvalidCron:
            continue
        cron.next_after(at("2024-01-01"))


# ---- where clocks change, in words


@pytest.mark.parametrize(
    ("zone", "text", "start", "due"),
    [
        # New York, 2024-03-10: after 01:59 (UTC-5) comes 03:00 (UTC-4), at 07:00 UTC
        (NEW_YORK, "30 2 * * *", "2024-03-09", "09T07:30 10T07:00 11T06:30"),
        (NEW_YORK, "15,45 2 * * *", "2024-03-10", "10T07:00 11T06:15 11T06:45"),
        (NEW_YORK, "0 2,3 * * *", "2024-03-10", "10T07:00 11T06:00 11T07:00"),
        (NEW_YORK, "0 3 * * *", "2024-03-09", "09T08:00 10T07:00 11T07:00"),
        (NEW_YORK, "0 * * * *", "2024-03-10T05:00", "10T06:00 10T07:00 10T08:00"),
        (NEW_YORK, "30 */2 * * *", "2024-03-10T05:00", "10T05:30 10T08:30 10T10:30"),
        (NEW_YORK, "*/30 2 * * *", "2024-03-09", "09T07:00 09T07:30 11T06:00"),
        # New York, 2024-11-03: after 01:59 (UTC-4) comes 01:00 (UTC-5), at 06:00 UTC
        (NEW_YORK, "30 1 * * *", "2024-11-02", "02T05:30 03T05:30 04T06:30"),
        (NEW_YORK, "0 1,2 * * *", "2024-11-03", "03T05:00 03T07:00 04T06:00"),
        (NEW_YORK, "0 * * * *", "2024-11-03T04:00", "03T05:00 03T06:00 03T07:00"),
        (NEW_YORK, "*/30 1 * * *", "2024-11-03", "03T05:00 03T05:30 03T06:00 03T06:30 04T06:00"),
        # London, 2024-03-31: after 00:59 (UTC) comes 02:00 (UTC+1), at 01:00 UTC
        (LONDON, "30 1 * * *", "2024-03-30", "30T01:30 31T01:00 01T00:30"),
        (LONDON, "30 * * * *", "2024-03-31", "31T00:30 31T01:30 31T02:30"),
        # London, 2024-10-27: after 01:59 (UTC+1) comes 01:00 (UTC), at 01:00 UTC
        (LONDON, "30 1 * * *", "2024-10-26", "26T00:30 27T00:30 28T01:30"),
        (LONDON, "30 * * * *", "2024-10-27", "27T00:30 27T01:30 27T02:30"),
        # Lord Howe, 2024-10-06: after 01:59 (UTC+10:30) comes 02:30 (UTC+11), at 05T15:30 UTC
        (LORD_HOWE, "15 2 * * *", "2024-10-04T12:00", "04T15:45 05T15:30 06T15:15"),
        (LORD_HOWE, "30 2 * * *", "2024-10-04T12:00", "04T16:00 05T15:30 06T15:30"),
        (LORD_HOWE, "0 * * * *", "2024-10-05T14:00", "05T14:30 05T16:00 05T17:00"),
        (LORD_HOWE, "*/20 1-3 * * *", "2024-10-05T15:00", "05T15:10 05T15:40 05T16:00 05T16:20"),
        # Lord Howe, 2024-04-07: after 01:59 (UTC+11) comes 01:30 (UTC+10:30), at 06T15:00 UTC
        (LORD_HOWE, "45 1 * * *", "2024-04-05T12:00", "05T14:45 06T14:45 07T15:15"),
        (LORD_HOWE, "0 2 * * *", "2024-04-05T12:00", "05T15:00 06T15:30 07T15:30"),
        (LORD_HOWE, "*/15 * * * *", "2024-04-06T14:40", "06T14:45 06T15:00 06T15:15 06T15:30"),
        (LORD_HOWE, "0 * * * *", "2024-04-06T13:30", "06T14:00 06T15:30 06T16:30"),
        # midnight itself is missing: São Paulo, 2017-10-15, at 03:00 UTC
        ("America/Sao_Paulo", "@daily", "2017-10-14T12:00", "15T03:00 16T02:00"),
        # a whole day is missing: Apia, 2011-12-30, at 10:00 UTC
        ("Pacific/Apia", "0 6 * * *", "2011-12-29", "29T16:00 30T10:00 30T16:00"),
        ("Pacific/Apia", "0 * * * *", "2011-12-30T08:00", "30T09:00 30T10:00 30T11:00"),
    ],
)
def test_where_clocks_change(zone: str, text: str, start: str, due: str) -> None:
    cron = Cron.parse(text, zone)
    slots = cron.slots(at(start), at(start) + 9 * DAY, len(due.split()))
    assert day_and_time(slots) == due
    for before, slot in pairwise([at(start), *slots]):
        assert cron.next_after(slot - INSTANT) == slot
        assert cron.latest(at(start), slot) == slot
        assert cron.latest(before, slot - INSTANT) is None


@pytest.mark.parametrize("minute", range(0, 60, 10))
def test_asked_within_the_repeated_hour_a_daily_job_has_no_second_slot(minute: int) -> None:
    second_time = at("2024-11-03T06:00") + minute * MINUTE
    cron = Cron.parse("30 1 * * *", NEW_YORK)
    assert cron.next_after(second_time) == at("2024-11-04T06:30")
    assert cron.latest(at("2024-11-01"), second_time) == at("2024-11-03T05:30")


@pytest.mark.parametrize("zone", [NEW_YORK, LONDON])
@pytest.mark.parametrize("month", [3, 10, 11])
def test_every_real_hour_has_one_slot(zone: str, month: int) -> None:
    start = datetime(2024, month, 1, tzinfo=UTC)
    slots = Cron.parse("@hourly", zone).slots(start, start + 40 * DAY, 9999)
    assert slots == [start + n * HOUR for n in range(1, 40 * 24 + 1)]


# ---- against every minute, one by one

ZONES = ["UTC", NEW_YORK, LONDON, LORD_HOWE, "America/Sao_Paulo", "America/Havana"]

#: The moments of change that are asked about.
CHANGES = [
    *[(NEW_YORK, "2024-03-10T07:00"), (NEW_YORK, "2024-11-03T06:00")],
    *[(LONDON, "2024-03-31T01:00"), (LONDON, "2024-10-27T01:00")],
    *[(LORD_HOWE, "2024-10-05T15:30"), (LORD_HOWE, "2024-04-06T15:00")],
    *[("America/Sao_Paulo", "2017-10-15T03:00"), ("America/Sao_Paulo", "2018-02-18T02:00")],
    *[("America/Havana", "2024-03-10T05:00"), ("America/Havana", "2024-11-03T05:00")],
]

#: Two weeks each, with a leap day, the turn of a year, and changes.
WINDOWS = [
    *[("UTC", at("2024-02-25")), ("UTC", at("2024-12-24")), (NEW_YORK, at("2024-02-26"))],
    *[(NEW_YORK, at("2024-10-26")), (LONDON, at("2024-03-24")), (LONDON, at("2024-10-20"))],
    *[(LORD_HOWE, at("2024-03-30")), (LORD_HOWE, at("2024-09-28"))],
]
WINDOW = 14 * DAY


@dataclass(frozen=True, slots=True)
class Shown:
    """A real minute: what the clock shows, whether again, and what it skipped just before."""

    moment: datetime
    wall: datetime
    again: bool
    skipped: tuple[datetime, ...]


@cache
def minutes(zone: str, start: datetime) -> list[Shown]:
    found: list[Shown] = []
    last = start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for n in range(1, WINDOW // MINUTE + 1):
        local = (start + n * MINUTE).astimezone(ZoneInfo(zone))
        wall = local.replace(tzinfo=None)
        skipped = tuple(last + k * MINUTE for k in range(1, (wall - last) // MINUTE))
        found.append(Shown(start + n * MINUTE, wall, local.fold == 1, skipped))
        last = wall
    return found


@dataclass(frozen=True)
class Expression:
    """A text together with what it means, made at the same time and so never parsed."""

    text: str
    fields: tuple[frozenset[int], ...]
    wild: bool
    either: bool

    def matches(self, wall: datetime) -> bool:
        minute, hour, day, month, weekday = self.fields
        if wall.minute not in minute or wall.hour not in hour or wall.month not in month:
            return False
        days = (wall.day in day, wall.isoweekday() % 7 in weekday)
        return any(days) if self.either else all(days)

    def due(self, zone: str, start: datetime) -> list[datetime]:
        shown = minutes(zone, start)
        if self.wild:
            return [at.moment for at in shown if self.matches(at.wall)]
        return [
            at.moment
            for at in shown
            if (self.matches(at.wall) and not at.again) or any(map(self.matches, at.skipped))
        ]


@st.composite
def one_field(
    draw: st.DrawFn, low: int, high: int, name: Callable[[int], str]
) -> tuple[str, frozenset[int]]:
    everything = range(low, high + 1)
    value = st.integers(low, high)
    match draw(st.sampled_from(["star", "star", "star", "star step", "list", "range", "step"])):
        case "star":
            return "*", frozenset(everything)
        case "star step":
            step = draw(st.integers(1, len(everything)))
            return f"*/{step}", frozenset(everything[::step])
        case "list":
            values = draw(st.lists(value, min_size=1, max_size=4))
            return ",".join(map(name, values)), frozenset(values)
        case kind:
            first, last = sorted((draw(value), draw(value)))
            step = draw(st.integers(2, len(everything))) if kind == "step" else 1
            text = f"{name(first)}-{name(last)}" + (f"/{step}" if step > 1 else "")
            return text, frozenset(range(first, last + 1, step))


MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    named = draw(st.booleans())
    parts = [
        draw(one_field(0, 59, str)),
        draw(one_field(0, 23, str)),
        draw(one_field(1, 31, str)),
        draw(one_field(1, 12, (lambda n: MONTHS[n - 1]) if named else str)),
        draw(one_field(0, 6, (lambda n: WEEKDAYS[n]) if named else str)),
    ]
    texts = [text for text, _ in parts]
    stars = [text.startswith("*") for text in texts]
    if texts[4].startswith("*/"):  # 7 is a Sunday, too
        parts[4] = (texts[4], frozenset(n % 7 for n in range(0, 8, int(texts[4][2:]))))
    return Expression(
        " ".join(texts),
        tuple(values for _, values in parts),
        wild=stars[0] or stars[1],
        either=not (stars[2] or stars[4]),
    )


@examples(200)
@given(
    expression=expressions(),
    window=st.sampled_from(WINDOWS),
    begin=st.timedeltas(timedelta(0), WINDOW),
)
def test_slots_are_those_of_every_minute_tried(
    expression: Expression, window: tuple[str, datetime], begin: timedelta
) -> None:
    zone, start = window
    end, asked = start + WINDOW, start + begin
    due = [moment for moment in expression.due(zone, start) if moment > asked]
    cron = Cron.parse(expression.text, zone)
    assert cron.slots(asked, end, 50) == due[:50]
    assert cron.latest(asked, end) == (due[-1] if due else None)


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@examples(60)
@given(
    minute=one_field(0, 59, str),
    hour=one_field(0, 4, str).filter(lambda hour: not hour[0].startswith("*/")),
    begin=st.timedeltas(-3 * HOUR, 3 * HOUR),
)
def test_around_a_change_too(
    zone: str,
    change: str,
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    begin: timedelta,
) -> None:
    """The same, asked where it is hard: from and to moments within hours of the change."""
    start, asked = at(change) - 3 * DAY, at(change) + begin
    whole = frozenset(range(60))
    hours = whole if hour[0] == "*" else hour[1]
    wild = minute[0].startswith("*") or hour[0].startswith("*")
    text = f"{minute[0]} {hour[0]} * * *"
    expression = Expression(text, (minute[1], hours, whole, whole, whole), wild, either=False)
    due = expression.due(zone, start)
    cron = Cron.parse(text, zone)
    later = [moment for moment in due if moment > asked]
    assert cron.slots(asked, asked + DAY, 20) == [m for m in later if m <= asked + DAY][:20]
    sooner = [moment for moment in due if asked - DAY < moment <= asked]
    assert cron.latest(asked - DAY, asked) == (sooner[-1] if sooner else None)


CRONS = st.one_of(
    st.builds(Cron.parse, expressions().map(lambda one: one.text), st.sampled_from(ZONES)),
    st.integers(30, 10**6).map(lambda seconds: Cron.parse(f"@every {seconds}s")),
)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)) | (
    st.builds(
        lambda change, by: at(change[1]) + by,
        st.sampled_from(CHANGES),
        st.timedeltas(-2 * HOUR, 2 * HOUR),
    )
)


@examples(200)
@given(cron=CRONS, start=MOMENTS)
def test_slots_rise_and_each_is_the_next_of_the_instant_before(cron: Cron, start: datetime) -> None:
    slots = cron.slots(start, start + 10_000 * DAY, 20)
    for before, slot in pairwise([start, *slots]):
        assert before < slot
        assert cron.next_after(slot - INSTANT) == slot
        assert cron.latest(before, slot) == slot
        assert cron.latest(before, slot - INSTANT) is None


@examples(200)
@given(cron=CRONS, start=MOMENTS, spans=st.tuples(*[st.timedeltas(timedelta(0), 2 * HOUR)] * 2))
def test_two_ranges_side_by_side_have_the_slots_of_the_whole(
    cron: Cron, start: datetime, spans: tuple[timedelta, timedelta]
) -> None:
    middle, end = start + spans[0], start + spans[0] + spans[1]
    whole = cron.slots(start, end, 999)
    assert cron.slots(start, middle, 999) + cron.slots(middle, end, 999) == whole
    assert cron.latest(start, end) == (whole[-1] if whole else None)
