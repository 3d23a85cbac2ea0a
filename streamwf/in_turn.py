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
        self._waiting: dict[tuple[str, str, str], list[Result]] = {}

    def may_go(self, record: Record, event: Event) -> bool:
        """Whether no other result of the run is on its way. If one is, this waits for it."""
        run = _run_of(event)
        waiting = self._waiting.get(run)
        if waiting is None:
            self._waiting[run] = []
            return True
        waiting.append((record, event))
        return False

    def folded(self, event: Event) -> list[Result]:
        """A result has come back; those that have waited for it, the first one first."""
        return self._waiting.pop(_run_of(event), [])


def _run_of(event: Event) -> tuple[str, str, str]:
    return event.kind, event.subject, event.runid
