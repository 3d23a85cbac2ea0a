"""What the soak calls flat."""

import random

import pytest

from benchmarks.flat import FEWEST, Bound, flatness, slope

BOUND = Bound(share=0.05, least=2.0)


def points(growth: float, noise: float = 1.0, count: int = 60) -> list[tuple[float, float]]:
    """Figures around 100 that grow by so much from the first to the last, and jump at first."""
    chance = random.Random(7)
    warm_up = [(5.0 * n, 10.0 * n) for n in range(10)]
    return warm_up + [
        (5.0 * n, 100 + growth * (n - 10) / count + chance.uniform(-noise, noise))
        for n in range(10, 10 + count)
    ]


def test_noise_is_flat_and_growth_is_not() -> None:
    assert flatness(points(0.0), BOUND).flat
    assert flatness(points(0.0, noise=20.0, count=300), Bound(0.1, 2.0)).flat
    grown = flatness(points(20.0), BOUND)
    assert grown.flat is False
    # Of the last two thirds of the time.
    assert grown.growth == pytest.approx(20 * 2 / 3, abs=3)


def test_what_shrinks_is_flat() -> None:
    assert flatness(points(-50.0), BOUND).flat


def test_a_few_outliers_bend_no_line() -> None:
    some = points(0.0)
    some[-3:] = [(at, 10_000.0) for at, _ in some[-3:]]
    assert flatness(some, BOUND).flat


def test_too_little_is_no_verdict() -> None:
    assert flatness([], BOUND).flat is None
    assert flatness(points(0.0)[:FEWEST], BOUND).flat is None
    assert flatness(points(500.0), Bound(0.05, 2.0, warm_up=10_000.0)).flat is None
    # 345 s in all: after 200 s, the rest is shorter than what it takes to say.
    assert flatness(points(500.0), Bound(0.05, 2.0, warm_up=200.0)).flat is None
    assert flatness(points(500.0), Bound(0.05, 2.0, warm_up=100.0)).flat is False


def test_the_slope_of_a_line_is_its_own() -> None:
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == 2.0
