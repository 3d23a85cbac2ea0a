"""Server-sent events: writing them, and reading them.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple

import msgspec

from streamwf.moves import Dropped, Gap, Missing, Move, Shards, Tidings, Told

CONTENT_TYPE = "text/event-stream"

#: Where a stream goes on: a header, as browsers send it, or a parameter.
LAST_EVENT_ID = "Last-Event-ID"
LAST_EVENT_ID_PARAMETER = "last_event_id"

_NAMES: dict[type[Tidings], str] = {
    Move: "run",
    Gap: "gap",
    Missing: "missing",
    Dropped: "dropped",
    Shards: "shards",
}
_KINDS = {name: kind for kind, name in _NAMES.items()}

_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """What came: without data it says only up to where all was told. id: None if it has none."""

    id: str | None
    event: str
    data: bytes


def written(told: Told) -> bytes:
    """As it goes over the line. Without tidings, it keeps the connection alive."""
    place = b"" if told.place is None else f"id: {told.place}\n".encode()
    if told.tidings is None:
        return b": all is told up to here\n" + place + b"\n"
    name = _NAMES[type(told.tidings)].encode()
    return place + b"event: " + name + b"\ndata: " + _encode(told.tidings) + b"\n\n"


def tidings_of(message: Message) -> Tidings | None:
    """None for what this version does not know. Raises msgspec.MsgspecError."""
    kind = _KINDS.get(message.event)
    if kind is None or not message.data:
        return None
    found: Tidings = msgspec.json.decode(message.data, type=kind)
    return found


async def messages(lines: AsyncIterable[bytes]) -> AsyncIterator[Message]:
    """The messages of a stream, also those without data."""
    place: str | None = None
    event, data = "message", list[bytes]()
    async for line in lines:
        line = line.rstrip(b"\r\n")
        if not line:
            yield Message(place, event, b"\n".join(data))
            place, event, data = None, "message", []
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            place = value.decode("ascii", "replace")
        elif name == b"event":
            event = value.decode("utf-8", "replace")
        elif name == b"data":
            data.append(value)


async def told(lines: AsyncIterable[bytes]) -> AsyncIterator[Told]:
    """What a stream tells. Raises msgspec.MsgspecError."""
    async for message in messages(lines):
        yield Told(tidings_of(message), message.id)
