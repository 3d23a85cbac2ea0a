"""Redaction: taking the values of masked fields out of texts, such as those of errors. Pure."""

import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import BaseModel

#: What is shown in the place of what is masked.
MASK = "•••"

#: What is said in the place of a text when nobody knows what of it is masked.
UNTOLD = f"{MASK} (the object can't be written, so that nobody knows what of this is masked)"

#: Shorter texts, and numbers, are taken out where they stand alone: they are in many others.
LONG = 4

#: What pydantic tells of a value that does not fit; it may be cut, so that nobody knows it again.
_INPUT = re.compile(r"input_value=.*(?=, input_type=)")


class Redaction:
    """Takes values out of texts. unknown: whether there are values that it could not be told."""

    def __init__(self) -> None:
        self.unknown = False
        self._anywhere: set[str] = set()
        self._alone: set[str] = set()

    def take(self, value: Any, plain: Any) -> str:
        """Remember a value, as it is and as plain data; return what is shown instead."""
        self.add(value)
        # As plain data, the names of fields are keys like others.
        self.add(plain, keys=False)
        return MASK

    def add(self, value: Any, *, keys: bool = True) -> None:
        """keys: whether those of mappings are values too."""
        for part in _parts(value, keys):
            for form in _forms(part):
                number = not isinstance(part, str | bytes)
                kind = self._alone if number or len(form) < LONG else self._anywhere
                kind.add(form)

    def of(self, text: str) -> str:
        """A text without them."""
        return UNTOLD if text and self.unknown else self.known(text)

    def known(self, text: str) -> str:
        """The same of a text that tells of none that are unknown."""
        text = _INPUT.sub(f"input_value={MASK}", text)
        for form in _longest_first(self._anywhere):
            text = text.replace(form, MASK)
        if self._alone:
            forms = "|".join(map(re.escape, _longest_first(self._alone)))
            text = re.sub(rf"(?<![^\W_])(?<!\d\.)(?:{forms})(?![^\W_])(?!\.\d)", MASK, text)
        return text


def _longest_first(forms: Collection[str]) -> list[str]:
    return sorted(forms, key=len, reverse=True)


def _parts(value: Any, keys: bool) -> Iterator[Any]:
    """All that a value is made of."""
    inner: Iterable[Any]
    if isinstance(value, Mapping):
        inner = [*(value if keys else ()), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    elif isinstance(value, BaseModel):
        inner = dict(value).values()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif isinstance(value, Enum):
        inner = (value.name, value.value)
    else:
        if not isinstance(value, bool) and value is not None:
            yield value
        return
    for part in inner:
        yield from _parts(part, keys)


def _forms(value: Any) -> set[str]:
    """How a value may stand in a text."""
    if not isinstance(value, str):
        return {str(value), _inside(repr(value))}
    texts = {value, value.strip()} - {""}
    return texts | {
        form
        for text in texts
        for form in (
            _inside(repr(text)),
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            quote(text, errors="replace"),
            quote_plus(text, errors="replace"),
        )
    }


def _inside(shown: str) -> str:
    """What is between the quotes, if it is in quotes."""
    found = re.fullmatch(r"b?(['\"])(.*)\1", shown, re.DOTALL)
    return found[2] if found else shown
