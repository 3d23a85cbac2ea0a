"""How fast a step may run, and when it is held: apart from any clock."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

#: How many groups the starts of a window are remembered in, at most.
GROUPS = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many runs of a step are started in so long, over all shards together.

    Each shard has its share, so that nobody has to ask the others. If there are fewer runs than
    shards, they take turns: a run may then wait for its shard's turn, although no other runs.
    """

    runs: int
    per: timedelta = timedelta(seconds=1)

    def share(self, shard: int, shards: int) -> "Allowance":
        """What one of the shards may start. shard: its number, counted from 0."""
        if self.runs < shards:
            return Turns(self, shard, shards)
        return Window(self.runs // shards + (shard < self.runs % shards), self.per)

    def mistakes(self) -> list[str]:
        """What is wrong with these values, for the definition's validation."""
        found = []
        if self.runs < 1:
            found.append("rate needs 1 or more runs")
        if self.per <= timedelta(0):
            found.append("rate needs a time that is longer than nothing")
        return found


@dataclass(frozen=True, slots=True)
class Breaker:
    """After so many failures in a row, whichever runs they are of, a step is held for all runs.

    When it has rested, one run is tried: success lets the others go on, failure is another rest.
    """

    failures: int = 5
    rest: timedelta = timedelta(seconds=30)

    def mistakes(self) -> list[str]:
        """What is wrong with these values, for the definition's validation."""
        found = []
        if self.failures < 1:
            found.append("breaker needs 1 or more failures")
        if self.rest <= timedelta(0):
            found.append("breaker needs a rest that is longer than nothing")
        return found


class Allowance(Protocol):
    """When a shard may start the next run of a step, by its share of a rate."""

    def free_at(self, now: datetime) -> datetime:
        """When the next may start; `now` if at once."""

    def take(self, now: datetime) -> None:
        """One has started."""


class _Starts(NamedTuple):
    """Some that started so close to each other that they are remembered together."""

    first: datetime
    last: datetime
    many: int


class Window:
    """In no time as long as `per` do more than `most` start."""

    def __init__(self, most: int, per: timedelta) -> None:
        self._most = most
        self._per = per
        self._grain = per / GROUPS
        self._starts: deque[_Starts] = deque()
        self._count = 0

    def free_at(self, now: datetime) -> datetime:
        starts = self._starts
        if starts and starts[-1].last > now:
            # The clock was put back: what is said to be in the future has just been.
            starts = deque(_Starts(min(s.first, now), min(s.last, now), s.many) for s in starts)
            self._starts = starts
        while starts and starts[0].last + self._per <= now:
            self._count -= starts.popleft().many
        return now if self._count < self._most else starts[0].last + self._per

    def take(self, now: datetime) -> None:
        self._count += 1
        last = self._starts[-1] if self._starts else None
        if last is not None and now - last.first < self._grain:
            self._starts[-1] = _Starts(last.first, now, last.many + 1)
        else:
            self._starts.append(_Starts(now, now, 1))


class Turns:
    """For a rate with fewer runs than shards: one start each time that it is this shard's turn."""

    def __init__(self, rate: Rate, shard: int, shards: int) -> None:
        self._turn = max(rate.per / rate.runs, timedelta.resolution)
        self._shard = shard
        self._shards = shards
        self._taken: int | None = None

    def free_at(self, now: datetime) -> datetime:
        number = self._number(now)
        ahead = (self._shard - number) % self._shards
        if ahead == 0 and number == self._taken:
            ahead = self._shards
        return _EPOCH + (number + ahead) * self._turn if ahead else now

    def take(self, now: datetime) -> None:
        self._taken = self._number(now)

    def _number(self, now: datetime) -> int:
        return (now - _EPOCH) // self._turn


class Held(NamedTuple):
    """A step that is held for all runs.

    until: when one run is tried; past while it is being tried.
    failures: how many there were in a row. reason: the last of them.
    """

    until: datetime
    failures: int
    reason: str


class Circuit:
    """What a breaker has seen of its step, and whether it holds it.

    What began before the step was held, and ends later, tells nothing of how it is now.
    """

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._failures = 0
        self._reason = ""
        self._until: datetime | None = None
        self._trying = False
        self._era = 0

    @property
    def held(self) -> Held | None:
        if self._until is None:
            return None
        return Held(self._until, self._failures, self._reason)

    def free_at(self, now: datetime) -> datetime | None:
        """When a run may start; `now` if at once, None once the one that is tried has told."""
        if self._until is None:
            return now
        if self._trying:
            return None
        # No clock that was put back makes a rest longer.
        self._until = min(self._until, now + self._breaker.rest)
        return max(self._until, now)

    def begin(self) -> int:
        """A run has started. What it is to be told by."""
        self._trying = self._until is not None
        return self._era

    def succeeded(self, begun: int) -> None:
        if begun == self._era:
            self._failures, self._until, self._trying = 0, None, False

    def failed(self, begun: int, now: datetime, reason: str) -> None:
        if begun != self._era:
            return
        self._failures += 1
        self._reason = reason
        if self._failures >= self._breaker.failures:
            self._until = now + self._breaker.rest
            self._trying = False
            self._era += 1

    def untold(self, begun: int) -> None:
        """It ended without telling anything of the step: another is tried."""
        if begun == self._era:
            self._trying = False
