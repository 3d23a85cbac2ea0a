"""The retry policy: when to try again, apart from any clock."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff: `initial`, then `factor` times longer each time, up to `maximum`.

    jitter: the share of each delay that is random, from 0 (none) to 1.
    attempts: how many times a step may be tried in all; None means for ever.
    """

    initial: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    maximum: timedelta = timedelta(minutes=5)
    jitter: float = 0.1
    attempts: int | None = None

    def delay(self, attempt: int, chance: float) -> timedelta:
        """How long to wait after failed attempt number `attempt`, counted from 1.

        chance: a random number in [0, 1), passed in so that this stays a pure function.
        """
        initial, maximum = self.initial.total_seconds(), self.maximum.total_seconds()
        try:
            full = min(initial * self.factor ** (attempt - 1), maximum)
        except OverflowError:
            full = maximum if initial else 0.0
        return timedelta(seconds=full * (1 - self.jitter * chance))

    def exhausted(self, attempt: int) -> bool:
        """Whether failed attempt number `attempt` was the last one allowed."""
        return self.attempts is not None and attempt >= self.attempts

    def mistakes(self) -> list[str]:
        """What is wrong with these values, for the definition's validation."""
        found = []
        if self.initial < timedelta(0) or self.maximum < self.initial:
            found.append("retry needs 0 <= initial <= maximum")
        if self.factor < 1:
            found.append("retry needs factor >= 1")
        if not 0 <= self.jitter <= 1:
            found.append("retry needs jitter between 0 and 1")
        if self.attempts is not None and self.attempts < 1:
            found.append("retry needs attempts >= 1, or None for ever")
        return found
