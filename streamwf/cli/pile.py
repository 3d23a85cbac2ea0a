"""A file with a run to be started in each line, and what became of each."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from streamwf.cli.output import say, write, write_json
from streamwf.cli.shapes import Sent
from streamwf.errors import InvalidForeignId, InvalidQuery
from streamwf.events import check_foreign_id
from streamwf.lines import Line, read_line
from streamwf.views import Trigger

Asked = TypeVar("Asked", bound=Trigger | Line)

#: Refused lines that are written out; the rest are only counted.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Refused:
    line: int
    why: str


@dataclass
class Pile:
    """The triggers of a file, line by line, and what became of them.

    skip: lines to leave out at the start. read: lines that were read, with those.
    stopped: why no more lines are read; empty while they are.
    hang_up: called at a stop, so that nobody waits for the next line.
    """

    file: BinaryIO
    skip: int = 0
    read: int = 0
    accepted: int = 0
    refused: list[Refused] = field(default_factory=list)
    stopped: str = ""
    interrupted: bool = False
    hang_up: Callable[[], object] = lambda: None
    # The lines of triggers that were handed on and may not be durable, and the one before them.
    _handed_on: deque[int] = field(default_factory=deque, init=False)
    _durable: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._durable = self.skip

    def take(self, line: bytes, read: Callable[[bytes], Asked]) -> tuple[int, Asked] | None:
        """The next line's number and its trigger; None if there is nothing to trigger in it."""
        self.read += 1
        if self.read <= self.skip or not line.strip():
            return None
        try:
            trigger = read(line)
            check_foreign_id(trigger.foreign_id)
        except (ValidationError, InvalidForeignId, InvalidQuery) as error:
            self.refuse(self.read, _told(error))
            return None
        return self.read, trigger

    def triggers(self) -> Iterator[Trigger | Line]:
        """The triggers of all lines, until it is stopped."""
        for line in self.file:
            taken = self.take(line, read_line)
            if taken is not None:
                self._handed_on.append(taken[0])
                yield taken[1]
            if self.stopped:
                return

    def appended(self, count: int) -> None:
        """So many of the triggers are durable: the first ones."""
        for _ in range(count - self.accepted):
            self._durable = self._handed_on.popleft()
        self.accepted = count

    def give_back(self) -> None:
        """No line after the last trigger that is durable counts as read."""
        self.read = self._durable
        self.refused = [line for line in self.refused if line.line <= self.read]

    def refuse(self, line: int, why: str) -> None:
        self.refused.append(Refused(line, why))

    def stop(self, why: str) -> None:
        self.stopped = self.stopped or why
        self.hang_up()

    def interrupt(self) -> None:
        self.interrupted = True
        self.stop("interrupted")

    def lines(self) -> int | None:
        """How many lines there are; None if that can't be known before they are read."""
        if not self.file.seekable():
            return None
        start = self.file.tell()
        count = sum(1 for _ in self.file)
        self.file.seek(start)
        return count


def _told(error: ValidationError | InvalidForeignId | InvalidQuery) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, item["loc"])), item["msg"])))
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    )


def tell(pile: Pile, accepted: str, as_json: bool) -> None:
    """What became of the lines. accepted: what those are called that were not refused."""
    refused = sorted(pile.refused, key=lambda line: line.line)
    if as_json:
        told = {accepted: pile.accepted, "read": pile.read, "stopped": pile.stopped}
        write_json(Sent.model_validate(told | {"refused": [asdict(line) for line in refused]}))
        return
    for line in refused[:SHOWN]:
        say(f"line {line.line}: {line.why}")
    if len(refused) > SHOWN:
        say(f"and {len(refused) - SHOWN:,} more")
    write(f"{pile.accepted:,} {accepted}, {len(refused):,} refused")
    if pile.stopped:
        say(f"Stopped after line {pile.read}: {pile.stopped}")
        say(f"To go on from there: --skip {pile.read}")
