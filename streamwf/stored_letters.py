"""Dead letters in the streams of a durable host."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import msgspec

from .ports import EventStreamer, Filed, Letter, LogRecord, Outgoing

#: The name of who looks at letters. It commits nothing.
READER = "dead-letters"


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """What could not be used, as it lies in the stream of dead letters.

    source, partition, position: where it came from. value: what it said, as text if it was one.
    headers: those that it had. settles: the id of the letter that this one settles.
    """

    reason: str
    source: str
    partition: str
    position: str
    key: str = ""
    text: str = ""
    base64: bytes = b""
    headers: list[tuple[str, bytes]] = []
    settles: str = ""


_decode = msgspec.json.Decoder(DeadLetter).decode


def letters_of(workflow: str) -> str:
    """The stream of what a workflow could not use."""
    # No workflow has such a name.
    return f"{workflow}/dead-letters"


def encoded(letter: Letter) -> Outgoing:
    value, text = letter.value or b"", ""
    with contextlib.suppress(UnicodeDecodeError):
        text, value = value.decode(), b""
    told = DeadLetter(
        reason=letter.reason,
        source=letter.source,
        partition=letter.partition,
        position=letter.position,
        key=(letter.key or b"").decode(errors="replace"),
        text=text,
        base64=value,
        headers=[*letter.headers],
        settles=letter.settles,
    )
    return Outgoing(letter.key or b"", msgspec.json.encode(told))


class StoredLetters:
    """Implements `streamwf.ports.LetterLog`. append: adds letters to those of a workflow."""

    def __init__(
        self, streamer: EventStreamer, append: Callable[[str, Sequence[Letter]], Awaitable[None]]
    ) -> None:
        self._streamer = streamer
        self._append = append

    async def since(
        self, workflow: str, positions: Mapping[int, int]
    ) -> AsyncIterator[Sequence[Filed]]:
        stream = letters_of(workflow)
        ends = await self._streamer.ends(stream)
        left = {at: end for at, end in ends.items() if positions.get(at, 0) < end}
        if not left:
            return
        receiver = await self._streamer.receiver(stream, READER, since={**positions})
        try:
            while left:
                received = await receiver.recv()
                for partition, record in received:
                    if record.offset + 1 >= left.get(partition, 0):
                        left.pop(partition, None)
                yield [_filed(partition, record) for partition, record in received]
        finally:
            await receiver.close()

    async def read(self, workflow: str, partition: int, offset: int) -> Filed | None:
        found = await self._streamer.read(letters_of(workflow), partition, [offset])
        return _filed(partition, found[0]) if found else None

    async def settle(self, workflow: str, letter: Letter) -> None:
        await self._append(workflow, [letter])


def _filed(partition: int, record: LogRecord) -> Filed:
    told = _decode(record.value or b"")
    letter = Letter(
        told.key.encode(),
        told.base64 or told.text.encode(),
        told.reason,
        told.source,
        told.partition,
        told.position,
        tuple(told.headers),
        told.settles,
    )
    return Filed(partition, record.offset, record.timestamp, letter)
