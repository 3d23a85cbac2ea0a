"""What rebuilding and verifying have to tell, whatever keeps the log and the tables."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild has led to."""

    partitions: int
    events: int
    runs: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that the log does not lead to as it is. live, folded: JSON; None for no row."""

    partition: int
    key: str
    live: str | None
    folded: str | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a comparison has found.

    rows: how many runs the log leads to, up to where the tables are.
    behind: how many events the log has after that, which no checkpoint has made durable yet.
    """

    rows: int
    behind: int
    differences: list[Difference]


def differences(
    partition: int, live: Iterable[tuple[str, bytes]], folded: Iterable[tuple[str, bytes]]
) -> Iterator[Difference]:
    """live, folded: rows as JSON, in the order of their keys."""
    ours, theirs = iter(live), iter(folded)
    our, their = next(ours, None), next(theirs, None)
    while our or their:
        if our and (not their or our[0] < their[0]):
            yield Difference(partition, our[0], our[1].decode(), None)
            our = next(ours, None)
        elif their and (not our or their[0] < our[0]):
            yield Difference(partition, their[0], None, their[1].decode())
            their = next(theirs, None)
        elif our and their:
            if our[1] != their[1]:
                yield Difference(partition, our[0], our[1].decode(), their[1].decode())
            our, their = next(ours, None), next(theirs, None)
