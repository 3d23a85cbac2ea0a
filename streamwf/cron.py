"""When a schedule is due: cron expressions and fixed intervals, apart from any clock.

Slots are moments in UTC and depend on the text and the time zone alone, so that every worker
finds the same ones. Where the clocks change, these are the rules of cron on Debian:

- Minute or hour begins with `*`, as in `0 * * * *` and `*/10 2 * * *`: due whenever the clock on
  the wall shows a time that matches. What is skipped when clocks go forward is never shown, and
  what is repeated when they go back is shown twice, so that every real hour has its slots.
- Otherwise, as in `30 2 * * *`: due once for each time of day. A time that is skipped is due at
  the end of the gap (with others that fall there, as one slot), and a time that is repeated is
  due at the first.
- Day of month and day of week: if neither begins with `*`, either of them is enough.

cronsim does the calendar, and here it only ever counts on a clock that never changes: given a
time zone, it loses slots where clocks change by half an hour, and goes back in time when it
starts within a repeated hour.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from streamwf.errors import InvalidCron

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)

#: Longer than a leap day takes to fall on a given day of the week, which is 40 years at most.
HORIZON_YEARS = 50

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

#: Each field: its name, how many values it has, and which.
FIELDS = (
    ("minute", 60, "0 to 59"),
    ("hour", 24, "0 to 23"),
    ("day of month", 31, "1 to 31, L (the last) or LW (the last weekday)"),
    ("month", 12, "1 to 12 or JAN to DEC"),
    ("day of week", 7, "0 to 7 (0 and 7 are Sunday), SUN to SAT, 1#2 (the second Monday) or 5L"),
)

UNITS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 10**3),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
PART = rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)({'|'.join(UNITS)})"

#: Names that the system gives to its own settings, or to clocks that count leap seconds.
NOT_IANA = re.compile(r"localtime|posixrules|(posix|right)/.*")


class _Rule(Protocol):
    def after(self, moment: datetime) -> datetime | None:
        """The first slot later than this."""

    def until(self, moment: datetime) -> datetime | None:
        """The last slot no later than this."""


@dataclass(frozen=True, slots=True)
class Cron:
    """The slots of a schedule: five fields, `@daily` and the like, or `@every 1h30m`.

    Intervals count from 1970 in UTC, whatever the time zone: `@every 24h` is midnight in UTC.
    """

    text: str
    timezone: str
    _rule: _Rule = field(repr=False)

    @classmethod
    def parse(cls, text: str, timezone: str = "UTC") -> "Cron":
        text = " ".join(text.split())
        zone = _zone(text, timezone)
        name, _, rest = text.partition(" ")
        if name.lower() == "@every":
            return cls(text, timezone, _Every(_interval(text, rest)))
        expression = ALIASES.get(text.lower(), text)
        return cls(text, timezone, _Calendar(_checked(expression), zone))

    def next_after(self, instant: datetime) -> datetime | None:
        """The first slot later than `instant`; None if there is none any more."""
        try:
            return self._rule.after(_utc(instant))
        except OverflowError:  # the calendar ends with the year 9999
            return None

    def latest(self, start: datetime, end: datetime) -> datetime | None:
        """The last slot later than `start` and no later than `end`."""
        try:
            found = self._rule.until(_utc(end))
        except OverflowError:
            return None
        return found if found and found > start else None

    def slots(self, start: datetime, end: datetime, limit: int) -> list[datetime]:
        """The slots later than `start` and no later than `end`: the first `limit` of them."""
        found: list[datetime] = []
        due = self.next_after(start)
        while due and due <= end and len(found) < limit:
            found.append(due)
            due = self.next_after(due)
        return found


def _utc(instant: datetime) -> datetime:
    # Unlike astimezone, this refuses a time that has no zone.
    return EPOCH + (instant - EPOCH)


# ---- intervals


@dataclass(frozen=True, slots=True)
class _Every:
    """All whole multiples of an interval."""

    interval: timedelta

    def after(self, moment: datetime) -> datetime:
        return self.until(moment) + self.interval

    def until(self, moment: datetime) -> datetime:
        return moment - (moment - EPOCH) % self.interval


def _interval(text: str, duration: str) -> timedelta:
    """A duration as Go writes it."""
    try:
        if re.fullmatch(f"(?:{PART})+", duration):
            parts = re.findall(PART, duration)
            seconds = sum(Fraction(number) * UNITS[unit] for number, unit in parts)
            if seconds >= 1 and seconds == int(seconds):
                return timedelta(seconds=int(seconds))
    except (ValueError, OverflowError):  # too long to be a number, or for a timedelta
        pass
    why = "give whole seconds, at least one, as in @every 90s or @every 1h30m"
    raise InvalidCron(field="interval", text=text, why=why)


# ---- five fields


@dataclass(frozen=True, slots=True)
class _Calendar:
    """All moments at which the clock on the wall of a zone shows what five fields say."""

    expression: str
    zone: ZoneInfo

    @property
    def _wild(self) -> bool:
        minute, hour = self.expression.split()[:2]
        return minute.startswith("*") or hour.startswith("*")

    # A time that is repeated has two moments: fold 0 and fold 1. Within one fold the moments come
    # in the order of the clock on the wall, so that the next of each are all there is to compare.

    def after(self, moment: datetime) -> datetime | None:
        wall = min(self._walls(moment))
        found = [
            next((due for due in self._moments(wall, fold) if due > moment), None)
            for fold in self._folds
        ]
        return min((due for due in found if due), default=None)

    def until(self, moment: datetime) -> datetime | None:
        wall = max(self._walls(moment)) + INSTANT
        found = [
            next((due for due in self._moments(wall, fold, reverse=True) if due <= moment), None)
            for fold in self._folds
        ]
        return max((due for due in found if due), default=None)

    @property
    def _folds(self) -> tuple[int, ...]:
        return (0, 1) if self._wild else (0,)

    def _walls(self, moment: datetime) -> Iterator[datetime]:
        """What the clock shows, and in a repeated hour, what it would by the other offset."""
        local = moment.astimezone(self.zone)
        for fold in (0, 1):
            offset = local.replace(fold=fold).utcoffset() or timedelta(0)
            yield moment.replace(tzinfo=None) + offset

    def _moments(self, wall: datetime, fold: int, reverse: bool = False) -> Iterator[datetime]:
        """Slots by the clock on the wall, from this time on."""
        try:
            found = CronSim(self.expression, wall, reverse)
        except CronSimError:  # each field is right in itself, but there is no 30 February
            return
        for shown in found:
            if abs(shown.year - wall.year) > HORIZON_YEARS:
                return
            if due := self._moment(shown, fold):
                yield due

    def _moment(self, shown: datetime, fold: int) -> datetime | None:
        """When the clock shows this; within a gap, None, or the end of the gap."""
        while True:
            moment = shown.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
            if moment.astimezone(self.zone).replace(tzinfo=None) == shown:
                return moment
            if self._wild:
                return None
            shown += MINUTE


def _checked(expression: str) -> str:
    parts = expression.split()
    if len(parts) != len(FIELDS):
        why = f"give five fields (minute hour day month weekday), {', '.join(ALIASES)} or @every"
        raise InvalidCron(field="form", text=expression, why=why)
    for place, (part, (name, size, allowed)) in enumerate(zip(parts, FIELDS, strict=True)):
        alone = [*"*****"]
        alone[place] = part
        try:
            CronSim(" ".join(alone), datetime.min)
        except (CronSimError, ValueError):
            why = f"{part!r} is not made of {allowed}, ranges (a-b), lists (a,b) and steps (*/n)"
            raise InvalidCron(field=name, text=expression, why=why) from None
        if any(int(step) > size for step in re.findall("/([0-9]+)", part)):
            why = f"{part!r} steps over all of it. For a longer interval use @every"
            raise InvalidCron(field=name, text=expression, why=why)
    # cronsim takes a range of one value with a step, 5-5/10, for 5/10.
    return re.sub(r"\b(\w+)-\1/[0-9]+", r"\1", expression)


def _zone(text: str, timezone: str) -> ZoneInfo:
    try:
        if not NOT_IANA.fullmatch(timezone):
            return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    why = f"{timezone!r} is not in the IANA database here. Give a name like Europe/London"
    raise InvalidCron(field="time zone", text=text, why=why)
