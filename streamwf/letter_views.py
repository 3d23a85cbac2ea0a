"""What is told about dead letters: over HTTP, by the client, on the command line."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from .views import Request, View

#: Letters on a page at most.
MAX_LETTERS = 200

#: What becomes of a letter.
LetterAction = Literal["retry", "drop"]


class LetterView(View):
    """What could not be used.

    id: of the letter. at: when it was set aside. source, partition, position: where it came from.
    size: bytes of its value. text: the beginning of its value, or all of it where one letter is
    asked for; base64 in its place if it is no text. withheld: whether who asks may not see that.
    """

    id: str
    workflow: str
    reason: str
    at: datetime
    source: str = ""
    partition: str = ""
    position: str = ""
    key: str | None = None
    size: int = 0
    text: str | None = None
    base64: str | None = None
    withheld: bool = False


class Letters(View):
    """A page of the letters that nobody has settled, the latest first.

    count: how many there are. cursor: leads to those before these; None if there are none.
    """

    letters: list[LetterView]
    count: int = 0
    cursor: str | None = None


class LetterQuery(Request):
    """Which letters are wanted. workflow: that of all, unless given."""

    workflow: str | None = None
    limit: int = Field(default=50, ge=1, le=MAX_LETTERS)
    cursor: str | None = None


class Settled(View):
    """What became of a letter. appended: how many events of it went to the log."""

    id: str
    action: LetterAction
    appended: int = 0
