"""Which dead letters of a workflow are open: folded from all that lie there. Pure."""

import re
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from .letter_views import LetterView
from .ports import Filed, Letter

#: Open letters of a workflow that are listed; of more, the latest.
MAX_LISTED = 10_000

#: Characters of a value that lists show.
SHOWN = 300

_ID = re.compile(r"([a-z0-9][a-z0-9._-]*):(\d{1,9}):(\d{1,18})")


class LetterId(NamedTuple):
    """Where a letter lies."""

    workflow: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return ":".join(map(str, self))

    @classmethod
    def read(cls, text: str) -> "LetterId | None":
        """None if it is the id of no letter."""
        found = _ID.fullmatch(text)
        return found and cls(found[1], int(found[2]), int(found[3]))


class OpenLetters:
    """Those of one workflow."""

    def __init__(self, workflow: str) -> None:
        self.workflow = workflow
        #: The next offset of each partition.
        self.positions: dict[int, int] = {}
        self.count = 0
        self._open: dict[str, LetterView] = {}
        # Settled before they were read: by a letter in another partition.
        self._settled: set[str] = set()

    def fold(self, filed: Iterable[Filed]) -> None:
        """Letters in the order of their partitions, each once."""
        for each in filed:
            self.positions[each.partition] = each.offset + 1
            settles = each.letter.settles
            if settles:
                self._settle(settles)
            else:
                self._add(each)

    def __contains__(self, id: str) -> bool:
        return id in self._open

    def listed(self) -> list[LetterView]:
        return [*self._open.values()]

    def _add(self, filed: Filed) -> None:
        id = str(LetterId(self.workflow, filed.partition, filed.offset))
        if id in self._settled:
            self._settled.remove(id)
            return
        self.count += 1
        self._open[id] = letter_view(self.workflow, filed, SHOWN)
        if len(self._open) > 2 * MAX_LISTED:
            latest = sorted(self._open.values(), key=lambda view: view.at)[-MAX_LISTED:]
            self._open = {view.id: view for view in latest}

    def _settle(self, id: str) -> None:
        of = LetterId.read(id)
        if of is None or of.workflow != self.workflow:
            return
        if of.offset >= self.positions.get(of.partition, 0):
            self._settled.add(id)
        elif self._open.pop(id, None) is not None:
            self.count -= 1


def letter_view(workflow: str, filed: Filed, shown: int | None = None) -> LetterView:
    """shown: characters of its value; all, unless given."""
    letter, value = filed.letter, filed.letter.value or b""
    view = LetterView(
        id=str(LetterId(workflow, filed.partition, filed.offset)),
        workflow=workflow,
        reason=letter.reason,
        at=datetime.fromtimestamp(filed.timestamp / 1000, UTC),
        source=letter.source,
        partition=letter.partition,
        position=letter.position,
        key=None if letter.key is None else letter.key.decode(errors="replace"),
        size=len(value),
    )
    return view.model_copy(update=_content(letter, shown))


def _content(letter: Letter, shown: int | None) -> dict[str, str]:
    value = letter.value or b""
    try:
        return {"text": value.decode()[:shown]}
    except UnicodeDecodeError:
        return {"base64": b64encode(value[:shown]).decode()}
