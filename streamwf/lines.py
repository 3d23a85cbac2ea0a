"""Triggers as files have them: one in each line, as JSON."""

import msgspec

from .errors import InvalidQuery
from .events import Instant
from .record import NOTHING
from .views import Trigger


class Line(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A `Trigger` whose object is left as it is written, for where nobody looks into it.

    That is a third of the cost of reading the object and writing it again, and leaves its numbers
    with all their digits.
    """

    foreign_id: str
    object: msgspec.Raw = NOTHING
    status: str | None = None
    start_at: Instant | None = None
    key: str | None = None


_decode = msgspec.json.Decoder(Line).decode


def read_line(line: bytes) -> Trigger | Line:
    """Raises ValidationError if it is no trigger, and InvalidQuery if it starts at no instant."""
    try:
        # What stays undecoded has not been looked at.
        line.decode()
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _in_full(line)


def _in_full(line: bytes) -> Trigger:
    """It takes more forms of an instant, and says at which place something is wrong."""
    trigger = Trigger.model_validate_json(line)
    if trigger.start_at is not None and trigger.start_at.tzinfo is None:
        raise InvalidQuery(field="start_at", why="it has no time zone")
    return trigger
