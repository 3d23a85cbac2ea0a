"""Numbers in sentences for people, with what they count in its right form. Pure."""

from string import Formatter
from typing import Any


def counted(number: int, what: str) -> str:
    """A number and what it counts: `row` gives 1 row and 2 rows; `row is/rows are` says both."""
    one, _, many = what.partition("/")
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


class Sentence(Formatter):
    """Fills in templates as `str.format` does, and what is like `{count:row}` as `counted` does."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return counted(value, format_spec) if format_spec else str(value)
