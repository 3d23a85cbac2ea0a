"""Moments on a command line: a time, or places in the log."""

import re
from datetime import datetime

import click

from streamwf.until import Offsets, Until

_PLACES = re.compile(r"\d+:\d+(,\d+:\d+)*")


class Moment(click.ParamType):
    """Read to `Text`, so that what is told of it says it as it was given."""

    name = "moment"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> "Text":
        said = str(value)
        try:
            return Text(said, _read(said))
        except ValueError as error:
            self.fail(str(error), param, context)


class Text(str):
    """A moment as it was given. until: what it means."""

    until: Until

    def __new__(cls, said: str, until: Until) -> "Text":
        text = super().__new__(cls, said)
        text.until = until
        return text

    def of_run(self) -> Until:
        """The same for whoever looks for a run, which is in one partition."""
        if isinstance(self.until, Offsets):
            return Offsets(self.until.named, self.until.alone, of_run=True)
        return self.until

    def comes_after(self, other: "Text") -> bool:
        """Whether it is known to be the later one."""
        this, that = self.until, other.until
        if isinstance(this, datetime) and isinstance(that, datetime):
            return this > that
        if isinstance(this, Offsets) and isinstance(that, Offsets):
            named = this.named.items()
            later = any(offset > that.named.get(place, offset) for place, offset in named)
            alone = None not in (this.alone, that.alone)
            return later or (alone and int(self) > int(other))
        return False


def _read(said: str) -> Until:
    """Raises ValueError."""
    if said.isdecimal():
        return Offsets(alone=int(said))
    if _PLACES.fullmatch(said):
        places = [place.split(":") for place in said.split(",")]
        named = {int(partition): int(offset) for partition, offset in places}
        if len(named) < len(places):
            raise ValueError("it names a partition twice")
        return Offsets(named)
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise ValueError(
            f"{said!r} is neither a time like 2026-11-28T12:00:00Z, nor an offset like 0:17"
        ) from None
    if found.tzinfo is None:
        raise ValueError("it has no time zone; add Z or +02:00")
    return found
