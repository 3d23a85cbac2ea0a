"""Whether a figure is flat: what a line that outliers do not bend says of its growth."""

import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

#: The share of the time for which caches fill and the machine warms up.
WARM_UP = 1 / 3

#: Samples after the warm-up that a line needs.
FEWEST = 6


class Bound(NamedTuple):
    """How much a figure may grow after the warm-up and be called flat: the greater of a share of
    its median and `least`, which is what it is apart by while nothing grows.

    warm_up: seconds that the warm-up of this figure takes at least, and that the rest has to
        last: of a figure that goes up and down, a part of one rise says nothing.
    """

    share: float
    least: float
    warm_up: float = 0.0


class Flatness(NamedTuple):
    """growth: by how much the figure has grown from the end of the warm-up to the end. allowed: by
    how much it may. flat: None if it was too short to say."""

    median: float
    growth: float
    allowed: float
    flat: bool | None


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs (Theil and Sen)."""
    pairs = combinations(points, 2)
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] > a[0])


def flatness(points: Sequence[tuple[float, float]], bound: Bound) -> Flatness:
    """points: (seconds, figure), in the order of time."""
    lasted = points[-1][0] - points[0][0] if points else 0.0
    begin = max(WARM_UP * lasted, bound.warm_up)
    warm = [point for point in points if point[0] - points[0][0] >= begin]
    known = [figure for _, figure in warm or points]
    median = statistics.median(known) if known else 0.0
    allowed = max(bound.share * median, bound.least)
    if len(warm) < FEWEST or warm[-1][0] - warm[0][0] < bound.warm_up:
        return Flatness(median, 0.0, allowed, None)
    growth = slope(warm) * (warm[-1][0] - warm[0][0])
    return Flatness(median, growth, allowed, growth <= allowed)
