"""What runs are searched by: the values of fields of their objects, and the terms made of them.

Pure.
"""

from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from .definition import Workflow
from .indexing import NoTerms
from .ports import Terms
from .record import Record
from .views import MAX_VALUE

#: Bytes of a term. Of two values with the same one, what is found is looked at again.
_TERM = 8


class Searched:
    """Implements `streamwf.ports.Terms`. fields: those that runs are searched by."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.name = " ".join(sorted(fields))
        self._fields = [(name, name.split(".")) for name in fields]

    def __call__(self, record: Record) -> Collection[bytes]:
        carried = decoded(record)
        return {
            term_of(name, value)
            for name, path in self._fields
            for value in values_at(carried, path)
            # What is longer can't be asked for.
            if len(value) <= MAX_VALUE
        }


def terms_of(workflow: Workflow[Any, Any]) -> Terms:
    """By what the runs of a workflow are indexed; not by what is encrypted."""
    if workflow.encrypt or not workflow.search:
        return NoTerms()
    return Searched(workflow.search)


def term_of(field: str, value: str) -> bytes:
    text = f"{field}\0{value}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=_TERM).digest()


def decoded(record: Record) -> Any:
    """What a run carries; None if it can't be read."""
    try:
        return msgspec.json.decode(record.object)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def values_at(carried: Any, path: Sequence[str]) -> Iterator[str]:
    """What is at a path, as text; of a list, what is there of each element."""
    for element in carried if isinstance(carried, list) else [carried]:
        if path:
            if isinstance(element, dict) and path[0] in element:
                yield from values_at(element[path[0]], path[1:])
        elif isinstance(element, str):
            yield element
        elif not isinstance(element, dict | list):
            yield msgspec.json.encode(element).decode()
