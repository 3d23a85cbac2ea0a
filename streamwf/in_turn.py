"""The results of a run handed out one after the other, for a log that is to have none in vain.

Usually two of them may be on their way at once, like those of a step and of a timeout that end at
the same time, or of what was begun for a run before it had moved on. The first counts, and the
fold refuses the other; but whoever reads the topic would see both.
"""

from .events import Event
from .record import Record

Result = tuple[Record, Event]


class InTurn:
    """The results of one shard that are handed out and not folded yet, and those that wait."""

    def __init__(self) -> None:
        # By run: the id of the result that is on its way, and those that wait for it.
        self._turns: dict[tuple[str, str, str], tuple[str, list[Result]]] = {}

    def may_go(self, record: Record, event: Event) -> bool:
        """Whether no other result of the run is on its way. If one is, this waits for it."""
        run = _run_of(event)
        turn = self._turns.get(run)
        if turn is None:
            self._turns[run] = (event.id, [])
            return True
        turn[1].append((record, event))
        return False

    def folded(self, event: Event) -> list[Result]:
        """An event has come back; those that have waited for it, the first one first. What a
        mailbox is told is a result, too, and requests of others are none."""
        run = _run_of(event)
        turn = self._turns.get(run)
        if turn is None or turn[0] != event.id:
            return []
        del self._turns[run]
        return turn[1]


def _run_of(event: Event) -> tuple[str, str, str]:
    return event.kind, event.subject, event.runid
