"""The JSON documents of a file, as programs and people lay them out."""

import json
import re
from collections.abc import Iterator
from typing import IO, Any

_INK = re.compile(r"\S")


def documents(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """The JSON documents of a file, one a line or laid out over several, and where each begins.

    What can't be read is a ValueError in place of a document.
    """
    for line, found in _parsed(file):
        if isinstance(found, list):
            yield from ((line, document) for document in found)
        else:
            yield line, found


def _parsed(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    lines = enumerate(file, 1)
    for number, line in lines:
        if not line.strip():
            continue
        first = _line(line)
        if isinstance(first, ValueError):
            # Laid out for people: it goes on in the lines that follow.
            yield from _scattered(line + b"".join(rest for _, rest in lines), number)
            return
        yield number, first
        break
    for number, line in lines:
        if line.strip():
            yield number, _line(line)


def _line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return ValueError(f"it is not JSON: {error}")


def _scattered(data: bytes, line: int) -> Iterator[tuple[int, Any]]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        yield line, ValueError(f"it is not UTF-8: {error}")
        return
    decoder, place = json.JSONDecoder(), 0
    while found := _INK.search(text, place):
        line += text.count("\n", place, found.start())
        try:
            document, place = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError) as error:
            yield line, ValueError(f"it is not JSON: {error}")
            return
        yield line, document
        line += text.count("\n", found.start(), place)
