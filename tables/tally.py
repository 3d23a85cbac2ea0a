"""What a table counts of its rows."""

from collections import Counter

from streamwf.agenda import timers_of
from streamwf.record import Record


class Tally:
    """runs: how many of the workflow itself there are, by (status, state).
    timers: how many timeouts wait, by status.
    """

    def __init__(
        self, runs: Counter[tuple[str, str]] | None = None, timers: Counter[str] | None = None
    ) -> None:
        self.runs: Counter[tuple[str, str]] = Counter(runs)
        self.timers: Counter[str] = Counter(timers)

    def add(self, record: Record, many: int) -> None:
        """many: 1 for a row that is there now, -1 for one that was."""
        if record.kind:
            return
        self.runs[record.status, record.state] += many
        if record.timers:
            self.timers[record.status] += many * timers_of(record)

    def copy(self) -> "Tally":
        return Tally(self.runs, self.timers)
